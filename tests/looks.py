"""A stand-in, a folder, and the program in forked processes; what a tree looked like before."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from bulkaudio.simulator import Calls, Simulator
from tests.forked import Ended, Fork, Order, forked, run_forked
from tests.oracle import check_left, check_words
from tests.program import environment, write_csv

SINCE, UNTIL = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Runs commands against a stand-in, in a folder where ``archive`` is."""

    simulator: Simulator
    cwd: Path

    @property
    def archive(self) -> Path:
        """Where it is."""
        return self.cwd / "archive"

    @property
    def whose(self) -> tuple[str, ...]:
        """Say whose recordings are wanted, and where."""
        simulator = self.simulator
        whose = ("--region", "uk", "--agent", simulator.agent, "--account", simulator.account)
        return (*whose, "--out", str(self.archive))

    @property
    def window(self) -> tuple[str, ...]:
        """Name the whole time of the calls."""
        calls = self.simulator.calls
        return ("--since", calls.since.isoformat(), "--until", calls.until.isoformat())

    def csv(self, ids: Sequence[str], name: str = "calls.csv") -> str:
        """Write a file of ids."""
        return str(write_csv(self.cwd / name, list(ids)))

    def order(self, *arguments: str | Path, **env: str) -> Order:
        """Say how a command is run."""
        plain = environment(self.simulator, **{"HOME": str(self.cwd), **env})
        return Order(arguments=tuple(map(str, arguments)), env=plain, cwd=self.cwd)

    async def run(self, *arguments: str | Path, **env: str) -> Ended:
        """Run a command to its end, and hold it to what always holds."""
        ended = await run_forked(self.order(*arguments, **env))
        check_words(ended)
        check_left(ended)
        return ended

    @asynccontextmanager
    async def running(self, *arguments: str | Path) -> AsyncIterator[Fork]:
        """Let a command run meanwhile."""
        async with forked(self.order(*arguments)) as fork:
            yield fork


def stall_at(cwd: Path, simulator: Simulator) -> Stall:
    """Make a folder beside the test's others."""
    folder = cwd / "stall"
    folder.mkdir()
    return Stall(simulator=simulator, cwd=folder)


def calls(count: int = 12, **more: float) -> Calls:
    """Make calls that all have a short recording, on two days."""
    plain: dict[str, float] = {"chat_share": 0.0, "opt_out_share": 0.0} | more
    return Calls(
        count=count,
        since=SINCE,
        until=UNTIL,
        speech_s=(0.1, 0.4),
        is_varied=False,
        chat_share=plain["chat_share"],
        opt_out_share=plain["opt_out_share"],
        in_progress=int(plain.get("in_progress", 0)),
        late=int(plain.get("late", 0)),
    )


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Describe every name below a folder: what it is, its times but for reading, its bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, _, names in os.walk(root):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            status = path.lstat()
            content = path.read_bytes() if S_ISREG(status.st_mode) else b""
            found[str(path.relative_to(root))] = (
                status.st_mode,
                status.st_ino,
                status.st_mtime_ns,
                status.st_ctime_ns,
                content,
            )
    return found
