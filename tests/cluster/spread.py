"""A run that is spread over workers of this machine, and the processes that it is made of."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkaudio.simulator import Simulator
from tests.program import Desk, Done, started, until

ENGINE = ("--engine", "dask", "--workers", "2")

WORKER = b"dask worker"


def children_of(pid: int) -> list[int]:
    """Return the processes that one has started and that go on."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a run."""
    found = []
    for child in children_of(pid):
        try:
            if WORKER in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


def is_busy(pid: int) -> bool:
    """Whether a worker has connections other than to its scheduler: it fetches."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir())) > 30
    except OSError:
        return False


@dataclass(slots=True)
class Flow:
    """How many requests a simulator was sent, moment by moment."""

    simulator: Simulator
    marks: list[tuple[float, int]] = field(default_factory=list)

    async def watch(self) -> None:
        """Look often, until cancelled."""
        while True:
            self.marks.append((time.monotonic(), self.simulator.requests.total))
            await asyncio.sleep(0.01)

    def most_in(self, seconds: float) -> int:
        """Return the most requests that came within so long."""
        most, first = 0, 0
        for moment, total in self.marks:
            while self.marks[first][0] < moment - seconds:
                first += 1
            most = max(most, total - self.marks[first][1])
        return most


@asynccontextmanager
async def watched(simulator: Simulator) -> AsyncIterator[Flow]:
    """Write the requests down for the block."""
    flow = Flow(simulator)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(flow.watch())
        try:
            yield flow
        finally:
            watching.cancel()


@dataclass(slots=True)
class Going:
    """A run that is going on."""

    process: asyncio.subprocess.Process
    desk: Desk

    def workers(self) -> list[int]:
        """Return its worker processes."""
        return workers_of(self.process.pid)

    async def until(self, requests: int) -> None:
        """Wait until so many requests were sent."""
        async with asyncio.timeout(60.0):
            while self.desk.simulator.requests.total < requests:
                assert self.process.returncode is None, await self.words()
                await asyncio.sleep(0.005)

    async def lose_a_worker(self) -> None:
        """Kill one with SIGKILL, and wait until another has taken its place."""
        first = self.workers()
        os.kill(first[0], signal.SIGKILL)
        await until(lambda: bool(set(self.workers()) - set(first)))

    async def words(self) -> str:
        """Return what it said on stderr, once it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def end(self, within_s: float = 240.0) -> Done:
        """Wait for its end."""
        async with asyncio.timeout(within_s):
            stdout, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return Done(code=self.process.returncode, stdout=stdout.decode(), stderr=stderr.decode())


@asynccontextmanager
async def spread(desk: Desk, *arguments: str, **env: str) -> AsyncIterator[Going]:
    """Start a run by two workers over everything there is, and leave none of its processes."""
    words = desk.window(*ENGINE, *arguments)
    async with started(*words, env=desk.env(**env), cwd=desk.cwd) as process:
        workers: set[int] = set()
        try:
            yield Going(process, desk)
        finally:
            workers |= set(workers_of(process.pid))
            for worker in workers:
                # A process that is stopped goes on being killed.
                try:
                    os.kill(worker, signal.SIGKILL)
                except ProcessLookupError:
                    continue


async def done(desk: Desk, *arguments: str, **env: str) -> Done:
    """Run by two workers over everything there is, to the end."""
    async with spread(desk, *arguments, **env) as going:
        return await going.end()


def twice(simulator: Simulator) -> int:
    """Return how many requests for recordings were not the first for theirs."""
    return sum(count - 1 for count in simulator.requests.recordings().values())


def check_quiet(done_: Done) -> None:
    """Hold a run's stderr to what people should see: none of Dask's words, no traceback."""
    for word in ("distributed", "Traceback", "never retrieved", "Unclosed", "tornado", "warn("):
        assert word not in done_.stderr, done_.stderr


def settled(summary: dict[str, Any]) -> int:
    """Add up what became of the recordings."""
    counts = summary["counts"]
    names = ("saved", "already", "absent", "deferred", "failed")
    return sum(counts[name] for name in names)
