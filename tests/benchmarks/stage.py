"""Trials one after the other, in turns: each contestant once a round, another first each time."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import ON_DISK, Trial
from tests.benchmarks.measure import Surroundings, Usage, measured
from tests.benchmarks.server import Server


def nothing_wrong(target: Path, is_first: bool) -> str | None:  # noqa: ARG001, FBT001  as `Contestant.check` is called
    """Leave what was saved as it is."""
    return None


def nothing_more(usage: Usage, stdout: Path) -> Mapping[str, float]:  # noqa: ARG001  as `Contestant.observe` is called
    """Observe nothing."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """
    A program that takes part.

    Attributes:
        command: For a target folder that is there and empty.
        check: Says what is wrong with the target; in the first round by every byte.
        observe: Reads the server's log or what was printed.
        code: How it ends when all is well.
    """

    name: str
    command: Callable[[Path], Sequence[str]]
    check: Callable[[Path, bool], str | None] = nothing_wrong
    observe: Callable[[Usage, Path], Mapping[str, float]] = nothing_more
    code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A server that is ready, and who takes part."""

    folder: Path
    server: Server
    contestants: Sequence[Contestant]
    subjects: Sequence[str] = ()
    volume_bytes: int = 0

    def play(self, rounds: int) -> Sequence[Trial]:
        """Let everybody run, `rounds` times."""
        around = Surroundings(folder=self.folder, variables=self.server.variables)
        trials = []
        for number in range(rounds):
            first = number % len(self.contestants)
            for contestant in (*self.contestants[first:], *self.contestants[:first]):
                trial = self._try(contestant, number, around)
                trials.append(trial)
                say(f"  {number + 1}/{rounds}  {trial.wall_s:8.2f} s  {trial.contestant}", trial)
        return trials

    def _try(self, contestant: Contestant, number: int, around: Surroundings) -> Trial:
        target = self.folder / "target"
        target.mkdir()
        # What somebody else has left in the kernel's buffers is written at nobody's cost.
        os.sync()
        self.server.mark()
        usage = measured(contestant.command(target), around)
        written_s = _time_to_write()
        fault = contestant.check(target, number == 0)
        if usage.code != contestant.code:
            fault = f"{fault or 'saved all'}, exit {usage.code}: {last_line(around.stderr)}"
        seen = {} if fault else dict(contestant.observe(usage, around.stdout))
        if self.subjects:
            seen[ON_DISK] = usage.wall_s + written_s
        empty(target)
        target.rename(self.folder / f"{number} {contestant.name}")
        return Trial(
            contestant=contestant.name,
            round=number,
            wall_s=usage.wall_s,
            cpu_s=usage.cpu_s,
            peak_bytes=usage.peak_bytes,
            fault=fault,
            more=seen,
        )


def _time_to_write() -> float:
    """Write what a tool has left in the kernel's buffers; return the seconds that it took."""
    start = time.perf_counter()
    os.sync()
    return time.perf_counter() - start


def empty(folder: Path) -> None:
    """
    Free the space of all that a folder holds, and keep the names until everything has ended.

    ext4 looks at every file that was removed in the last minutes before it makes a new one: after
    thousands of them, that was most of what saving a small file took, whatever the tool.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            os.truncate(Path(place, name), 0)


def last_line(path: Path) -> str:
    """Return the end of what a program said."""
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def say(text: str, trial: Trial | None = None) -> None:
    """Report progress."""
    fault = f"  FAILED: {trial.fault}" if trial and trial.fault else ""
    sys.stderr.write(f"{text}{fault}\n")
    sys.stderr.flush()
