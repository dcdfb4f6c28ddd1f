"""Progress: a bar for terminals, plain lines for everything else."""

import io
import os
import pty
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console

from bulkaudio.events import GateMoved, Planned, Received, Retrying, Settled, SourceEnded, Stopping
from bulkaudio.model import Direction, Outcome, Plan, Recording, Status, Task
from bulkaudio.observe.pace import Rate, Speedometer, remaining_s, status_line
from bulkaudio.observe.progress import Bar, Show, progress
from bulkaudio.observe.tally import Tally
from bulkaudio.observe.terminal import console, is_lively, is_terminal

START = 1000.0
ROOM = "\x1b"


def tally_at(clock: list[float], *, todo: int = 4, already: int = 0) -> Tally:
    """Make a tally with so many recordings to fetch and its clock in our hands."""
    from datetime import UTC, datetime

    tally = Tally(clock=lambda: clock[0])
    task = Task(
        recording=Recording(conversation_id="CA1", direction=Direction.USER),
        first_seen_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    plan = Plan(
        conversations=todo, todo=(task,) * todo, already=already, absent=0, deferred=0, duplicates=0
    )
    tally(Planned(plan=plan))
    return tally


def save(tally: Tally, size: int = 1_000_000) -> None:
    """Receive and save one recording."""
    tally(Received(bytes=size))
    recording = Recording(conversation_id="CA1", direction=Direction.USER)
    tally(Settled(outcome=Outcome(recording=recording, status=Status.SAVED, bytes=size)))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Claim so."""
        return True


def test_rates_are_of_the_last_seconds_only() -> None:
    """What happened long ago, and what was already there, is not in the rate."""
    clock = [START]
    tally = tally_at(clock, todo=100, already=1000)
    speed = Speedometer()
    assert speed.read(tally.snapshot()) == Rate()
    for _ in range(50):
        save(tally)
    clock[0] += 10
    assert speed.read(tally.snapshot()) == Rate(recordings=5.0, bytes=5_000_000)
    clock[0] += 20
    speed.read(tally.snapshot())
    clock[0] += 20
    assert speed.read(tally.snapshot()) == Rate()


def test_time_left_is_told_once_the_total_is_known() -> None:
    """There is no estimate before the source has ended, and none while nothing moves."""
    tally = tally_at([START], todo=10)
    rate = Rate(recordings=2.0)
    assert remaining_s(tally.snapshot(), rate) is None
    tally(SourceEnded())
    assert remaining_s(tally.snapshot(), rate) == 5.0
    assert remaining_s(tally.snapshot(), Rate()) is None


def test_line_tells_everything_worth_knowing() -> None:
    """One line has how far, how fast, retries, throttling and why it waits."""
    clock = [START]
    tally = tally_at(clock)
    save(tally)
    tally(Retrying(what="CA1 user", reason="throttled", attempt=1, wait_s=1.0))
    tally(GateMoved(host="h", slots=5, closed_s=12.0, reason="the host asked to wait"))
    line = status_line(tally.snapshot(), Rate(recordings=41.0, bytes=35e6))
    assert line == (
        "1 of 4+ recordings, 41 files/s, 35.0 MB/s, 5 at once, 1 retry, 1 throttled, "
        "waiting 12s: the host asked to wait"
    )
    tally(Stopping(reason="SIGINT"))
    assert "stopping: SIGINT" in status_line(tally.snapshot(), Rate())


def test_stream_that_is_no_terminal_gets_whole_lines_without_codes() -> None:
    """A pipe gets a line every so often: no carriage return, no escape."""
    stream = io.StringIO()
    with progress(Bar(tally_at([START])), stream, show=Show.ON, every_s=0.02):
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("bulkaudio: 0 of 4+ recordings") for line in lines)
    assert not {"\x1b", "\r"} & set(stream.getvalue())


def test_gone_reader_does_not_end_the_run() -> None:
    """Lines to a closed stream are dropped."""
    stream = io.StringIO()
    stream.close()
    with progress(Bar(tally_at([START])), stream, every_s=0.01):
        time.sleep(0.05)


def test_off_shows_nothing_on_a_terminal() -> None:
    """`off` is silent even where somebody watches."""
    stream = Terminal()
    with progress(Bar(tally_at([START])), stream, show=Show.OFF):
        pass
    assert stream.getvalue() == ""


def test_terminal_gets_a_bar_that_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real terminal the bar is drawn, and erased at the end."""
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, progress(Bar(tally_at([START])), stream):
        time.sleep(0.4)
    shown = ""
    with suppress(OSError):  # how a terminal ends whose other side is closed
        while True:
            shown += os.read(ours, 65536).decode()
    os.close(ours)
    assert "0 of 4+ recordings" in shown
    assert shown.rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("environ", "terminal", "lively"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "CI": "true"}, True, False),
        ({"TERM": "xterm", "CI": "false"}, True, True),
    ],
)
def test_environment_decides_what_a_terminal_is_shown(
    environ: Mapping[str, str], *, terminal: bool, lively: bool
) -> None:
    """TERM=dumb has no codes, CI no moving bar; a file is never a terminal."""
    stream: TextIO = Terminal()
    assert is_terminal(stream, environ) is terminal
    assert is_lively(stream, environ) is lively
    assert not is_terminal(io.StringIO(), environ)


def test_files_get_no_colour_even_when_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_COLOR does not put codes into a file, and NO_COLOR takes them from a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "page").open("w") as file:
        console(file).print("word", style="bold red")
    assert (tmp_path / "page").read_text() == "word\n"
    stream = Terminal()
    console(stream, {"TERM": "xterm", "NO_COLOR": "1"}).print("word", style="bold red")
    assert stream.getvalue() == "word\n"


def test_bar_fills_once_the_total_is_known() -> None:
    """The bar and the words show a share only when there is a total."""
    clock = [START]
    tally = tally_at(clock)
    bar = Bar(tally)
    page = Console(file=io.StringIO(), width=120, color_system=None)
    save(tally)
    page.print(bar.render())
    tally(SourceEnded())
    clock[0] += 1
    save(tally)
    page.print(bar.render())
    text = page.file.getvalue() if isinstance(page.file, io.StringIO) else ""
    assert "1 of 4+ recordings" in text
    assert "2 of 4 recordings" in text
    assert "left" in text
