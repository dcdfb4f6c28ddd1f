"""How fast a run goes, over the last seconds; and the same in one line of words."""

from collections import deque
from dataclasses import dataclass, field

from bulkaudio.observe.tally import Snapshot
from bulkaudio.quantities import format_bytes, format_duration

SPAN_S = 15.0
"""Long enough to smooth the committer's batches, short enough to show a host that slows down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Recordings settled by fetching, and bytes received, each second."""

    recordings: float = 0.0
    bytes: float = 0.0


@dataclass(slots=True)
class Speedometer:
    """Turns snapshots into rates; each watcher has its own."""

    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)

    def read(self, snapshot: Snapshot) -> Rate:
        """Take a snapshot into account and return the rates."""
        counts = snapshot.counts
        # What the ledger already had is counted in leaps of a batch: it would make the rate, and
        # the time left, absurd.
        fetched = counts.saved + counts.failed
        self._seen.append((snapshot.at, fetched, snapshot.received_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= snapshot.at - SPAN_S:
            self._seen.popleft()
        at, before, received = self._seen[0]
        elapsed = snapshot.at - at
        if elapsed <= 0:
            return Rate()
        return Rate(
            recordings=(fetched - before) / elapsed,
            bytes=(snapshot.received_bytes - received) / elapsed,
        )


def remaining_s(snapshot: Snapshot, rate: Rate) -> float | None:
    """Estimate the seconds left; None while the total or the rate is unknown."""
    if not snapshot.is_total_known or rate.recordings <= 0:
        return None
    return snapshot.counts.open / rate.recordings


def progress_words(snapshot: Snapshot) -> str:
    """Say how far the run is: ``290 of 300 recordings``, ``290 of 300+`` while planning."""
    counts = snapshot.counts
    total = f"{counts.recordings:,}" + ("" if snapshot.is_total_known else "+")
    return f"{counts.settled:,} of {total} recordings"


def rate_words(rate: Rate) -> str:
    """Say how fast it goes: ``41 files/s, 35 MB/s``."""
    files = f"{rate.recordings:.0f}" if rate.recordings >= 10 else f"{rate.recordings:.1f}"
    return f"{files} files/s, {format_bytes(int(rate.bytes))}/s"


def state_words(snapshot: Snapshot) -> list[str]:
    """Say what else is worth knowing now, each in a few words."""
    slots = [] if snapshot.slots is None else [f"{snapshot.slots} at once"]
    return slots + trouble_words(snapshot)


def trouble_words(snapshot: Snapshot) -> list[str]:
    """Say what does not go well, and what is waited for."""
    counts, words = snapshot.counts, []
    for count, name in (
        (counts.failed, "failed"),
        (counts.deferred, "not yet"),
        (counts.retries, "retry" if counts.retries == 1 else "retries"),
        (snapshot.throttled, "throttled"),
    ):
        if count:
            words.append(f"{count:,} {name}")
    waiting = snapshot.waiting()
    if snapshot.stopping is not None:
        words.append(f"stopping: {snapshot.stopping}")
    elif waiting is not None and waiting[0] >= 1.0:
        words.append(f"waiting {format_duration(round(waiting[0]))}: {waiting[1]}")
    return words


def status_line(snapshot: Snapshot, rate: Rate) -> str:
    """Say everything in one line, for logs, SIGUSR1 and terminals that are none."""
    parts = [progress_words(snapshot), rate_words(rate), *state_words(snapshot)]
    left = remaining_s(snapshot, rate)
    if left is not None:
        parts.append(f"{format_duration(round(left))} left")
    return ", ".join(parts)
