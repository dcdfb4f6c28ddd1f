"""
What one recording costs, counted instead of timed: hops to threads, system calls, our own calls.

Everything is counted in two runs of different length, so that what a run costs once is not among it.
Bounds are a little above what was counted when they were set: who exceeds one has made every
recording dearer, and finds out here and not from a clock that other programs share.
"""

import asyncio
import atexit
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bulkaudio
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.server import Simulator
from tests.audio import pcm_wav
from tests.forked import run_forked
from tests.oracle import trial_on
from tests.plans import resized, subject, whole
from tests.program import PROGRAM, Desk
from tests.wire import Certificates, Exchange, WireServer, http_head

FEW, MANY = 64, 320

Counts = Counter[str]


async def each(count: Callable[[int], Awaitable[Counts]]) -> dict[str, float]:
    """Return what one more recording adds to each count."""
    few, many = await count(FEW), await count(MANY)
    return {name: (many[name] - few[name]) / (MANY - FEW) for name in many}


async def test_a_short_recording_costs_two_hops_and_few_calls(tmp_path: Path) -> None:
    """One hop writes and proves it, one syncs it; what a batch costs is shared by 64."""

    async def counted(number: int) -> Counts:
        async with WireServer(whole) as server:
            ids = [f"CA{n}" for n in range(number)]
            trial = trial_on(server, tmp_path / f"work{number}", *ids)
            order = replace(
                trial.order(*trial.words(*trial.csv(*ids))),
                hook="tests.test_costs:count_inside",
                hook_arguments=(str(tmp_path / f"counts{number}"),),
            )
            ended = await run_forked(order)
        assert ended.code == 0, ended.stderr
        assert len(server.targets) == number
        return Counter(json.loads((tmp_path / f"counts{number}").read_text()))

    cost = await each(counted)
    assert cost["hops of store"] <= 2.1
    assert cost["hops of ledger"] <= 0.1
    assert cost["hops of asyncio"] <= 0.05
    assert cost["calls"] <= 205, "calls of bulkaudio's own functions, on the loop's thread"


def count_inside(note: str) -> None:
    """Count hops to threads, and calls of the package's functions in the thread of the loop."""
    counts: Counts = Counter()
    package = str(Path(bulkaudio.__file__).parent)
    submit = ThreadPoolExecutor.submit

    def counting(
        pool: ThreadPoolExecutor, work: Callable[..., Any], /, *arguments: Any, **more: Any
    ) -> "Future[Any]":
        name = (pool._thread_name_prefix or "").partition("_")[0].partition("-")[0]
        counts[f"hops of {name if name in {'store', 'ledger'} else 'asyncio'}"] += 1
        return submit(pool, work, *arguments, **more)

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            counts["calls"] += 1

    setattr(ThreadPoolExecutor, "submit", counting)  # noqa: B010  # a method
    sys.setprofile(profile)

    def write() -> None:
        sys.setprofile(None)
        Path(note).write_text(json.dumps(counts))

    atexit.register(write)


SYSTEM_CALLS = {
    "openat": 1.2,
    "write": 3.0,
    "fsync": 1.1,
    "fdatasync": 0.2,
    "linkat": 1.05,
    "unlinkat": 1.05,
    "renameat2": 0.0,
    "fchmod": 1.1,
    "getrandom": 0.1,
    "sendto": 3.3,
    "connect": 0.1,
    "newfstatat": 1.2,
}
"""
At most so many for each recording of some kilobytes; what depends on timing is not here. One `sendto`
is the request, and each hop to a thread wakes the loop with one.
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_system_calls_of_a_recording(tmp_path: Path) -> None:
    """A file is made, written, synced, linked and unlinked once; a request is sent once."""

    async def counted(number: int) -> Counts:
        calls = Calls(count=number, speech_s=(0.1, 0.2), chat_share=0.0, opt_out_share=0.0)
        folder = tmp_path / str(number)
        folder.mkdir()
        async with Simulator(calls=calls) as simulator:
            desk = Desk.at(simulator, folder)
            words = desk.words("--csv", desk.csv(calls.ids()))
            summary = folder / "calls"
            traced = ("strace", "-f", "-c", "-U", "calls,name", "-o", str(summary))
            process = await asyncio.create_subprocess_exec(
                *traced, sys.executable, *PROGRAM, *map(str, words), env=desk.env(), cwd=folder
            )
            assert await process.wait() == 0
            assert simulator.requests.total == number
        lines = (line.split() for line in summary.read_text().splitlines())
        return Counter({line[1]: int(line[0]) for line in lines if line[0].isdigit()})

    cost = await each(counted)
    dear = {name: cost.get(name, 0.0) for name in SYSTEM_CALLS}
    assert {name: n for name, n in dear.items() if n > SYSTEM_CALLS[name]} == {}, dear


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most memory that a run of so many recordings took."""

    recordings: int
    kib: int


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_the_number_of_recordings(tmp_path: Path) -> None:
    """Ten thousand fill what a run keeps, the ledger's cache above all; as many again add nothing."""

    async def peak(number: int) -> Peak:
        async with WireServer(whole) as server:
            ids = [f"CA{n}" for n in range(number)]
            trial = trial_on(server, tmp_path / f"work{number}", *ids)
            ended = await run_forked(trial.order(*trial.words(*trial.csv(*ids))))
        assert ended.code == 0, ended.stderr
        return Peak(recordings=number, kib=ended.peak_rss_kib)

    few, many = await peak(10_000), await peak(20_000)
    assert many.kib - few.kib < 3 * 1024, (few, many)


class Crowd:
    """Sends short recordings at once, and long ones when sixty-four of them have begun."""

    PIECE = bytes(256 * 1024)
    LONG = 29_000_000

    def __init__(self) -> None:
        self.under_way = 0
        self.is_full = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if not subject(exchange.head.target)[0].startswith("LONG"):
            await asyncio.sleep(0.02)
            await whole(exchange)
            return
        self.under_way += 1
        if self.under_way == 64:
            self.is_full.set()
        head = resized(pcm_wav(0.0, "x"), self.LONG)[:44]
        await exchange.send(http_head(200, [("Content-Length", str(44 + self.LONG))]) + head)
        await self.is_full.wait()
        left = self.LONG
        while left:
            piece = self.PIECE[:left]
            await exchange.send(piece)
            left -= len(piece)


def test_connections_of_the_program_hold_little_that_nobody_has_read() -> None:
    """In a process of its own: what asyncio gives a TLS connection is changed for all of them."""
    script = """
import asyncio, ssl
from asyncio import sslproto
from bulkaudio.cli.tls_buffers import keep_small
keep_small()
loop = asyncio.new_event_loop()
context = ssl.create_default_context()
protocol = sslproto.SSLProtocol(loop, asyncio.Protocol(), context, None, server_hostname="localhost")
print(len(protocol.get_buffer(-1)))
loop.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 128 * 1024


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_sixty_four_long_recordings_at_once_are_held_in_150_megabytes(tmp_path: Path) -> None:
    """Buffers are shared out among those under way, over TLS, which has some of its own."""
    certificates, crowd = Certificates(), Crowd()
    bundle = certificates.write_bundle(tmp_path)
    ids = [*(f"CA{n}" for n in range(1_000)), *(f"LONG{n}" for n in range(64))]
    async with WireServer(crowd, tls=certificates.context()) as server:
        trial = trial_on(server, tmp_path / "work", *ids)
        words = (*trial.csv(*ids), "--ca-bundle", bundle, "--concurrency", "64")
        ended = await run_forked(trial.order(*trial.words(*words)))
    assert ended.code == 0, ended.stderr
    assert ended.peak_rss_kib < 150_000_000 / 1024
