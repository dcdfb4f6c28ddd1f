"""What the command ``gaps`` found, as a page for people: the verdict, the days, the reasons."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bulkaudio.cli.gaps_found import Found
from bulkaudio.gaps import Cause, Column, Coverage, Line, total
from bulkaudio.ledger.census import NEVER_ASKED, NEVER_TRIED
from bulkaudio.model import Direction
from bulkaudio.observe.page import plural, reason_words
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.policy import Reason
from bulkaudio.relist import NEVER_LISTED, NOT_LISTED_YET
from bulkaudio.remember import span_words

FOLDED_FROM = 40
"""With more lines than this, days in a row that lack nothing become one."""

SHOWN = 200
"""So many lines of a direction; the latest."""

SHOWN_CAUSES = 15

HEADINGS = ("listed", "saved", "no recording", "not yet", "failed", "missing")

WORDS = {
    NEVER_TRIED: "not tried yet",
    NEVER_ASKED: "never asked for",
    NEVER_LISTED: "PolyAI lists it, and no listing here had it",
    NOT_LISTED_YET: "PolyAI lists it, and no run has listed that time yet",
    Reason.IN_PROGRESS.value: "the call was going on",
    Reason.NOT_READY.value: "too fresh: a later run looks again",
    Reason.NO_RECORDING.value: "PolyAI has none and will not have one",
    "purged": "erased on purpose",
}

COLUMN_WORDS = {
    Column.ABSENT: "no recording",
    Column.DEFERRED: "not yet",
    Column.FAILED: "failed",
    Column.MISSING: "missing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Days in a row that are shown as one line."""

    first: Line
    last: Line
    sum: Line
    days: int


def page(found: Found) -> RenderableType:
    """Lay it out."""
    return Trimmed(Group(*_parts(found)))


def _parts(found: Found) -> Iterator[RenderableType]:
    yield _headline(found)
    if found.lines:
        yield Text()
        yield Padding(_days(found), (0, 0, 0, 2))
        yield from _legend(found)
    if found.causes:
        yield Text()
        yield Text("Why:", style="bold")
        yield Padding(_causes(found.causes[:SHOWN_CAUSES]), (0, 0, 0, 2))
        if hidden := len(found.causes) - SHOWN_CAUSES:
            yield from _more(hidden, "reason")
    yield Text()
    yield from _closing(found)


def _headline(found: Found) -> Text:
    text = found.verdict
    first, colon, rest = text.partition(":")
    if found.exit_code:
        return Text(text, style="bold red")
    if not colon:
        return Text(text, style="bold")
    style = "bold yellow" if found.unlisted else "bold green"
    return Text(first, style=style).append(colon + rest, style="default")


def _days(found: Found) -> Table:
    frame = found.gaps.frame
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"day ({found.tz})", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for direction in frame.directions:
        lines = [line for line in found.lines if line.direction is direction]
        stretches = fold(lines) if len(found.lines) > FOLDED_FROM else [_one(x) for x in lines]
        table.add_row(direction.value, style="bold")
        if hidden := max(0, len(stretches) - SHOWN):
            table.add_row(f"… {hidden:,} earlier lines")
        for stretch in stretches[-SHOWN:]:
            table.add_row(*_cells(stretch, has_listings=found.listed_until is not None))
        table.add_row("in all", *_numbers(total(lines, direction)), style="bold")
    return table


def _cells(stretch: Stretch, *, has_listings: bool) -> Sequence[str]:
    first, last = stretch.first.day, stretch.last.day
    coverage = stretch.first.coverage if has_listings else None
    if first is None or last is None:
        return ("start unknown", *_numbers(stretch.sum))
    days = str(first)
    if stretch.days > 1:
        days += f" to {last:%m-%d}" if last.year == first.year else f" to {last}"
    if coverage is Coverage.NONE and not stretch.sum.listed:
        return (days, *("?" for _ in HEADINGS))
    return (
        f"{days} *" if coverage in {Coverage.PART, Coverage.NONE} else days,
        *_numbers(stretch.sum),
    )


def _legend(found: Found) -> Iterator[Text]:
    if found.listed_until is None:
        return
    unlisted = [line for line in found.lines if line.coverage is Coverage.NONE]
    if any(not line.listed for line in unlisted):
        yield Text("  ? not listed: nobody knows what was called then", style="dim")
    is_part = any(line.coverage is Coverage.PART for line in found.lines)
    if is_part or any(line.listed for line in unlisted):
        yield Text("  * listed in part, or not at all: there may be more", style="dim")


def _numbers(line: Line) -> Sequence[str]:
    numbers = (line.listed, line.saved, line.absent, line.deferred, line.failed, line.missing)
    return [f"{number:,}" for number in numbers]


def fold(lines: Sequence[Line]) -> Sequence[Stretch]:
    """Put days in a row together that lack nothing and were listed alike."""
    found: list[Stretch] = []
    for line in lines:
        before = found[-1] if found else None
        if before is not None and _kind(before.last) == _kind(line) != ():
            found[-1] = Stretch(
                first=before.first,
                last=line,
                sum=total((before.sum, line), line.direction),
                days=before.days + 1,
            )
        else:
            found.append(_one(line))
    return found


def _kind(line: Line) -> tuple[object, ...]:
    """What days have to have in common to be one line; nothing: they stand alone."""
    if line.day is None or line.lacking or line.deferred:
        return ()
    return (line.coverage, bool(line.listed))


def _one(line: Line) -> Stretch:
    return Stretch(first=line, last=line, sum=line, days=1)


def _causes(causes: Sequence[Cause]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    for cause in causes:
        words = WORDS.get(cause.reason) or reason_words(cause.reason)
        example = f"e.g. {cause.example} {cause.direction.value}"
        if cause.correlation_id:
            example += f"\nsupport id {cause.correlation_id}"
        table.add_row(f"{cause.count:,}", COLUMN_WORDS[cause.column], words)
        table.add_row("", "", Text(example, style="dim"))
    return table


def _more(hidden: int, what: str) -> Iterator[Text]:
    if hidden > 0:
        yield Text(f"  … and {plural(hidden, 'more ' + what)}; --json has them")


def _closing(found: Found) -> Iterator[Text]:
    gaps = found.gaps
    if gaps.left_out:
        yield Text(
            f"{plural(gaps.left_out, 'recording')} without a known start left out: no window holds "
            "them."
        )
    if gaps.unfinished:
        more = f" (and {len(gaps.unfinished) - 1:,} more)" if len(gaps.unfinished) > 1 else ""
        yield Text(f"Not listed to its end yet: {span_words(gaps.unfinished[0])}{more}")
    if gaps.relisted is not None:
        span = f"{gaps.relisted.since:%Y-%m-%dT%H:%M:%SZ} up to {gaps.relisted.until:%Y-%m-%dT%H:%M:%SZ}"
        number = plural(gaps.relisted.conversations, "conversation")
        yield Text(f"Compared with what PolyAI lists now: {span}, {number}.")
    elif found.exit_code == 0 and any(gaps.frame.windows.values()):
        yield Text("By the ledger; --relist asks PolyAI, too.")
    if found.exit_code:
        yield Text(_next_words(found))
    yield Text(f"Archive: {gaps.archive}")


def _next_words(found: Found) -> str:
    """Say which download takes what is missing: the nightly one does not look so far back."""
    reasons = {cause.reason for cause in found.causes if cause.column is Column.MISSING}
    again = "Run download again: it takes what is missing, and nothing twice."
    if not reasons & {NEVER_ASKED, NEVER_LISTED, NOT_LISTED_YET}:
        return again
    frame, oldest = found.gaps.frame, found.oldest_lacking
    names = ["all"] if len(frame.directions) == len(Direction) else frame.directions
    sides = "".join(f" --direction {name}" for name in names)
    if oldest is None:
        return f"Run download once more with the same file and{sides}."
    zone = f" --tz {found.tz}" if found.tz != "UTC" else ""
    out = shlex.quote(str(found.gaps.archive))
    return (
        f"What is missing is taken by: bulkaudio download --out {out} --since {oldest}{zone}{sides}"
    )
