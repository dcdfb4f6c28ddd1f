"""
How many requests at once: found by looking at what more of them bring. Pure but for its own state.

From a few the number doubles in every window of time until the flow of answers stops growing; then
it goes up one by one while that helps, and down by a factor when the host says so. A level that was
throttled is tried again ever more rarely.
"""

from dataclasses import dataclass

WINDOW_S = 0.3
MIN_ANSWERS_PER_WINDOW = 10
MIN_BYTES_PER_WINDOW = 1024 * 1024
"""Either is enough to judge a window by: long recordings end too rarely for their number to be."""

STEP_ANSWERS = 60
"""Good answers between two tries of a level that was throttled before; grows with each strike."""

MOST_STRIKES = 8
BYTES_PER_ANSWER = 16 * 1024
"""What an answer weighs beside its bytes when the flow is measured."""

RISE = 1.05
"""So much more than the best flow so far is a rise; less is noise."""


@dataclass(slots=True, kw_only=True)
class Window:
    """What was seen since `started_at`: good answers, sums over them, most requests at once."""

    started_at: float
    answers: int = 0
    weight: float = 0.0
    first_byte_s: float = 0.0
    peak: int = 0


class Slots:
    """
    The number of slots of one host.

    Args:
        is_fixed: The ceiling was chosen by the user and is climbed to without asking whether it
            helps.
        now: Monotonic seconds, as everywhere here.
    """

    def __init__(self, *, start: int, ceiling: int, is_fixed: bool, now: float) -> None:
        self._ceiling = float(ceiling)
        self._level = min(self._ceiling, float(max(1, start)))
        self._is_fixed = is_fixed
        self._is_searching = True
        self._window = Window(started_at=now)
        self._best_flow = 0.0
        self._stale_windows = 0
        self._first_byte_s = 0.0
        self._least_first_byte_s = float("inf")
        self._strikes = 0
        self._throttled_level = float("inf")
        self._answers_since_cut = 0

    @property
    def count(self) -> int:
        """How many requests may be under way at once."""
        return max(1, int(self._level))

    def started(self, in_flight: int) -> None:
        """Take note that a request left, and how many are under way with it."""
        self._window.peak = max(self._window.peak, in_flight)

    def answered(self, first_byte_s: float, received_bytes: int) -> None:
        """Take a good answer into account."""
        self._answers_since_cut += 1
        self._window.answers += 1
        self._window.first_byte_s += first_byte_s
        self._window.weight += received_bytes + BYTES_PER_ANSWER
        self._least_first_byte_s = min(self._least_first_byte_s, first_byte_s)

    def received(self, received_bytes: int) -> None:
        """Take bytes of a good answer into account that it did not come with."""
        self._window.weight += received_bytes

    def strike(self) -> None:
        """Remember that the host throttled at this level."""
        self._throttled_level = min(self._throttled_level, self._level)
        self._strikes = min(self._strikes + 1, MOST_STRIKES)

    def cut(self, factor: float, now: float, in_flight: int) -> None:
        """Reduce what was really in use, which may be less than was allowed."""
        used = float(max(self._window.peak, 1))
        self._level = max(1.0, min(self._level, used) * factor)
        self._is_searching = False
        self._answers_since_cut = 0
        self._window = Window(started_at=now, peak=in_flight)

    def look(self, now: float, in_flight: int, *, is_limited: bool) -> bool:
        """
        Move, when a window has ended that says something; return whether the count changed.

        Args:
            is_limited: Something else holds the requests back, so the flow says nothing.
        """
        window, elapsed_s = self._window, now - self._window.started_at
        if elapsed_s < max(WINDOW_S, 3 * self._first_byte_s):
            return False
        if window.answers < MIN_ANSWERS_PER_WINDOW and window.weight < MIN_BYTES_PER_WINDOW:
            return False
        before = self.count
        is_busy = window.peak * 2 >= before
        self._window = Window(started_at=now, peak=in_flight)
        if is_busy and not is_limited:
            if window.answers:
                self._first_byte_s = window.first_byte_s / window.answers
            self._move(window.weight / elapsed_s)
        return self.count != before

    def _move(self, flow: float) -> None:
        # Answers come in waves, so flow alone is noisy; a first byte that takes twice as long as it
        # can is the surer sign that requests queue up at the host.
        is_queueing = self._first_byte_s > 2 * self._least_first_byte_s + 0.01
        is_rising = flow > self._best_flow * RISE and not is_queueing
        self._best_flow = max(flow, self._best_flow * 0.995)
        if self._is_searching:
            self._search(is_rising=is_rising)
        elif is_rising or self._strikes or self._is_fixed:
            self._step()

    def _search(self, *, is_rising: bool) -> None:
        """Double until two windows in a row bring nothing."""
        self._stale_windows = 0 if is_rising else self._stale_windows + 1
        if is_rising or self._is_fixed:
            self._level = min(self._ceiling, self._level * 2)
        elif self._stale_windows == 2:
            self._is_searching = False

    def _step(self) -> None:
        """Add one slot; a level that was throttled before is tried again ever more rarely."""
        if self._level + 1 >= self._throttled_level:
            if self._answers_since_cut < STEP_ANSWERS * self._strikes:
                return
            self._answers_since_cut = 0
        self._level = min(self._ceiling, self._level + 1)
