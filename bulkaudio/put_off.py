"""
Whether a host that asks for a very long wait means one request or everybody. Pure but for its state.

Two in a row, without a good answer to anybody in between, mean everybody; one alone says nothing yet.
"""

from dataclasses import dataclass

from bulkaudio.errors import HostUnavailableError
from bulkaudio.quantities import format_duration


@dataclass(slots=True, kw_only=True)
class PutOff:
    """
    What a host put off since its last good answer.

    Attributes:
        until: Monotonic seconds; None after a good answer.
    """

    host: str
    until: float | None = None
    _in_a_row: int = 0

    def note(self, until: float) -> None:
        """Take note of an answer that asked to come back then."""
        self.until = max(self.until or 0.0, until)
        self._in_a_row += 1

    def clear(self) -> None:
        """Take note of a good answer."""
        self.until, self._in_a_row = None, 0

    def everybody_until(self, in_flight: int) -> float:
        """Tell when the host may be asked again; zero while a request may show that it may be now."""
        if self.until is None or in_flight or self._in_a_row == 1:
            return 0.0
        return self.until

    def end(self, now: float, *, is_cold: bool) -> HostUnavailableError | None:
        """
        Return what a run ends with to whose last requests nothing else was answered.

        Args:
            is_cold: There was no good answer at all: then one is enough.
        """
        if self.until is None or (self._in_a_row == 1 and not is_cold):
            return None
        return self.turned_away(now)

    def turned_away(self, now: float) -> HostUnavailableError:
        """Say that everybody is to come back later."""
        return HostUnavailableError(
            f"{self.host} asks to wait for {format_duration((self.until or now) - now)}, and answers "
            "nothing else",
            fix="run again after that: nothing is lost, and what was not reached is left for then; "
            "a longer --give-up-after waits for it",
        )
