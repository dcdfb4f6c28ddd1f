"""
All recordings: source → planner → bounded queue → crew → committer → ledger.

Every task has an owner and every queue a bound. A recording's failure is a value; what leaves one
of the crew as an exception ends the run, after what is durable was committed. Who the crew is,
`bulkaudio.crew` says.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bulkaudio.committer import Committer
from bulkaudio.crew import BUDGET_EXIT_CODE, Crew, Job
from bulkaudio.errors import BulkAudioError, HostUnavailableError, StorageError, first_cause
from bulkaudio.events import Emit, Planned, SourceEnded, Stopping
from bulkaudio.gate import Draining, Gate
from bulkaudio.ledger.ledger import LEFT, Ledger
from bulkaudio.model import Batch, Direction, Plan, Rejected, Status
from bulkaudio.quantities import format_bytes
from bulkaudio.settings import RunOptions
from bulkaudio.sidecars import Sidecars
from bulkaudio.sources.base import Source
from bulkaudio.stopper import Stopper
from bulkaudio.stores.base import Store

BACKLOG_PAGE = 500
DISK_LOOK_S = 2.0

Attend = Callable[[], Coroutine[None, None, None]]
"""Goes on beside a run."""

Backlog = Callable[[], AsyncIterator[Plan]]
"""What is to be done before the source is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """
    What a run is made of.

    Attributes:
        gate: Of the recordings' host; closed when the run is to end.
        needs_dates: The layout makes paths of the conversations' starts.
        sidecars: Says which metadata files are missing; None when none is wanted, or the listing
            brings them.
        backlog: What earlier runs left open, when it is to come first.
        attendants: What goes on beside the run, and is cancelled when everything is done.
    """

    source: Source
    ledger: Ledger
    store: Store
    gate: Gate
    crew: Crew
    committer: Committer
    sidecars: Sidecars | None
    backlog: Backlog | None
    min_free_bytes: int
    needs_dates: bool
    attendants: Sequence[Attend] = ()


def dated(batch: Batch) -> Batch:
    """Reject what has no start, where every path is made of one."""
    undated = tuple(
        each.undated or _undated(each.id) for each in batch.conversations if each.started_at is None
    )
    kept = tuple(each for each in batch.conversations if each.started_at is not None)
    return replace(batch, conversations=kept, rejected=batch.rejected + undated)


def dated_tasks(plan: Plan) -> tuple[Plan, tuple[Rejected, ...]]:
    """
    Leave open what has no start, where every path is made of one.

    Earlier runs may have met it under another layout. One such task would end this run, and every
    later one, at its first requests.
    """
    kept = tuple(task for task in plan.todo if task.recording.started_at is not None)
    left = (task.recording for task in plan.todo if task.recording.started_at is None)
    ids = dict.fromkeys(recording.conversation_id for recording in left)
    lost = ids.keys() - {task.recording.conversation_id for task in kept}
    conversations = max(0, plan.conversations - len(lost))
    return replace(plan, todo=kept, conversations=conversations), tuple(map(_undated, ids))


def _undated(conversation_id: str) -> Rejected:
    return Rejected(
        where=conversation_id, text=conversation_id, why="it has no start, which the layout needs"
    )


def unsettled(
    ledger: Ledger, directions: Sequence[Direction], statuses: Sequence[Status] = LEFT
) -> Backlog:
    """Take everything that earlier runs left open, failed, or deferred until now."""

    async def plans() -> AsyncIterator[Plan]:
        position = 0
        while True:
            plan, position = await ledger.backlog(
                directions,
                datetime.now(UTC),
                after=position,
                limit=BACKLOG_PAGE,
                statuses=statuses,
            )
            if not plan.todo:
                return
            yield plan

    return plans


class Run:
    """
    One pass over a source.

    Args:
        stopper: Ends it early; shared with whoever may ask for that.
    """

    def __init__(self, parts: Parts, options: RunOptions, *, emit: Emit, stopper: Stopper) -> None:
        self._parts = parts
        self._options = options
        self._emit = emit
        self._stopper = stopper
        self._queue: asyncio.Queue[Job] = asyncio.Queue(maxsize=2 * parts.crew.size)
        self._clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def execute(self) -> None:
        """
        Go through the source to its end, or until stopped.

        Raises:
            BulkAudioError: What ended the run early; everything durable is committed.
        """
        await self._look_at_disk()
        try:
            async with asyncio.TaskGroup() as group:
                committing = group.create_task(self._parts.committer.run(), name="committer")
                try:
                    await self._flow()
                finally:
                    await self._parts.committer.drain()
                    await committing
        except BaseExceptionGroup as several:
            cause = first_cause(several)
            if isinstance(cause, HostUnavailableError):
                await self._remember_suspects()
            raise cause from several

    def put_off(self) -> BulkAudioError | None:
        """Return what a run ends with that only heard, in the end, to come back much later."""
        return self._parts.crew.put_off()

    async def _remember_suspects(self) -> None:
        suspects = self._parts.crew.suspects()
        run_id = self._parts.committer.run_id
        await self._parts.ledger.settle(suspects, run_id, self._clock())

    async def _flow(self) -> None:
        async with asyncio.TaskGroup() as group:
            feeder = group.create_task(self._feed(), name="feeder")
            crew = self._parts.crew
            workers = [
                group.create_task(crew.work(self._queue), name=f"worker {n}")
                for n in range(crew.size)
            ]
            watchers = [
                group.create_task(self._watch_stop(feeder, workers), name="stop watcher"),
                group.create_task(self._watch_disk(), name="disk watcher"),
                group.create_task(self._watch_time(), name="time watcher"),
                *(group.create_task(attend()) for attend in self._parts.attendants),
            ]
            await asyncio.wait([feeder, *workers])
            for watcher in watchers:
                watcher.cancel()

    async def _feed(self) -> None:
        """Plan batch by batch; the queue's bound holds the source back."""
        # A listing that is about to try again in the very moment of the stop is told so.
        with suppress(Draining):
            async for plan in self._plans():
                for task in plan.todo:
                    await self._queue.put(task)
            self._emit(SourceEnded())
            for _ in range(self._parts.crew.size):
                await self._queue.put(None)

    async def _plans(self) -> AsyncIterator[Plan]:
        parts, directions = self._parts, self._options.selection.directions
        if parts.backlog is not None:
            async for left in parts.backlog():
                plan, undated = dated_tasks(left) if parts.needs_dates else (left, ())
                self._emit(Planned(plan=plan, rejected=undated, from_backlog=True))
                yield plan
        async for read in parts.source.batches():
            batch = dated(read) if parts.needs_dates else read
            plan = await parts.ledger.plan(batch, directions, self._clock())
            self._emit(Planned(plan=plan, rejected=batch.rejected, skipped=batch.skipped))
            yield plan
            await self._plan_sidecars(batch)

    async def _plan_sidecars(self, batch: Batch) -> None:
        if self._parts.sidecars is None:
            return
        for task in await self._parts.sidecars.plan(batch.conversations):
            await self._queue.put(task)

    async def _watch_stop(
        self, feeder: asyncio.Task[None], workers: Sequence[asyncio.Task[None]]
    ) -> None:
        await self._stopper.wait()
        self._emit(Stopping(reason=self._stopper.reason or ""))
        self._parts.gate.close()
        feeder.cancel()
        self._send_home()
        await self._stopper.wait_now(self._options.budgets.grace_s)
        self._parts.store.hurry()
        for worker in workers:
            worker.cancel()

    def _send_home(self) -> None:
        """Empty the queue, so that its bound holds one None for each worker."""
        while not self._queue.empty():
            self._queue.get_nowait()
        for _ in range(self._parts.crew.size):
            self._queue.put_nowait(None)

    async def _watch_time(self) -> None:
        limit_s = self._options.budgets.max_duration_s
        if limit_s is not None:
            await asyncio.sleep(limit_s)
            self._stopper.stop(f"--max-duration {limit_s:g}s", BUDGET_EXIT_CODE)

    async def _watch_disk(self) -> None:
        while True:
            await asyncio.sleep(DISK_LOOK_S)
            await self._look_at_disk()

    async def _look_at_disk(self) -> None:
        free, least = await self._parts.store.free_bytes(), self._parts.min_free_bytes
        if free < least:
            raise StorageError(
                f"only {format_bytes(free)} are free where the archive is kept, "
                f"and {format_bytes(least)} are to stay free (--min-free)",
                fix="free some space, or lower --min-free, and run again: it goes on where it stopped",
            )
