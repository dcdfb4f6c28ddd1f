"""
Progress on stderr: a bar for terminals, one line a minute for everything else.

Drawn by a thread of its own from the tally, so that a busy loop neither stops the bar nor pays
for it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

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
)
from bulkaudio.observe.tally import Tally
from bulkaudio.observe.terminal import console, is_lively
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


@contextmanager
def progress(
    tally: Tally, stream: TextIO, *, show: Show = Show.AUTO, every_s: float = LINE_EVERY_S
) -> Iterator[None]:
    """
    Show how a run goes while the block runs.

    Args:
        show: `Show.ON` shows lines where `Show.AUTO` would do so too, and the bar also in CI; a
            stream that is no terminal never gets control codes.
        every_s: Between two lines.
    """
    if show is Show.OFF:
        yield
    elif is_lively(stream) or (show is Show.ON and is_lively(stream, {})):
        with _bar(tally, stream):
            yield
    else:
        with ticking(_Lines(tally, stream).write, every_s):
            yield


@contextmanager
def ticking(work: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `work` every so often in a thread of its own, while the block runs."""
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


@contextmanager
def _bar(tally: Tally, stream: TextIO) -> Iterator[None]:
    bar = Bar(tally)
    live = Live(
        console=console(stream),
        get_renderable=bar.render,
        refresh_per_second=FRAMES_PER_S,
        # The summary says it all; a bar left standing would only be in its way.
        transient=True,
        redirect_stdout=False,
    )
    with live:
        yield


@dataclass(slots=True)
class _Lines:
    tally: Tally
    stream: TextIO
    speed: Speedometer = field(default_factory=Speedometer)

    def write(self) -> None:
        snapshot = self.tally.snapshot()
        line = status_line(snapshot, self.speed.read(snapshot))
        try:
            self.stream.write(f"bulkaudio: {line}\n")
            self.stream.flush()
        except (OSError, ValueError):
            # Whoever read the lines is gone; the run is not their business.
            return


@dataclass(slots=True)
class Bar:
    """Two lines: how far, how fast and how long; then how the hosts are doing."""

    tally: Tally
    speed: Speedometer = field(default_factory=Speedometer)

    def render(self) -> RenderableType:
        """Draw the run as it is now."""
        snapshot = self.tally.snapshot()
        rate = self.speed.read(snapshot)
        counts = snapshot.counts
        # Until the total is known a share of it would only mislead: the bar swings to and fro.
        total = float(max(1, counts.recordings)) if snapshot.is_total_known else None
        bar = ProgressBar(total=total, completed=counts.settled, width=24)
        left = remaining_s(snapshot, rate)
        row = Table.grid(padding=(0, 2))
        row.add_row(
            bar,
            Text(progress_words(snapshot), style="bold", no_wrap=True),
            Text(rate_words(rate), no_wrap=True),
            Text("" if left is None else f"{format_duration(round(left))} left", no_wrap=True),
        )
        state = Text(", ".join(state_words(snapshot)), style="dim", no_wrap=True)
        state.truncate(200, overflow="ellipsis")
        return Group(row, state)
