"""Killed, interrupted or told to stop: nothing half under a final name, nothing fetched twice."""

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.journal import What
from bulkaudio.simulator.server import Simulator
from tests.audio import pcm_wav
from tests.forked import forked
from tests.oracle import trial_on
from tests.plans import resized
from tests.program import (
    Desk,
    check_archive,
    expected,
    ledger_rows,
    run,
    started,
    temporary_files,
    until,
    wavs,
)
from tests.wire import Exchange, WireServer, hangs, http_head

LATENCY_S = 0.02


def recorded(count: int) -> Calls:
    """Make calls that all have a recording."""
    return Calls(count=count, speech_s=(0.05, 0.3), chat_share=0.0, opt_out_share=0.0)


class Kills:
    """Kills runs over one archive, and knows afterwards what may not be asked for again."""

    def __init__(self, desk: Desk, source: tuple[str | Path, ...]) -> None:
        self.desk = desk
        self.source = source
        self.durable: dict[tuple[str, str], int] = {}
        """How often each recording had been asked for when it was found under its final name."""

    async def kill_when(self, requests: int, more_s: float, *, needs_files: bool = False) -> None:
        """Start a run, and kill it so many requests and seconds later, or once a file is there."""
        journal = self.desk.simulator.requests
        goal = journal.total + requests
        words = self.desk.words(*self.source)
        async with started(*words, env=self.desk.env(), cwd=self.desk.cwd) as process:
            await until(lambda: journal.total >= goal, process)
            if needs_files:
                await until(lambda: any(self.desk.archive.glob("*/*.wav")), process)
            await asyncio.sleep(more_s)
            process.kill()
            await process.wait()
        # The server notices broken connections a moment later.
        await asyncio.sleep(0.05)
        self.look()

    def look(self) -> None:
        """Check every promise of the archive, and that nothing durable was asked for again."""
        asked = self.desk.simulator.requests.recordings()
        for recording, times in self.durable.items():
            assert asked[recording] == times, f"{recording} was fetched again"
        if not (self.desk.archive / ".bulkaudio" / "ledger.db").exists():
            return
        rows = check_archive(self.desk.archive, self.desk.simulator)
        durable = {recording for recording, row in rows.items() if row.status == "saved"}
        for name in wavs(self.desk.archive):
            direction, _, id_ = name.removesuffix(".wav").partition("/")
            durable.add((id_, direction))
        self.durable = {recording: asked[recording] for recording in durable}


async def test_status_of_a_killed_run_says_that_it_is_over(tmp_path: Path) -> None:
    """At once, however fresh what it wrote last is: the lock knows."""
    async with Simulator(calls=recorded(40), latency_s=0.2) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--csv", desk.csv(simulator.calls.ids()), "--concurrency", "2")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 6, process)
            during = await run("status", desk.archive, "--json", env=desk.env(), cwd=tmp_path)
            process.kill()
            await process.wait()
        after = await run("status", desk.archive, "--json", env=desk.env(), cwd=tmp_path)

        assert during.summary["running"]["pid"] == process.pid
        assert after.summary["running"] is None
        assert after.summary["last_run"]["finished_at"] is None


async def survive_kills(tmp_path: Path, kills: int, count: int) -> None:
    """Kill runs at random moments, then let one end."""
    rng = Random(kills)
    async with Simulator(calls=recorded(count), latency_s=LATENCY_S) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        source = ("--csv", desk.csv(ids), "--direction", "user", "--direction", "agent")
        killer = Kills(desk, source)
        for number in range(kills):
            # On average half of the recordings are left when the last one is killed.
            requests, more_s = rng.randrange(2 * count // kills), rng.uniform(0.0, 0.05)
            await killer.kill_when(requests, more_s, needs_files=number == kills // 2)
        assert killer.durable

        done = await desk.download(*source)
        assert done.code == 0, done.stderr
        killer.look()
        assert len(killer.durable) == 2 * count
        counts = done.summary["counts"]
        assert counts["saved"] + counts["already"] == 2 * count
        assert wavs(desk.archive) == expected(simulator, ids, ["user", "agent"])
        assert temporary_files(desk.archive) == []

        total = simulator.requests.total
        again = await desk.download(*source)
        assert again.summary["counts"]["already"] == 2 * count
        assert simulator.requests.total == total


async def test_two_kills_at_random_moments_cost_no_recording(tmp_path: Path) -> None:
    """kill -9 twice, then one run: byte-exact, nothing durable fetched twice, nothing left over."""
    await survive_kills(tmp_path, kills=2, count=150)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_kills_at_random_moments_cost_no_recording(tmp_path: Path) -> None:
    """kill -9 ten times, then one run: byte-exact, nothing durable fetched twice, nothing left."""
    await survive_kills(tmp_path, kills=10, count=1500)


KILL_AT = """
import os, signal, sys
from importlib import import_module

module, owner, name, when = sys.argv[1].split()
owner = getattr(import_module(module), owner)
step = getattr(owner, name)


async def last_step(*args, **kwargs):
    if when == "after":
        await step(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)


setattr(owner, name, last_step)

from bulkaudio.cli.app import main

sys.exit(main(sys.argv[2:]))
"""
"""Runs the program, which kills itself just before or just after a step."""

PLAN = "bulkaudio.ledger.ledger Ledger plan"
SEAL = "bulkaudio.stores.staging LocalStaging seal"
PUBLISH = "bulkaudio.stores.local LocalStore publish"
SETTLE = "bulkaudio.ledger.ledger Ledger settle"
FORGET = "bulkaudio.stores.local LocalStore forget"
RECOVER = "bulkaudio.stores.local LocalStore recover"
FINISH = "bulkaudio.ledger.ledger Ledger finish_run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "durable"),
    [
        ([f"{PLAN} before"], 0),
        ([f"{PLAN} after"], 0),
        ([f"{SEAL} after"], 0),
        ([f"{PUBLISH} before"], 0),
        ([f"{PUBLISH} after"], 64),
        ([f"{SETTLE} after"], 64),
        ([f"{FORGET} after"], 64),
        ([f"{FINISH} before"], 70),
        # The second time recovery itself is killed, and the third.
        ([f"{PUBLISH} after", f"{SETTLE} before", f"{SETTLE} after"], 64),
        ([f"{SETTLE} after", f"{RECOVER} before", f"{RECOVER} after"], 64),
    ],
    ids=lambda value: (
        " then ".join(" ".join(step.split()[2:]) for step in value)
        if isinstance(value, list)
        else ""
    ),
)
async def test_kill_between_any_two_steps(tmp_path: Path, steps: list[str], durable: int) -> None:
    """Whatever had its final name is adopted without a request, whatever had not is fetched."""
    async with Simulator(calls=recorded(70)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        killer = Kills(desk, ("--csv", desk.csv(ids)))
        words = desk.words(*killer.source)
        for step in steps:
            program = ("-c", KILL_AT, step)
            async with started(*words, env=desk.env(), cwd=tmp_path, program=program) as process:
                _, stderr = await process.communicate()
            assert process.returncode == -signal.SIGKILL, stderr.decode()
            killer.look()
            assert len(killer.durable) == durable
        before = simulator.requests.recordings()
        done = await desk.download(*killer.source)
        assert done.code == 0, done.stderr
        killer.look()
        assert done.summary["counts"]["already"] == durable
        fetched = simulator.requests.recordings() - before
        assert fetched.total() == 70 - durable
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        assert temporary_files(desk.archive) == []


async def sends_half_a_megabyte(exchange: Exchange) -> None:
    """Begin a long recording, and leave it there."""
    head = http_head(200, [("Content-Length", "10000044")])
    await exchange.send(head + resized(pcm_wav(0.0), 10_000_000)[:44] + bytes(600_000))
    await exchange.hang()


async def test_parts_of_a_killed_run_are_gone_once_the_next_one_asks(tmp_path: Path) -> None:
    """What was cut off by kill -9 is removed on the next start, before the first request."""
    ids = [f"CA{number}" for number in range(30)]
    async with WireServer(sends_half_a_megabyte) as server:
        trial = trial_on(server, tmp_path / "work", *ids)
        words = trial.words(*trial.csv(*ids))
        async with forked(trial.order(*words)) as first:
            tmp = trial.archive / ".bulkaudio" / "tmp"
            await until(lambda: tmp.exists() and len(list(tmp.iterdir())) >= 4)
            first.send(signal.SIGKILL)
            await first.wait()
        left = set(temporary_files(trial.archive))
        assert len(left) >= 4
        server.scripts = (hangs,)
        asked = len(server.targets)
        async with forked(trial.order(*words)):
            await until(lambda: len(server.targets) > asked)
            assert not left & set(temporary_files(trial.archive))
    assert wavs(trial.archive) == {}


class PageTwoHangs(Faults):
    """A listing of which every page but the first keeps silent."""

    def fault(self, what: What, attempt: int) -> Fault | None:
        """Return a silence for a page that is asked for by a cursor."""
        return Fault.HANG if what.kind == "page" and what.id and attempt == 0 else None


async def test_listing_that_was_killed_goes_on_at_its_page(tmp_path: Path) -> None:
    """kill -9 while page two of three is asked for: the next run asks for two and three only."""
    async with Simulator(calls=recorded(150), faults=PageTwoHangs(pause_s=300.0)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.window("--page-size", "50")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: len(simulator.requests.pages()) == 2, process)
            process.kill()
        page_two = next(cursor for cursor in simulator.requests.pages() if cursor)
        # What the first page named is in the ledger before the second page is asked for.
        assert {id_ for id_, _ in ledger_rows(desk.archive)} == set(simulator.calls.ids()[:50])

        simulator.requests.clear()
        simulator.faults = Faults.none()
        done = await desk.list("--page-size", "50")
        assert done.code == 0, done.stderr
        pages = simulator.requests.pages()
        assert len(pages) == 2
        assert set(pages.values()) == {1}
        assert page_two in pages
        assert "" not in pages
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
async def test_signal_drains_what_is_in_flight(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The first signal lets downloads end, takes no more, and ends with the signal's code."""
    async with Simulator(calls=recorded(300), latency_s=0.3) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        words = desk.words("--csv", desk.csv(ids))
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 20, process)
            asked_before = simulator.requests.total
            process.send_signal(number)
            stdout, stderr = await process.communicate()
        assert process.returncode == code, stderr.decode()
        assert b"Traceback" not in stderr

        lines = stdout.decode().splitlines()
        assert len(lines) == 1
        summary = json.loads(lines[0])
        assert summary["status"] == "interrupted"
        assert summary["exit_code"] == code
        # Everything that was asked for was waited for and kept, and nothing more was asked for.
        counts = summary["counts"]
        assert counts["saved"] == simulator.requests.total <= asked_before + 64
        assert counts["saved"] + counts["open"] == counts["recordings"]
        assert len(wavs(desk.archive)) == counts["saved"]
        check_archive(desk.archive, simulator)
        assert temporary_files(desk.archive) == []

        simulator.latency_s = 0.0
        done = await desk.download("--csv", desk.csv(ids))
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["already"] == counts["saved"]
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        assert Counter(simulator.requests.recordings().values()) == {1: 300}


@pytest.mark.slow
async def test_signal_ends_a_listing_that_waits_for_its_page(tmp_path: Path) -> None:
    """No grace time for a page: it is asked for again by the next run, from where it was."""
    hang = Faults(script={What("page", "20"): (Fault.HANG,)}, pause_s=300.0)
    async with Simulator(calls=recorded(50), has_cursors=False, faults=hang) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.window("--page-size", "20")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 22, process)
            began = time.monotonic()
            process.terminate()
            stdout, stderr = await process.communicate()
            assert time.monotonic() - began < 5.0
        assert process.returncode == 143, stderr.decode()
        counts = json.loads(stdout)["counts"]
        assert counts["saved"] + counts["open"] == 20
        done = await desk.list("--page-size", "20")
        assert done.code == 0, done.stderr
        assert simulator.requests.pages() == {"": 1, "20": 2, "40": 1}
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])


@pytest.mark.slow
async def test_second_signal_stops_at_once(tmp_path: Path) -> None:
    """Nobody waits for a server that hangs, once SIGTERM came twice; a later run completes."""
    async with Simulator(calls=recorded(40)) as simulator:
        simulator.faults = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=300.0)
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        words = desk.words("--csv", desk.csv(ids))
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 8, process)
            process.terminate()
            with pytest.raises(TimeoutError):
                # The first one alone waits out the grace time of 20 s.
                await asyncio.wait_for(process.wait(), 1.0)
            process.terminate()
            began = time.monotonic()
            stdout, stderr = await process.communicate()
            assert time.monotonic() - began < 3.0
        assert process.returncode == 143, stderr.decode()
        assert json.loads(stdout)["status"] == "interrupted"
        assert json.loads(stdout)["counts"]["saved"] == 0
        assert temporary_files(desk.archive) == []

        simulator.faults = Faults.none()
        done = await desk.download("--csv", desk.csv(ids))
        assert done.code == 0, done.stderr
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
