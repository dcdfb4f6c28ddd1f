"""Stopping a run from outside: by a signal, a budget, or a caller who lost interest."""

import asyncio
from dataclasses import dataclass, field

from bulkaudio.gate import Draining


@dataclass(slots=True, kw_only=True)
class Stopper:
    """
    Asked to stop by anybody on the loop's thread, obeyed by the run.

    Attributes:
        reason: Why; None while the run goes on. The first reason stays.
        exit_code: That the stop ends with, unless an error does.
        is_now: What is in flight is given up instead of waited for.
    """

    reason: str | None = None
    exit_code: int = 0
    is_now: bool = False
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _now: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_stopping(self) -> bool:
        """Whether no more work is to be taken."""
        return self.reason is not None

    def stop(self, reason: str, exit_code: int, *, now: bool = False) -> None:
        """Take no more work; with `now`, give up what is in flight. Safe to call again."""
        if self.reason is None:
            self.reason = reason
            self.exit_code = exit_code
        self._stopping.set()
        if now:
            self.is_now = True
            self._now.set()

    async def wait(self) -> None:
        """Return once `stop` was called."""
        await self._stopping.wait()

    async def wait_now(self, grace_s: float) -> None:
        """Return once `stop` was called with `now`, or after `grace_s`."""
        try:
            async with asyncio.timeout(grace_s):
                await self._now.wait()
        except TimeoutError:
            self.is_now = True

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the run is stopping: raises `Draining` then."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise Draining
