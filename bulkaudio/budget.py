"""When a run stops although there is more to do: so many recordings, bytes, seconds."""

import asyncio
from dataclasses import dataclass, field

from bulkaudio.settings import Budgets


@dataclass(slots=True, kw_only=True)
class Budget:
    """
    Counts what a run has taken on, so that limits are kept.

    A recording is reserved before it is requested, and given back when it was not saved. The limit
    on recordings is kept exactly; that on bytes by what recordings have weighed so far, so that it
    is exceeded by about one of them and not by all that are under way.
    """

    limits: Budgets
    saved: int = 0
    under_way: int = 0
    saved_bytes: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self) -> str | None:
        """Wait until one more recording may be requested; otherwise name the limit reached."""
        while (limit := self._full()) is not None:
            if self.under_way == 0 or self._is_reached():
                return limit
            self._changed.clear()
            await self._changed.wait()
        self.under_way += 1
        return None

    def reserve_now(self) -> bool:
        """Reserve one more if that needs no waiting; see `reserve`."""
        if self._full() is not None:
            return False
        self.under_way += 1
        return True

    def finish(self, saved_bytes: int | None) -> None:
        """Settle a reservation; None: it was not saved."""
        self.under_way -= 1
        if saved_bytes is not None:
            self.saved += 1
            self.saved_bytes += saved_bytes
        self._changed.set()

    def _full(self) -> str | None:
        """Name the limit that one more recording might exceed."""
        most, most_bytes = self.limits.max_recordings, self.limits.max_bytes
        if most is not None and self.saved + self.under_way >= most:
            return f"--max-recordings {most}"
        if most_bytes is not None and self._expected_bytes() >= most_bytes:
            return f"--max-bytes {most_bytes}"
        return None

    def _expected_bytes(self) -> float:
        """Guess what is saved when all that is under way is; one by one before the first is."""
        if self.under_way == 0:
            return self.saved_bytes
        average = self.saved_bytes / self.saved if self.saved else float("inf")
        return self.saved_bytes + self.under_way * average

    def _is_reached(self) -> bool:
        most_bytes = self.limits.max_bytes
        return most_bytes is not None and self.saved_bytes >= most_bytes
