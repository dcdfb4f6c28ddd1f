"""
Who takes what is to be fetched from the run's queue, and brings it to the committer.

A crew is so many tasks of one kind; the run owns them, sends them home and, when the time is up,
cancels them. The usual one fetches in this process.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from bulkaudio.budget import Budget
from bulkaudio.committer import Committer
from bulkaudio.errors import BulkAudioError
from bulkaudio.fetch import Fetched, Fetcher
from bulkaudio.gate import Draining, Gate
from bulkaudio.model import Outcome, Task
from bulkaudio.sidecars import Sidecars, SidecarTask
from bulkaudio.stopper import Stopper

WORKERS_PER_SLOT = 2
BUDGET_EXIT_CODE = 8

Job = Task | SidecarTask | None
"""What a worker takes from the queue; None sends it home."""


class Crew(Protocol):
    """Takes jobs until it is sent home; what it raises ends the run."""

    @property
    def size(self) -> int:
        """How many take from the queue at once: each goes home at a None of its own."""
        ...

    async def work(self, jobs: "asyncio.Queue[Job]") -> None:
        """
        Take jobs, one of `size` that do.

        Raises:
            BulkAudioError: What must end the run.
        """
        ...

    def suspects(self) -> Sequence[Outcome]:
        """Return, as open, what a host that is down may have failed for its own sake."""
        ...

    def put_off(self) -> BulkAudioError | None:
        """Return what ends a run to whose last requests a host only said to come back much later."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """
    The crew of a run in one process: each of its workers fetches recording by recording.

    Attributes:
        sidecars: None when no metadata is wanted, or the listing brings it.
        size: More than the gate's slots: a worker that waits for its next attempt holds nothing.
    """

    fetcher: Fetcher
    committer: Committer
    sidecars: Sidecars | None
    budget: Budget
    stopper: Stopper
    gate: Gate
    size: int

    async def work(self, jobs: "asyncio.Queue[Job]") -> None:
        """Fetch one after the other; see `Crew.work`."""
        while (job := await jobs.get()) is not None:
            if self.stopper.is_stopping:
                continue
            # What is not fetched while the run drains stays open in the ledger.
            with suppress(Draining):
                if isinstance(job, Task):
                    await self._do(job)
                elif self.sidecars is not None:
                    await self.sidecars.fetch(job)

    def suspects(self) -> Sequence[Outcome]:
        """Return what was being retried when the run ended; see `Fetcher.suspects`."""
        return self.fetcher.suspects()

    def put_off(self) -> BulkAudioError | None:
        """Ask the gate; see `Gate.put_off`."""
        return self.gate.put_off()

    async def _do(self, task: Task) -> None:
        limit = await self.budget.reserve()
        if limit is not None:
            self.stopper.stop(limit, BUDGET_EXIT_CODE)
            return
        saved_bytes: int | None = None
        try:
            result = await self.fetcher.fetch(task)
            if isinstance(result, Fetched):
                saved_bytes = result.staged.bytes
                await self.committer.submit(result.staged, result.evidence)
            else:
                await self.committer.settle(result)
        finally:
            self.budget.finish(saved_bytes)
