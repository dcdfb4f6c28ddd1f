"""Budgets are kept exactly, and stop only where there is more to do."""

import asyncio
import random

import pytest

from bulkaudio.budget import Budget
from bulkaudio.gate import Draining
from bulkaudio.settings import Budgets
from bulkaudio.stopper import Stopper
from tests.virtual_time import run_virtually


async def test_without_limits_everything_is_reserved() -> None:
    """No limit, no stop."""
    budget = Budget(limits=Budgets())
    for _ in range(100):
        assert await budget.reserve() is None


def test_exactly_so_many_recordings_are_saved_whatever_fails() -> None:
    """Many workers, some of them failing, save ten and not eleven; the eleventh names the limit."""

    async def main() -> None:
        random.seed(5)
        budget, saved = Budget(limits=Budgets(max_recordings=10)), 0
        reached: list[str] = []

        async def work() -> None:
            nonlocal saved
            while not reached:
                limit = await budget.reserve()
                if limit is not None:
                    reached.append(limit)
                    return
                await asyncio.sleep(random.random())
                is_saved = random.random() < 0.5
                saved += is_saved
                budget.finish(1 if is_saved else None)

        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(work())
        assert saved == 10
        assert set(reached) == {"--max-recordings 10"}

    run_virtually(main())


async def test_bytes_are_looked_at_between_recordings() -> None:
    """The recording that crosses the limit is kept, the next is not begun."""
    budget = Budget(limits=Budgets(max_bytes=100))
    assert await budget.reserve() is None
    budget.finish(150)
    assert await budget.reserve() == "--max-bytes 100"


def test_bytes_are_exceeded_by_about_one_recording() -> None:
    """However many workers there are: a small limit is not overrun by all of them."""

    async def main() -> None:
        budget = Budget(limits=Budgets(max_bytes=1_000))

        async def work() -> None:
            while await budget.reserve() is None:
                await asyncio.sleep(1)
                budget.finish(100)

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(work())
        assert 1_000 <= budget.saved_bytes <= 1_100

    run_virtually(main())


async def test_the_first_reason_to_stop_stays() -> None:
    """A budget reached while a signal drains does not change the exit code."""
    stopper = Stopper()
    assert not stopper.is_stopping
    stopper.stop("SIGTERM", 143)
    stopper.stop("--max-bytes 1", 8)

    assert (stopper.reason, stopper.exit_code, stopper.is_now) == ("SIGTERM", 143, False)
    await stopper.wait()


async def test_a_sleep_ends_when_the_run_stops() -> None:
    """Nobody waits out a backoff in a run that drains."""
    stopper = Stopper()
    await stopper.sleep(0.001)
    asyncio.get_running_loop().call_later(0.01, stopper.stop, "SIGINT", 130)
    with pytest.raises(Draining):
        await stopper.sleep(60)


@pytest.mark.parametrize("now", [True, False])
def test_the_grace_time_ends_early_with_a_second_signal(*, now: bool) -> None:
    """Without one it lasts its whole length."""

    async def main() -> None:
        loop, stopper = asyncio.get_running_loop(), Stopper()
        stopper.stop("SIGINT", 130)
        if now:
            loop.call_later(1, lambda: stopper.stop("SIGINT", 130, now=True))
        await stopper.wait_now(20)
        assert loop.time() == pytest.approx(1 if now else 20)
        assert stopper.is_now

    run_virtually(main())


async def test_what_needs_no_waiting_is_reserved_at_once() -> None:
    """And what would need it is not."""
    budget = Budget(limits=Budgets(max_recordings=2))
    assert budget.reserve_now()
    assert budget.reserve_now()
    assert not budget.reserve_now()
    budget.finish(None)
    assert budget.reserve_now()
    assert budget.under_way == 2
