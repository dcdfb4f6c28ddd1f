"""
How many requests a second a host takes that throttles by rate. Pure but for its own state.

Fewer at once cannot help where a single one, asked again and again, is too many: a host that allows
a hundred a second and answers in a millisecond would refuse most of the time and be closed for the
rest. What it took between two refusals, waits included, is a rate that it takes for sure; what it took
while it was asked, until it refused, is more than it takes. The rate is sought between the two, and
from below: each refusal costs a wait.
"""

from dataclasses import dataclass

MIN_ANSWERS = 5
"""Fewer good answers between two refusals say nothing about a rate."""

QUIET_S = 1.0
"""Without a refusal for so long, the rate goes `APPROACH` of the way up to what was too much."""

APPROACH = 0.125
NEAR = 0.98
PATIENCE_S, MAX_PATIENCE_S = 15.0, 300.0
"""At `NEAR` what was too much, how long to stay before trying whether it still is; grows each time
that it was."""

PROBE = 0.05
FLOOR, FIRST_GUESS = 1.0, 50.0
"""Requests a second: what is always tried, and what was too much for a host that took only a few."""

BACK = 0.7


@dataclass(slots=True, kw_only=True)
class _Period:
    """
    From one refusal to the next.

    Attributes:
        refused_at: None before the first.
        began_at: When the first good answer came: not when the gate opened, because answers lag
            behind requests.
    """

    refused_at: float | None
    began_at: float | None = None
    answers: int = 0


class Rate:
    """
    The rate limit of one host, as far as it is known; times are monotonic seconds.

    Attributes:
        limit: Requests a second; None while the host has not shown that it has one.
    """

    def __init__(self, now: float) -> None:
        self.limit: float | None = None
        self._period = _Period(refused_at=None)
        self._sure, self._too_much = 0.0, float("inf")
        self._looked_at = now
        self._patience_s, self._probe = PATIENCE_S, PROBE

    def answered(self, now: float) -> None:
        """Take a good answer into account, and go up when it was quiet for long enough."""
        period = self._period
        if period.began_at is None:
            period.began_at = now
        period.answers += 1
        if self.limit is None or now - self._looked_at < QUIET_S:
            return
        if self.limit < self._too_much * NEAR:
            self._looked_at = now
            self.limit += (self._too_much - self.limit) * APPROACH
        elif now - self._looked_at >= self._patience_s:
            self._looked_at = now
            self._too_much *= 1.0 + self._probe
            # Whoever has more room than that should not have to wait for years.
            self._probe *= 2.0

    def refused(self, now: float, opens_at: float) -> None:
        """
        Learn from the first refusal of those that were under way together.

        Args:
            opens_at: When the next request may be sent.
        """
        period, self._period = self._period, _Period(refused_at=now)
        self._looked_at = max(now, opens_at)
        if self._probe > PROBE:
            self._probe = PROBE
            self._patience_s = min(MAX_PATIENCE_S, self._patience_s * 2.0)
        if period.refused_at is None or period.began_at is None:
            # What was taken at first may have been taken at one go, and nothing says nothing.
            return
        if period.answers < MIN_ANSWERS:
            self._too_much = self.limit or FIRST_GUESS
            self.limit = max(FLOOR, self._too_much * BACK)
            self._sure = min(self._sure, self.limit)
            return
        self._narrow(
            sure=period.answers / (now - period.refused_at),
            too_much=period.answers / max(now - period.began_at, 0.001),
        )

    def _narrow(self, *, sure: float, too_much: float) -> None:
        if self.limit is not None and too_much > self.limit * BACK:
            # The average of a climb is less than what was refused at its end.
            too_much = self.limit
        if too_much < self._sure:
            # It takes less than it did, or the seconds were odd ones: believed bit by bit.
            sure, too_much = max(sure, self._sure * BACK), self._sure
        else:
            sure = max(sure, self._sure)
        self._sure, self._too_much = sure, too_much
        self.limit = max(FLOOR, (sure * too_much) ** 0.5)
