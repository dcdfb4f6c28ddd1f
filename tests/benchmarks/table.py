"""
Results as Markdown.

Rules of this module: pure; values in, text out.
"""

from collections.abc import Sequence

from tests.benchmarks.figures import Result, Trial, cpu, more, peak, wall
from tests.benchmarks.machine import Machine
from tests.benchmarks.targets import TARGETS, Target

NONE = "-"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


def document(machine: Machine, results: Sequence[Result], notes: Sequence[str]) -> str:
    """Write everything that was found."""
    parts = [
        f"{machine.date}, {machine.hardware}, {machine.file_system}, {machine.system}.",
        f"{', '.join(machine.versions)}.",
        *notes,
        verdicts(results),
        "<details><summary>Every figure</summary>",
        *(section(result) for result in results),
        "</details>",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def placed(text: str, whole: str) -> str:
    """Put a text into the place that a document has for it; without one, it is the document."""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{text}\n{end}{after}" if begin and end else text


def section(result: Result) -> str:
    """Write the table of one workload."""
    rounds = 1 + max(trial.round for trial in result.trials)
    spans = list(dict.fromkeys(name for trial in result.trials for name in trial.more))
    heads = ["", "wall s", "CPU s/GB" if result.volume_bytes else "CPU s", "peak MB", *spans]
    ratios = [f"`{name}` ÷ it" for name in result.subjects]
    rows = [_row(result, name, spans) for name in result.contestants]
    return f"**{result.title}**, {_times(rounds)}\n\n{grid([*heads, *ratios], rows)}"


def verdicts(results: Sequence[Result]) -> str:
    """Write what was to be reached, and what was."""
    rows = [
        [result.title, target.text, _bound(target), *_verdict(result, target)]
        for result in results
        for target in TARGETS.get(result.workload, ())
    ]
    heads = ["workload", "target", "bound", "nothing configured", "same connections"]
    return grid(heads, rows) if rows else ""


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table: the first column to the left, figures to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(result: Result, name: str, spans: Sequence[str]) -> list[str]:
    good = result.good(name)
    fault = result.fault(name)
    label = f"`{name}`" if fault is None else f"`{name}` **failed**: {fault.replace('|', '/')}"
    if not good:
        return [label, *[NONE] * (3 + len(spans) + len(result.subjects))]
    gigabytes = result.volume_bytes / 1e9 or 1.0
    return [
        label,
        _spread(good),
        shown(result.median(name, lambda trial: cpu(trial) / gigabytes)),
        shown(result.median(name, peak)),
        *(_more(result, name, span) for span in spans),
        *(_ratio(result, subject, name) for subject in result.subjects),
    ]


def _spread(trials: Sequence[Trial]) -> str:
    """Write the median, and between what the others lie."""
    times = sorted(trial.wall_s for trial in trials)
    middle = shown((times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2)
    return middle if len(times) == 1 else f"{middle} ({shown(times[0])} to {shown(times[-1])})"


def _more(result: Result, name: str, span: str) -> str:
    has = any(span in trial.more for trial in result.good(name))
    return shown(result.median(name, more(span))) if has else NONE


def _ratio(result: Result, subject: str, name: str) -> str:
    return NONE if subject == name else shown(result.ratio(subject, name, wall))


def _verdict(result: Result, target: Target) -> Sequence[str]:
    subjects = result.subjects or result.contestants[:1]
    cells = [_judged(target, target.figure(result, subject)) for subject in subjects[:2]]
    return [*cells, *[NONE] * (2 - len(cells))]


def _judged(target: Target, figure: float | None) -> str:
    if figure is None:
        return "not measured"
    return f"{shown(figure)} {'met' if target.is_met(figure) else '**missed**'}"


def _bound(target: Target) -> str:
    return f"{'≥' if target.is_least else '≤'} {target.bound:g}"


def _times(rounds: int) -> str:
    return "one round" if rounds == 1 else f"medians of {rounds} rounds"


def shown(figure: float | None) -> str:
    """Write a figure to the digits that mean something."""
    if figure is None:
        return NONE
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:.{digits}f}"
