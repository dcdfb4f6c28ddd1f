"""
Admission to one host: how many requests at once, and when none at all. Nothing to tune.

One gate per host, shared by all workers. The number of slots is found by `bulkaudio.slots`;
throttling cuts it to 0.7, trouble to 0.5, at most once for the requests that were under way
together (an epoch). How many a second, at a host that counts them, is found by `bulkaudio.rate`.
`Retry-After` closes the gate for everybody, because workers that each wait on
their own come back together. When failures outweigh successes it lets one probe through at a time,
and after `give_up_s` without a single success it declares the host unavailable. A host that asks for
more than `MAX_WAIT_S` may mean one request or everybody: nobody is admitted until those under way
are answered, or one probe where there are none, and without a good answer among them it is everybody.

Rules of this file: all state changes in synchronous methods between two awaits; each ends in
`_pump`, the one place that admits; time comes from `clock`; no I/O.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bulkaudio.bandwidth import Bandwidth
from bulkaudio.errors import HostUnavailableError
from bulkaudio.events import Emit, GateMoved
from bulkaudio.policy import MAX_WAIT_S, Reason
from bulkaudio.put_off import PutOff
from bulkaudio.quantities import format_duration
from bulkaudio.rate import Rate
from bulkaudio.settings import MAX_SLOTS, MOST_SLOTS
from bulkaudio.slots import Slots
from bulkaudio.ticket import Ticket

COLD_SLOTS = 8
"""Until a first good answer, so that a refused key costs no more requests than this."""

START_CREDIT = 20.0
CREDIT_GROWTH = 2.5
"""Times the start, that success upon success saves up for failures."""

TROUBLE_WEIGHT = 0.02
TROUBLE_SHARE = 0.25
"""Of recent requests failing on connections or 5xx, before the slots are halved: below it, faults
are noise that fewer slots would not cure. Recent means some fifty, weighted by `TROUBLE_WEIGHT`."""

NO_SUCH_HOST = "dns"
"""The reason of a failed name look-up."""

MAX_PAUSE_S = 30.0
LATE_S = 0.02
"""By so much timers, and a busy loop, may be late; requests that this held back are made up for."""

TROUBLES = {
    NO_SUCH_HOST: "its name cannot be resolved",
    Reason.CONNECTION: "the connection failed or broke",
    Reason.TIMEOUT: "no answer in time",
    Reason.STALLED: "the transfer stalled",
    Reason.THROTTLED: "it asked to slow down",
}
"""Reasons of a request's failure, for the error that ends a run."""


class Draining(Exception):  # noqa: N818  a signal, not an error
    """The run takes no more work; what was to be requested stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """
    A gate's few limits.

    Attributes:
        fixed: A ceiling the user chose, climbed to without asking whether it helps; None looks
            for the best by itself.
        start: Slots the last run ended with.
        credit: Failures beyond the successes before the host counts as down. Small where requests
            come one by one: each would use up its own attempts before many failures add up.
        bandwidth: The ceiling on what arrives; under it flow says nothing about the host.
    """

    fixed: int | None = None
    start: int = COLD_SLOTS
    max_rate: float | None = None
    give_up_s: float = 15 * 60.0
    credit: float = START_CREDIT
    bandwidth: Bandwidth = field(default_factory=Bandwidth)


class Gate:
    """
    See the module. `slots` is what it currently allows at once.

    Args:
        host: For messages and events.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        host: str,
        options: GateOptions | None = None,
        *,
        emit: Emit = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self._options = options or GateOptions()
        self.bandwidth = self._options.bandwidth
        self._emit = emit
        self._clock = clock
        self._slots = Slots(
            start=self._options.start,
            ceiling=self._options.fixed or MAX_SLOTS,
            is_fixed=self._options.fixed is not None,
            now=clock(),
        )
        self._rate = Rate(clock())
        self._max_rate = self._options.max_rate
        self._most_slots = MOST_SLOTS
        self._in_flight = 0
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._end: BaseException | None = None
        self._closed_until = 0.0
        self._put_off = PutOff(host=host)
        self._next_start = 0.0
        self._epoch = 0
        self._is_cold = True
        self._credit = self._options.credit
        self._is_open_circuit = False
        self._pauses = 0
        self._failed_lookups = 0
        self._trouble = 0.0
        self._failing_since: float | None = None
        self._last_trouble = ""

    def __repr__(self) -> str:
        state = "probing" if self._is_probing else "open"
        return f"<Gate {self.host} {state} {self._in_flight}/{self.slots}>"

    @property
    def slots(self) -> int:
        """How many requests may be under way at once now."""
        if self._is_probing:
            return 1
        count = min(self._slots.count, COLD_SLOTS) if self._is_cold else self._slots.count
        count = min(count, self._most_slots)
        return min(count, self.bandwidth.most_at_once) if self.bandwidth.has_ceilings else count

    @property
    def learned_slots(self) -> int:
        """What the next run may start with."""
        return self._slots.count

    @property
    def is_down(self) -> bool:
        """Whether failures outweigh successes, so that one probe at a time is let through."""
        return self._is_open_circuit

    @property
    def _is_probing(self) -> bool:
        return self._is_open_circuit or self._put_off.until is not None

    def put_off(self) -> HostUnavailableError | None:
        """
        Return what ends a run to whose last requests the host only said to come back much later.

        One alone that was answered so, after good answers to others, is that request's own matter.
        """
        return self._put_off.end(self._clock(), is_cold=self._is_cold)

    def share_bandwidth(self, other: "Gate") -> None:
        """Come under the ceiling that another host's bodies are under."""
        self.bandwidth = other.bandwidth

    def keep_to(self, max_rate: float | None, slots: int | None = None) -> None:
        """
        Come under other ceilings than those of the start: a share of what all workers may do.

        Args:
            max_rate: Requests a second; zero admits nobody until there is another.
        """
        self._max_rate = max_rate
        self._most_slots = MOST_SLOTS if slots is None else slots
        self._pump()

    def pause(self, seconds: float, reason: str) -> None:
        """Stay closed for so long, because the host said so to somebody else."""
        self._pause_until(self._clock() + seconds, reason)
        self._pump()

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[Ticket]:
        """
        Wait for a slot, hold it for the body of the ``async with``.

        Raises:
            HostUnavailableError: When the host gave no good answer for `give_up_s`.
            Draining: When `close` was called.
        """
        is_probe = await self._enter()
        try:
            yield Ticket(self, self._epoch, is_probe=is_probe)
        finally:
            self._in_flight -= 1
            self._pump()

    def close(self, end: BaseException | None = None) -> None:
        """Admit nobody any more; whoever waits gets `end`, or `Draining`."""
        self._end = self._end or end or Draining()
        self._pump()

    async def _enter(self) -> bool:
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._pump()
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Admitted and cancelled in the same turn of the loop: give the slot back.
                self._in_flight -= 1
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            self._pump()
            raise

    def _pump(self) -> None:
        """Admit whoever may go now, and set one timer for the next who may."""
        while self._waiters:
            if self._waiters[0].done():
                del self._waiters[0]
                continue
            now = self._clock()
            if self._closed_until > now:
                # Once open again, a probe goes first and its answer decides.
                self._end = self._end or self._gave_up(now)
            put_off_until = self._put_off.everybody_until(self._in_flight)
            if put_off_until > self._deadline(now):
                self._end = self._end or self._put_off.turned_away(now)
            if self._end is not None:
                self._waiters.popleft().set_exception(self._end)
                continue
            if self._in_flight >= self.slots or self._max_rate == 0:
                return
            wait_s = max(self._closed_until, put_off_until, self._next_start) - now
            if wait_s > 0:
                self._wake_in(self._until_deadline(now, wait_s))
                return
            self._start(now)

    def _start(self, now: float) -> None:
        self._in_flight += 1
        self._slots.started(self._in_flight)
        rate = min(self._max_rate or math.inf, self._rate.limit or math.inf)
        self._next_start = max(self._next_start, now - max(1.0 / rate, LATE_S)) + 1.0 / rate
        self._waiters.popleft().set_result(self._is_probing)

    def _wake_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._pump)

    def _gave_up(self, now: float) -> HostUnavailableError | None:
        """Tell whether the time without one good answer is over."""
        if self._failing_since is None or now - self._failing_since < self._options.give_up_s:
            return None
        why = TROUBLES.get(self._last_trouble, self._last_trouble.replace("http_", "HTTP "))
        return HostUnavailableError(
            f"{self.host} gave no good answer for {format_duration(now - self._failing_since)}, "
            f"last: {why}",
            fix="check the network, and run again later: nothing is lost; --give-up-after sets how "
            "long to wait",
        )

    def _deadline(self, now: float) -> float:
        # One second of slack lets a Retry-After as long as the deadline still be probed once.
        since = now if self._failing_since is None else self._failing_since
        return since + self._options.give_up_s + 1.0

    def _until_deadline(self, now: float, wait_s: float) -> float:
        if self._failing_since is None:
            return wait_s
        left_s = self._failing_since + self._options.give_up_s - now
        return wait_s if now + wait_s <= self._deadline(now) else max(left_s, 0.0)

    def heard_began(self, first_byte_s: float, received_bytes: int) -> None:
        """A good answer began: the host is there, and takes the key."""
        self._is_cold = False
        self._slots.answered(first_byte_s, received_bytes)
        self._look()
        self._pump()

    def heard_bytes(self, received_bytes: int) -> None:
        """Bytes of an answer came that had begun."""
        self._slots.received(received_bytes)
        self._look()
        if self.bandwidth.has_ceilings and self._in_flight < self.slots:
            # The bandwidth's ceiling has risen by the clock, which nobody else tells.
            self._pump()

    def heard_succeeded(self, epoch: int) -> None:
        """A good answer is over."""
        self._failing_since = None
        self._pauses = 0
        self._trouble *= 1.0 - TROUBLE_WEIGHT
        self._credit = min(self._options.credit * CREDIT_GROWTH, self._credit + 1.0)
        if self._is_probing:
            if self._is_open_circuit:
                self._credit = self._options.credit / 2
            self._is_open_circuit = False
            self._put_off.clear()
            self._move("the host answers again")
        if epoch == self._epoch:
            self._rate.answered(self._clock())
        self._pump()

    def _look(self) -> None:
        now = self._clock()
        is_limited = now < max(self._closed_until, self._next_start)
        if self.bandwidth.has_ceilings:
            is_limited = is_limited or self.bandwidth.is_holding
        if self._slots.look(now, self._in_flight, is_limited=is_limited):
            self._move("feeling the way up")
            self._pump()

    def heard_throttled(self, epoch: int, retry_after_s: float | None) -> None:
        """The host is busy, and says perhaps for how long."""
        now, self._last_trouble = self._clock(), Reason.THROTTLED
        self._failing_since = self._failing_since if self._failing_since is not None else now
        if retry_after_s is not None and retry_after_s > MAX_WAIT_S:
            self._put_off.note(now + retry_after_s)
            self._move("the host asked for a long wait")
            retry_after_s = None
        elif retry_after_s is not None:
            self._pause_until(now + retry_after_s, "the host asked to wait")
        if epoch == self._epoch:
            self._slots.strike()
            self._cut(0.7, "throttled")
            if retry_after_s is None:
                self._pause_until(now + self._backoff_s(1.0), "throttled")
            self._rate.refused(now, self._closed_until)
        self._end = self._end or self._gave_up(now)
        self._pump()

    def heard_failed(self, epoch: int, reason: str, weight: float) -> None:
        """Connection trouble, a timeout or a 5xx, which weighs so much."""
        now, self._last_trouble = self._clock(), reason
        self._failing_since = self._failing_since if self._failing_since is not None else now
        self._credit -= weight
        self._trouble += (1.0 - self._trouble) * TROUBLE_WEIGHT
        if reason == NO_SUCH_HOST and self._is_cold:
            self._lookup_failed(epoch)
        if self._credit <= 0:
            self._is_open_circuit = True
            self._pause_until(now + self._backoff_s(1.0), f"the host fails: {reason}")
        elif self._trouble > TROUBLE_SHARE and epoch == self._epoch:
            self._trouble = 0.0
            self._cut(0.5, f"trouble: {reason}")
        self._end = self._end or self._gave_up(now)
        self._pump()

    def _lookup_failed(self, epoch: int) -> None:
        """A name that never resolved is a wrong name or no network: three probes, then the end."""
        self._credit = 0.0
        if epoch == self._epoch:
            self._epoch += 1
            self._failed_lookups += 1
        if self._failed_lookups >= 3:
            self._end = self._end or HostUnavailableError(
                f"the name {self.host} cannot be resolved",
                fix="check the network, the DNS server, and --region",
            )

    def _cut(self, factor: float, reason: str) -> None:
        self._epoch += 1
        self._slots.cut(factor, self._clock(), self._in_flight)
        self._move(reason)

    def _pause_until(self, until: float, reason: str) -> None:
        if until > self._closed_until:
            self._closed_until = until
            self._move(reason)

    def _backoff_s(self, base_s: float) -> float:
        self._pauses += 1
        longest_s = min(MAX_PAUSE_S, base_s * 2.0 ** min(self._pauses - 1, 10))
        return random.uniform(0.1, 1.0) * longest_s  # noqa: S311  jitter

    def _move(self, reason: str) -> None:
        closed_s = max(0.0, max(self._closed_until, self._put_off.until or 0.0) - self._clock())
        self._emit(GateMoved(host=self.host, slots=self.slots, closed_s=closed_s, reason=reason))
