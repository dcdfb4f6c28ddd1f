"""The values that flow through a run. Frozen, slotted, keyword-only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, overload

FOUND_AGAIN = "found again by "
"""How the reason of an erasure begins that is none: files of erased recordings were there again."""


def is_return(reason: str | None) -> bool:
    """Whether nobody ordered an erasure of this reason."""
    return (reason or "").startswith(FOUND_AGAIN)


class Direction(StrEnum):
    """Which side of the call a recording holds."""

    COMBINED = "combined"
    USER = "user"
    AGENT = "agent"


class Status(StrEnum):
    """Where a recording stands; the values are the ledger's."""

    OPEN = "open"
    SAVED = "saved"
    ABSENT = "absent"
    DEFERRED = "deferred"
    FAILED = "failed"
    PURGED = "purged"
    """Erased for good: its tombstone keeps it from being fetched again."""
    ALREADY = "already"
    """Saved by an earlier run, or erased since. Never in the ledger."""


class Metadata(StrEnum):
    """How much of a conversation is kept beside its recordings."""

    NONE = "none"
    BASIC = "basic"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """
    One conversation, as a source names it.

    Attributes:
        id: PolyAI's conversation id, ``[A-Za-z0-9][A-Za-z0-9._-]{0,127}``.
        started_at: Aware UTC start; None when the source does not know it.
        channel: As listed (``VOICE-SIP``, ``WEBCHAT`` …); None when unknown.
        in_progress: The call is still going on: no recording yet.
        duration_s: Length of the call in seconds; None when unknown.
        undated: What the row is rejected as where every path is made of a start; None when it has
            one, or when its source knows no rows.
        details: The listed object, only while a sidecar is wanted and not yet written.
    """

    id: str
    started_at: datetime | None = None
    channel: str | None = None
    in_progress: bool = False
    duration_s: float | None = None
    undated: "Rejected | None" = field(default=None, repr=False, compare=False)
    details: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def is_chat(self) -> bool:
        """Whether the channel is a written one, which cannot have a recording."""
        return self.channel is not None and "CHAT" in self.channel.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class BareConversations(Sequence[Conversation]):
    """
    Conversations of which nothing is known but their ids; each is made when it is looked at.

    Those that are saved already never are looked at, and to make a million takes half a second.
    """

    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> "BareConversations": ...
    def __getitem__(self, index: int | slice) -> "Conversation | BareConversations":
        if isinstance(index, slice):
            return BareConversations(ids=self.ids[index])
        return Conversation(id=self.ids[index])

    def __iter__(self) -> Iterator[Conversation]:
        return (Conversation(id=each) for each in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """
    An input row, or a listed record, that is no conversation.

    Attributes:
        where: For people: ``line 17``, ``page 3, record 12``.
        text: What stood there, cut to 80 characters and free of control characters.
        why: One clause.
    """

    where: str
    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """
    Where a listing stands after a page: committed with that page's ids, never before (I4).

    Attributes:
        listing_id: The listing's row in the ledger.
        cursor: Opaque; what the next page is asked with. None after the last page.
        offset: The older paging's position; None with cursors.
        is_last: The documented end was reached.
        known_until: PolyAI's own time, where this machine's is ahead of it: what lies behind
            cannot have been listed.
    """

    listing_id: int
    cursor: str | None = None
    offset: int | None = None
    is_last: bool = False
    known_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    What a source yields: some conversations, in order, with the rows that were none.

    Attributes:
        skipped: Conversations that cannot have a recording (chats).
        bookmark: Of a listing's page; None from other sources.
    """

    conversations: Sequence[Conversation]
    rejected: tuple[Rejected, ...] = ()
    skipped: int = 0
    bookmark: Bookmark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One direction of one conversation: the unit of work, of proof and of the ledger."""

    conversation_id: str
    direction: Direction
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    A recording to fetch.

    Attributes:
        first_seen_at: When this archive first heard of it; decides with `started_at` whether a
            missing recording is late or absent.
        failed_for: Reason of the failure that an earlier run left it with, as failed or, for
            `bulkaudio.policy.SUSPICIOUS`, as open. The same again is the recording's own trouble
            and says nothing about host, key or agent.
    """

    recording: Recording
    first_seen_at: datetime
    failed_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What the ledger says of a batch: counts in recordings, except `conversations`.

    Attributes:
        conversations: Distinct conversations seen for the first time in this run.
        todo: To fetch now.
        put_off: Those of `deferred` that PolyAI asked to wait with, and whose time has not come.
        erased: Those of `already` of which nothing but a tombstone is left.
        duplicates: Recordings this run had already considered.
    """

    conversations: int
    todo: tuple[Task, ...]
    already: int
    absent: int
    deferred: int
    duplicates: int
    put_off: int = 0
    erased: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """
    What a WAV's own headers say, where the bytes bear it out.

    Attributes:
        codec: ``pcm``, ``mulaw``, ``alaw``, ``float`` or ``0x%04x``.
        seconds: Length; 0.0 when the header gives no byte rate.
        notes: Peculiarities that were accepted, e.g. ``streamed sizes``.
    """

    codec: str
    sample_rate_hz: int
    channels: int
    data_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The server's side of an outcome, for support and for the ledger."""

    http_status: int | None = None
    error_code: str | None = None
    correlation_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    How one recording ended. A failure is a value, never an exception.

    Attributes:
        path: Of the file, when saved.
        reason: Why it is not saved: a word of `bulkaudio.policy.Reason`, or ``http_<status>``.
        bytes, sha256, audio: Of the file, when saved.
        next_try_at: When a deferred recording is due again; None: with the next run.
    """

    recording: Recording
    status: Status
    path: Path | None = None
    reason: str | None = None
    evidence: Evidence = Evidence()
    bytes: int | None = None
    sha256: str | None = None
    audio: Audio | None = None
    next_try_at: datetime | None = None
