"""Charts as SVG by hand: a calendar, bars that are stacked, bars that are not."""

import calendar
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from bulkaudio.model import Status
from bulkaudio.quantities import plural
from bulkaudio.report.figures import NAMES, PLACES, Counts, added
from bulkaudio.report.markup import Markup, alone, joined, tag

CELL, STEP = 20, 22
WIDTH, HEIGHT = 460, 190
LEFT, BOTTOM, TOP = 42, 24, 12
MOST_MONTHS = 36
LONGEST_GAP_MONTHS = 13
"""One call with a wrong year must not draw centuries."""

FEWEST_BARS = 10
"""Fewer are no wider than these: one bar alone would be a wall."""

KLASSES = ("saved", "absent", "deferred", "failed", "missing", "erased")
"""The colours of `STATUSES` in ``page.css``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart: what it is about, and how high each of its parts is."""

    label: str
    title: str
    parts: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    step: float
    top: float
    classes: Sequence[str]


def day_class(counts: Counts) -> str:
    """Say how complete a day is, as a class of ``page.css``."""
    lacking = counts[PLACES[Status.FAILED]] + counts[PLACES[Status.OPEN]]
    if lacking:
        share = lacking / sum(counts)
        return "l1" if share <= 0.01 else "l2" if share <= 0.1 else "l3"
    if counts[PLACES[Status.DEFERRED]]:
        return "w"
    is_gone = counts[PLACES[Status.PURGED]] and not counts[PLACES[Status.SAVED]]
    return "e" if is_gone else "k"


def counts_words(counts: Counts) -> str:
    """Say in words what of so many is what: ``12 known: 11 saved, 1 missing``."""
    told = [f"{count:,} {name}" for count, name in zip(counts, NAMES, strict=True) if count]
    return f"{sum(counts):,} known" + (f": {', '.join(told)}" if told else "")


def months_of(days: Mapping[date, Counts]) -> list[tuple[int, int]]:
    """Name the months with calls and, up to a year of them, the months without between two."""
    known = sorted({day.year * 12 + day.month - 1 for day in days})
    steps = [(a, b) for a, b in pairwise(known) if b - a <= LONGEST_GAP_MONTHS]
    every = {*known, *(month for a, b in steps for month in range(a, b))}
    return [(number // 12, number % 12 + 1) for number in sorted(every)]


def month_sum(days: Mapping[date, Counts], year: int, month: int) -> Counts:
    """Add up the days of a month."""
    length = calendar.monthrange(year, month)[1]
    every = (date(year, month, day) for day in range(1, length + 1))
    return added(days[day] for day in every if day in days)


def month_chart(year: int, month: int, days: Mapping[date, Counts]) -> Markup:
    """Draw a month as it hangs on a wall, Mondays first."""
    name = f"{calendar.month_name[month]} {year}"
    total = month_sum(days, year, month)
    label = f"{name}: {counts_words(total)}" if any(total) else f"{name}: no calls known"
    before, length = calendar.monthrange(year, month)
    cells = joined(
        *(_day(date(year, month, n), n - 1 + before, days) for n in range(1, length + 1))
    )
    height = STEP * ((length + before - 1) // 7 + 1)
    picture = tag(
        "svg",
        cells,
        viewBox=f"0 0 {7 * STEP} {height}",
        width=7 * STEP,
        height=height,
        role="img",
        aria_label=label,
    )
    return tag("figure", tag("figcaption", name), picture, class_="month")


def _day(day: date, place: int, days: Mapping[date, Counts]) -> Markup:
    x, y = place % 7 * STEP, place // 7 * STEP
    number = tag("text", str(day.day), x=x + CELL // 2, y=y + 14)
    if day not in days:
        return joined(alone("rect", class_="n", x=x, y=y), number)
    counts = days[day]
    title = tag("title", f"{day.day} {day:%b}: {counts_words(counts)}")
    return tag(
        "g", title, alone("rect", x=x, y=y), number, class_=day_class(counts), data_d=str(day)
    )


def bar_chart(
    bars: Sequence[Bar], classes: Sequence[str], label: str, *, every: int = 1, unit: str = ""
) -> Markup:
    """
    Draw bars side by side, the parts of each on top of one another.

    Args:
        classes: Of the parts, from the bottom up.
        every: How many bars share a label below the axis.
    """
    most = max((sum(bar.parts) for bar in bars), default=0.0)
    top = _round_up(most)
    step = (WIDTH - LEFT) / max(FEWEST_BARS, len(bars))
    frame = _Frame(step=step, top=top, classes=classes)
    drawn = [_bar(bar, LEFT + number * step, frame) for number, bar in enumerate(bars)]
    below = [
        tag("text", bar.label, x=LEFT + number * step + step / 2, y=HEIGHT - 6, class_="x")
        for number, bar in enumerate(bars)
        if number % every == 0
    ]
    return tag(
        "svg",
        *_scale(top, unit),
        *drawn,
        *below,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=label,
    )


def _bar(bar: Bar, x: float, frame: _Frame) -> Markup:
    floor_y, parts = float(HEIGHT - BOTTOM), []
    for value, class_ in zip(bar.parts, frame.classes, strict=True):
        if value:
            # What is missing among thousands must still be seen.
            height = max(1.5, value / frame.top * (HEIGHT - BOTTOM - TOP))
            floor_y -= height
            left, width = x + frame.step * 0.13, frame.step * 0.74
            part = alone("rect", class_=class_, x=left, y=floor_y, width=width, height=height)
            parts.append(part)
    return tag("g", tag("title", bar.title), *parts)


def _scale(top: float, unit: str) -> Iterator[Markup]:
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
        yield alone("line", x1=LEFT, x2=WIDTH, y1=y, y2=y)
        value = top * share
        text = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
        yield tag("text", text + (unit if share == 1.0 else ""), x=LEFT - 6, y=y + 4, class_="y")


def _round_up(value: float) -> float:
    """Find a round number that is not below: 1, 2, 4, 6 or 8 times a power of ten."""
    power = 0.1
    while value > 8 * power:
        power *= 10
    return next(power * factor for factor in (1, 2, 4, 6, 8) if power * factor >= value)


def legend(names: Sequence[str], classes: Sequence[str]) -> Markup:
    """Name the colours."""
    items = [
        tag("li", tag("span", class_=f"key {class_}", aria_hidden="true"), name)
        for name, class_ in zip(names, classes, strict=True)
    ]
    return tag("ul", *items, class_="legend")


def hours_chart(hours: Sequence[Counts]) -> Markup:
    """Draw how many calls began in each hour of the day, and what became of them."""
    bars = [
        Bar(label=f"{n:02d}", title=f"{n:02d}:00 to {n:02d}:59, {counts_words(c)}", parts=c)
        for n, c in enumerate(hours)
    ]
    busiest = max(range(24), key=lambda n: sum(hours[n]))
    lacking = sum(c[PLACES[Status.FAILED]] + c[PLACES[Status.OPEN]] for c in hours)
    label = (
        f"Calls by hour of the day. Busiest: {busiest:02d}:00 with "
        f"{plural(sum(hours[busiest]), 'call')}. {plural(lacking, 'call')} not complete."
    )
    return bar_chart(bars, KLASSES, label, every=3)
