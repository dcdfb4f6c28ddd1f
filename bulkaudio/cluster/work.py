"""
What Dask calls on a worker, and what of a run outlives one call there.

The call is a coroutine: it runs on the worker's own loop. The scheduler sees bytes go in and bytes
come out.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Event, Variable, Worker, WorkerPlugin, get_client, get_worker

from bulkaudio.cluster.attempt import Attempt, refusal
from bulkaudio.cluster.counting import TELL_EVERY, Count, looks_between
from bulkaudio.cluster.names import PLUGIN, notice_name, stop_name, topic_name
from bulkaudio.cluster.parcels import Counts, Orders, Parcel, Report, packed, unpacked
from bulkaudio.cluster.room import Room
from bulkaudio.cluster.shares import LOOK_S, Notice
from bulkaudio.errors import BulkAudioError, ClusterError
from bulkaudio.settings import Elsewhere
from bulkaudio.version import __version__

LOST_S = 10.0
"""Without a word from the scheduler for so long, a worker asks PolyAI for nothing more."""

GONE_S = 120.0
"""Not named by its run for so long, a worker lets go of its shard: the run is over, or another has it."""

IDLE_S = 30.0
"""A room without a shard for so long is left."""

STOPPING = "the run is stopping"
OVER = "another run has this archive now"
GONE = "the run is not heard of any more"


async def do(packet: bytes) -> bytes:
    """Do a shard: the one function that is sent to workers, and the only arguments it has."""
    parcel = unpacked(packet, Parcel)
    worker = get_worker()
    return packed(await _report(parcel, worker))


async def _report(parcel: Parcel, worker: Worker) -> Report:
    orders = parcel.orders
    try:
        if orders.version != __version__:
            raise ClusterError(
                f"the worker {os.uname().nodename} has bulkaudio {__version__}, and this run "
                f"{orders.version}",
                fix="install the same version on every worker",
            )
        rooms = await _rooms_of(worker)
        async with rooms.room(orders) as room:
            attempt = Attempt(room, parcel.shard, worker=worker.address)
            return await attempt.work(DaskLine(worker=worker, orders=orders))
    except BulkAudioError as error:
        return refusal(error, worker.address)


@dataclass(slots=True, kw_only=True)
class DaskLine:
    """Implements `bulkaudio.cluster.attempt.Line`: by a variable, an event and a topic."""

    worker: Worker
    orders: Orders

    async def keep(self, room: Room, attempt: str, count: Count) -> None:
        """Hear and tell, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look(room, attempt, count), name="notice")
                group.create_task(self._await_stop(room), name="stop")
        finally:
            # The report says it again, unless this worker is lost before the run has fetched it.
            self._tell(room, attempt, count.counts())

    async def _look(self, room: Room, attempt: str, count: Count) -> None:
        loop = asyncio.get_running_loop()
        variable = Variable(notice_name(self.orders.run_id), client=get_client())
        heard_at = named_at = loop.time()
        looks, every = 0, TELL_EVERY
        self._tell(room, attempt, count.counts())
        while True:
            plain = await _heard(variable)
            now = loop.time()
            if plain is not None:
                heard_at = now
                notice = Notice.read(plain)
                every = looks_between(len(notice.shares))
                room.heed(notice, self.worker.address, now)
            elif now - heard_at > LOST_S:
                room.lose_touch()
            if room.is_named:
                named_at = now
            elif now - named_at > GONE_S:
                room.give_up(GONE)
            looks += 1
            if looks % every == 0 or not room.is_named or room.watch.pauses:
                self._tell(room, attempt, count.counts())
            await asyncio.sleep(LOOK_S)

    async def _await_stop(self, room: Room) -> None:
        event = Event(stop_name(self.orders.run_id), client=get_client())
        while not room.stopper.is_stopping:
            try:
                await event.wait()
            except OSError:
                # The scheduler is away; should it stay so, this worker ends by itself.
                await asyncio.sleep(LOOK_S)
            else:
                room.stop(STOPPING)

    def _tell(self, room: Room, attempt: str, counts: Counts) -> None:
        message: dict[str, Any] = {
            "worker": self.worker.address,
            "attempt": attempt,
            "http": list(counts.http.items()),
            "counted": [counts.received_bytes, counts.retries, counts.throttled],
            "gate": [room.watch.slots, room.watch.closed_s, room.watch.reason],
            "pauses": [list(pause) for pause in room.watch.take_pauses()],
        }
        with suppress(OSError):
            self.worker.log_event(topic_name(self.orders.run_id), message)


async def _heard(variable: Variable) -> Any | None:
    """Read the notice; None when there is none to be had now."""
    try:
        return await variable.get(timeout=LOST_S)
    except (OSError, TimeoutError):
        return None


async def _rooms_of(worker: Worker) -> "Rooms":
    rooms = worker.plugins.get(PLUGIN)
    if not isinstance(rooms, Rooms):
        rooms = Rooms()
        await worker.plugin_add(rooms, name=PLUGIN)
    return rooms


@dataclass(slots=True)
class _Tenancy:
    room: Room
    guests: int = 0
    empty_since: float = 0.0


class Rooms(WorkerPlugin):
    """The rooms of one worker, by archive; closed with the worker, or when nobody has come."""

    def __init__(self) -> None:
        self._tenancies: dict[Path | Elsewhere, _Tenancy] = {}
        self._opening = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def setup(self, worker: Worker) -> None:
        """Begin to look for rooms that nobody is in."""
        del worker
        self._keeper = asyncio.create_task(self._keep(), name="rooms")

    async def teardown(self, worker: Worker) -> None:
        """Leave all rooms."""
        del worker
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        while self._tenancies:
            await self._tenancies.popitem()[1].room.aclose()

    @asynccontextmanager
    async def room(self, orders: Orders) -> AsyncIterator[Room]:
        """
        Lend the room of a run, opened for the first who comes.

        Of two runs of one archive the later is the one that goes on: it has the lock.
        """
        async with self._opening:
            tenancy = self._tenancies.get(orders.home)
            if tenancy is not None and not _is_for(tenancy.room, orders):
                del self._tenancies[orders.home]
                tenancy.room.stop(OVER)
                await self._left(tenancy)
                tenancy = None
            if tenancy is None:
                tenancy = _Tenancy(room=await Room.open(orders))
                self._tenancies[orders.home] = tenancy
            tenancy.guests += 1
        try:
            yield tenancy.room
        finally:
            tenancy.guests -= 1
            tenancy.empty_since = asyncio.get_running_loop().time()
            if self._tenancies.get(orders.home) is not tenancy:
                await self._left(tenancy)

    async def _left(self, tenancy: _Tenancy) -> None:
        if not tenancy.guests:
            await tenancy.room.aclose()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 4)
            now = asyncio.get_running_loop().time()
            for archive, tenancy in list(self._tenancies.items()):
                if not tenancy.guests and now - tenancy.empty_since > IDLE_S:
                    del self._tenancies[archive]
                    await tenancy.room.aclose()


def _is_for(room: Room, orders: Orders) -> bool:
    return room.orders.run_id == orders.run_id and not room.has_given_up
