"""
The program in a process of its own that starts in milliseconds.

Everything is real: memory, descriptors, signals, exit code, files and sockets; only the reading of
the program was done before, by the zygote. Time may be asked to run faster, for what waits a minute.
"""

import asyncio
import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Self

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """
    A forked program that ended.

    Attributes:
        code: As a shell shows it: 128 + the number of the signal that killed it.
        descriptors, threads: What it still had when its `main` returned; None when it was killed.
        tasks: What it still had when its main coroutine returned; the same.
        peak_rss_kib: The most memory it had, that of the zygote included.
        cpu_s: The time it spent computing.
    """

    code: int
    stdout: str
    stderr: str
    descriptors: tuple[str, ...] | None
    threads: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    peak_rss_kib: int
    cpu_s: float

    @property
    def summary(self) -> dict[str, Any]:
        """The one line of ``--json``, which is the last of standard output."""
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What to run.

    Attributes:
        speed: How much faster than real its monotonic clock runs; calendar time is untouched.
        hook: ``module:function``, called in the child with `hook_arguments` before the program.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: bytes = b""
    speed: float = 1.0
    umask: int = 0o022
    hook: str = ""
    hook_arguments: tuple[Any, ...] = field(default=())


class Fork:
    """A running program; `wait` tells how it ended."""

    def __init__(
        self, pid: int, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], folder: Path
    ) -> None:
        self.pid = pid
        self._reader, self._writer = streams
        self._folder = folder
        self._ended: Ended | None = None

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        path = self._folder / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def has_ended(self) -> bool:
        """Whether `wait` would return at once; true only after its answer has arrived."""
        return self._ended is not None or self._reader.at_eof()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def wait(self) -> Ended:
        """Wait for its end."""
        if self._ended is None:
            answer = json.loads(await self._reader.readline())
            self._ended = self._read_end(answer)
        return self._ended

    async def aclose(self) -> None:
        """See to it that it is gone."""
        if self._ended is None:
            self.send(signal.SIGKILL)
            await self.wait()
        self._writer.close()
        await self._writer.wait_closed()

    def _read_end(self, answer: Mapping[str, Any]) -> Ended:
        code = os.waitstatus_to_exitcode(answer["status"])
        report, left = self._folder / "report", None
        if report.exists() and (text := report.read_text()):
            left = json.loads(text)
        return Ended(
            code=128 - code if code < 0 else code,
            stdout=(self._folder / "stdout").read_text(errors="replace"),
            stderr=self.stderr,
            descriptors=None if left is None else tuple(left["descriptors"]),
            threads=None if left is None else tuple(left["threads"]),
            tasks=None if left is None else tuple(left["tasks"]),
            peak_rss_kib=answer["peak_rss_kib"],
            cpu_s=answer["cpu_s"],
        )


@asynccontextmanager
async def forked(order: Order) -> AsyncIterator[Fork]:
    """Start a program and see to it that it is gone afterwards."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stdin").write_bytes(order.stdin)
        (folder / "stdout").touch()
        reader, writer = await asyncio.open_unix_connection(await asyncio.to_thread(_zygote))
        request = {
            "arguments": list(order.arguments),
            "env": dict(order.env),
            "cwd": str(order.cwd),
            "speed": order.speed,
            "umask": order.umask,
            "hook": order.hook,
            "hook_arguments": list(order.hook_arguments),
            **{each: str(folder / each) for each in ("stdin", "stdout", "stderr", "report")},
        }
        writer.write(json.dumps(request).encode() + b"\n")
        fork = Fork(json.loads(await reader.readline())["pid"], (reader, writer), folder)
        try:
            yield fork
        finally:
            await fork.aclose()


async def run_forked(order: Order) -> Ended:
    """Run a program to its end."""
    async with forked(order) as fork:
        return await fork.wait()


class _Zygote:
    """The one of this process; it ends with it, because its standard input does."""

    def __init__(self) -> None:
        self.address = str(Path(mkdtemp(prefix="zygote-")) / "socket")

    def start(self) -> Self:
        plain = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**plain, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
        atexit.register(self._end, process)
        return self

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
        Path(self.address).unlink(missing_ok=True)
        Path(self.address).parent.rmdir()


@cache
def _zygote() -> str:
    """Start the zygote, once, and return its address."""
    return _Zygote().start().address
