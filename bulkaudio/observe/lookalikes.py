"""Recordings of different conversations with the same bytes: an error tone, a placeholder."""

from dataclasses import dataclass, field

from bulkaudio.model import Outcome

MANY = 3
"""So many conversations with the same bytes are no coincidence."""

MAX_WATCHED = 4096
"""Different recordings watched at once; a run of ten million must not keep every digest."""

MAX_FOUND = 10
MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookalike:
    """
    Bytes that came for many conversations.

    Attributes:
        conversations: How many, at least.
        examples: Ids of the first ones.
    """

    sha256: str
    bytes: int
    conversations: int
    examples: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Watched:
    bytes: int
    count: int = 0
    credit: int = 0
    examples: list[str] = field(default_factory=list)
    last: str = ""


@dataclass(slots=True)
class Lookalikes:
    """
    Watches for digests that come again, in bounded memory.

    Misra and Gries: when the table is full everyone loses a credit and those without leave, so
    whatever makes up more than 1 in `MAX_WATCHED` of all recordings cannot be missed. Small runs
    are exact.
    """

    _watched: dict[str, _Watched] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Take a saved recording into account."""
        if outcome.sha256 is None:
            return
        entry = self._watched.get(outcome.sha256)
        if entry is None:
            if len(self._watched) >= MAX_WATCHED:
                self._decay()
                return
            entry = self._watched[outcome.sha256] = _Watched(bytes=outcome.bytes or 0)
        conversation_id = outcome.recording.conversation_id
        # The directions of one conversation may well be equal: a call that nobody spoke in.
        if entry.last == conversation_id or conversation_id in entry.examples:
            return
        entry.last = conversation_id
        entry.count += 1
        entry.credit += 1
        if len(entry.examples) < MAX_EXAMPLES:
            entry.examples.append(conversation_id)

    def found(self) -> tuple[Lookalike, ...]:
        """Return the most frequent ones, at most `MAX_FOUND`."""
        many = [(sha256, w) for sha256, w in self._watched.items() if w.count >= MANY]
        many.sort(key=lambda pair: -pair[1].count)
        return tuple(
            Lookalike(
                sha256=sha256, bytes=w.bytes, conversations=w.count, examples=tuple(w.examples)
            )
            for sha256, w in many[:MAX_FOUND]
        )

    def _decay(self) -> None:
        for entry in self._watched.values():
            entry.credit -= 1
        self._watched = {sha256: w for sha256, w in self._watched.items() if w.credit > 0}
