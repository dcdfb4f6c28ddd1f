"""
What an archive lacks, by day: pure counting, from groups of rows to a verdict.

A recording is in exactly one column, so that listed = saved + absent + deferred + failed + missing +
erased, on every line and in every sum.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from bulkaudio.ledger.census import HOUR, Group, Listed
from bulkaudio.ledger.listings import Window
from bulkaudio.ledger.rows import instant_of
from bulkaudio.model import Direction, Status
from bulkaudio.windows import day_of, day_start

EARLIEST = date(2000, 1, 1)
"""Days without a call are shown from here on, so that a window since the beginning stays readable."""


class Column(StrEnum):
    """Where a recording is counted."""

    SAVED = "saved"
    ABSENT = "absent"
    DEFERRED = "deferred"
    FAILED = "failed"
    MISSING = "missing"
    ERASED = "erased"


PURGED = "purged"
"""The status of what was erased on purpose: it has no recording any more, and lacks nothing."""

COLUMN_OF: Mapping[str, Column] = {
    Status.SAVED: Column.SAVED,
    Status.ABSENT: Column.ABSENT,
    Status.DEFERRED: Column.DEFERRED,
    Status.FAILED: Column.FAILED,
    Status.OPEN: Column.MISSING,
    PURGED: Column.ERASED,
}

LACKING = (Column.MISSING, Column.FAILED)
"""What should be there and is not."""


class Coverage(StrEnum):
    """How much of a day some listing saw to its end."""

    WHOLE = "whole"
    PART = "part"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One day and direction; also a sum of some.

    Attributes:
        day: None for recordings whose call has no known start.
        coverage: None where a listing has nothing to do with it.
    """

    day: date | None
    direction: Direction
    coverage: Coverage | None = None
    saved: int = 0
    absent: int = 0
    deferred: int = 0
    failed: int = 0
    missing: int = 0
    erased: int = 0

    @property
    def listed(self) -> int:
        """All of them."""
        return sum(getattr(self, column.value) for column in Column)

    @property
    def lacking(self) -> int:
        """Those that should be there and are not."""
        return self.failed + self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """
    Why some recordings are not kept.

    Attributes:
        reason: A word of `bulkaudio.policy.Reason`, ``http_<status>``, or ``never_tried`` and the like.
        example, direction, correlation_id: One of them, with its support id where one is known.
    """

    column: Column
    reason: str
    count: int
    example: str
    direction: Direction
    correlation_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Census:
    """Counts groups of rows; grows with days and reasons, not with recordings."""

    zone: tzinfo
    counts: dict[tuple[date | None, Direction], Counter[Column]] = field(default_factory=dict)
    causes: dict[tuple[Column, str], Cause] = field(default_factory=dict)

    def straddling(self, groups: Iterable[Group]) -> frozenset[str]:
        """Name the hours of these groups in which a day ends: they have to be counted finely."""
        hours = {group.start for group in groups if group.start is not None}
        return frozenset(hour for hour in hours if _days_of(hour, self.zone)[0] is None)

    def add(self, group: Group) -> None:
        """Count a group whose rows all lie in one day."""
        day = None
        if group.start is not None:
            is_hour = len(group.start) == HOUR
            day = _days_of(group.start, self.zone)[0] if is_hour else None
            day = day or day_of(instant_of(_full(group.start)), self.zone)
        column = Column.MISSING if group.status is None else COLUMN_OF[group.status]
        self.note(day, group.direction, column, group)

    def note(self, day: date | None, direction: Direction, column: Column, group: Group) -> None:
        """Count a group in its day and column."""
        self.counts.setdefault((day, direction), Counter())[column] += group.count
        if column is Column.SAVED:
            return
        key = (column, group.reason or "unknown")
        if column is Column.ERASED:
            # Also while it is being erased: what is to be forgotten is not told any more.
            key, group = (column, PURGED), replace(group, correlation_id=None)
        before = self.causes.get(key)
        is_better = before is None or (group.correlation_id and not before.correlation_id)
        shown = (
            (group.example, group.direction, group.correlation_id)
            if is_better or before is None
            else (before.example, before.direction, before.correlation_id)
        )
        self.causes[key] = Cause(
            column=column,
            reason=key[1],
            count=group.count + (before.count if before else 0),
            example=shown[0],
            direction=shown[1],
            correlation_id=shown[2],
        )

    def line(
        self, day: date | None, direction: Direction, coverage: Coverage | None = None
    ) -> Line:
        """Return what was counted for one day and direction."""
        counts = self.counts.get((day, direction), Counter())
        return _line(day, direction, coverage, counts)


def _line(
    day: date | None,
    direction: Direction,
    coverage: Coverage | None,
    counts: Counter[Column],
) -> Line:
    return Line(
        day=day,
        direction=direction,
        coverage=coverage,
        saved=counts[Column.SAVED],
        absent=counts[Column.ABSENT],
        deferred=counts[Column.DEFERRED],
        failed=counts[Column.FAILED],
        missing=counts[Column.MISSING],
        erased=counts[Column.ERASED],
    )


def _full(start: str) -> str:
    """Complete the beginning of a time to one that can be read."""
    return f"{start}:00Z" if len(start) == HOUR else start


@lru_cache(maxsize=65536)
def _days_of(hour: str, zone: tzinfo) -> tuple[date | None]:
    """Return the one day that a whole hour lies in; None when it ends meanwhile."""
    begin = instant_of(_full(hour))
    last = begin + timedelta(hours=1) - timedelta(microseconds=1)
    day = day_of(begin, zone)
    return (day if day_of(last, zone) == day else None,)


def covering(
    listings: Sequence[Listed], usual: str | None
) -> Mapping[Direction, tuple[Window, ...]]:
    """
    Merge the windows that were listed to their end, by direction.

    A listing counts when it named all calls that the archive takes: with filters of its own it saw
    only some of them.

    Args:
        usual: The scope of what the archive takes; None: every listing counts.
    """
    windows: dict[Direction, list[Window]] = {direction: [] for direction in Direction}
    for listed in listings:
        for direction in _directions_of(listed.scope, usual):
            windows[direction].append(listed.window)
    return {direction: merged(found) for direction, found in windows.items()}


def _directions_of(scope: str, usual: str | None) -> Sequence[Direction]:
    try:
        found, wanted = json.loads(scope), json.loads(usual or "{}")
        is_ours = all(
            found.get(name) in (wanted[name], [], None)
            if name in {"channels", "variant"}
            else found.get(name) == wanted[name]
            for name in ("account", "agent", "env", "channels", "variant")
            if name in wanted
        )
        return [Direction(each) for each in found["directions"]] if is_ours else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


_BEGINNING = datetime.min.replace(tzinfo=UTC)


def merged(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Join windows that touch, in order."""
    found: list[Window] = []
    for since, until in sorted(windows, key=lambda each: (each[0] or _BEGINNING, each[1])):
        begin = since or _BEGINNING
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((begin, until))
    return tuple(found)


def coverage(since: datetime, until: datetime, windows: Sequence[Window]) -> Coverage:
    """Say how much of a time lies in one of these windows, which are merged."""
    seen = [
        (max(since, begin or _BEGINNING), min(until, end))
        for begin, end in windows
        if (begin or _BEGINNING) < until and end > since
    ]
    if not seen:
        return Coverage.NONE
    return Coverage.WHOLE if seen == [(since, until)] else Coverage.PART


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    Which days are shown.

    Attributes:
        since, until: As they were asked for; None leaves it to what is known.
        windows: What was listed to its end, by direction.
        counts_never_asked: A conversation that nobody has asked a direction of lacks it.
    """

    zone: tzinfo
    now: datetime
    directions: tuple[Direction, ...]
    counts_never_asked: bool = False
    since: datetime | None = None
    until: datetime | None = None
    windows: Mapping[Direction, tuple[Window, ...]] = field(default_factory=dict)

    def covered_by(self, windows: Mapping[Direction, Sequence[Window]]) -> "Frame":
        """Return the same days with other windows, which are merged here."""
        return replace(self, windows={side: merged(found) for side, found in windows.items()})

    def lines(self, census: Census) -> Iterator[Line]:
        """Yield every day and direction in order, those without a known start at the end."""
        for day in self._days(census):
            for direction in self.directions:
                yield census.line(day, direction, self._coverage(day, direction))
        for direction in self.directions:
            line = census.line(None, direction)
            if line.listed:
                yield line

    def _coverage(self, day: date, direction: Direction) -> Coverage:
        if not EARLIEST <= day <= day_of(self.now, self.zone):
            return Coverage.NONE
        begin, end = day_start(day, self.zone), day_start(day + timedelta(days=1), self.zone)
        begin = max(begin, self.since or begin)
        end = min(end, self.until or end)
        if end <= begin:
            return Coverage.WHOLE  # a day that this zone skipped has nothing to list
        return coverage(begin, end, self.windows.get(direction, ()))

    def _days(self, census: Census) -> Sequence[date]:
        days = {day for (day, _) in census.counts if day is not None}
        first, last = self._span(days)
        if first is not None and last is not None:
            count = (last - first).days + 1
            days |= {first + timedelta(days=number) for number in range(count)}
        return sorted(days)

    def _span(self, days: Iterable[date]) -> tuple[date | None, date | None]:
        """Return the first and the last day that are shown also without a call."""
        windows = [
            each for direction in self.directions for each in self.windows.get(direction, ())
        ]
        today = day_of(self.now, self.zone)
        begins = [
            day_of(max(begin or _BEGINNING, day_start(EARLIEST, UTC)), self.zone)
            for begin, _ in windows
        ]
        ends = [day_of(end - timedelta(microseconds=1), self.zone) for _, end in windows]
        near = [day for day in days if EARLIEST <= day <= today]
        firsts, lasts = begins + near, ends + near
        if self.since is not None:
            firsts = [day_of(self.since, self.zone)]
        if self.until is not None:
            lasts = [day_of(self.until - timedelta(microseconds=1), self.zone)]
        elif self.since is not None:
            lasts = [*lasts, today]
        if not firsts or not lasts:
            return None, None
        return max(EARLIEST, min(firsts)), min(today, max(lasts))


def total(lines: Iterable[Line], direction: Direction) -> Line:
    """Sum lines up."""
    counts: Counter[Column] = Counter()
    for line in lines:
        counts.update({column: getattr(line, column.value) for column in Column})
    return _line(None, direction, None, counts)
