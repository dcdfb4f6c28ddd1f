"""
What a report tells in numbers, as values.

Every number is a sum over ledger rows, as those of ``status`` are: listed = saved + absent +
deferred + failed + missing + erased, and a day is the calendar day of a call's start in the reader's
zone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import cache

from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Direction, Status

STATUSES = (
    *(Status.SAVED, Status.ABSENT, Status.DEFERRED, Status.FAILED, Status.OPEN, Status.PURGED),
)
"""In the order in which they are told and stacked."""

NAMES = ("saved", "no recording", "not yet", "failed", "missing", "erased")
"""What each of `STATUSES` is called on the page."""

GRAVITY = (
    *(Status.FAILED, Status.OPEN, Status.DEFERRED, Status.SAVED, Status.PURGED, Status.ABSENT),
)
"""A call is what the first of these is that one of its recordings is."""

PLACES = {status: place for place, status in enumerate(STATUSES)}

UNSETTLED = frozenset({Status.DEFERRED, Status.FAILED, Status.OPEN})

LENGTHS_S = (10, 30, 60, 120, 300, 600, 1200, 2400, 3600)
"""Where the bars of the histogram of lengths meet."""

_FIELD = re.compile(r"\{(\w+)\}")

Counts = tuple[int, int, int, int, int, int]
"""Recordings, or calls, by `STATUSES`."""

NOTHING: Counts = (0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which calls are told of, and in whose days; half-open, aware, open-ended where None."""

    zone: tzinfo = UTC
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.since is None and self.until is None

    def holds(self, moment: datetime | None) -> bool:
        """Whether a recording of a call that began then is told of; without a start: if all are."""
        if self.is_all:
            return True
        if moment is None:
            return False
        is_begun = self.since is None or moment >= self.since
        return is_begun and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One direction of a call in the table; `path` where the layout alone does not tell it."""

    direction: Direction
    status: Status
    reason: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLine:
    """A call in the table; `order` is its start, or when it was first heard of."""

    id: str
    started_at: int | None
    order: int
    seconds: float
    codec: str | None
    legs: tuple[Leg, ...]

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is to come or lost."""
        return not any(leg.status in UNSETTLED for leg in self.legs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    The sums.

    Attributes:
        by_direction: Of recordings.
        bytes, seconds: Of what is saved.
        calls: By what they are as a whole, see `GRAVITY`.
        undated: Recordings whose call's start nobody knows; they are on no day.
        left_out: Recordings without a start, where a window of time was asked for.
        hours: Calls by the hour of their start.
        lengths: Calls with something saved, by their longest recording; see `LENGTHS_S`.
        reasons: Of what is not saved, most frequent first.
        problems: The newest recordings that are failed, missing or deferred.
        lines: The calls of the table, newest first: troubled ones before others, up to a number.
    """

    by_direction: dict[Direction, Counts]
    bytes: int
    seconds: float
    calls: Counts
    days: dict[date, Counts]
    undated: Counts
    left_out: int
    hours: tuple[Counts, ...]
    lengths: tuple[int, ...]
    reasons: tuple[tuple[Status, str | None, int], ...]
    problems: tuple[LedgerRow, ...]
    lines: tuple[CallLine, ...]
    first: datetime | None
    last: datetime | None

    @property
    def recordings(self) -> Counts:
        """Of all directions."""
        return added(self.by_direction.values())

    @property
    def listed(self) -> int:
        """Recordings that there should be, or that are known not to be, erased ones included."""
        return sum(self.recordings)

    def count(self, status: Status) -> int:
        """Recordings of one status."""
        return self.recordings[PLACES[status]]


def added(many: Iterable[Counts]) -> Counts:
    """Add counts up, place by place."""
    return counts([sum(column) for column in zip(NOTHING, *many, strict=True)])


def counts(values: Sequence[int]) -> Counts:
    """Freeze what was counted."""
    return (values[0], values[1], values[2], values[3], values[4], values[5])


def local(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment as clocks in a zone show it; at the ends of the calendar, as UTC's do."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def leg_of(row: LedgerRow, template: str, started_at: int) -> Leg:
    """Reduce a row to what the table shows of it."""
    recording, path = row.recording, None
    if row.status is Status.SAVED and row.path is not None:
        usual = usual_path(template, recording.conversation_id, recording.direction, started_at)
        path = None if str(row.path) == usual else str(row.path)
    reason = row.reason if row.status in UNSETTLED else None
    if path is None and reason is None:
        return _plain_leg(recording.direction, row.status)
    return Leg(direction=recording.direction, status=row.status, reason=reason, path=path)


def usual_path(template: str, conversation_id: str, direction: Direction, started_at: int) -> str:
    """Fill a layout in as the page's script does: an id whose case needs no mark, days of UTC."""
    start = datetime.fromtimestamp(started_at, UTC)
    fields = {
        "id": conversation_id,
        "direction": direction.value,
        "date": start.date().isoformat(),
        "year": f"{start.year:04d}",
        "month": f"{start.month:02d}",
        "day": f"{start.day:02d}",
        "hour": f"{start.hour:02d}",
    }
    return _FIELD.sub(lambda found: fields[found[1]], template)


@cache
def _plain_leg(direction: Direction, status: Status) -> Leg:
    return Leg(direction=direction, status=status)
