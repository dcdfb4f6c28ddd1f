"""The parts of the page that stand in it as they are: calendar, charts and their tables."""

from collections.abc import Sequence

from bulkaudio.model import Status
from bulkaudio.quantities import format_bytes, format_duration, plural
from bulkaudio.report.charts import (
    KLASSES,
    MOST_MONTHS,
    Bar,
    bar_chart,
    hours_chart,
    legend,
    month_chart,
    months_of,
)
from bulkaudio.report.figures import LENGTHS_S, NAMES, Figures, Scope
from bulkaudio.report.gather import Account, RunLine
from bulkaudio.report.markup import Markup, tag
from bulkaudio.report.tables import (
    directions_table,
    hours_table,
    months_table,
    problems_table,
    rate_words,
    reasons_table,
    runs_table,
    table,
)
from bulkaudio.report.words import length_words, time_words

RUNS_UNFOLDED = 5
PROBLEMS_UNFOLDED = 20
"""More rows are folded away."""

DAY_NAMES = (
    "complete",
    "not ready yet",
    "up to 1 % lacking",
    "up to 10 %",
    "more",
    "erased",
    "no calls known",
)
DAY_CLASSES = ("k", "w", "l1", "l2", "l3", "e", "n")


def section(name: str, title: str, *parts: str) -> Markup:
    """Make a landmark of the page."""
    heading = tag("h2", title, id=name)
    return tag("section", heading, *parts, aria_labelledby=name)


def more(title: str, *parts: str) -> Markup:
    """Fold something away that is there for who wants it."""
    return tag("details", tag("summary", title), *parts)


def completeness(figures: Figures) -> Markup:
    """Show day by day what is here."""
    if not figures.listed:
        return Markup("")
    months = months_of(figures.days)
    shown = months[-MOST_MONTHS:]
    parts: list[str] = []
    if shown:
        pictures = (month_chart(*month, figures.days) for month in shown)
        parts = [legend(DAY_NAMES, DAY_CLASSES), tag("div", *pictures, class_="months")]
    if hidden := len(months) - len(shown):
        parts.append(
            tag("p", f"{plural(hidden, 'earlier month')} in the table below.", class_="facts")
        )
    if undated := sum(figures.undated):
        what = plural(undated, "recording")
        text = f"{what} of calls whose start nobody knows (a file of ids without dates) on no day."
        parts.append(tag("p", text, class_="facts"))
    parts.append(directions_table(figures))
    parts.append(more("Month by month", months_table(figures)))
    return section("completeness", "Completeness", *parts)


def not_kept(figures: Figures, scope: Scope) -> Markup:
    """Show what is not here, and what to tell PolyAI's support."""
    if not figures.problems:
        return Markup("")
    total = sum(figures.count(s) for s in (Status.DEFERRED, Status.FAILED, Status.OPEN))
    shown = problems_table(figures.problems, scope)
    listed = more(f"The newest {len(figures.problems):,} of {total:,}, with support ids", shown)
    if len(figures.problems) <= PROBLEMS_UNFOLDED:
        listed = shown
    return section("lacking", "What is not here", reasons_table(figures), listed)


def when_and_how_long(figures: Figures) -> Markup:
    """Show when calls came in, and how long they were."""
    if not figures.listed:
        return Markup("")
    when = tag(
        "div",
        tag("h3", "Calls by hour of the day"),
        hours_chart(figures.hours),
        legend(NAMES, KLASSES),
        more("As a table", hours_table(figures.hours)),
    )
    names = _length_names()
    bars = [
        Bar(label=short, title=f"{name}: {plural(count, 'call')}", parts=(count,))
        for (short, name), count in zip(names, figures.lengths, strict=True)
    ]
    most = max(range(len(bars)), key=lambda n: figures.lengths[n])
    label = f"Lengths of recorded calls. Most are {names[most][1]}."
    rows = [[name, f"{count:,}"] for (_, name), count in zip(names, figures.lengths, strict=True)]
    long = tag(
        "div",
        tag("h3", "Lengths of recorded calls"),
        bar_chart(bars, ["saved"], label),
        more("As a table", table("Calls by length of their recording", ["length", "calls"], rows)),
    )
    return section("when", "When, and how long", tag("div", when, long, class_="two"))


def _length_names() -> list[tuple[str, str]]:
    """Name each bar of the histogram, short and in full."""
    bounds = [length_words(s) for s in LENGTHS_S]
    shorts = [f"{s}s" if s < 60 else f"{s // 60}m" for s in LENGTHS_S]
    names = [(f"<{shorts[0]}", f"below {bounds[0]}")]
    steps = zip(bounds, bounds[1:], shorts[1:], strict=False)
    names += [(f"\N{EN DASH}{short}", f"{low} to {high}") for low, high, short in steps]
    return [*names, (f">{shorts[-1]}", f"above {bounds[-1]}")]


def runs_section(account: Account) -> Markup:
    """Show how the last runs went."""
    runs, scope = account.runs, account.scope
    if not runs:
        return Markup("")
    charts = tag(
        "div",
        _runs_chart("Pace", [_rate(run) for run in runs], runs, scope),
        _runs_chart("Retries", [float(run.count("retries")) for run in runs], runs, scope),
        _runs_chart("Throttled", [float(run.throttled) for run in runs], runs, scope),
        class_="three",
    )
    words = _last_words(runs[-1], scope)
    listed = runs_table(runs, scope)
    if len(runs) > RUNS_UNFOLDED:
        listed = more(f"The last {len(runs)} runs as a table", listed)
    return section("runs", "Runs", tag("p", words), charts, listed)


def _rate(run: RunLine) -> float:
    return run.bytes / run.seconds / 1e6 if run.seconds else 0.0


def _runs_chart(
    name: str, values: Sequence[float], runs: Sequence[RunLine], scope: Scope
) -> Markup:
    told = [rate_words(r) for r in runs] if name == "Pace" else [f"{v:,.0f}" for v in values]
    bars = [
        Bar(label="", title=f"{time_words(run.started_at, scope)}: {text}", parts=(value,))
        for run, value, text in zip(runs, values, told, strict=True)
    ]
    unit = {"Pace": "MB/s", "Retries": "attempts repeated", "Throttled": "answers 429"}[name]
    label = (
        f"{name} of the last {plural(len(runs), 'run')}, oldest first; the last one: {told[-1]}."
    )
    return tag(
        "div",
        tag("h3", name, tag("small", unit)),
        bar_chart(bars, ["deferred" if name == "Throttled" else "saved"], label),
    )


def _last_words(run: RunLine, scope: Scope) -> str:
    begun = f"The last run began {time_words(run.started_at, scope)}"
    if not run.summary:
        return f"{begun} and ended without a word."
    size = f"{plural(run.count('saved'), 'recording')} ({format_bytes(run.bytes)})"
    return f"{begun}, took {format_duration(run.seconds)}, saved {size} and ended {run.status}."
