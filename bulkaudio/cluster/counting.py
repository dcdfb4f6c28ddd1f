"""
Counting far away, and counting it once.

A worker counts from the beginning of its attempt at a shard and says so once to four times a second,
and at the end; what it says may come twice, late, or never. The run takes of each the part that it has
not heard yet. Pure.
"""

from collections import Counter
from dataclasses import dataclass, field

from bulkaudio.cluster.parcels import Counts
from bulkaudio.events import (
    Answered,
    Event,
    Noted,
    Received,
    Relayed,
    Retrying,
    SidecarSettled,
)
from bulkaudio.policy import Reason

TELL_EVERY = 4
"""Looks at the notice between two words of a worker about how it goes, at most."""

FEW = 8
"""So many workers more, one look more between two words: the run has to hear all of them."""

MOST_ATTEMPTS = 4096
"""So many are remembered at once; a report of an older one has come long ago."""


def looks_between(workers: int) -> int:
    """Return after how many looks at the notice a worker tells: what it dies with is never counted."""
    return min(TELL_EVERY, 1 + workers // FEW)


@dataclass(slots=True)
class Count:
    """What one attempt at a shard came to so far: an `Emit` by being called."""

    http: Counter[int] = field(default_factory=Counter)
    received_bytes: int = 0
    retries: int = 0
    throttled: int = 0
    notes: dict[str, bool] = field(default_factory=dict)
    sidecars: list[tuple[str, str | None]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take an event into account; see `Emit`."""
        match event:
            case Received(bytes=size):
                self.received_bytes += size
            case Answered(http_status=status):
                self.http[status] += 1
            case Retrying(reason=reason):
                self.retries += 1
                self.throttled += reason == Reason.THROTTLED
            case Noted(text=text, is_routine=is_routine):
                self.notes[text] = is_routine
            case SidecarSettled(conversation_id=conversation_id, reason=reason):
                self.sidecars.append((conversation_id, reason))
            case _:
                return

    def counts(self) -> Counts:
        """Return the sums."""
        return Counts(
            http=dict(self.http),
            received_bytes=self.received_bytes,
            retries=self.retries,
            throttled=self.throttled,
        )


@dataclass(slots=True)
class Heard:
    """What the run has heard of each attempt."""

    _by_attempt: dict[str, Counts] = field(default_factory=dict)

    def news(self, attempt: str, now: Counts) -> Relayed | None:
        """Return what is new since the attempt was last heard of; None when nothing is."""
        before = self._by_attempt.pop(attempt, Counts())
        http = {
            status: count - before.http.get(status, 0)
            for status, count in now.http.items()
            if count > before.http.get(status, 0)
        }
        news = Relayed(
            http=http,
            received_bytes=max(0, now.received_bytes - before.received_bytes),
            retries=max(0, now.retries - before.retries),
            throttled=max(0, now.throttled - before.throttled),
        )
        self._by_attempt[attempt] = _most(before, now)
        if len(self._by_attempt) > MOST_ATTEMPTS:
            del self._by_attempt[next(iter(self._by_attempt))]
        return None if news == Relayed() else news


def _most(one: Counts, other: Counts) -> Counts:
    """Counts only grow: what is smaller is older."""
    return Counts(
        http={s: max(one.http.get(s, 0), other.http.get(s, 0)) for s in {*one.http, *other.http}},
        received_bytes=max(one.received_bytes, other.received_bytes),
        retries=max(one.retries, other.retries),
        throttled=max(one.throttled, other.throttled),
    )
