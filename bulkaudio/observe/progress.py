"""
Progress on stderr: a bar for terminals, one line a minute for everything else.

Drawn by a thread of its own from the tally, so that a busy loop neither stops the bar nor pays
for it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Protocol, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bulkaudio.observe.pace import (
    Speedometer,
    progress_words,
    rate_words,
    remaining_s,
    state_words,
    status_line,
    trouble_words,
)
from bulkaudio.observe.tally import Tally
from bulkaudio.observe.terminal import console, is_lively, is_terminal
from bulkaudio.quantities import format_duration

LINE_EVERY_S = 60.0
FRAMES_PER_S = 4.0

PATIENCE_S = 5.0
"""Whoever reads the lines may have stopped reading: a full pipe must not hold up the end."""


class Show(StrEnum):
    """When progress is shown."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class View(Protocol):
    """What progress is made from; asked in a thread of its own."""

    def line(self) -> str:
        """Say how things are, in one line."""
        ...

    def render(self) -> RenderableType:
        """Draw how things are, for a terminal."""
        ...


@contextmanager
def progress(
    view: View, stream: TextIO, *, show: Show = Show.AUTO, every_s: float = LINE_EVERY_S
) -> Iterator[None]:
    """
    Show how things go while the block runs.

    Args:
        show: `Show.ON` shows the bar also in CI; a stream that is no terminal never gets control
            codes.
        every_s: Between two lines.
    """
    if show is Show.OFF:
        yield
    elif is_lively(stream) or (show is Show.ON and is_terminal(stream)):
        live = Live(
            console=console(stream),
            get_renderable=view.render,
            refresh_per_second=FRAMES_PER_S,
            # The summary says it all; a bar left standing would only be in its way.
            transient=True,
            redirect_stdout=False,
        )
        with live:
            yield
    else:
        with _ticking(partial(_write_line, view, stream), every_s):
            yield


@contextmanager
def _ticking(work: Callable[[], None], every_s: float) -> Iterator[None]:
    done = threading.Event()

    def tick() -> None:
        while not done.wait(every_s):
            work()

    thread = threading.Thread(target=tick, name="bulkaudio progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE_S)


def _write_line(view: View, stream: TextIO) -> None:
    try:
        stream.write(f"bulkaudio: {view.line()}\n")
        stream.flush()
    except (OSError, ValueError):
        # Whoever read the lines is gone; the run is not their business.
        return


class Bar:
    """A run: how far, how fast and how long; then how the hosts are doing."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._speed = Speedometer()
        self._speed.read(tally.snapshot())

    def line(self) -> str:
        """Say it in one line."""
        snapshot = self._tally.snapshot()
        return status_line(snapshot, self._speed.read(snapshot))

    def render(self) -> RenderableType:
        """Draw it in two lines."""
        snapshot = self._tally.snapshot()
        rate = self._speed.read(snapshot)
        counts = snapshot.counts
        # Until the total is known a share of it would only mislead: the bar swings to and fro.
        total = float(max(1, counts.recordings)) if snapshot.is_total_known else None
        left = remaining_s(snapshot, rate)
        words = (
            progress_words(snapshot),
            rate_words(rate),
            "" if left is None else f"{format_duration(round(left))} left",
        )
        return Group(bar_row(total, counts.settled, *words), _dim(state_words(snapshot)))


def listing_line(words: str, tally: Tally) -> str:
    """Say how far a listing was read, and what it waits for, in one line."""
    return ", ".join([words, *trouble_words(tally.snapshot())])


def listing_bar(words: str, tally: Tally) -> RenderableType:
    """Draw the same: nobody knows how long a listing is."""
    return Group(bar_row(None, 0, words), _dim(trouble_words(tally.snapshot())))


def _dim(words: Sequence[str]) -> Text:
    text = Text(", ".join(words), style="dim", no_wrap=True)
    text.truncate(200, overflow="ellipsis")
    return text


def bar_row(total: float | None, completed: float, *words: str) -> RenderableType:
    """Draw a bar with words beside it; without a total it swings."""
    row = Table.grid(padding=(0, 2))
    row.add_row(
        ProgressBar(
            total=total,
            completed=completed,
            width=24,
            # The library's usual red would look like trouble.
            complete_style="cyan",
            finished_style="green",
            pulse_style="cyan",
        ),
        *(
            Text(each, style="" if number else "bold", no_wrap=True)
            for number, each in enumerate(words)
        ),
    )
    return row
