"""What the simulator was asked, kept for the tests that count."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

RECENT = 256


class What(NamedTuple):
    """
    What a request was for.

    Attributes:
        kind: ``recording``, ``page``, ``conversation`` or ``other``.
        id: The conversation, or a page's cursor or offset; empty for what does not exist, which
            keeps the journal bounded by the number of calls.
        direction: Of a recording.
    """

    kind: str
    id: str = ""
    direction: str = ""


OTHER = What("other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request as it arrived: the host it was sent to, the raw request line, its headers."""

    host: str
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Journal:
    """
    Counts of requests and answers.

    Attributes:
        counts: Requests by what they were for, faulty ones included.
        statuses: Answers by status; a connection broken before its headers counts as 0.
        recent: The last 256 requests, oldest first.
        total: All requests.
        peak: Most requests that were being answered at once.
    """

    counts: Counter[What] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    recent: deque[Heard] = field(default_factory=lambda: deque(maxlen=RECENT), repr=False)
    total: int = 0
    peak: int = 0

    def recordings(self) -> Counter[tuple[str, str]]:
        """Return how often each (conversation id, direction) was asked for."""
        return Counter({(w.id, w.direction): n for w, n in self._of("recording")})

    def pages(self) -> Counter[str]:
        """Return how often each page of the listing was asked for, by cursor or offset."""
        return Counter({what.id: n for what, n in self._of("page")})

    def clear(self) -> None:
        """Forget everything; the faults of each recording start again, too."""
        self.counts.clear()
        self.statuses.clear()
        self.recent.clear()
        self.total = self.peak = 0

    def _of(self, kind: str) -> list[tuple[What, int]]:
        return [(what, n) for what, n in self.counts.items() if what.kind == kind]
