"""
One attempt at a shard, on a worker: the recordings that are not there yet, by the usual crew.

What it has saved it writes down before it says so; what ends the run is a value in its report.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bulkaudio.budget import Budget
from bulkaudio.cluster.counting import Count
from bulkaudio.cluster.parcels import Fault, Report
from bulkaudio.cluster.places import Place
from bulkaudio.cluster.room import Room
from bulkaudio.cluster.shards import Item, Shard, key_of
from bulkaudio.committer import Committer
from bulkaudio.conduct import slots_of
from bulkaudio.crew import WORKERS_PER_SLOT, Hands, Job
from bulkaudio.errors import BulkAudioError, HostUnavailableError, first_cause
from bulkaudio.fetch import Fetcher
from bulkaudio.model import Metadata, Outcome, Task
from bulkaudio.retry import Limits
from bulkaudio.settings import Budgets
from bulkaudio.sidecars import Sidecars

GRACE_LEAD_S = 2.0
"""A worker's report has to be back before the run itself gives up waiting."""


class Line(Protocol):
    """What keeps a room in touch with its run, for as long as an attempt goes on."""

    async def keep(self, room: Room, attempt: str, count: Count) -> None:
        """Hear and tell, until cancelled."""
        ...


@dataclass(slots=True, kw_only=True)
class Notebook:
    """What `Committer` needs of a ledger, far away from it: a list, on disk before it is believed."""

    place: Place
    shard: str
    outcomes: list[Outcome] = field(default_factory=list)

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """Keep how recordings ended."""
        del run_id, now
        await self.place.write_down(self.shard, outcomes, before=self.outcomes)
        self.outcomes.extend(outcomes)


class Attempt:
    """One worker's go at one shard; use once."""

    def __init__(self, room: Room, shard: Shard, *, worker: str) -> None:
        self.name = secrets.token_hex(8)
        self.count = Count()
        self._room = room
        self._shard = shard
        self._worker = worker
        self._notebook = Notebook(place=room.place, shard=shard.name)
        orders = room.orders
        means = room.means(self.count)
        limits = Limits(attempts=orders.pace.attempts)
        self._fetcher = Fetcher(means, redacted=orders.redacted, limits=limits)
        self._committer = Committer(
            room.place,
            self._notebook,
            run_id=orders.run_id,
            emit=self.count,
            linger_s=room.place.linger_s,
        )
        is_wanted = orders.metadata is not Metadata.NONE
        self._sidecars = Sidecars(means, orders.metadata, limits=limits) if is_wanted else None

    async def work(self, line: Line) -> Report:
        """
        Fetch what is missing, and say how it ended.

        Raises:
            Exception: A bug, or what this machine lacks; the shard is then done again.
        """
        fault: BulkAudioError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                touch = group.create_task(line.keep(self._room, self.name, self.count))
                try:
                    await self._fetch(await self._missing())
                finally:
                    touch.cancel()
        except BaseExceptionGroup as several:
            cause = first_cause(several)
            if not isinstance(cause, BulkAudioError):
                raise cause from several
            fault = cause
        return self._report(fault)

    async def _missing(self) -> Sequence[Item]:
        """Leave out what an earlier attempt at this shard has saved."""
        recordings = [item.recording for item in self._shard.items if isinstance(item, Task)]
        known = await self._room.place.written_down(self._shard.name, recordings)
        if known:
            # Written down once more, by this worker: the other's list may be swept away.
            await self._room.place.write_down(self._shard.name, known)
            self._notebook.outcomes.extend(known)
        done = {(each.recording.conversation_id, str(each.recording.direction)) for each in known}
        return [item for item in self._shard.items if key_of(item) not in done]

    async def _fetch(self, items: Sequence[Item]) -> None:
        room = self._room
        size = min(len(items), slots_of(room.orders.pace) * WORKERS_PER_SLOT)
        jobs: asyncio.Queue[Job] = asyncio.Queue()
        for job in (*items, *[None] * size):
            jobs.put_nowait(job)
        hands = Hands(
            fetcher=self._fetcher,
            committer=self._committer,
            sidecars=self._sidecars,
            budget=Budget(limits=Budgets()),
            stopper=room.stopper,
            gate=room.gate,
            size=size,
        )
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self._committer.run(), name="committer")
            try:
                await self._until_stopped(hands, jobs)
            finally:
                await self._committer.drain()
                await committing

    async def _until_stopped(self, hands: Hands, jobs: "asyncio.Queue[Job]") -> None:
        async with asyncio.TaskGroup() as group:
            crew = [group.create_task(hands.work(jobs)) for _ in range(hands.size)]
            watcher = group.create_task(self._watch_stop(crew))
            if crew:
                await asyncio.wait(crew)
            watcher.cancel()

    async def _watch_stop(self, crew: "Sequence[asyncio.Task[None]]") -> None:
        stopper, grace_s = self._room.stopper, self._room.orders.grace_s
        await stopper.wait()
        await stopper.wait_now(max(grace_s / 2, grace_s - GRACE_LEAD_S))
        self._room.place.hurry()
        for one in crew:
            one.cancel()

    def _report(self, fault: BulkAudioError | None) -> Report:
        put_off = None if self._room.stopper.is_stopping else self._room.gate.put_off()
        is_down = isinstance(fault, HostUnavailableError)
        return Report(
            attempt=self.name,
            worker=self._worker,
            bench=self._room.place.bench_name,
            outcomes=tuple(self._notebook.outcomes),
            sidecars=tuple(self.count.sidecars),
            counts=self.count.counts(),
            notes=tuple(self.count.notes.items()),
            fault=None if fault is None else Fault.of(fault),
            put_off=None if put_off is None else Fault.of(put_off),
            suspects=tuple(self._fetcher.suspects()) if is_down else (),
        )


def refusal(error: BulkAudioError, worker: str) -> Report:
    """Report of a shard that could not even be begun."""
    return Report(attempt=secrets.token_hex(8), worker=worker, bench=None, fault=Fault.of(error))
