"""What PolyAI has, and what a ledger of it should say: in plain Python, by the documents alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from bulkaudio.ledger.planning import LONGEST_CALL
from bulkaudio.model import Direction, Outcome, Status
from bulkaudio.policy import Reason

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
DIRECTIONS = (Direction.COMBINED, Direction.USER)
PAGE = 3

Key = tuple[str, Direction]


@dataclass(kw_only=True)
class Call:
    """A conversation at PolyAI."""

    id: str
    started_at: datetime
    in_progress: bool
    has_recording: bool


@dataclass
class PolyAI:
    """All calls so far; a window of them never changes once it has passed."""

    calls: dict[str, Call] = field(default_factory=dict)

    def listed(self, since: datetime | None, until: datetime) -> list[Call]:
        """Return the calls that a listing of this half-open window shows, in its order."""
        shown = [
            call
            for call in self.calls.values()
            if (since is None or since <= call.started_at) and call.started_at < until
        ]
        return sorted(shown, key=lambda call: (call.started_at, call.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A recording as the ledger should have it."""

    status: Status
    started_at: datetime
    next_try_at: datetime | None = None
    reason: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no run looks at it again."""
        return self.status in {Status.SAVED, Status.ABSENT}

    def is_due(self, now: datetime) -> bool:
        """Whether a run may look at it now; nothing is put off for more than a day."""
        if self.is_settled:
            return False
        if self.status is not Status.DEFERRED or self.next_try_at is None:
            return True
        return not now < self.next_try_at <= now + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A listing as the ledger should have it; `listed` counts conversations behind the cursor."""

    since: datetime
    until: datetime
    listed: int = 0
    is_finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a plan should say."""

    todo: list[Key]
    already: int
    absent: int
    deferred: int
    duplicates: int


@dataclass
class LedgerModel:
    """The ledger as a dictionary; `seen` is what this run has considered."""

    rows: dict[Key, Row] = field(default_factory=dict)
    listings: dict[int, Listing] = field(default_factory=dict)
    finished: list[int] = field(default_factory=list)
    seen: set[Key] = field(default_factory=set)

    def copy(self) -> "LedgerModel":
        """Make one that may go another way."""
        return LedgerModel(
            dict(self.rows), dict(self.listings), list(self.finished), set(self.seen)
        )

    def begin_listing(self, number: int, since: datetime, until: datetime) -> None:
        """Note a listing; unfinished ones inside it are superseded."""
        for known, listing in list(self.listings.items()):
            if not listing.is_finished and since <= listing.since and listing.until <= until:
                del self.listings[known]
        self.listings[number] = Listing(since=since, until=until)

    def plan(self, calls: Sequence[Call], now: datetime, turn: tuple[int, bool]) -> Expected:
        """Take a page of a listing; `turn` is the listing and whether this is its last one."""
        counts = dict.fromkeys(("already", "absent", "deferred", "duplicates"), 0)
        todo = []
        for call, key in self._named(calls):
            row = self.rows[key]
            if key in self.seen:
                counts["duplicates"] += 1
                continue
            self.seen.add(key)
            if row.status is Status.SAVED:
                counts["already"] += 1
            elif row.status is Status.ABSENT:
                counts["absent"] += 1
            elif call.in_progress:
                counts["deferred"] += 1
                if (row.status, row.reason) != (Status.DEFERRED, Reason.IN_PROGRESS):
                    self.rows[key] = _in_progress(row.started_at)
            elif row.is_due(now):
                todo.append(key)
            else:
                counts["deferred"] += 1
        number, is_last = turn
        listing = self.listings[number]
        self.listings[number] = replace(
            listing, listed=listing.listed + len(calls), is_finished=is_last
        )
        if is_last:
            self.finished.append(number)
        return Expected(todo=todo, **counts)

    def _named(self, calls: Sequence[Call]) -> Iterator[tuple[Call, Key]]:
        for call in calls:
            for direction in DIRECTIONS:
                key = (call.id, direction)
                if key not in self.rows:
                    self.rows[key] = (
                        _in_progress(call.started_at)
                        if call.in_progress
                        else Row(status=Status.OPEN, started_at=call.started_at)
                    )
                yield call, key

    def due(self, now: datetime) -> set[Key]:
        """Return what the backlog should bring: all that is left and not yet considered."""
        # A call that was going on is the listing's to call finished, while it can be going on.
        return {
            key
            for key, row in self.rows.items()
            if row.is_due(now)
            and key not in self.seen
            and (row.reason != Reason.IN_PROGRESS or row.started_at <= now - LONGEST_CALL)
        }

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome; what is saved stays so."""
        key = (outcome.recording.conversation_id, outcome.recording.direction)
        row = self.rows[key]
        if row.status is not Status.SAVED:
            self.rows[key] = replace(
                row,
                status=outcome.status,
                reason=outcome.reason,
                next_try_at=outcome.next_try_at,
            )

    def high_water(self) -> datetime | None:
        """Return the time before which everything is listed and settled."""
        end: datetime | None = None
        for number in self.finished:
            listing = self.listings[number]
            if end is None or listing.since <= end:
                end = max(end or listing.until, listing.until)
        waiting = [
            row.started_at
            for row in self.rows.values()
            if row.status in {Status.OPEN, Status.DEFERRED}
        ]
        return None if end is None else min([end, *waiting])


def _in_progress(started_at: datetime) -> Row:
    return Row(status=Status.DEFERRED, started_at=started_at, reason=Reason.IN_PROGRESS)
