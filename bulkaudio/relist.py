"""Comparing a ledger with what PolyAI lists now; nothing is written."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bulkaudio.assembly import connection_of, find_keys, gate_of, require
from bulkaudio.conduct import slots_of
from bulkaudio.errors import UsageError
from bulkaudio.events import Emit, Planned
from bulkaudio.gaps import Census, Column, Frame
from bulkaudio.job import listing_plan
from bulkaudio.ledger.census import NEVER_ASKED, Group
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.listings import Errand, Listings
from bulkaudio.model import Batch, Conversation, Direction, Plan
from bulkaudio.policy import Reason
from bulkaudio.polyai.client import Host, Session
from bulkaudio.remember import LISTING_PIN, Choices, choose
from bulkaudio.retry import Limits
from bulkaudio.settings import Connection, DownloadRequest
from bulkaudio.sources.listing import ListingMeans, ListingSource
from bulkaudio.stores.disk import LEDGER_FILE, STATE_FOLDER
from bulkaudio.stores.local import LocalStore
from bulkaudio.windows import day_of

NEVER_LISTED = "never_listed"
"""A window was listed to its end, and this call was not in it."""

NOT_LISTED_YET = "not_listed_yet"
"""No listing has seen the time of this call to its end."""


@asynccontextmanager
async def glanced(root: Path) -> AsyncIterator[ReadOnlyLedger]:
    """
    Read an archive's ledger without touching it; one that was never begun is empty.

    Raises:
        ArchiveBusyError: A run holds the archive.
        LedgerError: It is lost, damaged or newer.
    """
    is_new = await LocalStore.is_empty(root)
    ledger = await ReadOnlyLedger.reading(root / STATE_FOLDER / LEDGER_FILE, is_new_allowed=is_new)
    try:
        yield ledger
    finally:
        await ledger.aclose()


class UnwrittenListings(Listings):
    """Windows that are listed, and that the ledger is told nothing of."""

    async def _begin(self, errand: Errand) -> ListingRow:
        return ListingRow(listing_id=0, scope="", since=errand.since, until=errand.until)


def listings_of(
    session: Session,
    request: DownloadRequest,
    choices: Choices,
    *,
    ledger: ReadOnlyLedger,
    emit: Emit,
) -> UnwrittenListings:
    """Make a source of windows, which the caller gives it as `work`."""
    query = choices.query(request.listing)
    means = ListingMeans(
        session=session,
        gate=gate_of(session, Host.LISTING, request.pace, emit=emit),
        emit=emit,
        limits=Limits(attempts=request.pace.attempts),
    )
    return UnwrittenListings(
        ledger=ledger,
        scope="",
        work=(),
        source_of=lambda row, limit: ListingSource(listing_plan(row, query, limit), means),
        limit=request.limit,
    )


@asynccontextmanager
async def listing_session(
    connection: Connection, request: DownloadRequest
) -> AsyncIterator[Session]:
    """Open a session that can list."""
    if connection.region != "studio":
        require(connection.account, "--account")
    async with Session(connection, slots=slots_of(request.pace)) as session:
        yield session


@dataclass(frozen=True, slots=True, kw_only=True)
class Relisted:
    """What was listed anew: a half-open window, and how many conversations were in it."""

    since: datetime
    until: datetime
    conversations: int


def window_of(frame: Frame) -> tuple[datetime, datetime]:
    """Return what is to be listed anew: what was asked for, else all that was ever listed."""
    begins = [
        window[0]
        for direction in frame.directions
        for window in frame.windows.get(direction, ())
        if window[0] is not None
    ]
    since = frame.since or min(begins, default=None)
    until = min(frame.until or frame.now, frame.now)
    if since is None:
        raise UsageError(
            "nothing was listed into this archive yet, so there is no window to list anew",
            fix="say where to begin, for example --since 2026-01-01",
        )
    if until <= since:
        raise UsageError("no calls can be listed from then on", fix="give an earlier --since")
    return since, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    Whom to ask, and who is told of it.

    Attributes:
        kept: What the archive remembers.
    """

    request: DownloadRequest
    kept: Mapping[str, str]
    emit: Emit


async def relist(question: Question, frame: Frame, census: Census) -> Relisted:
    """
    List the frame's window, and count as missing what the ledger does not know.

    Args:
        census: What the ledger knows; conversations are added to it.
    """
    request, kept = question.request, question.kept
    since, until = window_of(frame)
    connection = connection_of(request, kept, await find_keys(request, kept))
    choices = replace(choose(request, kept.get(LISTING_PIN)), directions=frame.directions)
    found, conversations = _Found(frame=frame, census=census), 0
    async with (
        glanced(request.place.out) as ledger,
        listing_session(connection, request) as session,
    ):
        source = listings_of(session, request, choices, ledger=ledger, emit=question.emit)
        source.work = (Errand(since=since, until=until),)
        async for batch in source.batches():
            conversations += len(batch.conversations)
            question.emit(Planned(plan=_nothing_of(batch), skipped=batch.skipped))
            for each in await ledger.unknown(batch.conversations, frame.directions):
                found.add(*each)
    return Relisted(since=since, until=until, conversations=conversations)


def _nothing_of(batch: Batch) -> Plan:
    """Make the plan of a page that is only looked at."""
    return Plan(
        conversations=len(batch.conversations),
        todo=(),
        already=0,
        absent=0,
        deferred=0,
        duplicates=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    frame: Frame
    census: Census

    def add(self, conversation: Conversation, direction: Direction, is_known: bool) -> None:  # noqa: FBT001  a row's third value
        """Count one that the ledger lacks."""
        started_at = conversation.started_at
        day = None if started_at is None else day_of(started_at, self.census.zone)
        if is_known and self.frame.counts_never_asked:
            return  # counted from the ledger
        if conversation.in_progress:
            column, reason = Column.DEFERRED, Reason.IN_PROGRESS.value
        else:
            column, reason = Column.MISSING, self._reason(conversation, direction)
        if is_known and column is Column.MISSING:
            reason = NEVER_ASKED
        group = Group(
            start=None,
            direction=direction,
            status=None,
            reason=reason,
            count=1,
            example=conversation.id,
        )
        self.census.note(day, direction, column, group)

    def _reason(self, conversation: Conversation, direction: Direction) -> str:
        started_at = conversation.started_at
        windows = self.frame.windows.get(direction, ())
        is_seen = started_at is not None and any(
            (since is None or since <= started_at) and started_at < until
            for since, until in windows
        )
        return NEVER_LISTED if is_seen else NOT_LISTED_YET
