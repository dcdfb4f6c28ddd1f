"""Counting calls one by one, in memory that does not grow with them."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Generic, TypeVar

from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Direction, Status
from bulkaudio.report.figures import (
    GRAVITY,
    LENGTHS_S,
    PLACES,
    UNSETTLED,
    CallLine,
    Figures,
    Scope,
    counts,
    leg_of,
    local,
)
from bulkaudio.windows import day_of

T = TypeVar("T")

MOST_CALLS = 20_000
MOST_TROUBLED = 5_000
MOST_PROBLEMS = 200
MOST_REASONS = 20


class Newest(Generic[T]):
    """The newest of many, up to a number; `key` tells those of one moment apart."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, str, T]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def is_too_old(self, order: float) -> bool:
        """Whether one of that moment would not be kept."""
        return len(self._heap) == self._most and self._heap[0][0] > order

    def push(self, order: float, key: str, item: T) -> None:
        """Keep it, in place of the oldest."""
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (order, key, item))
        else:
            heapq.heappushpop(self._heap, (order, key, item))

    def sorted(self) -> list[T]:
        """Return them, newest first."""
        return [item for *_, item in sorted(self._heap, reverse=True)]


class Count:
    """Counts calls; `figures` may be asked for at any time."""

    def __init__(self, scope: Scope, template: str) -> None:
        self._scope = scope
        self._template = template
        self._by_direction: dict[Direction, list[int]] = {}
        self._bytes = 0
        self._seconds = 0.0
        self._calls = [0] * len(PLACES)
        self._days: dict[date, list[int]] = {}
        self._undated = [0] * len(PLACES)
        self._left_out = 0
        self._hours = [[0] * len(PLACES) for _ in range(24)]
        self._lengths = [0] * (len(LENGTHS_S) + 1)
        self._reasons: Counter[tuple[Status, str | None]] = Counter()
        self._problems: Newest[LedgerRow] = Newest(MOST_PROBLEMS)
        self._calm: Newest[CallLine] = Newest(MOST_CALLS)
        self._troubled: Newest[CallLine] = Newest(MOST_TROUBLED)
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, call: Sequence[LedgerRow]) -> None:
        """Count all rows of one conversation."""
        rows = [row for row in call if self._scope.holds(row.recording.started_at)]
        if len(rows) < len(call):
            self._left_out += sum(1 for row in call if row.recording.started_at is None)
        if not rows:
            return
        for row in rows:
            self._add_recording(row)
        found = {row.status for row in rows}
        state = next(status for status in GRAVITY if status in found)
        self._calls[PLACES[state]] += 1
        start = next((r.recording.started_at for r in rows if r.recording.started_at), None)
        if start is not None:
            self._hours[local(start, self._scope.zone).hour][PLACES[state]] += 1
            self._first = min(self._first or start, start)
            self._last = max(self._last or start, start)
        seconds = max(row.audio_seconds or 0.0 for row in rows)
        if Status.SAVED in found:
            self._lengths[bisect_right(LENGTHS_S, seconds)] += 1
        self._keep(rows, start, seconds, is_settled=not found & UNSETTLED)

    def _add_recording(self, row: LedgerRow) -> None:
        place = PLACES[row.status]
        self._by_direction.setdefault(row.recording.direction, [0] * len(PLACES))[place] += 1
        start = row.recording.started_at
        if start is None:
            self._undated[place] += 1
        else:
            day = day_of(start, self._scope.zone)
            self._days.setdefault(day, [0] * len(PLACES))[place] += 1
        if row.status is Status.SAVED:
            self._bytes += row.bytes or 0
            self._seconds += row.audio_seconds or 0.0
        elif row.status in UNSETTLED:
            self._reasons[row.status, row.reason] += 1
            self._problems.push((start or row.first_seen_at).timestamp(), str(row.rowid), row)

    def _keep(
        self, rows: Sequence[LedgerRow], start: datetime | None, seconds: float, *, is_settled: bool
    ) -> None:
        order = int((start or rows[0].first_seen_at).timestamp())
        newest = self._calm if is_settled else self._troubled
        if newest.is_too_old(order):
            return  # before a line is made that nobody will see
        line = CallLine(
            id=rows[0].recording.conversation_id,
            started_at=None if start is None else order,
            order=order,
            seconds=seconds,
            codec=next((row.codec for row in rows if row.codec), None),
            legs=tuple(leg_of(row, self._template, order) for row in rows),
        )
        newest.push(order, line.id, line)

    def figures(self) -> Figures:
        """Return the sums so far."""
        calm = self._calm.sorted()[: MOST_CALLS - len(self._troubled)]
        lines = sorted(calm + self._troubled.sorted(), key=lambda x: (-x.order, x.id))
        return Figures(
            by_direction={
                each: counts(self._by_direction[each])
                for each in Direction
                if each in self._by_direction
            },
            bytes=self._bytes,
            seconds=self._seconds,
            calls=counts(self._calls),
            days={day: counts(self._days[day]) for day in sorted(self._days)},
            undated=counts(self._undated),
            left_out=self._left_out,
            hours=tuple(map(counts, self._hours)),
            lengths=tuple(self._lengths),
            reasons=tuple((*key, n) for key, n in self._reasons.most_common(MOST_REASONS)),
            problems=tuple(self._problems.sorted()),
            lines=tuple(lines),
            first=self._first,
            last=self._last,
        )
