"""
Fifty workers and a driver as events on a clock that nobody waits for.

A driver cuts recordings into shards, sends some ahead to each worker, and settles what comes back, one
thing at a time. A worker does some shards at once; it may die, and then its shards are done again by
another. All of them share one limit of requests. The same seed gives the same run.

Rules of this module: pure; no clock, no socket. What a worker does within a shard is a formula.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import ceil
from random import Random

RAMP = 8
"""The first shards have an eighth of the others, so that a short run has something for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    What is simulated.

    Attributes:
        shard: Recordings in one; the first ones are smaller.
        at_once: Shards that a worker does at once.
        ahead: Shards for each worker that are sent and not settled.
        worker_s: What a worker can do no faster than, for each recording: processor or line.
        latency_s: Of one recording from its request to its end: when the last one of a shard was asked
            for, the worker goes on with the next shard, if it has one.
        spread: How much shards of one size differ: the standard deviation of a logarithm.
        shard_s: What a shard costs a worker whatever is in it.
        driver_s: The driver's processor time for a recording.
        driver_shard_s: The same for a shard, whatever is in it.
        rate: Requests a second for all together; None: no limit.
        lives_s: Mean life of a worker; None: none dies.
        reborn_s: Until another one takes a dead worker's place.
        noticed_s: Until the shards of a dead worker are sent to another.
    """

    recordings: int
    workers: int = 50
    shard: int = 256
    at_once: int = 2
    ahead: int = 3
    worker_s: float = 0.0064
    latency_s: float = 1.0
    spread: float = 0.3
    shard_s: float = 0.02
    driver_s: float = 75e-6
    driver_shard_s: float = 2e-3
    rate: float | None = None
    lives_s: float | None = None
    reborn_s: float = 30.0
    noticed_s: float = 1.0
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """
    How a run went.

    Attributes:
        driver: Share of the time that the driver was busy.
        tail_s: From the moment at which a worker first had nothing more to do to the end.
        repeated: Recordings that a worker had begun which then died: fetched again at most.
        deaths: Of workers.
        busy: Share of the workers' time in which they got on, or kept to the limit.
    """

    seconds: float
    driver: float
    tail_s: float
    repeated: int
    deaths: int
    busy: float
    shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    works_from: float
    each_s: float


@dataclass(slots=True, kw_only=True)
class _Worker:
    number: int
    is_alive: bool = True
    life: int = 0
    until: float = 0.0
    """Processor, line and share of the limit are taken until then."""
    shards: dict[int, _UnderWay] = field(default_factory=dict)


class Simulation:
    """One run; `course` carries it out."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._rng = Random(setting.seed)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._left = setting.recordings
        self._numbers = count()
        self._sizes: dict[int, int] = {}
        self._waiting: deque[int] = deque()
        self._unsettled: set[int] = set()
        self._workers = [_Worker(number=number) for number in range(setting.workers)]
        self._driver_until = self._driver_s = 0.0
        self._worked_s = 0.0
        self._idle_since: float | None = None
        self._settled = self._repeated = self._deaths = 0

    def course(self) -> Course:
        """Run to the end."""
        for worker in self._workers:
            self._plan_death(worker)
        self._send_ahead()
        while self._settled < self._setting.recordings:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        idle_since = self._now if self._idle_since is None else self._idle_since
        return Course(
            seconds=self._now,
            driver=self._driver_s / self._now,
            tail_s=self._now - idle_since,
            repeated=self._repeated,
            deaths=self._deaths,
            busy=self._worked_s / (self._now * self._setting.workers),
            shards=len(self._sizes),
        )

    def _after(self, wait_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + wait_s, next(self._order), happen))

    def _drive(self, work_s: float, then: Callable[[], None]) -> None:
        """Have the driver do something when it has done what it was given before."""
        self._driver_until = max(self._driver_until, self._now) + work_s
        self._driver_s += work_s
        self._after(self._driver_until - self._now, then)

    def _send_ahead(self) -> None:
        setting = self._setting
        while self._left and len(self._unsettled) < setting.ahead * setting.workers:
            number = next(self._numbers)
            rounds = 1 + number // (2 * setting.workers)
            size = min(self._left, setting.shard, max(1, rounds * setting.shard // RAMP))
            self._left -= size
            self._sizes[number] = size
            self._unsettled.add(number)
            self._drive(setting.driver_shard_s / 2, partial(self._queue, number))

    def _queue(self, number: int) -> None:
        self._waiting.append(number)
        self._hand_out()

    def _hand_out(self) -> None:
        """Give waiting shards to the least busy workers."""
        while self._waiting:
            free = [
                w for w in self._workers if w.is_alive and len(w.shards) < self._setting.at_once
            ]
            if not free:
                return
            worker = min(free, key=lambda each: (len(each.shards), each.number))
            self._begin(worker, self._waiting.popleft())

    def _begin(self, worker: _Worker, number: int) -> None:
        setting, life = self._setting, worker.life
        each_s = setting.worker_s
        if setting.rate is not None:
            alive = sum(each.is_alive for each in self._workers)
            each_s = max(each_s, alive / setting.rate)
        each_s *= self._rng.lognormvariate(-(setting.spread**2) / 2, setting.spread)
        works_from = max(self._now, worker.until)
        worker.shards[number] = _UnderWay(works_from=works_from, each_s=each_s)
        worker.until = works_from + setting.shard_s + self._sizes[number] * each_s
        ends_at = worker.until + setting.latency_s
        self._after(ends_at - self._now, lambda: self._end(worker, life, number))

    def _end(self, worker: _Worker, life: int, number: int) -> None:
        if life != worker.life:
            return
        self._worked_s += self._worked(worker.shards.pop(number), number)
        size, setting = self._sizes[number], self._setting
        self._drive(
            size * setting.driver_s + setting.driver_shard_s / 2, lambda: self._settle(number)
        )
        self._hand_out()
        if not self._left and not worker.shards and self._idle_since is None:
            self._idle_since = self._now

    def _settle(self, number: int) -> None:
        self._settled += self._sizes[number]
        self._unsettled.discard(number)
        self._send_ahead()

    def _plan_death(self, worker: _Worker) -> None:
        if self._setting.lives_s is not None:
            lived_s = self._rng.expovariate(1 / self._setting.lives_s)
            self._after(lived_s, lambda: self._die(worker))

    def _die(self, worker: _Worker) -> None:
        worker.is_alive = False
        worker.life += 1
        self._deaths += 1
        for number, under_way in worker.shards.items():
            worked_s = self._worked(under_way, number)
            self._worked_s += worked_s
            self._repeated += min(self._sizes[number], ceil(worked_s / under_way.each_s))
            self._after(self._setting.noticed_s, partial(self._queue, number))
        worker.shards.clear()
        self._after(self._setting.reborn_s, lambda: self._come_back(worker))

    def _worked(self, under_way: _UnderWay, number: int) -> float:
        """Return how long a shard has had the worker for itself by now."""
        most = self._setting.shard_s + self._sizes[number] * under_way.each_s
        return min(most, max(0.0, self._now - under_way.works_from))

    def _come_back(self, worker: _Worker) -> None:
        worker.is_alive, worker.until = True, self._now
        self._plan_death(worker)
        self._hand_out()
