"""Retrying: only what is named transient, bounded, and with nothing held while it waits."""

import asyncio

import pytest

from bulkaudio.policy import Reason
from bulkaudio.retry import CAP_S, AttemptFailed, Limits, Retry, retrying


class Journal:
    """Remembers waits and reports instead of spending time."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.retries: list[Retry] = []

    async def sleep(self, seconds: float) -> None:
        """Note the wait."""
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def run(*failures: BaseException | None, limits: Limits | None = None) -> tuple[int, Journal]:
    """Retry a call that fails so, then succeeds; returns the attempt that did."""
    journal, script = Journal(), list(failures)

    async def attempt(number: int) -> int:
        failure = script.pop(0) if script else None
        if failure is not None:
            raise failure
        return number

    number = await retrying(
        attempt, limits or Limits(), on_retry=journal.retries.append, sleep=journal.sleep
    )
    return number, journal


async def test_a_transient_failure_is_tried_again() -> None:
    """Two resets cost two waits, and the third attempt's result is returned."""
    number, journal = await run(AttemptFailed(Reason.CONNECTION), AttemptFailed(Reason.CONNECTION))

    assert number == 3
    assert [retry.attempt for retry in journal.retries] == [1, 2]
    assert journal.waits == [retry.wait_s for retry in journal.retries]


async def test_the_last_failure_is_raised_when_attempts_are_used_up() -> None:
    """Five failures are five attempts, and the last reason is the one that is known."""
    failures = [AttemptFailed(Reason.TIMEOUT) for _ in range(4)]
    last = AttemptFailed(Reason.STALLED)
    with pytest.raises(AttemptFailed) as caught:
        await run(*failures, last, AttemptFailed("never reached"))

    assert caught.value is last


@pytest.mark.parametrize(("reason", "attempts"), [(Reason.NOT_AUDIO, 3), (Reason.PROTOCOL, 2)])
async def test_some_reasons_get_fewer_attempts(reason: str, attempts: int) -> None:
    """HTML is asked for three times, a broken protocol twice, whatever is configured."""
    journal = Journal()
    asked = 0

    async def attempt(_: int) -> None:
        nonlocal asked
        asked += 1
        raise AttemptFailed(reason)

    with pytest.raises(AttemptFailed):
        await retrying(
            attempt, Limits(attempts=9), on_retry=journal.retries.append, sleep=journal.sleep
        )
    assert asked == attempts


async def test_throttled_answers_use_up_no_attempts_and_wait_at_the_gate() -> None:
    """Twenty throttled answers and four resets still leave the fifth attempt."""
    throttled = [AttemptFailed(Reason.THROTTLED, is_throttle=True) for _ in range(20)]
    resets = [AttemptFailed(Reason.CONNECTION) for _ in range(4)]
    number, journal = await run(*throttled, *resets)

    assert number == 25
    assert journal.waits[:20] == [0.0] * 20


async def test_a_host_that_throttles_one_request_for_ever_does_not_hold_it_for_ever() -> None:
    """The backstop ends it."""
    throttled = [AttemptFailed(Reason.THROTTLED, is_throttle=True) for _ in range(10)]
    with pytest.raises(AttemptFailed):
        await run(*throttled, limits=Limits(throttles=10))


async def test_waits_are_jittered_and_capped() -> None:
    """Waits grow up to the cap and are not all alike."""
    failures = [AttemptFailed(Reason.CONNECTION) for _ in range(30)]
    _, journal = await run(*failures, limits=Limits(attempts=99))

    assert all(0 <= wait <= CAP_S for wait in journal.waits)
    assert journal.waits[0] <= 1.0
    assert len({round(wait, 6) for wait in journal.waits}) > 20


@pytest.mark.parametrize("error", [RuntimeError("bug"), asyncio.CancelledError()])
async def test_nothing_else_is_retried(error: BaseException) -> None:
    """A bug and a cancellation pass at once: a retried CancelledError would hang the shutdown."""
    with pytest.raises(type(error)):
        await run(error)


async def test_a_wait_can_be_cancelled() -> None:
    """Cancelling during the wait ends the call."""

    async def fail(_: int) -> None:
        raise AttemptFailed(Reason.CONNECTION)

    async def forever(_: float) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await retrying(fail, Limits(), on_retry=lambda _: None, sleep=forever)
