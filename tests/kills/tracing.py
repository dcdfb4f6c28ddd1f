"""
Faults put into the system calls of one thread, by strace.

strace counts ``when`` for each thread by itself, and several threads make the same calls at the same
time. So only one of them is traced, from its first step on: then the n-th call is the same call in
every run, and none of the interpreter's own is among them.
"""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.forked import Ended, Fork, forked
from tests.kills.ground import KILLED, Archive, Ground
from tests.kills.hooks import Action
from tests.program import until

MARK = "getppid"
"""A call that nobody else makes: the held thread makes it to see whether it is traced."""

SYNCS = ("fsync", "fdatasync")

LINE = re.compile(r"^(?P<call>\w+)\((?P<fd>\d+<[^>]*>)?.*= (?P<result>-?\d+|\?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    What is to befall the `number`-th `call` of a thread.

    Attributes:
        thread: How its name begins.
    """

    thread: str
    call: str
    number: int
    action: Action

    def inject(self) -> str:
        """Say it to strace."""
        what = "signal=SIGKILL" if self.action is Action.KILL else f"error={self.action.value}"
        return f"inject={self.call}:{what}:when={self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A program that ended, and the calls of the thread that was traced."""

    ended: Ended
    calls: Sequence[str]

    @property
    def was_struck(self) -> bool:
        """Whether the call was made so often."""
        return self.ended.code == KILLED or self.line is not None

    @property
    def line(self) -> str | None:
        """The call that was answered with an error."""
        return next((each for each in self.calls if "(INJECTED)" in each), None)

    def keeps_new(self, name: str) -> bool:
        """Whether the call that was answered with an error writes a file, or syncs what was written."""
        is_new = False
        for each in self.calls:
            if name in each and each.startswith("pwrite64("):
                is_new = True
            if each == self.line:
                return is_new
            if name in each and each.startswith(SYNCS):
                is_new = False
        return False

    def repeated_syncs(self) -> list[str]:
        """Return what was synced again on a descriptor where that had failed."""
        failed: set[str] = set()
        again = []
        for each in filter(None, map(LINE.match, self.calls)):
            fd = each["fd"] or ""
            if each["call"] == "close":
                failed.discard(fd)
            elif each["call"] in SYNCS and fd in failed:
                again.append(fd)
            elif each["call"] in SYNCS and each["result"] == "-1":
                failed.add(fd)
        return again


def why_not() -> str | None:
    """Say what is missing for this here; None: nothing."""
    return None if shutil.which("strace") else "strace is not installed (Debian: strace)"


async def run_traced(ground: Ground, archive: Archive, fault: Fault) -> Traced:
    """Run a download to its end, whatever the fault makes of it."""
    note, log = (ground.folder / f"{archive.cwd.name}.{name}" for name in ("thread", "strace"))
    order = replace(
        archive.order(*archive.words(*ground.words)),
        hook="tests.kills.hooks:hold_thread",
        hook_arguments=({"thread": fault.thread, "batch": 3, "note": str(note), "log": str(log)},),
    )
    async with forked(order) as fork:
        await until(lambda: note.exists() or fork.has_ended)
        tracing = await _attach(note, log, fault)
        ended = await _end_of(fork, tracing)
    traced = Traced(ended=ended, calls=log.read_text().splitlines())
    if traced.was_struck:
        ground.count(fault.action)
    return traced


async def _attach(note: Path, log: Path, fault: Fault) -> asyncio.subprocess.Process:
    traced = ",".join({MARK, fault.call, "close", "pwrite64", *SYNCS})
    return await asyncio.create_subprocess_exec(
        *("strace", "-qq", "-y", "-o", str(log), "-p", note.read_text()),
        *("-e", f"trace={traced}", "-e", "signal=none", "-e", fault.inject()),
        stderr=asyncio.subprocess.PIPE,
    )


async def _end_of(fork: Fork, tracing: asyncio.subprocess.Process) -> Ended:
    _, complaints = await tracing.communicate()
    assert not complaints, complaints.decode()
    return await fork.wait()
