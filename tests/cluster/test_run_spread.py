"""A run by two workers of this machine, from the command line."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from bulkaudio.simulator import Calls, Faults, Simulator
from bulkaudio.simulator.answers import Key
from tests.cluster.spread import check_quiet, children_of, done, spread, twice, watched
from tests.program import Desk, check_archive, expected, run, temporary_files, wavs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SHORT = (0.2, 0.4)
CANARY = "canary-51c2-cluster-key"


def calls_of(count: int) -> Calls:
    """Make short calls that have recordings."""
    return Calls(count=count, speech_s=SHORT, chat_share=0.0)


def saved_in(desk: Desk) -> set[str]:
    """Return the final paths that the ledger calls saved; all files are checked on the way."""
    rows = check_archive(desk.archive, desk.simulator)
    return {row.path for row in rows.values() if row.status == "saved" and row.path}


async def test_it_does_what_a_run_in_one_process_does(tmp_path: Path) -> None:
    """With faults on the way, metadata, all directions; the second run asks for nothing."""
    simulator = Simulator(calls=calls_of(150), faults=Faults.some(seed=3))
    async with simulator:
        desk = Desk.at(simulator, tmp_path)
        first = await done(desk, "--direction", "all", "--metadata", "basic")
        assert first.code == 0, first.stderr
        check_quiet(first)
        recorded = simulator.calls.recorded_ids()
        every = ["combined", "user", "agent"]
        assert wavs(desk.archive) == expected(simulator, recorded, every)
        counts, http = first.summary["counts"], first.summary["http"]
        assert counts["saved"] == 3 * len(recorded)
        assert counts["retries"] > 0
        answers = {str(k): n for k, n in simulator.requests.statuses.items() if k}
        assert http == answers
        assert first.summary["bytes"] == sum(map(len, wavs(desk.archive).values()))
        assert temporary_files(desk.archive) == []
        before = simulator.requests.recordings().total()
        again = await done(desk, "--direction", "all")
        assert again.code == 0
        assert simulator.requests.recordings().total() == before


async def test_metadata_of_a_file_of_ids_is_asked_for_by_workers(tmp_path: Path) -> None:
    """And a run in one process goes on with the archive as with its own."""
    async with Simulator(calls=calls_of(60)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.recorded_ids()
        words = desk.words("--csv", desk.csv(ids), "--metadata", "full", "--engine", "dask")
        first = await run(*words, "--workers", "2", env=desk.env(), cwd=tmp_path)
        assert first.code == 0, first.stderr
        assert first.summary["metadata"] == {"written": len(ids), "failed": 0}
        names = {path.stem for path in (desk.archive / "metadata").iterdir()}
        assert names == set(ids)
        before = simulator.requests.total
        again = await desk.download("--csv", tmp_path / "calls.csv", "--metadata", "full")
        assert (again.code, simulator.requests.total) == (0, before)


async def test_a_ceiling_of_requests_holds_for_all_workers_together(tmp_path: Path) -> None:
    """In every second, while workers come, go, and come again."""
    async with (
        Simulator(calls=calls_of(2400)) as simulator,
        watched(simulator) as flow,
    ):
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "120") as going:
            await going.until(700)
            os.kill(going.workers()[0], signal.SIGKILL)
            ended = await going.end()
    assert ended.code == 0, ended.stderr
    assert flow.most_in(1.0) <= 144, flow.most_in(1.0)
    assert len(flow.marks) > 100


async def test_a_stop_drains_and_leaves_a_ledger_that_equals_the_store(tmp_path: Path) -> None:
    """Within ten seconds, with the exit code of the signal; then the rest is fetched."""
    async with Simulator(calls=calls_of(3000)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "200") as going:
            await going.until(600)
            stopped_at = time.monotonic()
            going.process.terminate()
            ended = await going.end(30.0)
            assert time.monotonic() - stopped_at < 10.0
        assert ended.code == 143
        check_quiet(ended)
        assert ended.summary["status"] == "interrupted"
        assert saved_in(desk) == set(wavs(desk.archive))
        assert ended.summary["counts"]["saved"] == len(wavs(desk.archive)) > 300
        again = await done(desk)
        assert again.code == 0, again.stderr
        assert wavs(desk.archive) == expected(
            simulator, simulator.calls.recorded_ids(), ["combined"]
        )
        assert twice(simulator) == 0


async def test_ctrl_c_in_a_terminal_drains_too(tmp_path: Path) -> None:
    """The terminal sends it to the workers as well."""
    async with Simulator(calls=calls_of(3000)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "200") as going:
            await going.until(600)
            for pid in (*going.workers(), going.process.pid):
                os.kill(pid, signal.SIGINT)
            ended = await going.end(30.0)
        assert ended.code == 130, ended.stderr
        check_quiet(ended)
        assert saved_in(desk) == set(wavs(desk.archive))


async def test_after_a_killed_run_the_next_one_adopts(tmp_path: Path) -> None:
    """What workers had published and nobody wrote into the ledger is not fetched again."""
    async with Simulator(calls=calls_of(2500)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "250") as going:
            await going.until(700)
            workers = going.workers()
            going.process.kill()
            await going.process.wait()
            async with asyncio.timeout(20.0):
                while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        kept = len(wavs(desk.archive))
        asked = simulator.requests.recordings().total()
        again = await done(desk)
        assert again.code == 0, again.stderr
        assert wavs(desk.archive) == expected(
            simulator, simulator.calls.recorded_ids(), ["combined"]
        )
        assert temporary_files(desk.archive) == []
        assert asked - kept < 600
        assert twice(simulator) <= 300


async def test_a_refused_key_ends_the_run_after_a_few_requests(tmp_path: Path) -> None:
    """With the exit code and the words of a run in one process."""
    async with Simulator(calls=calls_of(2000)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.recorded_ids()
        words = desk.words("--csv", desk.csv(ids), "--engine", "dask", "--workers", "2")
        env = desk.env(POLYAI_API_KEY="not-a-key-of-theirs")
        ended = await run(*words, env=env, cwd=tmp_path)
        assert ended.code == 4
        assert "PolyAI refused the key from POLYAI_API_KEY (401)" in ended.stderr
        check_quiet(ended)
        assert simulator.requests.total <= 40


async def test_a_full_disk_or_a_lost_folder_ends_it_as_ever(tmp_path: Path) -> None:
    """A worker that may not write says so, and the run ends with 6."""
    async with Simulator(calls=calls_of(500)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        (desk.archive).mkdir()
        (desk.archive / "combined").write_text("in the way")
        ended = await done(desk)
        assert ended.code == 6, ended.stderr
        assert "cannot keep recordings in" in ended.stderr
        check_quiet(ended)


async def test_only_loopback_is_listened_on_and_only_by_tls(tmp_path: Path) -> None:
    """No port for browsers; whoever is on this machine cannot have workers run anything."""
    async with Simulator(calls=calls_of(800)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "150") as going:
            await going.until(200)
            pids = {going.process.pid, *children_of(going.process.pid)}
            ports = listening(pids)
            assert ports
            assert {host for host, _ in ports} == {"127.0.0.1"}
            for _, port in ports:
                answer = await first_answer(port)
                assert b"HTTP" not in answer, (port, answer)
                assert b"compression" not in answer, (port, answer)
            ended = await going.end()
    assert ended.code == 0


async def test_the_key_is_nowhere_but_in_the_workers_own_environment(tmp_path: Path) -> None:
    """Not in the archive, the streams, or a file that Dask makes."""
    key = Key(value=CANARY)
    async with Simulator(calls=calls_of(300), keys=(key,)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        ended = await done(desk, "-v", TMPDIR=str(scratch))
    assert ended.code == 0
    assert CANARY not in ended.stdout + ended.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """Return the addresses that some processes listen on."""
    inodes = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(fd.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                host, port = words[1].split(":")
                octets = [str(int(host[n : n + 2], 16)) for n in (6, 4, 2, 0)]
                found.add((".".join(octets) if table == "tcp" else host, int(port, 16)))
    return found


async def first_answer(port: int) -> bytes:
    """Return what a port says to somebody who asks for a page without TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        async with asyncio.timeout(2.0):
            return await reader.read(2000)
    except (TimeoutError, OSError):
        return b""
    finally:
        writer.close()
