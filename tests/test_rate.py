"""Hosts that throttle by rate, modelled in virtual time: their limit is used, and hardly ever hit."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import pytest

from bulkaudio.gate import Gate, GateOptions
from bulkaudio.rate import FLOOR, Rate
from tests.virtual_time import run_virtually

LIMIT = 100.0


class Meter(Protocol):
    """What a host counts requests with."""

    def takes(self, now: float) -> bool:
        """Whether one more is within the limit."""
        ...


@dataclass
class Bucket:
    """Leaks `LIMIT` requests a second and holds `size`: nginx's ``limit_req``."""

    size: float
    level: float = 0.0
    at: float = 0.0

    def takes(self, now: float) -> bool:
        """Whether it overflows."""
        self.level, self.at = max(0.0, self.level - (now - self.at) * LIMIT), now
        if self.level > self.size:
            return False
        self.level += 1
        return True


@dataclass
class Seconds:
    """Counts to `LIMIT` in each second of the clock: Kong's ``rate-limiting``."""

    second: int = -1
    count: int = 0

    def takes(self, now: float) -> bool:
        """Whether this second's share is used up."""
        if int(now) != self.second:
            self.second, self.count = int(now), 0
        self.count += 1
        return self.count <= LIMIT


@dataclass(kw_only=True)
class Host:
    """A host that refuses what its meter does not take."""

    meter: Meter
    latency_s: float
    retry_after: Callable[[float], float | None]
    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    async def serve(self, gate: Gate) -> bool:
        """Ask it once; true when the answer was good."""
        clock = asyncio.get_running_loop().time
        async with gate.admit() as ticket:
            await asyncio.sleep(self.latency_s * random.uniform(0.3, 0.6))
            is_good = self.meter.takes(clock())
            await asyncio.sleep(self.latency_s * random.uniform(0.3, 0.6))
            if is_good:
                ticket.succeeded(self.latency_s, 30_000)
            else:
                ticket.throttled(self.retry_after(clock()))
            (self.good if is_good else self.refused).append(clock())
        return is_good

    def after(self, moment: float) -> tuple[int, int]:
        """Count good answers and refusals from a moment on."""
        return sum(at >= moment for at in self.good), sum(at >= moment for at in self.refused)


async def drive(host: Host, requests: int, options: GateOptions | None = None) -> float:
    """Ask until so many answers were good; return when the last was."""
    clock = asyncio.get_running_loop().time
    gate = Gate("host", options, clock=clock)
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            while not await host.serve(gate):
                pass

    async with asyncio.TaskGroup() as group:
        for _ in range(128):
            group.create_task(work())
    return clock()


ONE_SECOND = 1.0


@pytest.mark.parametrize("latency_s", [0.05, pytest.param(0.001, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("meter", "retry_after"),
    [
        (lambda: Bucket(20), lambda _: ONE_SECOND),
        (lambda: Bucket(20), lambda _: None),
        (lambda: Bucket(100), lambda _: ONE_SECOND),
        (Seconds, lambda _: ONE_SECOND),
        (Seconds, lambda now: 1.0 - now % 1.0),
    ],
    ids=["bucket", "bucket, silent", "large bucket", "seconds", "seconds, exact"],
)
def test_a_limit_is_used_and_hardly_ever_hit(
    meter: Callable[[], Meter], retry_after: Callable[[float], float | None], latency_s: float
) -> None:
    """Nine tenths in the first minute, more after it; two answers in a hundred are refusals."""

    async def main() -> None:
        random.seed(1)
        host = Host(meter=meter(), latency_s=latency_s, retry_after=retry_after)
        end = await drive(host, 12_000)

        assert len(host.refused) <= 0.01 * len(host.good)
        first = sum(at < 60.0 for at in host.good)
        assert first >= 0.85 * LIMIT * 60.0
        good, refused = host.after(60.0)
        assert good >= 0.95 * LIMIT * (end - 60.0)
        assert refused <= 0.002 * good

    run_virtually(main())


def test_a_limit_without_any_slack_is_found_all_the_same() -> None:
    """A host that wants ten milliseconds between two requests is not refused every other one."""

    async def main() -> None:
        random.seed(1)
        host = Host(meter=Bucket(0), latency_s=0.001, retry_after=lambda _: ONE_SECOND)
        end = await drive(host, 2_000)

        assert len(host.refused) <= 0.02 * len(host.good)
        assert end < 2_000 / LIMIT * 20

    run_virtually(main())


def test_a_limit_that_is_lifted_is_noticed() -> None:
    """A host that takes ten times as much from now on is asked for it within minutes."""
    rate = Rate(0.0)
    now = 0.0
    rate.refused(now, 1.0)
    for number in range(3):
        now = 2.0 + number
        for _ in range(50):
            now += 0.01
            rate.answered(now)
        rate.refused(now, now + 0.5)
    assert rate.limit is not None
    assert 20.0 < rate.limit < 120.0
    before = rate.limit
    while rate.limit < 10 * before:
        now += 1.0 / rate.limit
        rate.answered(now)
    assert now < 300.0


def test_a_limit_that_falls_is_followed() -> None:
    """Each refusal brings it down by so much at most, and never below what is always tried."""
    rate, now = Rate(0.0), 0.0

    def period(answers: int, seconds: float) -> None:
        nonlocal now
        now += 1.0
        for _ in range(answers):
            rate.answered(now)
            now += seconds / answers
        rate.refused(now, now + 1.0)

    period(100, 1.0)
    period(100, 1.0)
    assert rate.limit is not None
    limits = [rate.limit]
    for _ in range(12):
        period(10, 1.0)
        limits.append(rate.limit)
    assert all(later >= 0.5 * earlier for earlier, later in pairwise(limits))
    assert limits[-1] < 15.0
    for _ in range(30):
        period(2, 1.0)
    assert rate.limit == FLOOR


def test_silence_says_nothing() -> None:
    """A host that refuses everything for a while has shown no rate; nor has the first refusal."""
    rate = Rate(0.0)
    for at in range(1, 20):
        rate.refused(float(at), at + 0.5)
    assert rate.limit is None
