"""Signals, pauses and jumps of the clock: what is durable stays, and the run ends or goes on in order."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.faults.machine import few, hook, lifted, ordered, saved
from tests.forked import forked
from tests.oracle import trial_on
from tests.plans import Held, Plans, subject, whole
from tests.program import environment, started, until, wavs
from tests.wire import WireServer

IDS = tuple(f"CA{n}" for n in range(1, 25))
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", few(STOPS, (signal.SIGTERM, signal.SIGINT)))
async def test_once(tmp_path: Path, number: signal.Signals) -> None:
    """What is under way is waited for and saved; nothing more is asked for."""
    script = Held("CA1", "CA2")
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), "--concurrency", "4", "--grace", "1h")
        async with forked(trial.order(*trial.words(*csv))) as fork:
            await until(lambda: len(server.targets) >= 6)
            fork.send(number)
            await until(lambda: "stopping" in fork.stderr)
            script.released.set()
            ended = await fork.wait()
        trial.check(ended)
        trial.check_archive(is_whole=True)
        assert ended.code == 128 + number, ended.stderr
        assert ended.summary["status"] == "interrupted"
        asked = {f"combined/{subject(each)[0]}.wav" for each in server.targets}
        assert set(wavs(trial.archive)) == trial.saved() == asked
        await lifted(trial, *csv)


@pytest.mark.parametrize(
    ("first", "second"),
    few([(one, two) for one in STOPS for two in STOPS], [(signal.SIGTERM, signal.SIGTERM)]),
)
async def test_twice(tmp_path: Path, first: signal.Signals, second: signal.Signals) -> None:
    """The second stops at once, though nothing under way ever ends; what was saved stays."""
    async with WireServer(Held("CA1", "CA2")) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        csv = (*trial.csv(*IDS), "--concurrency", "4", "--grace", "1h")
        async with forked(trial.order(*trial.words(*csv))) as fork:
            await saved(trial, 2)
            await until(lambda: len(server.targets) >= 6)
            fork.send(first)
            await until(lambda: "stopping" in fork.stderr)
            fork.send(second)
            ended = await fork.wait()
        trial.check(ended)
        assert ended.code == 128 + first, ended.stderr
        assert "stopping now" in ended.stderr
        assert trial.saved() == {"combined/CA1.wav", "combined/CA2.wav"}
        server.scripts = (whole,)
        await lifted(trial, *csv)


@pytest.mark.parametrize("number", few(STOPS, ()))
async def test_many_times_while_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever loses patience altogether costs no recording that was saved."""
    script = Held("CA1", "CA2")
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        csv = (*trial.csv(*IDS), "--concurrency", "4", "--grace", "1h")
        async with forked(trial.order(*trial.words(*csv))) as fork:
            await saved(trial, 2)
            for _ in range(12):
                fork.send(number)
                await asyncio.sleep(0.002)
            ended = await fork.wait()
        assert ended.code == 128 + number, ended.stderr
        assert "Traceback" not in ended.stderr
        trial.check_archive(is_whole=False)
        script.released.set()
        await lifted(trial, *csv)


def signalled(step: str, number: int) -> None:
    """Have this process send itself a signal when it comes to a step for the first time."""
    waiting = [step]

    def send(event: str, _: object) -> None:
        if event in waiting:
            waiting.clear()
            os.kill(os.getpid(), number)

    sys.addaudithook(send)


BEGINNING = (
    *(Step.PROBE_CREATE, Step.LOCK_TAKE, Step.LEDGER_OPEN, Step.LEDGER_MIGRATE, Step.RECOVER_LIST),
)
END = (Step.PUBLISH_LINK, Step.LEDGER_COMMIT, Step.FORGET, Step.LEDGER_CLOSE)


@pytest.mark.parametrize(
    ("step", "number"),
    few(
        [(step, number) for step in (*BEGINNING, *END) for number in STOPS],
        [(Step.LEDGER_COMMIT, signal.SIGTERM)],
    ),
)
async def test_in_the_midst(tmp_path: Path, step: Step, number: signal.Signals) -> None:
    """While an archive opens, a batch is committed or the ledger closes, it is no worse."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        order = ordered(trial, *csv, **hook(signalled, step, number))
        async with forked(order) as fork:
            ended = await fork.wait()
        trial.check(ended)
        # The run was over before the ledger closed; a signal then is nobody's any more.
        assert ended.code in {128 + number, 0} if step in END else {128 + number}
        await lifted(trial, *csv)


@pytest.mark.parametrize(
    ("step", "number"),
    few(
        [(step, n) for step in Step if step.startswith("bulkaudio.recover") for n in STOPS],
        [(Step.RECOVER_LOOK, signal.SIGTERM)],
    ),
)
async def test_during_recovery(tmp_path: Path, step: Step, number: signal.Signals) -> None:
    """What a killed run had published is adopted all the same, by this start or the next."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        killed = ordered(trial, *csv, **hook(signalled, Step.PUBLISH_SYNC, signal.SIGKILL))
        async with forked(killed) as fork:
            assert (await fork.wait()).code == 137
        before = set(wavs(trial.archive))
        assert before
        async with forked(ordered(trial, *csv, **hook(signalled, step, number))) as fork:
            ended = await fork.wait()
        trial.check(ended)
        assert ended.code == 128 + number, ended.stderr
        await lifted(trial, *csv)
        assert {trial.asked()[path] for path in before} == {1}


async def test_while_the_program_is_being_read(tmp_path: Path) -> None:
    """Who thinks better of it at once sees no traceback."""
    (tmp_path / "cyclopts.py").write_text(
        "import time\nprint('reading', flush=True)\ntime.sleep(50)\n"
    )
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    async with started("download", env=env, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"reading\n"
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (130, b"")


@pytest.mark.parametrize("pause_s", few((0.5, 2.0, 5.0), (0.5,)))
async def test_a_pause(tmp_path: Path, pause_s: float) -> None:
    """A machine that sleeps for minutes wakes up to broken connections, and goes on."""
    script = Held("CA1", "CA2")
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=60.0)
        csv = trial.csv(*IDS)
        async with forked(trial.order(*trial.words(*csv))) as fork:
            await saved(trial, 2)
            fork.send(signal.SIGSTOP)
            await asyncio.sleep(pause_s)
            await server.drop_connections()
            script.released.set()
            fork.send(signal.SIGCONT)
            ended = await fork.wait()
        trial.check(ended)
        assert ended.code == 0, ended.stderr
        assert ended.summary["counts"]["saved"] == len(IDS)
        await lifted(trial, *csv)


def faketime() -> Path:
    """Find the library that changes what time it is, or skip."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    return found or pytest.skip("Debian's libfaketime is not installed")


@pytest.mark.parametrize("jumps", few(["+10y", "-10y", "+40y -20y", "-400d +1h -800d"], []))
async def test_the_wall_clock_jumps(tmp_path: Path, jumps: str) -> None:
    """No time-out, pace or wait is measured by it: the run ends as it would have."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    script = Held("CA1", "CA2")
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        env = {
            **environment(),
            **trial.env,
            "LD_PRELOAD": str(faketime()),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        async with started(*trial.words(*csv), env=env, cwd=trial.cwd) as process:
            await until(lambda: len(server.targets) >= 10, process)
            for jump in jumps.split():
                clock.write_text(jump)
                await asyncio.sleep(0.1)
            script.released.set()
            began = time.monotonic()
            _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert time.monotonic() - began < 30.0
        trial.check_archive(is_whole=True)
        text = (trial.archive / ".bulkaudio" / "status.json").read_text()
        assert f'"updated_at":"{time.gmtime().tm_year}' not in text, "the clock did not jump"
        await lifted(trial, *csv)
