"""More workers than the server has room for, and more runs than the archive has."""

import json
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.server import Simulator
from tests.program import Desk, Done, check_archive, expected, run, started, until, wavs


def recorded(count: int) -> Calls:
    """Make calls that all have a recording."""
    return Calls(count=count, speech_s=(0.05, 0.2), chat_share=0.0, opt_out_share=0.0)


async def timed(running: Awaitable[Done]) -> tuple[float, Done]:
    """Run the program and take its time."""
    began = time.monotonic()
    done = await running
    return time.monotonic() - began, done


async def crowd(tmp_path: Path, count: int, concurrency: str) -> None:
    """Send a crowd to a server that refuses the sixth request at once."""
    async with Simulator(calls=recorded(count), slots=5, latency_s=0.03) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        done = await desk.download("--csv", desk.csv(ids), "--concurrency", concurrency)
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["saved"] == count
        assert done.summary["counts"]["failed"] == 0
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        check_archive(desk.archive, simulator)
        refused, answered = simulator.requests.statuses[429], simulator.requests.total
        assert refused > 0, "the server had room for everybody, so nothing was shown"
        assert refused <= 0.05 * answered, f"{refused} of {answered} were refused"


@pytest.mark.parametrize("concurrency", ["60", "auto"])
async def test_sixty_workers_find_the_five_places_of_the_server(
    tmp_path: Path, concurrency: str
) -> None:
    """Every recording is saved, and one answer in twenty is a refusal at most."""
    await crowd(tmp_path, 300, concurrency)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("concurrency", ["60", "auto"])
async def test_sixty_workers_live_with_five_places_for_long(
    tmp_path: Path, concurrency: str
) -> None:
    """The same with 4,000 recordings, where feeling the way up has gone on for a while."""
    await crowd(tmp_path, 4000, concurrency)


@pytest.mark.slow
async def test_rate_limit_of_the_server_is_lived_with(tmp_path: Path) -> None:
    """Against 80 requests a second every recording is saved, and nobody fails for throttling."""
    async with Simulator(calls=recorded(300), rate=80.0) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        done = await desk.download("--csv", desk.csv(ids))
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["saved"] == 300
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


async def test_second_run_leaves_the_archive_to_the_first(tmp_path: Path) -> None:
    """It ends with 75 without asking PolyAI anything; the first one notices nothing."""
    async with Simulator(calls=recorded(60)) as simulator:
        simulator.faults = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=6.0)
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        words = desk.words("--csv", desk.csv(ids), "--concurrency", "4")
        async with started(*words, env=desk.env(), cwd=tmp_path) as first:
            await until(lambda: simulator.requests.total >= 4, first)
            asked = simulator.requests.total
            refused_s, refused = await timed(desk.download("--csv", tmp_path / "missing.csv"))
            assert refused.code == 2
            took_s, second = await timed(desk.download("--csv", desk.csv(ids, "other.csv")))
            assert second.code == 75, second.stderr
            assert second.summary["exit_code"] == 75
            assert took_s < 1.0 + 2 * refused_s, "it did more than to start and look at the lock"
            assert simulator.requests.total == asked
            assert first.returncode is None
            simulator.faults = Faults.none()
            stdout, stderr = await first.communicate()
        assert first.returncode == 0, stderr.decode()
        assert json.loads(stdout)["counts"]["saved"] == 60
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


@pytest.mark.slow
async def test_status_tells_of_a_run_that_is_going_on(tmp_path: Path) -> None:
    """It neither waits for the run's lock nor disturbs it."""
    async with Simulator(calls=recorded(40)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        simulator.faults = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=5.0)
        words = desk.words("--csv", desk.csv(simulator.calls.ids()), "--concurrency", "4")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 4, process)
            status = await run("status", desk.archive, env=desk.env(), cwd=tmp_path)
            assert status.code == 0, status.stderr
            assert f"process {process.pid}" in status.stdout
            file = desk.archive / ".bulkaudio" / "status.json"
            await until(lambda: json.loads(file.read_text())["open"] == 40, process)
            later = await run("status", desk.archive, env=desk.env(), cwd=tmp_path)
            assert "of 40" in later.stdout
            assert process.returncode is None
            simulator.faults = Faults.none()
            _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert len(wavs(desk.archive)) == 40


@pytest.mark.slow
async def test_lock_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    """Right after kill -9 the archive is free again."""
    async with Simulator(calls=recorded(10)) as simulator:
        simulator.faults = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=300.0)
        desk = Desk.at(simulator, tmp_path)
        source = ("--csv", desk.csv(simulator.calls.ids()))
        async with started(*desk.words(*source), env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 4, process)
            process.kill()
        simulator.faults = Faults.none()
        done = await desk.download(*source)
    assert done.code == 0, done.stderr
    assert done.summary["counts"]["saved"] == 10
