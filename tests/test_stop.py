"""Runs that end before everything is done: budgets, limits, and a host that is down."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.server import Simulator
from tests.program import Desk, check_archive, expected, started, temporary_files, until, wavs


def recorded(count: int) -> Calls:
    """Make calls that all have a recording of the same size, 0.1 seconds of PCM."""
    return Calls(
        count=count,
        speech_s=(0.1, 0.1),
        chat_share=0.0,
        opt_out_share=0.0,
        is_varied=False,
    )


async def test_max_recordings_saves_exactly_so_many_and_then_goes_on(tmp_path: Path) -> None:
    """Of 50, portions of 20 are saved: 20, 20, 10; the last run ends with 0."""
    async with Simulator(calls=recorded(50), latency_s=0.01) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        source = ("--csv", desk.csv(ids), "--max-recordings", "20")
        for saved_before, code in ((0, 8), (20, 8), (40, 0)):
            done = await desk.download(*source)
            assert done.code == code, done.stderr
            counts = done.summary["counts"]
            assert counts["saved"] == min(20, 50 - saved_before)
            assert done.summary["status"] == ("stopped" if code else "complete")
            assert len(wavs(desk.archive)) == saved_before + counts["saved"]
        assert simulator.requests.total == 50
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


async def test_max_recordings_that_is_just_enough_is_no_stop(tmp_path: Path) -> None:
    """Exactly so many are there: the run is complete, exit 0."""
    async with Simulator(calls=recorded(20)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.download("--csv", desk.csv(simulator.calls.ids()), "--max-recordings=20")
    assert done.code == 0, done.stderr
    assert done.summary["status"] == "complete"
    assert done.summary["counts"]["saved"] == 20


async def test_max_recordings_counts_what_is_saved_not_what_fails(tmp_path: Path) -> None:
    """Recordings that do not exist leave their places to others."""
    async with Simulator(calls=recorded(30)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        unknown = [f"CA{n:032x}" for n in range(5)]
        ids = [*unknown, *simulator.calls.ids()]
        done = await desk.download("--csv", desk.csv(ids), "--max-recordings", "12")
        assert done.code == 8, done.stderr
        assert done.summary["counts"]["saved"] == 12
        assert len(wavs(desk.archive)) == 12


@pytest.mark.slow
async def test_max_recordings_holds_for_the_listing(tmp_path: Path) -> None:
    """A listing in portions: 25 of 40 over pages of 10, and the next run brings the rest."""
    async with Simulator(calls=recorded(40)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        first = await desk.list("--page-size", "10", "--max-recordings", "25")
        assert first.code == 8, first.stderr
        assert len(wavs(desk.archive)) == first.summary["counts"]["saved"] == 25
        second = await desk.list("--page-size", "10", "--max-recordings", "25")
        assert second.code == 0, second.stderr
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])
        assert sum(simulator.requests.recordings().values()) == 40


@pytest.mark.slow
async def test_max_bytes_stops_soon_after_so_many(tmp_path: Path) -> None:
    """It goes over by what was under way at most, keeps that, and resumes."""
    async with Simulator(calls=recorded(200), latency_s=0.05) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        size = len(simulator.expected_bytes(ids[0], "combined"))
        most = 30 * size
        source = ("--csv", desk.csv(ids), "--concurrency", "4")
        done = await desk.download(*source, "--max-bytes", str(most))
        assert done.code == 8, done.stderr
        assert done.summary["status"] == "stopped"
        kept = sum(map(len, wavs(desk.archive).values()))
        assert kept == done.summary["bytes"]
        assert most <= kept <= most + 8 * size, "four are under way, and four wait behind them"
        again = await desk.download(*source)
        assert again.code == 0, again.stderr
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        assert simulator.requests.total == 200


@pytest.mark.slow
async def test_max_duration_stops_in_time_and_keeps_what_arrived(tmp_path: Path) -> None:
    """After two seconds no more is taken; what is under way ends."""
    async with Simulator(calls=recorded(500), latency_s=0.2) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        source = ("--csv", desk.csv(ids), "--concurrency", "4")
        done = await desk.download(*source, "--max-duration", "2s")
        assert done.code == 8, done.stderr
        assert done.summary["status"] == "stopped"
        assert 2.0 <= done.summary["duration_s"] < 6.0
        counts = done.summary["counts"]
        assert 0 < counts["saved"] < 100
        assert counts["failed"] == 0
        assert len(wavs(desk.archive)) == counts["saved"] == simulator.requests.total
        simulator.latency_s = 0.0
        again = await desk.download("--csv", desk.csv(ids))
        assert again.code == 0, again.stderr
        assert simulator.requests.total == 500


async def test_limit_considers_only_so_many_conversations(tmp_path: Path) -> None:
    """--limit 7 in two directions: 14 recordings of the first seven conversations, exit 0."""
    async with Simulator(calls=recorded(30)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        sides = ("--direction", "user", "--direction", "agent")
        done = await desk.download("--csv", desk.csv(ids), "--limit", "7", *sides)
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["conversations"] == 7
        assert wavs(desk.archive) == expected(simulator, ids[:7], ["user", "agent"])
        assert simulator.requests.total == 14


@pytest.mark.slow
async def test_limit_of_a_listing_is_a_sample_and_loses_nothing(tmp_path: Path) -> None:
    """After a sample of five the whole window is still listed and fetched."""
    async with Simulator(calls=recorded(30)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        sample = await desk.list("--limit", "5", "--page-size", "10")
        assert sample.code == 0, sample.stderr
        assert len(wavs(desk.archive)) == sample.summary["counts"]["saved"] == 5
        # A nightly job that followed would begin nowhere, not where the sample ended.
        nightly = await desk.go_on()
        assert nightly.code == 2
        assert "--since" in nightly.stderr
        whole = await desk.list("--page-size", "10")
        assert whole.code == 0, whole.stderr
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])
        assert sum(simulator.requests.recordings().values()) == 30


@pytest.mark.slow
async def test_max_rate_is_kept_as_the_server_counts(tmp_path: Path) -> None:
    """With --max-rate 20, no second sees more than 20 requests and a moment's worth."""
    async with Simulator(calls=recorded(70)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--csv", desk.csv(simulator.calls.ids()), "--max-rate", "20")
        seen: list[tuple[float, int]] = []
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            ending = asyncio.create_task(process.communicate())
            while not ending.done():
                seen.append((time.monotonic(), simulator.requests.total))
                await asyncio.sleep(0.01)
            stdout, stderr = await ending
        assert process.returncode == 0, stderr.decode()
        assert json.loads(stdout)["counts"]["saved"] == 70
    for began, before in seen:
        within = [total - before for at, total in seen if began <= at <= began + 1.0]
        # A busy machine delays what was sent before the second began until after its beginning.
        assert max(within) <= 20 + 6, f"{max(within)} requests within a second"
    first = next(at for at, total in seen if total)
    last = next(at for at, total in seen if total == 70)
    assert 69 / 20 - 0.3 < last - first < 2.5 * 69 / 20


async def test_too_little_room_ends_before_any_request(tmp_path: Path) -> None:
    """--min-free beyond any disk: exit 6, nobody asked, and the sentence says what to do."""
    async with Simulator(calls=recorded(5)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.download(
            "--csv", desk.csv(simulator.calls.ids()), "--min-free", "900000TB"
        )
    assert done.code == 6
    assert "--min-free" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.summary["error"] is not None
    assert simulator.requests.total == 0


async def test_grace_bounds_how_long_a_drain_takes(tmp_path: Path) -> None:
    """With --grace 1s one SIGTERM is enough, though the server never answers."""
    hang = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=300.0)
    async with Simulator(calls=recorded(20), faults=hang) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--csv", desk.csv(simulator.calls.ids()), "--grace", "1s")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 8, process)
            process.terminate()
            began = time.monotonic()
            stdout, stderr = await process.communicate()
            took_s = time.monotonic() - began
        assert process.returncode == 143, stderr.decode()
        assert 0.9 < took_s < 4.0
        assert json.loads(stdout)["counts"]["open"] == 20
        assert temporary_files(desk.archive) == []


async def test_download_that_ends_within_the_grace_time_is_kept(tmp_path: Path) -> None:
    """A budget of time over, the slow answers under way are waited for and saved."""
    hang = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=2.5)
    async with Simulator(calls=recorded(20), faults=hang) as simulator:
        desk = Desk.at(simulator, tmp_path)
        source = ("--csv", desk.csv(simulator.calls.ids()), "--concurrency", "4")
        done = await desk.download(*source, "--max-duration", "1s")
        assert done.code == 8, done.stderr
        assert done.summary["counts"]["saved"] == simulator.requests.total == 4
        check_archive(desk.archive, simulator)


@contextmanager
def refusing_port() -> Iterator[str]:
    """Hold a port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.slow
async def test_host_that_refuses_connections_is_given_up_in_time(tmp_path: Path) -> None:
    """--give-up-after 2s: exit 5, every recording open and none failed; a later run completes."""
    async with Simulator(calls=recorded(25)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        source = ("--csv", desk.csv(ids), "--give-up-after", "2s")
        with refusing_port() as url:
            done = await desk.download(*source, BULKAUDIO_AUDIO_URL=url)
        assert done.code == 5, done.stderr
        assert "--give-up-after" in done.stderr
        counts = done.summary["counts"]
        assert (counts["open"], counts["failed"], counts["saved"]) == (25, 0, 0)
        assert done.summary["duration_s"] < 8.0
        rows = check_archive(desk.archive, simulator)
        assert {row.status for row in rows.values()} == {"open"}

        again = await desk.download(*source)
        assert again.code == 0, again.stderr
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


@pytest.mark.slow
async def test_listing_host_that_is_down_ends_the_run(tmp_path: Path) -> None:
    """Without its listing a run is exit 5, and the next one lists the whole window."""
    async with Simulator(calls=recorded(25)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        with refusing_port() as url:
            done = await desk.list("--give-up-after", "2s", BULKAUDIO_CONVERSATIONS_URL=url)
        assert done.code == 5, done.stderr
        assert simulator.requests.total == 0
        again = await desk.list()
        assert again.code == 0, again.stderr
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.HTTP_503, Fault.RESET, Fault.HTTP_429])
async def test_outage_halfway_leaves_the_rest_open(tmp_path: Path, fault: Fault) -> None:
    """What was saved before stays, exit 5 after the time to give up, the rest is done later."""
    async with Simulator(calls=recorded(200), latency_s=0.05) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        words = desk.words("--csv", desk.csv(ids), "--concurrency", "4", "--give-up-after", "2s")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 40, process)
            simulator.faults = Faults.always(fault)
            stdout, stderr = await process.communicate()
        assert process.returncode == 5, stderr.decode()
        counts = json.loads(stdout)["counts"]
        assert counts["failed"] == 0
        assert counts["saved"] >= 36
        assert counts["saved"] + counts["open"] == 200
        check_archive(desk.archive, simulator)

        simulator.faults = Faults.none()
        before = simulator.requests.recordings()
        done = await desk.download("--csv", desk.csv(ids))
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["already"] == counts["saved"]
        assert sum((simulator.requests.recordings() - before).values()) == counts["open"]
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
