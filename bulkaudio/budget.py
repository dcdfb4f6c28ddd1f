"""When a run stops although there is more to do: so many recordings, bytes, seconds."""

import asyncio
from dataclasses import dataclass, field

from bulkaudio.settings import Budgets


@dataclass(slots=True, kw_only=True)
class Budget:
    """
    Counts what a run has taken on, so that a limit is kept exactly.

    A recording is reserved before it is requested and given back when it was not saved; the limit
    on bytes is looked at between recordings, so those under way may exceed it.
    """

    limits: Budgets
    taken: int = 0
    """Recordings saved or under way."""
    under_way: int = 0
    received_bytes: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self) -> str | None:
        """Wait until one more recording may be requested; otherwise name the limit reached."""
        most = self.limits.max_recordings
        while most is not None and self.taken >= most:
            if self.under_way == 0:
                return f"--max-recordings {most}"
            self._changed.clear()
            await self._changed.wait()
        if self.limits.max_bytes is not None and self.received_bytes >= self.limits.max_bytes:
            return f"--max-bytes {self.limits.max_bytes}"
        self.taken += 1
        self.under_way += 1
        return None

    def finish(self, saved_bytes: int | None) -> None:
        """Settle a reservation; None gives it back."""
        self.under_way -= 1
        if saved_bytes is None:
            self.taken -= 1
        else:
            self.received_bytes += saved_bytes
        self._changed.set()
