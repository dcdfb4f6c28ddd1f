"""What the command ``gaps`` found, as a page for people: the verdict, the days, the reasons."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bulkaudio.cli.gaps_found import Found
from bulkaudio.gaps import Cause, Column, Coverage, Line, total
from bulkaudio.interrupted import words
from bulkaudio.ledger.census import NEVER_ASKED, NEVER_TRIED
from bulkaudio.model import Direction
from bulkaudio.observe.columns import Columns
from bulkaudio.observe.columns import Line as Row
from bulkaudio.observe.page import reason_words
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import plural
from bulkaudio.relist import NEVER_LISTED, NOT_LISTED_YET
from bulkaudio.remember import span_words
from bulkaudio.stores.address import title_of

FOLDED_FROM = 40
"""With more lines than this, days in a row that lack nothing become one."""

SHOWN = 200
"""So many lines of a direction; the latest."""

SHOWN_CAUSES = 15

HEADINGS = ("known", "saved", "no recording", "not yet", "failed", "missing")
ERASED = "erased"
"""A heading more, where anything was erased."""

WORDS = {
    NEVER_TRIED: "not tried yet",
    NEVER_ASKED: "never asked for",
    NEVER_LISTED: "PolyAI lists it, and no listing here had it",
    NOT_LISTED_YET: "PolyAI lists it, and no run has listed that time yet",
    "purged": "on purpose",
}

MARKS = {Coverage.PART: " *", Coverage.NONE: " **"}

COLUMN_WORDS = {
    Column.ABSENT: "no recording",
    Column.DEFERRED: "not yet",
    Column.FAILED: "failed",
    Column.MISSING: "missing",
    Column.ERASED: ERASED,
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
        yield Padding(Group(*_causes(found.causes[:SHOWN_CAUSES])), (0, 0, 0, 2))
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


def _days(found: Found) -> Columns:
    lines: list[Row] = []
    for direction in found.gaps.frame.directions:
        own = [line for line in found.lines if line.direction is direction]
        stretches = fold(own) if len(found.lines) > FOLDED_FROM else [_one(x) for x in own]
        lines.append(Row(label=direction.value, style="bold"))
        if hidden := max(0, len(stretches) - SHOWN):
            lines.append(Row(label=f"… {hidden:,} earlier lines"))
        has_listings = found.listed_until is not None
        lines += [_row(each, has_listings=has_listings) for each in stretches[-SHOWN:]]
        lines.append(Row(label="in all", cells=_numbers(total(own, direction)), style="bold"))
    headings: Sequence[str] = (*HEADINGS, ERASED)
    if not found.total.erased:
        headings = HEADINGS
        lines = [replace(line, cells=line.cells[: len(HEADINGS)]) for line in lines]
    return Columns(first=f"day ({found.tz})", headings=headings, lines=lines)


def _row(stretch: Stretch, *, has_listings: bool) -> Row:
    """Write a line; its last cell is what was erased."""
    first, last = stretch.first.day, stretch.last.day
    if first is None or last is None:
        return Row(label="start unknown", cells=_numbers(stretch.sum))
    days = str(first)
    if stretch.days > 1:
        days += f" to {last:%m-%d}" if last.year == first.year else f" to {last}"
    coverage = stretch.first.coverage if has_listings else None
    if coverage is Coverage.NONE and not stretch.sum.listed:
        return Row(label=days, cells=("?",) * len((*HEADINGS, ERASED)))
    mark = MARKS.get(coverage, "") if coverage is not None else ""
    return Row(label=days + mark, cells=_numbers(stretch.sum))


def _legend(found: Found) -> Iterator[RenderableType]:
    """Say what the marks mean that are there."""
    if any(line.day is None for line in found.lines):
        yield _note(
            "start unknown: no listing has named these calls, and no file of ids said when they were"
        )
    if found.listed_until is None:
        return
    if parts := {line.day for line in found.lines if line.coverage is Coverage.PART}:
        is_today = parts == {found.today}
        yield _note(
            f"* today: a listing saw only a part of it, up to {found.listed_until:%H:%MZ} so far"
            if is_today
            else "* a listing saw only a part of this day: there may be more calls"
        )
    unlisted = [line for line in found.lines if line.coverage is Coverage.NONE]
    if any(line.listed for line in unlisted):
        yield _note(
            "** no listing saw this day; what is known was named by a file of ids, or by a listing "
            "that was not for all calls: there may be more"
        )
    if any(not line.listed for line in unlisted):
        yield _note("? no listing saw this day: whether there were calls, nobody knows")


def _note(words: str) -> RenderableType:
    return Padding(Text(words, style="dim"), (0, 0, 0, 2))


def _numbers(line: Line) -> Sequence[str]:
    numbers = (line.listed, line.saved, line.absent, line.deferred, line.failed, line.missing)
    return [f"{number:,}" for number in (*numbers, line.erased)]


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


def _causes(causes: Sequence[Cause]) -> Iterator[RenderableType]:
    width = max(len(f"{cause.count:,}") for cause in causes)
    for cause in causes:
        why = WORDS.get(cause.reason) or reason_words(cause.reason)
        yield Text(f"{cause.count:>{width},} {COLUMN_WORDS[cause.column]}: {why}")
        example = f"e.g. {cause.example} {cause.direction.value}"
        if cause.correlation_id:
            example += f"\nsupport id {cause.correlation_id}"
        # No deeper: an id has to fit whole into a narrow window, to be copied.
        yield Padding(Text(example, style="dim"), (0, 0, 0, 2))


def _more(hidden: int, what: str) -> Iterator[Text]:
    if hidden > 0:
        yield Text(f"  … and {plural(hidden, 'more ' + what)}; --json has them")


def _closing(found: Found) -> Iterator[Text]:
    gaps = found.gaps
    if gaps.left_out:
        yield Text(
            f"Left out: {plural(gaps.left_out, 'recording')} of calls whose start is not known, which "
            "no --since or --until can place."
        )
    if gaps.unfinished:
        more = f" (and {len(gaps.unfinished) - 1:,} more)" if len(gaps.unfinished) > 1 else ""
        yield Text(f"Not listed to its end yet: {span_words(gaps.unfinished[0])}{more}")
    if gaps.interruption is not None:
        yield Text(words(gaps.interruption, gaps.archive), style="bold yellow")
    if gaps.relisted is not None:
        span = f"{gaps.relisted.since:%Y-%m-%dT%H:%M:%SZ} up to {gaps.relisted.until:%Y-%m-%dT%H:%M:%SZ}"
        number = plural(gaps.relisted.conversations, "conversation")
        yield Text(f"Compared with what PolyAI lists now: {span}, {number}.")
    elif found.exit_code == 0 and any(gaps.frame.windows.values()):
        yield Text("By the ledger; --relist asks PolyAI, too.")
    if found.total.lacking or found.unfinished:
        yield Text(_next_words(found))
    yield Text(f"Archive: {title_of(gaps.archive)}")


def _next_words(found: Found) -> str:
    """Say which download takes what is missing: the nightly one does not look so far back."""
    reasons = {cause.reason for cause in found.causes if cause.column is Column.MISSING}
    again = "Run download again: it tries what is missing or failed, and fetches nothing twice."
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
