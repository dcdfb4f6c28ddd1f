"""One page of a listing while it is read: what is kept of it, set aside, or left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from bulkaudio.model import Batch, Bookmark, Conversation, Rejected
from bulkaudio.polyai.conversations import read_record
from bulkaudio.polyai.pages import BrokenPage, PageEnd
from bulkaudio.polyai.paging import PageFacts

MAX_RECORDS = 200_000
"""At most 1,000 are asked for, and all are held until the page is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    Which of the listed conversations were asked for.

    Attributes:
        since: None where the server was told of it: its own idea of the start is trusted then.
            What lies behind `until` is left to the next listing, which begins there.
        channels: Beginnings of channel names; a conversation without a channel is kept.
    """

    since: datetime | None
    until: datetime
    channels: tuple[str, ...]

    def holds(self, conversation: Conversation) -> bool:
        """Whether the conversation is one of them."""
        started_at = conversation.started_at
        if started_at is None or started_at >= self.until:
            return False
        if self.since is not None and started_at < self.since:
            return False
        if not self.channels or conversation.channel is None:
            return True
        channel = conversation.channel.lower()
        return any(channel.startswith(beginning.lower()) for beginning in self.channels)


@dataclass(slots=True, kw_only=True)
class ListedPage:
    """
    Gathers a page, record by record.

    Attributes:
        number: For people, counted from 1.
        room: Conversations that may still be taken; None: all.
        known_until: See `bulkaudio.model.Bookmark`.
        is_cut: There was one more than that, so the page must not count as listed.
    """

    number: int
    room: int | None = None
    known_until: datetime | None = None
    is_cut: bool = False
    skipped: int = 0
    end: PageEnd = field(default_factory=PageEnd)
    conversations: list[Conversation] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    _records: int = 0
    _fingerprint: int | None = None

    def take(
        self, record: object, is_wanted: Callable[[Conversation], bool]
    ) -> Conversation | None:
        """
        Sort one record in, and return it when it is a conversation to keep.

        Raises:
            BrokenPage: When there are more records than any page has.
        """
        self._records += 1
        if self._records > MAX_RECORDS:
            raise BrokenPage(f"more than {MAX_RECORDS} records")
        found = read_record(record, f"page {self.number}, record {self._records}")
        if isinstance(found, Rejected):
            self.rejected.append(found)
            return None
        self._fingerprint = hash((self._fingerprint, found.id))
        if not is_wanted(found):
            return None
        if found.is_chat:
            self.skipped += 1
            return None
        if self.room == len(self.conversations):
            self.is_cut = True
            return None
        self.conversations.append(found)
        return found

    @property
    def facts(self) -> PageFacts:
        """What paging needs to know."""
        return PageFacts(records=self._records, fingerprint=self._fingerprint, end=self.end)

    def batch(self, bookmark: Bookmark | None) -> Batch:
        """Hand the page on."""
        return Batch(
            conversations=tuple(self.conversations),
            rejected=tuple(self.rejected),
            skipped=self.skipped,
            bookmark=bookmark,
        )
