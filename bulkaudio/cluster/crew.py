"""
The run's side of a cluster: gathers recordings into shards, sends them, and settles what comes back.

Each of the crew sees one shard through, from the queue to the ledger; how many are under way at once
follows the number of workers. What a worker's report names is settled, what it does not name is sent
again, and a shard that no worker survives is split until the recording is found that it is about.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from itertools import count
from typing import Protocol

from bulkaudio.budget import Budget
from bulkaudio.cluster.counting import Heard
from bulkaudio.cluster.names import shard_name
from bulkaudio.cluster.parcels import Counts, Fault, Report
from bulkaudio.cluster.shards import Item, Shard, halves, key_of, size_of
from bulkaudio.committer import Committer
from bulkaudio.crew import BUDGET_EXIT_CODE, Job
from bulkaudio.errors import BulkAudioError, ClusterError
from bulkaudio.events import Emit, Noted, SidecarSettled
from bulkaudio.model import Outcome, Status, Task
from bulkaudio.policy import Reason
from bulkaudio.stopper import Stopper

MOST_UNDER_WAY = 512
PER_WORKER = 3
"""Shards sent ahead: more would only wait behind what a dead worker leaves to be done again."""

LINGER_S = 0.5
"""So long a shard waits for more once it has something."""

LOOK_S = 0.5
MOST_RETURNS = 20
"""So often a shard may come back with something left before that is no accident."""

MOST_CRASHES = 3
"""Recordings in a row that crashed every worker: then it is not the recordings."""


class ShardLost(Exception):  # noqa: N818  a signal between two modules, not an error
    """No worker survived a shard, or all of them failed at it."""


class Desk(Protocol):
    """Sends shards to workers."""

    @property
    def workers(self) -> int:
        """How many there are."""
        ...

    async def send(self, shard: Shard) -> Report:
        """
        Have a shard done.

        Raises:
            ShardLost: Several workers tried.
            ClusterError: There is no cluster any more, or it cannot do what is asked.
        """
        ...

    async def struck_out(self, report: Report, shard: Shard) -> None:
        """Tell that a report's outcomes are in the ledger."""
        ...


@dataclass(slots=True)
class ClusterCrew:
    """
    Implements `bulkaudio.crew.Crew`.

    Attributes:
        size: Shards that may be under way at all; how many are is `Desk.workers`' matter.
    """

    desk: Desk
    committer: Committer
    _: KW_ONLY
    budget: Budget
    stopper: Stopper
    emit: Emit
    run_id: str
    size: int = MOST_UNDER_WAY
    heard: Heard = field(default_factory=Heard)
    _gathering: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _under_way: int = field(default=0, init=False)
    _numbers: "count[int]" = field(default_factory=count, init=False)
    _carried: Task | None = field(default=None, init=False)
    _crashes: int = field(default=0, init=False)
    _noted: set[str] = field(default_factory=set, init=False)
    _put_off: dict[str, Fault | None] = field(default_factory=dict, init=False)
    _suspects: list[Outcome] = field(default_factory=list, init=False)

    async def work(self, jobs: "asyncio.Queue[Job]") -> None:
        """See shards through, one after the other; see `Crew.work`."""
        while (shard := await self._next(jobs)) is not None:
            await self._see_through(shard)

    def suspects(self) -> Sequence[Outcome]:
        """Return what workers were retrying when they gave the host up."""
        return self._suspects

    def put_off(self) -> BulkAudioError | None:
        """Return what a run ends with when the last that every worker heard was to come back later."""
        faults = [fault for fault in self._put_off.values() if fault is not None]
        if not faults or len(faults) < len(self._put_off):
            return None
        return faults[0].error()

    def hear(self, attempt: str, counts: Counts) -> None:
        """Take into account how an attempt goes, as far as that is news."""
        news = self.heard.news(attempt, counts)
        if news is not None:
            self.emit(news)

    async def _next(self, jobs: "asyncio.Queue[Job]") -> Shard | None:
        """Gather a shard; None when there is nothing more to do."""
        async with self._gathering:
            await self._wait_for_room()
            number = next(self._numbers)
            most = size_of(number, self.desk.workers)
            items: list[Item] = []
            is_over = False
            while len(items) < most and not is_over:
                try:
                    async with asyncio.timeout(LINGER_S if items else None):
                        job = self._carried or await jobs.get()
                except TimeoutError:
                    break
                self._carried = None
                if job is None:
                    is_over = True
                elif self.stopper.is_stopping:
                    continue
                elif isinstance(job, Task) and not await self._reserve(job, items):
                    break
                else:
                    items.append(job)
            if not items:
                if not is_over:
                    # A budget is used up: nothing is left but to be sent home.
                    while await jobs.get() is not None:
                        pass
                return None
            if is_over:
                # For the next time that this one asks.
                jobs.put_nowait(None)
            self._under_way += 1
            return Shard(name=shard_name(self.run_id, number), items=tuple(items))

    async def _reserve(self, task: Task, gathered: Sequence[Item]) -> bool:
        """Keep to the budgets; what does not fit beside what is gathered waits for the next shard."""
        if self.budget.reserve_now():
            return True
        if gathered:
            self._carried = task
            return False
        limit = await self.budget.reserve()
        if limit is not None:
            self.stopper.stop(limit, BUDGET_EXIT_CODE)
        return limit is None

    async def _wait_for_room(self) -> None:
        while self._under_way >= PER_WORKER * max(1, self.desk.workers):
            self._changed.clear()
            # Workers that come make room as well, and nobody tells so.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()

    async def _see_through(self, shard: Shard) -> None:
        waiting, returns = [shard], 0
        left = set(shard.keys())
        try:
            while waiting and not self.stopper.is_stopping:
                each = waiting.pop()
                try:
                    report = await self.desk.send(each)
                except ShardLost as lost:
                    waiting.extend(await self._lost(each, lost))
                    left -= set() if len(each.items) > 1 else each.keys()
                    continue
                rest = await self._take(each, report, left)
                if rest is not None:
                    returns += 1
                    self._check_returns(returns)
                    waiting.append(rest)
        finally:
            self._under_way -= 1
            self._changed.set()
            for item in shard.items:
                if isinstance(item, Task) and key_of(item) in left:
                    self.budget.finish(None)

    def _check_returns(self, returns: int) -> None:
        if returns > MOST_RETURNS:
            raise ClusterError(
                "workers send recordings back again and again without having done them",
                fix="look at the workers' logs, and run again: it goes on where it stopped",
            )

    async def _take(self, shard: Shard, report: Report, left: set[tuple[str, str]]) -> Shard | None:
        """Settle what a report names; return what is to be sent again."""
        self.hear(report.attempt, report.counts)
        self._tell(report)
        for conversation_id, reason in report.sidecars:
            left.discard((conversation_id, ""))
            self.emit(SidecarSettled(conversation_id=conversation_id, reason=reason))
        done = {(conversation_id, "") for conversation_id, _ in report.sidecars}
        for outcome in report.outcomes:
            key = (outcome.recording.conversation_id, str(outcome.recording.direction))
            done.add(key)
            if key in left:
                left.discard(key)
                await self.committer.settle(outcome)
                self.budget.finish(outcome.bytes if outcome.status is Status.SAVED else None)
        if done:
            self._crashes = 0
        if report.fault is not None:
            self._suspects.extend(report.suspects)
            raise report.fault.error()
        await self.committer.flush()
        await self.desk.struck_out(report, shard)
        if self.stopper.is_stopping:
            return None
        return shard.without(done, shard_name(self.run_id, next(self._numbers)))

    def _tell(self, report: Report) -> None:
        self._put_off[report.worker] = report.put_off
        for text, is_routine in report.notes:
            if text not in self._noted:
                self._noted.add(text)
                self.emit(Noted(text=text, is_routine=is_routine))

    async def _lost(self, shard: Shard, lost: ShardLost) -> Sequence[Shard]:
        """Split a shard that cannot be done; one recording that cannot has failed."""
        if self.stopper.is_stopping:
            return ()
        if len(shard.items) > 1:
            return halves(shard)
        self._crashes += 1
        if self._crashes > MOST_CRASHES:
            raise ClusterError(
                f"workers crash over every recording; the last one: {lost}",
                fix="look at the workers' logs; a smaller --concurrency takes less memory",
            )
        item = shard.items[0]
        if isinstance(item, Task):
            outcome = Outcome(recording=item.recording, status=Status.FAILED, reason=Reason.CRASHED)
            await self.committer.settle(outcome)
            self.budget.finish(None)
        else:
            settled = SidecarSettled(conversation_id=item.conversation_id, reason=Reason.CRASHED)
            self.emit(settled)
        return ()
