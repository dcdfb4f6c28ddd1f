"""
The run's connection with its scheduler: sends shards, hears how they go, publishes shares.

Everything that workers share is decided here, in one place: who is there, how much each may do, and
how long all of them wait when one was asked to.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from distributed import Client, Event, KilledWorker, Variable
from distributed.client import FutureCancelledError

from bulkaudio.cluster import work
from bulkaudio.cluster.crew import ShardLost
from bulkaudio.cluster.names import notice_name, stop_name, task_key, topic_name
from bulkaudio.cluster.parcels import Counts, Orders, Parcel, Report, packed, unpacked
from bulkaudio.cluster.shards import Shard
from bulkaudio.cluster.shares import MOST_KEPT, Notice, Pause, Whole
from bulkaudio.errors import AND_AGAIN, ClusterError
from bulkaudio.events import Emit, GateMoved, Noted
from bulkaudio.stopper import Stopper
from bulkaudio.stores.archive import ArchiveStore

RETRIES = 2
"""Of a shard whose worker raised something: another worker may not."""

LOOK_S = 1.0
"""Between two looks at who is there; who comes says so at once."""

NOBODY_S = 60.0
"""Without a worker for so long, a run ends: nothing is lost, and nothing gets done."""

Hear = Callable[[str, Counts], None]


@dataclass(slots=True, kw_only=True)
class DaskDesk:
    """
    Implements `bulkaudio.cluster.crew.Desk`.

    Attributes:
        whole: What is divided among the workers.
        hear: Told what attempts count while they go on.
    """

    client: Client
    orders: Orders
    whole: Whole
    store: ArchiveStore
    emit: Emit
    hear: Hear = lambda _attempt, _counts: None
    _live: frozenset[str] = frozenset()
    _known: set[str] = field(default_factory=set)
    _members: tuple[str, ...] = ()
    _pauses: "deque[Pause]" = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _told: int = 0

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._live)

    async def open(self) -> None:
        """Publish a first notice, and begin to listen."""
        await self._publish()
        self.client.subscribe_topic(topic_name(self.orders.run_id), self._hear_event)

    async def send(self, shard: Shard) -> Report:
        """Have a shard done; see `Desk.send`."""
        future = self.client.submit(
            work.do,
            packed(Parcel(orders=self.orders, shard=shard)),
            key=task_key(shard.name, next(self._numbers)),
            retries=RETRIES,
            pure=False,
        )
        try:
            return unpacked(await future, Report)
        except KilledWorker as killed:
            raise ShardLost("worker after worker died over it") from killed
        except FutureCancelledError as lost:
            raise scheduler_lost() from lost
        except ImportError as missing:
            raise ClusterError(
                f"a worker cannot import what it needs ({missing})",
                fix="install the same bulkaudio[cluster] on the scheduler's workers as here",
            ) from missing
        except OSError as error:
            raise scheduler_lost() from error
        except Exception as error:
            raise ShardLost(f"{type(error).__name__}: {error}") from error
        finally:
            # Held futures would be computed again when the worker that has the result dies.
            future.release()

    async def struck_out(self, report: Report, shard: Shard) -> None:
        """Remove the worker's list of a shard: the ledger has it."""
        if report.bench is not None:
            await self.store.strike_out(report.bench, shard.name)

    async def attend(self) -> None:
        """
        Keep the notice true until cancelled.

        Raises:
            ClusterError: There is no scheduler, or no worker any more.
        """
        loop = asyncio.get_running_loop()
        seen_at = loop.time()
        while True:
            await self._look()
            if self._live:
                seen_at = loop.time()
            elif loop.time() - seen_at > NOBODY_S:
                raise ClusterError(
                    f"the scheduler has had no worker for {NOBODY_S:.0f} seconds",
                    fix=f"start some (dask worker ADDRESS), {AND_AGAIN}",
                )
            self._changed.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def pass_on(self, stopper: Stopper) -> None:
        """Have the workers stop when the run does."""
        await stopper.wait()
        await self.stop()

    async def stop(self) -> None:
        """Have the workers take no more, and bring back what they have."""
        await Event(stop_name(self.orders.run_id), client=self.client).set()

    async def _look(self) -> None:
        try:
            scheduler = self.client.scheduler
            identity = {} if scheduler is None else await scheduler.identity(n_workers=-1)
        except OSError as error:
            raise scheduler_lost() from error
        if not identity:
            raise scheduler_lost()
        self._live = frozenset(identity["workers"])
        for worker in self._known - self._live:
            self._known.discard(worker)
            self.emit(GateMoved(host=_gauge(worker), slots=0, closed_s=0.0, reason="lost"))
            text = f"The worker {worker} was lost; others take what it had."
            self.emit(Noted(text=text))
        members = tuple(sorted(self._known & self._live))
        if members != self._members or self._has_news():
            self._members = members
            await self._publish()

    def _has_news(self) -> bool:
        return bool(self._pauses) and self._pauses[-1].number != self._told

    async def _publish(self) -> None:
        shares = self.whole.divided(self._members) if self._members else {}
        notice = Notice(shares=shares, pauses=tuple(self._pauses))
        self._told = self._pauses[-1].number if self._pauses else 0
        try:
            await Variable(notice_name(self.orders.run_id), client=self.client).set(notice.plain())
        except OSError as error:
            raise scheduler_lost() from error

    def _hear_event(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        worker = message["worker"]
        received, retries, throttled = message["counted"]
        counts = Counts(
            http=dict(message["http"]),
            received_bytes=received,
            retries=retries,
            throttled=throttled,
        )
        self.hear(message["attempt"], counts)
        slots, closed_s, reason = message["gate"]
        if reason:
            self.emit(GateMoved(host=_gauge(worker), slots=slots, closed_s=closed_s, reason=reason))
        for seconds, why in message["pauses"]:
            number = next(self._numbers)
            self._pauses.append(Pause(number=number, seconds=seconds, reason=why, heard_by=worker))
            self._changed.set()
        if worker not in self._known:
            self._known.add(worker)
            self._changed.set()


def _gauge(worker: str) -> str:
    """Name a worker's gate: each has its own."""
    return f"worker {worker.partition('://')[2] or worker}"


def scheduler_lost() -> ClusterError:
    """Say that there is no scheduler any more."""
    return ClusterError(
        "the connection to the scheduler was lost",
        fix=f"look at the scheduler's log, {AND_AGAIN}",
    )
