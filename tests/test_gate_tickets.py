"""What single requests tell the gate: once each, and as one epoch when they were under way together."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from bulkaudio.errors import HostUnavailableError
from bulkaudio.gate import COLD_SLOTS, NO_SUCH_HOST, Gate, GateOptions
from bulkaudio.ticket import Ticket
from tests.test_gate import gate_for
from tests.virtual_time import run_virtually

SAYINGS: Sequence[Callable[[Ticket], None]] = (
    lambda ticket: ticket.succeeded(0.01),
    lambda ticket: ticket.throttled(None),
    lambda ticket: ticket.failed("http_503"),
)


@pytest.mark.parametrize("again", SAYINGS)
def test_a_request_speaks_once(again: Callable[[Ticket], None]) -> None:
    """Whoever reports a request twice does not make two of it, whatever the second report says."""

    async def state_after(*sayings: Callable[[Ticket], None]) -> tuple[object, ...]:
        gate = gate_for(GateOptions(start=30, credit=1.5))
        async with gate.admit() as first:
            first.succeeded(0.01)
        async with gate.admit() as ticket:
            for say in sayings:
                say(ticket)
        return gate.slots, gate.is_down, gate._credit, gate._trouble, gate._closed_until > 0

    async def main() -> None:
        one_saying = await state_after(SAYINGS[0])
        assert await state_after(SAYINGS[0], again) == one_saying
        assert await state_after(again) == await state_after(again, SAYINGS[0], again)

    run_virtually(main())


def test_a_good_answer_begins_once() -> None:
    """It opens the cold gate for the others before its body is over, and counts as one answer."""

    async def main() -> None:
        gate = gate_for(GateOptions(start=30))
        async with gate.admit() as ticket:
            ticket.began(0.01)
            ticket.began(0.01)
            assert gate.slots == 30
            ticket.succeeded(0.01)
        assert gate._slots._window.answers == 1

    run_virtually(main())


def test_the_next_run_starts_with_what_this_one_learned() -> None:
    """A cold gate lets few through, and keeps what an earlier run had found for a later one."""

    async def main() -> None:
        gate = gate_for(GateOptions(start=30))
        assert (gate.slots, gate.learned_slots) == (COLD_SLOTS, 30)
        async with gate.admit() as ticket:
            ticket.succeeded(0.01)
        assert (gate.slots, gate.learned_slots) == (30, 30)
        async with gate.admit() as ticket:
            ticket.throttled(None)
        assert gate.learned_slots == gate.slots < 30

    run_virtually(main())


async def _fail_together(gate: Gate, count: int) -> None:
    """Let so many requests go, and fail only once all of them are under way."""
    gone = asyncio.Barrier(count)

    async def look_up() -> None:
        async with gate.admit() as ticket:
            await gone.wait()
            ticket.failed(NO_SUCH_HOST)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(look_up())


def test_look_ups_that_fail_together_are_one_failure() -> None:
    """Eight workers that start without a network do not use up three tries at once."""

    async def main() -> None:
        gate = gate_for()
        await _fail_together(gate, COLD_SLOTS)
        for _ in range(2):
            async with gate.admit() as ticket:
                assert ticket.is_probe
                ticket.failed(NO_SUCH_HOST)
        with pytest.raises(HostUnavailableError, match="the name host cannot be resolved"):
            async with gate.admit():
                raise AssertionError("admitted after three probes")

    run_virtually(main())


def test_a_network_that_comes_back_is_used() -> None:
    """Two failed look-ups, then a good answer: the third is forgiven."""

    async def main() -> None:
        gate = gate_for()
        for _ in range(2):
            await _fail_together(gate, 1)
        async with gate.admit() as ticket:
            ticket.succeeded(0.01)
        assert not gate.is_down
        async with gate.admit() as ticket:
            ticket.failed(NO_SUCH_HOST)
        async with gate.admit() as ticket:
            assert not ticket.is_probe

    run_virtually(main())
