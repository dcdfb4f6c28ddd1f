"""
Trying again: what is retried, how often, and how long it waits. tenacity does the looping.

Rules of this file: only `AttemptFailed` is retried (an allow-list: a catch-all predicate would
retry `CancelledError` and hang the shutdown); nothing is held while waiting; attempts are counted
here, because throttled ones do not use up a recording's attempts and tenacity's own count cannot
know that.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from bulkaudio.model import Evidence
from bulkaudio.policy import attempts_for

T = TypeVar("T")

BASE_S = 0.5
CAP_S = 30.0


class AttemptFailed(Exception):  # noqa: N818  a signal between two rooms, not an error that leaves them
    """
    One attempt ended without a result, and another may succeed.

    Args:
        reason: A word of `bulkaudio.policy.Reason`, or ``http_<status>``.
        is_throttle: The host is busy or down, not this request at fault: the gate does the
            waiting, and no attempt is used up.
        retry_after_s: What the host asked for.
    """

    def __init__(
        self,
        reason: str,
        *,
        evidence: Evidence | None = None,
        is_throttle: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence or Evidence()
        self.is_throttle = is_throttle
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What is about to be retried, for whoever reports it; `wait_s` excludes the gate's wait."""

    attempt: int
    wait_s: float
    failure: AttemptFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How long to go on.

    Attributes:
        attempts: That count, for most reasons; see `bulkaudio.policy.attempts_for`.
        throttles: A backstop against a host that throttles one request for ever while it serves
            others; the gate gives up on a host that throttles all of them.
    """

    attempts: int = 5
    throttles: int = 100


@dataclass(slots=True, kw_only=True)
class _Count:
    """Decides on stopping and waiting from the failures of one call."""

    limits: Limits
    counted: int = 0
    throttled: int = 0
    last: AttemptFailed = field(default_factory=lambda: AttemptFailed("none"))

    def note(self, failure: AttemptFailed) -> None:
        self.last = failure
        if failure.is_throttle:
            self.throttled += 1
        else:
            self.counted += 1

    def is_over(self, _: RetryCallState) -> bool:
        if self.last.is_throttle:
            return self.throttled >= self.limits.throttles
        return self.counted >= attempts_for(self.last.reason, self.limits.attempts)

    def wait_s(self, _: RetryCallState) -> float:
        if self.last.is_throttle:
            return 0.0
        return random.uniform(0, min(CAP_S, BASE_S * 2.0**self.counted))  # noqa: S311  jitter


async def retrying(
    attempt: Callable[[int], Awaitable[T]],
    limits: Limits,
    *,
    on_retry: Callable[[Retry], None],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """
    Call `attempt(number)` until it returns; numbers start at 1 and count throttled ones too.

    Args:
        on_retry: Told before each wait.
        sleep: May raise to end the wait; it is called while nothing is held.

    Raises:
        AttemptFailed: The last one, when the limits are reached.
    """
    count = _Count(limits=limits)
    number = 0
    first: AttemptFailed | None = None

    async def numbered() -> T:
        nonlocal number, first
        if first is not None:
            failure, first = first, None
            raise failure
        number += 1
        try:
            return await attempt(number)
        except AttemptFailed as failure:
            # Here, because tenacity asks for the wait before it asks whether to stop.
            count.note(failure)
            raise

    def report(state: RetryCallState) -> None:
        wait_s = state.next_action.sleep if state.next_action else 0.0
        on_retry(Retry(attempt=number, wait_s=wait_s, failure=count.last))

    # Nearly all first attempts succeed, and setting tenacity up would cost each of them a tenth of
    # what it costs in all. One that failed is handed to it as its first.
    try:
        return await numbered()
    except AttemptFailed as failure:
        first = failure
    retryer = AsyncRetrying(
        retry=retry_if_exception_type(AttemptFailed),
        stop=count.is_over,
        wait=count.wait_s,
        before_sleep=report,
        sleep=sleep,
        reraise=True,
    )
    return await retryer(numbered)
