"""
What the trials of a workload come to: medians, and ratios within a round.

Rules of this module: pure. A trial with a fault has no time that could be compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

ON_DISK = "on disk s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """
    One contestant in one round.

    Attributes:
        fault: Why it does not count: what was not saved, or how the program ended.
        more: What else was observed, by the name that a column gets.
    """

    contestant: str
    round: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    fault: str | None = None
    more: Mapping[str, float] = field(default_factory=dict)


Value = Callable[[Trial], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """
    The trials of one workload.

    Attributes:
        subjects: The contestants that the others are set against.
        contestants: In the order in which they are shown.
        volume_bytes: What each trial fetches; 0 where there is nothing to speak of.
    """

    workload: str
    title: str
    subjects: Sequence[str]
    contestants: Sequence[str]
    volume_bytes: int
    trials: Sequence[Trial]

    def good(self, contestant: str) -> Sequence[Trial]:
        """Return its trials that count."""
        return [t for t in self.trials if t.contestant == contestant and t.fault is None]

    def fault(self, contestant: str) -> str | None:
        """Return the first thing that was wrong with it."""
        faults = (t.fault for t in self.trials if t.contestant == contestant)
        return next(filter(None, faults), None)

    def median(self, contestant: str, value: Value) -> float | None:
        """Return a value's median; None when no trial counts."""
        values = [value(trial) for trial in self.good(contestant)]
        return median(values) if values else None

    def ratio(self, one: str, other: str, value: Value) -> float | None:
        """Return the median of one's value by the other's of the same round."""
        others = {trial.round: value(trial) for trial in self.good(other)}
        ratios = [
            value(trial) / others[trial.round]
            for trial in self.good(one)
            if others.get(trial.round)
        ]
        return median(ratios) if ratios else None

    def best(self, contestants: Iterable[str], value: Value) -> str | None:
        """
        Return which of these has the lowest median.

        Not the lowest of each round: of several that are equally good, one is always lucky.
        """
        medians = {name: self.median(name, value) for name in contestants}
        known = {name: figure for name, figure in medians.items() if figure is not None}
        return min(known, key=known.__getitem__, default=None)


def wall(trial: Trial) -> float:
    """Return how long it took, in seconds."""
    return trial.wall_s


def on_disk(trial: Trial) -> float:
    """Return the seconds until what was saved would survive a power cut, whoever sees to that."""
    return trial.more.get(ON_DISK, trial.wall_s)


def cpu(trial: Trial) -> float:
    """Return the processor's seconds."""
    return trial.cpu_s


def peak(trial: Trial) -> float:
    """Return the peak of memory, in megabytes."""
    return trial.peak_bytes / 1e6


def more(name: str) -> Value:
    """Return what reads another observation."""
    return lambda trial: trial.more[name]
