"""The tables that stand in the page as they are, also where no script runs."""

import calendar
from collections.abc import Sequence

from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Status
from bulkaudio.observe.page import reason_words
from bulkaudio.quantities import format_bytes, format_duration, plural
from bulkaudio.report.charts import month_sum, months_of
from bulkaudio.report.figures import NAMES, STATUSES, Counts, Figures, Scope, added
from bulkaudio.report.gather import RunLine
from bulkaudio.report.markup import Markup, tag
from bulkaudio.report.words import time_words

Cells = Sequence[str]

MOST_MONTHS_LISTED = 240

NOTHING_TOLD = "\N{EN DASH}"


def table(caption: str, head: Cells, rows: Sequence[Cells], *, numbers_from: int = 1) -> Markup:
    """
    Lay rows out; the first cell of each is its heading.

    Args:
        numbers_from: The first column that holds numbers.
    """
    heads = [
        tag("th", name, scope="col", class_="n" if place >= numbers_from else None)
        for place, name in enumerate(head)
    ]
    lines = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(
                tag("td", cell, class_="n" if place >= numbers_from else None)
                for place, cell in enumerate(row[1:], start=1)
            ),
        )
        for row in rows
    ]
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *lines),
    )
    # A region that scrolls sideways must be reachable by keyboard.
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _numbers(counts: Counts) -> list[str]:
    return [f"{sum(counts):,}", *(f"{count:,}" for count in counts)]


def directions_table(figures: Figures) -> Markup:
    """Show each direction by status, and their sum."""
    rows = [[each.value, *_numbers(counts)] for each, counts in figures.by_direction.items()]
    if len(rows) > 1:
        rows.append(["all", *_numbers(figures.recordings)])
    return table("Recordings by direction", ["direction", "known", *NAMES], rows)


def months_table(figures: Figures) -> Markup:
    """Show each month by status."""
    rows = []
    months = months_of(figures.days)
    earlier = months[:-MOST_MONTHS_LISTED]
    if earlier:
        counts = added(month_sum(figures.days, *month) for month in earlier)
        rows.append([f"{len(earlier):,} months before", *_numbers(counts)])
    for year, month in months[-MOST_MONTHS_LISTED:]:
        counts = month_sum(figures.days, year, month)
        rows.append([f"{calendar.month_name[month]} {year}", *_numbers(counts)])
    if any(figures.undated):
        rows.append(["no known start", *_numbers(figures.undated)])
    return table("Recordings by month of the call", ["month", "known", *NAMES], rows)


def hours_table(hours: Sequence[Counts]) -> Markup:
    """Show each hour of the day by what its calls are."""
    rows = [[f"{n:02d}:00", *_numbers(counts)] for n, counts in enumerate(hours) if any(counts)]
    return table("Calls by hour of their start", ["hour", "calls", *NAMES], rows)


def reasons_table(figures: Figures) -> Markup:
    """Show why recordings are not here."""
    rows = [
        [reason_words(reason) if reason else _unsaid(status), _name(status), f"{count:,}"]
        for status, reason, count in figures.reasons
    ]
    head = ["reason", "state", "recordings"]
    return table("Why recordings are not here", head, rows, numbers_from=2)


def problems_table(rows: Sequence[LedgerRow], scope: Scope) -> Markup:
    """Show the newest recordings that are not here, with what PolyAI's support asks for."""
    lines = [
        [
            row.recording.conversation_id,
            row.recording.direction.value,
            time_words(row.recording.started_at, scope) if row.recording.started_at else "unknown",
            _name(row.status),
            _why(row),
            row.correlation_id or NOTHING_TOLD,
        ]
        for row in rows
    ]
    head = ["conversation", "direction", "call began", "state", "why", "support id"]
    caption = f"The newest {plural(len(rows), 'recording')} that are not here"
    return table(caption, head, lines, numbers_from=len(head))


def runs_table(runs: Sequence[RunLine], scope: Scope) -> Markup:
    """Show how the last runs went, newest first."""
    rows = [
        [time_words(run.started_at, scope), run.status, *(_run_numbers(run) or 7 * [NOTHING_TOLD])]
        for run in reversed(runs)
    ]
    head = ["begun", "ended", "took", "saved", "failed", "retries", "throttled", "size", "pace"]
    caption = "The last run" if len(runs) == 1 else f"The last {len(runs)} runs, newest first"
    return table(caption, head, rows, numbers_from=2)


def _run_numbers(run: RunLine) -> list[str]:
    """Return what a run said of itself; nothing where it said nothing."""
    if not run.summary:
        return []
    return [
        format_duration(run.seconds),
        *(f"{run.count(name):,}" for name in ("saved", "failed", "retries")),
        f"{run.throttled:,}",
        format_bytes(run.bytes),
        rate_words(run),
    ]


def rate_words(run: RunLine) -> str:
    """Write a run's pace over all its time."""
    return (
        f"{format_bytes(round(run.bytes / run.seconds))}/s"
        if run.bytes and run.seconds
        else NOTHING_TOLD
    )


def _name(status: Status) -> str:
    return NAMES[STATUSES.index(status)]


def _unsaid(status: Status) -> str:
    return "not reached yet" if status is Status.OPEN else "unknown"


def _why(row: LedgerRow) -> str:
    words = reason_words(row.reason) if row.reason else _unsaid(row.status)
    facts = [f"HTTP {row.http_status}"] if row.http_status else []
    facts = [fact for fact in facts if fact not in words]
    facts += [row.error_code] if row.error_code else []
    facts += [plural(row.attempts, "attempt")] if row.attempts else []
    return words + (f" ({', '.join(facts)})" if facts else "")
