"""The gate, against hosts modelled in virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from bulkaudio.errors import HostUnavailableError
from bulkaudio.events import Event, GateMoved
from bulkaudio.gate import COLD_SLOTS, NO_SUCH_HOST, Draining, Gate, GateOptions
from bulkaudio.ticket import Ticket
from tests.virtual_time import run_virtually

Say = Callable[[Ticket], Awaitable[bool]]


@dataclass(kw_only=True)
class Host:
    """A host with a number of slots, a latency, and what else goes wrong."""

    slots: int | None = None
    latency_s: float = 0.05
    wire_slots: int | None = None
    fault_share: float = 0.0
    retry_after_s: float | None = None
    down_until: float = 0.0
    first_byte_s: float = 0.0
    busy: int = 0
    most: int = 0
    answers: list[tuple[float, str]] = field(default_factory=list)

    async def answer(self, ticket: Ticket) -> bool:
        """Serve one request; True when it was a good one."""
        loop = asyncio.get_running_loop()
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            if loop.time() < self.down_until:
                await asyncio.sleep(0.005)
                return self._say(ticket, "failed")
            if self.slots is not None and self.busy > self.slots:
                await asyncio.sleep(0.005)
                return self._say(ticket, "throttled")
            crowd = max(1.0, self.busy / self.wire_slots) if self.wire_slots else 1.0
            await asyncio.sleep(self.latency_s * crowd)
            self.first_byte_s = self.latency_s * crowd
            if random.random() < self.fault_share:
                return self._say(ticket, "failed")
            return self._say(ticket, "ok")
        finally:
            self.busy -= 1

    def _say(self, ticket: Ticket, word: str) -> bool:
        self.answers.append((asyncio.get_running_loop().time(), word))
        if word == "ok":
            ticket.succeeded(self.first_byte_s, 30_000)
        elif word == "throttled":
            ticket.throttled(self.retry_after_s)
        else:
            ticket.failed("http_503")
        return word == "ok"

    def share(self, word: str) -> float:
        """Of all answers, those that were `word`."""
        return sum(said == word for _, said in self.answers) / len(self.answers)


async def drive(host: Host, gate: Gate, *, requests: int, workers: int = 128) -> float:
    """Send requests until so many were answered well; returns the seconds it took."""
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            is_good = False
            while not is_good:
                async with gate.admit() as ticket:
                    is_good = await host.answer(ticket)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return asyncio.get_running_loop().time()


def gate_for(options: GateOptions | None = None, events: list[Event] | None = None) -> Gate:
    """Make a gate on the running loop's clock."""
    emit = (lambda _: None) if events is None else events.append
    return Gate("host", options, emit=emit, clock=asyncio.get_running_loop().time)


def test_it_finds_many_slots_where_latency_is_the_limit() -> None:
    """A host with latency and no limit is used with nearly all slots, within seconds."""

    async def main() -> None:
        gate, host = gate_for(), Host(latency_s=0.05)
        elapsed_s = await drive(host, gate, requests=10_000)

        best_s = 10_000 * 0.05 / 64
        assert elapsed_s < best_s * 1.3
        assert host.most <= 64

    run_virtually(main())


def test_it_stays_low_where_more_slots_bring_nothing() -> None:
    """A wire that is full at 8 requests is not asked 64 at once."""

    async def main() -> None:
        gate, host = gate_for(), Host(latency_s=0.05, wire_slots=8)
        await drive(host, gate, requests=6_000)

        assert gate.slots <= 40

    run_virtually(main())


@pytest.mark.parametrize("options", [GateOptions(), GateOptions(fixed=64)])
def test_long_recordings_are_judged_by_their_bytes(options: GateOptions) -> None:
    """A minute each, they would take many minutes to show by their number what 64 at once bring."""

    async def main() -> None:
        gate = gate_for(options)

        async def fetch() -> None:
            async with gate.admit() as ticket:
                await asyncio.sleep(0.1)
                ticket.began(0.1)
                for _ in range(600):
                    await asyncio.sleep(0.1)
                    ticket.received(100_000)
                ticket.succeeded(0.1)

        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(fetch())
            await asyncio.sleep(10.0)
            assert gate.slots == 64
        assert asyncio.get_running_loop().time() < 1.1 * 200 / 64 * 60 + 60

    run_virtually(main())


@pytest.mark.parametrize("options", [GateOptions(), GateOptions(fixed=60)])
def test_a_host_with_five_slots_refuses_few(options: GateOptions) -> None:
    """Sixty workers meet a host with five slots: few refusals, and nearly its full speed."""

    async def main() -> None:
        gate, host = gate_for(options), Host(slots=5, latency_s=0.02)
        elapsed_s = await drive(host, gate, requests=600, workers=60)

        assert host.share("throttled") <= 0.03
        assert elapsed_s < 600 * 0.02 / 5 * 3

    run_virtually(main())


def test_retry_after_closes_it_for_everybody() -> None:
    """Nobody asks again before the time the host named."""

    async def main() -> None:
        gate, host = gate_for(), Host(slots=4, retry_after_s=7.0)
        await drive(host, gate, requests=50, workers=20)

        throttled = [at for at, word in host.answers if word == "throttled"]
        ok_after = [at for at, word in host.answers if word == "ok" and at > throttled[0] + 0.1]
        assert min(ok_after) >= throttled[0] + 7.0

    run_virtually(main())


def test_faults_that_fewer_slots_cannot_cure_do_not_slow_it() -> None:
    """Ten per cent of failures are retried without giving up the slots."""

    async def main() -> None:
        random.seed(7)
        gate, host = gate_for(), Host(fault_share=0.1)
        elapsed_s = await drive(host, gate, requests=10_000)

        assert elapsed_s < 10_000 / 0.9 * 0.05 / 64 * 1.6

    run_virtually(main())


def test_a_host_that_is_down_gets_one_probe_at_a_time_and_recovers() -> None:
    """An outage of a minute costs few requests, and work goes on after it."""

    async def main() -> None:
        gate, host = gate_for(), Host(down_until=60.0)
        elapsed_s = await drive(host, gate, requests=500)

        failed = [at for at, word in host.answers if word == "failed"]
        assert len(failed) < 60
        assert elapsed_s < 60 + 31 + 5

    run_virtually(main())


def test_it_gives_up_on_a_host_that_stays_down() -> None:
    """After the give-up time every waiter is told, and the run can end."""

    async def main() -> None:
        gate = gate_for(GateOptions(give_up_s=90.0))
        host = Host(down_until=10_000.0)
        with pytest.raises(BaseExceptionGroup) as caught:
            await drive(host, gate, requests=500)

        assert caught.group_contains(HostUnavailableError, depth=1)
        assert 90 <= asyncio.get_running_loop().time() < 90 + 31

    run_virtually(main())


def test_a_retry_after_as_long_as_the_deadline_is_still_probed() -> None:
    """A host that asks for fifteen minutes and then works is not given up."""

    async def main() -> None:
        gate, host = gate_for(), Host(slots=1, retry_after_s=900.0, latency_s=0.01)
        await drive(host, gate, requests=20, workers=4)

        assert host.share("ok") > 0.5

    run_virtually(main())


LONG_S = 3600.0


async def _ask(gate: Gate, say: Callable[[Ticket], None]) -> None:
    async with gate.admit() as ticket:
        say(ticket)


def _put_off(ticket: Ticket) -> None:
    ticket.throttled(LONG_S)


def _serve(ticket: Ticket) -> None:
    ticket.succeeded(0.01)


@pytest.mark.parametrize("options", [GateOptions(), GateOptions(fixed=1)])
def test_a_host_that_puts_everybody_off_is_not_asked_again(options: GateOptions) -> None:
    """Those under way are turned away, at most one more finds out, and the rest is told at once."""

    async def main() -> None:
        gate, host = gate_for(options), Host(slots=0, retry_after_s=LONG_S)
        with pytest.raises(BaseExceptionGroup) as caught:
            await drive(host, gate, requests=500)

        (end, *_) = caught.value.exceptions
        assert isinstance(end, HostUnavailableError)
        assert "1h 00m" in end.message
        assert len(host.answers) == max(2, min(COLD_SLOTS, options.fixed or COLD_SLOTS))
        assert asyncio.get_running_loop().time() < 5
        assert gate.put_off() is not None

    run_virtually(main())


def test_a_host_that_begins_to_put_everybody_off_is_not_asked_again() -> None:
    """What it answered well before does not keep the run going against it."""

    async def main() -> None:
        gate, host = gate_for(), Host(latency_s=0.05)
        await drive(host, gate, requests=1_000)
        host.slots, host.retry_after_s = 0, LONG_S
        with pytest.raises(BaseExceptionGroup) as caught:
            await drive(host, gate, requests=500)

        assert caught.group_contains(HostUnavailableError, depth=1)
        assert sum(word == "throttled" for _, word in host.answers) <= 64

    run_virtually(main())


def test_one_that_is_put_off_alone_holds_nobody_back() -> None:
    """A good answer, of those under way or of one probe, shows that only that one was meant."""

    async def main() -> None:
        events: list[Event] = []
        gate = gate_for(GateOptions(fixed=1), events)
        for _ in range(5):
            await _ask(gate, _put_off)
            assert gate.slots == 1
            assert repr(gate) == "<Gate host probing 0/1>"
            await _ask(gate, _serve)
            assert gate.put_off() is None
        assert asyncio.get_running_loop().time() < 60
        moves = [event.reason for event in events if isinstance(event, GateMoved)]
        assert "the host asked for a long wait" in moves
        assert moves[-1] == "the host answers again"
        async with gate.admit() as slow:
            _put_off(slow)
        assert gate.put_off() is None, "the last of a run, after good answers"

    run_virtually(main())


def test_those_under_way_are_waited_for_before_the_host_is_given_up() -> None:
    """Two in a row may be put off while a third, long under way, is served."""

    async def main() -> None:
        gate = gate_for()
        async with gate.admit() as slow:
            await _ask(gate, _put_off)
            waiting = asyncio.ensure_future(_ask(gate, _serve))
            await asyncio.sleep(30)
            assert not waiting.done()
            _serve(slow)
        await waiting
        assert gate.put_off() is None

    run_virtually(main())


def test_the_only_request_of_a_run_that_is_put_off_ends_it() -> None:
    """Nothing shows that the host works."""

    async def main() -> None:
        gate = gate_for()
        await _ask(gate, _put_off)
        assert gate.put_off() is not None

    run_virtually(main())


def test_whoever_has_the_patience_waits_for_as_long_as_the_host_asks() -> None:
    """With a longer give-up time nobody asks before the hour is over, and then one at first."""

    async def main() -> None:
        gate = gate_for(GateOptions(give_up_s=3 * LONG_S))
        for _ in range(2):
            await _ask(gate, _put_off)
        put_off_at = asyncio.get_running_loop().time()
        waiting = [asyncio.ensure_future(_ask(gate, _serve)) for _ in range(20)]
        await asyncio.wait(waiting)
        assert LONG_S <= asyncio.get_running_loop().time() - put_off_at < LONG_S + 5

    run_virtually(main())


def test_a_name_that_never_resolves_ends_after_three_probes() -> None:
    """A wrong name costs three look-ups in a row, not fifteen minutes."""

    async def main() -> None:
        gate = gate_for()
        asked = 0

        async def look_up() -> None:
            nonlocal asked
            while True:
                async with gate.admit() as ticket:
                    asked += 1
                    ticket.failed(NO_SUCH_HOST)

        with pytest.raises(HostUnavailableError, match="cannot be resolved"):
            await look_up()
        assert asked == 3

    run_virtually(main())


def test_it_is_cold_until_a_first_good_answer() -> None:
    """Whatever was learned or asked for, no more than eight requests go before the first answer."""

    async def main() -> None:
        gate = gate_for(GateOptions(fixed=64, start=64))
        waiting = [asyncio.ensure_future(_hold(gate)) for _ in range(64)]
        await asyncio.sleep(1)
        assert gate.slots == COLD_SLOTS
        assert repr(gate) == "<Gate host open 8/8>"
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    run_virtually(main())


async def _hold(gate: Gate) -> None:
    async with gate.admit():
        await asyncio.sleep(1_000)


def test_max_rate_is_a_ceiling() -> None:
    """No second sees more requests than the rate, apart from the one on its edge."""

    async def main() -> None:
        gate, host = gate_for(GateOptions(max_rate=40.0)), Host(latency_s=0.01)
        elapsed_s = await drive(host, gate, requests=400)

        assert 400 / 40 * 0.95 <= elapsed_s <= 400 / 40 * 1.1

    run_virtually(main())


def test_closing_tells_everybody_who_waits() -> None:
    """A run that drains admits nobody, and says so to those who wait."""

    async def main() -> None:
        gate = gate_for(GateOptions(fixed=1))
        async with gate.admit():
            waiting = asyncio.ensure_future(_hold(gate))
            await asyncio.sleep(0)
            gate.close()
            with pytest.raises(Draining):
                await waiting
        with pytest.raises(Draining):
            async with gate.admit():
                raise AssertionError("admitted after close")

    run_virtually(main())


def test_cancelling_at_any_moment_loses_no_slot() -> None:
    """Waiters cancelled while waiting, or in the turn they are admitted, give their slot back."""

    async def main() -> None:
        random.seed(3)
        gate = gate_for(GateOptions(fixed=4))
        for _ in range(300):
            tasks = [asyncio.ensure_future(_hold(gate)) for _ in range(6)]
            await asyncio.sleep(0)
            random.choice(tasks).cancel()
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        async with asyncio.timeout(1):
            async with gate.admit() as first, gate.admit() as second, gate.admit() as third:
                assert len({first, second, third}) == 3

    run_virtually(main())


def test_every_move_is_told() -> None:
    """Whoever watches learns of each change of slots and each closing, with its reason."""

    async def main() -> None:
        events: list[Event] = []
        gate, host = gate_for(events=events), Host(slots=5, retry_after_s=2.0)
        await drive(host, gate, requests=100, workers=20)

        moves = [event for event in events if isinstance(event, GateMoved)]
        assert any(move.closed_s > 0 and "asked to wait" in move.reason for move in moves)
        assert any(move.reason == "throttled" for move in moves)

    run_virtually(main())


def test_requests_one_by_one_outlive_an_outage_with_a_small_credit() -> None:
    """Where one request at a time is sent, two failures are enough to blame the host."""

    async def main() -> None:
        gate = gate_for(GateOptions(credit=2.0))
        host, blamed_itself = Host(down_until=120.0), 0
        is_good = False
        while not is_good:
            async with gate.admit() as ticket:
                is_good = await host.answer(ticket)
                blamed_itself += not is_good and not ticket.is_probe

        assert blamed_itself == 2
        assert 120 <= asyncio.get_running_loop().time() < 120 + 31

    run_virtually(main())


@pytest.mark.parametrize("workers", [8, 16, 128])
def test_an_outage_is_noticed_before_anyone_has_failed_five_times(workers: int) -> None:
    """However many workers there are, none uses up its attempts while the host goes down."""

    async def main() -> None:
        random.seed(workers)
        credit = max(2.0, min(20.0, workers / 2.5))
        gate = gate_for(GateOptions(fixed=workers // 2, credit=credit))
        host = Host(latency_s=0.02)
        await drive(host, gate, requests=500, workers=workers)
        host.down_until = asyncio.get_running_loop().time() + 60

        async def work() -> int:
            counted, is_good = 0, False
            while not is_good:
                async with gate.admit() as ticket:
                    if asyncio.get_running_loop().time() >= host.down_until:
                        ticket.succeeded(0.02)
                        return counted
                    await asyncio.sleep(0.005)
                    ticket.failed("http_503", is_repeated=counted > 0)
                    counted += not ticket.is_hosts_fault
                await asyncio.sleep(random.uniform(0, 0.5 * 2**counted))
            return counted

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(workers)]
        assert max(task.result() for task in tasks) < 5

    run_virtually(main())


def test_a_few_that_always_fail_are_no_outage() -> None:
    """Three recordings at five attempts each leave the gate open for others."""

    async def main() -> None:
        gate = gate_for(GateOptions(fixed=4, credit=3.2))
        await drive(Host(latency_s=0.01), gate, requests=50, workers=8)
        for _ in range(3):
            for number in range(5):
                async with gate.admit() as ticket:
                    ticket.failed("http_500", is_repeated=number > 0)
        assert not gate.is_down

    run_virtually(main())


def test_a_ceiling_may_change_while_requests_wait() -> None:
    """What was let through before counts under the old one; at zero nobody is."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        gate = Gate("host", GateOptions(max_rate=100.0), clock=loop.time)
        gate.keep_to(0.0)
        loop.call_later(1.0, gate.keep_to, 50.0)
        loop.call_later(2.0, gate.keep_to, 10.0)
        loop.call_later(3.0, gate.keep_to, 0.0)
        loop.call_later(4.0, gate.keep_to, None)
        starts: list[float] = []

        async def ask() -> None:
            while True:
                async with gate.admit() as ticket:
                    starts.append(loop.time())
                    await asyncio.sleep(0.001)
                    ticket.succeeded(0.001)

        try:
            async with asyncio.timeout(4.5), asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(ask())
        except TimeoutError:
            pass
        return starts

    starts = run_virtually(main())
    within = [sum(second <= at < second + 1 for at in starts) for second in range(5)]
    assert within[0] == within[3] == 0
    assert 48 <= within[1] <= 52
    assert 9 <= within[2] <= 12
    assert within[4] > 100


def test_slots_are_a_share_as_well() -> None:
    """Never more at once than one was told, however well it goes."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        gate, host = Gate("host", GateOptions(fixed=64), clock=loop.time), Host()
        gate.keep_to(None, 3)

        async def ask() -> None:
            for _ in range(50):
                async with gate.admit() as ticket:
                    await host.answer(ticket)

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(ask())
        return host.most

    assert run_virtually(main()) == 3


def test_a_pause_that_others_were_told_of_holds_here_too() -> None:
    """And a shorter one does not end a longer one."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        gate = Gate("host", clock=loop.time, emit=events.append)
        gate.pause(2.0, "another worker was asked to wait")
        gate.pause(1.0, "another worker was asked to wait")
        async with gate.admit():
            moves = [event for event in events if isinstance(event, GateMoved)]
            assert [round(move.closed_s, 3) for move in moves] == [2.0]
            return loop.time()

    assert run_virtually(main()) == pytest.approx(2.0)
