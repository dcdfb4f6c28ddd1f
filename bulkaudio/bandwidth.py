"""
The ceiling on bytes a second, shared by all that arrives during a run.

Whoever has read a piece of a body waits here before reading the next one; what is not read fills the
connection's window, and the server waits in its turn. Pieces are paid for in the order they came, and
what a worker waits here is nobody's slowness: neither the watchdog over stalled bodies nor the gate's
measurements see it.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bulkaudio.settings import MOST_SLOTS
from bulkaudio.timetable import NO_CEILING, Timetable

BURST_S = 0.1
"""What was left unused may be made up for within so much time; more would not be smooth."""

LOOK_S = 0.25
"""How often the timetable is looked at, and how long at most anybody waits without doing so."""

SHARE_BYTES_PER_S = 64 * 1024
"""Requests at once are no more than get so much each: servers give a slower reader up."""


class Bandwidth:
    """
    A bucket that fills at the timetable's pace.

    Args:
        timetable: None: no ceiling.
        clock: Monotonic seconds.
        now: The time of day; aware.
    """

    def __init__(
        self,
        timetable: Timetable | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._timetable = timetable or NO_CEILING
        self.has_ceilings = self._timetable.has_ceilings
        """False costs nothing: most runs have none."""
        self._clock, self._now = clock, now
        self._limit: int | None = None
        self._share = 1.0
        self._looked_at = float("-inf")
        self._filled_at = clock()
        self._asked = self._granted = 0.0
        self._held_at = float("-inf")

    async def take(self, size_bytes: int) -> None:
        """Account for bytes that arrived; returns when the next ones may."""
        if not self.has_ceilings:
            return
        self._fill()
        self._asked += size_bytes
        mine = self._asked
        # Less than a byte is a sum's rounding, and no timer can wait for it.
        while (owing := mine - self._granted) >= 1 and self._limit is not None:
            self._held_at = self._clock()
            await asyncio.sleep(min(owing / self._limit, LOOK_S))
            self._fill()

    def keep_to(self, share: float) -> None:
        """Let so much of the ceiling through: the rest is others' who arrive elsewhere."""
        self._share = share
        self._looked_at = float("-inf")

    @property
    def most_at_once(self) -> int:
        """How many requests at once make sense under the ceiling."""
        self._look()
        return MOST_SLOTS if self._limit is None else max(1, self._limit // SHARE_BYTES_PER_S)

    @property
    def is_holding(self) -> bool:
        """Whether the ceiling, and not the host, decides how much comes: flow then says nothing."""
        return self._limit is not None and self._clock() - self._held_at < 2 * LOOK_S

    def _look(self) -> None:
        if self._clock() - self._looked_at >= LOOK_S:
            self._looked_at = self._clock()
            limit = self._timetable.limit_at(self._now())
            self._limit = None if limit is None else max(1, int(limit * self._share))

    def _fill(self) -> None:
        self._look()
        before, self._filled_at = self._filled_at, self._clock()
        if self._limit is None:
            self._granted = self._asked
            return
        grown = self._granted + (self._filled_at - before) * self._limit
        self._granted = min(grown, self._asked + self._limit * BURST_S)
