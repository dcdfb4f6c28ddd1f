"""
What bulkaudio has to reach, and whether it does.

Rules of this module: pure. A target holds for each of a workload's subjects by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks import observations, saved
from tests.benchmarks.figures import Result, Value, more, on_disk, peak, wall

C_PROGRAMS = ("curl", "rclone", "wget2", "aria2c")
PLAIN, PARFIVE = "plain script", "parfive"
PEAK_MB = 150.0

Figure = Callable[[Result, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    One figure that has a bound.

    Attributes:
        text: What it is, for the table; without the bound.
        figure: Of one contestant; None when it was not measured.
        is_least: The bound is the least that is good enough, instead of the most.
    """

    text: str
    figure: Figure
    bound: float
    is_least: bool = False

    def is_met(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure >= self.bound if self.is_least else figure <= self.bound


def to(other: str, value: Value = wall) -> Figure:
    """Compare with another contestant."""
    return lambda result, subject: result.ratio(subject, other, value)


def to_best(*others: str, value: Value = wall) -> Figure:
    """Compare with the best of several, as far as they took part."""

    def figure(result: Result, subject: str) -> float | None:
        best = result.best(others, value)
        return result.ratio(subject, best, value) if best else None

    return figure


def to_best_fixed(result: Result, subject: str) -> float | None:
    """Compare with the best of what could have been configured."""
    fixed = [name for name in result.contestants if name not in result.subjects]
    return to_best(*fixed)(result, subject)


def of(value: Value, contestant: str | None = None) -> Figure:
    """Take a median as it is, whoever the subject."""
    return lambda result, subject: result.median(contestant or subject, value)


def grown(result: Result, _: str) -> float | None:
    """Compare the peaks of few and of ten times as many."""
    few, many = result.contestants
    return result.ratio(many, few, peak)


def after_imports(result: Result, _: str) -> float | None:
    """Take the imports off the time to the first request."""
    imports = {trial.round: trial.wall_s for trial in result.good(saved.IMPORTS)}
    rests = [
        trial.more[observations.FIRST_REQUEST] - imports[trial.round]
        for trial in result.good(saved.FRESH)
        if trial.round in imports
    ]
    return median(rests) if rests else None


_C = Target(
    text="wall ÷ the best of curl, rclone, wget2, aria2c", figure=to_best(*C_PROGRAMS), bound=1.0
)
_ON_DISK = Target(
    text="until on disk ÷ the best of those four, each with its bytes on disk",
    figure=to_best(*C_PROGRAMS, value=on_disk),
    bound=1.0,
)
_BIG = (
    _C,
    _ON_DISK,
    Target(text="wall ÷ the plain script", figure=to(PLAIN), bound=0.45),
    Target(text="wall ÷ parfive", figure=to(PARFIVE), bound=0.2),
)
_PEAK = Target(text="peak memory, MB", figure=of(peak), bound=PEAK_MB)

TARGETS: Mapping[str, Sequence[Target]] = {
    "large": _BIG,
    "long": _BIG,
    "small": (
        Target(text="wall ÷ aria2c", figure=to("aria2c"), bound=1.0),
        Target(
            text="until on disk ÷ aria2c with its bytes on disk",
            figure=to("aria2c", on_disk),
            bound=1.0,
        ),
        Target(text="wall ÷ curl", figure=to("curl"), bound=2.0),
        Target(text="wall ÷ the plain script", figure=to(PLAIN), bound=0.4),
    ),
    "latency": (
        Target(text="wall ÷ the best fixed concurrency", figure=to_best_fixed, bound=1.15),
    ),
    "throttled": (
        Target(
            text="of the limit used, %",
            figure=of(more(observations.USED)),
            bound=95.0,
            is_least=True,
        ),
        Target(text="of the answers refused, %", figure=of(more(observations.REFUSED)), bound=2.0),
        Target(
            text="of the recordings saved, %",
            figure=of(more(observations.SAVED)),
            bound=100.0,
            is_least=True,
        ),
    ),
    "saved": (
        Target(
            text="all saved: wall ÷ csv.reader",
            figure=lambda result, _: result.ratio(saved.ALREADY, saved.READER, wall),
            bound=10.0,
        ),
        Target(text="all saved: peak memory, MB", figure=of(peak, saved.ALREADY), bound=PEAK_MB),
        Target(
            text="first run: first request after the imports, s", figure=after_imports, bound=0.5
        ),
        Target(text="first run: peak memory, MB", figure=of(peak, saved.FRESH), bound=PEAK_MB),
    ),
    "page": (_PEAK,),
    "inflight": (
        _PEAK,
        Target(
            text="most in flight at once",
            figure=of(more(observations.AT_ONCE)),
            bound=64.0,
            is_least=True,
        ),
    ),
    # A twentieth is what two runs of the same differ by.
    "growth": (Target(text="peak memory ÷ that of a tenth as many", figure=grown, bound=1.05),),
}
