"""The examples run as they stand, and fail as their readers need it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.lock import ArchiveLock
from tests.program import Done, environment, expected, run, wavs, write_csv

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Serve a few calls of yesterday."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(count=5, since=today - timedelta(days=1), until=today, speech_s=(0.1, 0.3))
    async with Simulator(calls=calls) as simulator:
        yield simulator


async def example(
    name: str, *arguments: str | Path, simulator: Simulator, cwd: Path, **more: str
) -> Done:
    """Run one as its first lines say."""
    starter = "/bin/sh" if name.endswith(".sh") else sys.executable
    process = await asyncio.create_subprocess_exec(
        *(starter, EXAMPLES / name, *arguments),
        cwd=cwd,
        env=environment(simulator) | {"PYTHON": sys.executable} | more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    return Done(code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())


WHOSE = {"POLYAI_REGION": "us", "POLYAI_AGENT": "PROJECT-1"}


async def first_run(simulator: Simulator, cwd: Path) -> None:
    """Make the first run by hand, with what the archive is to remember."""
    done = await run(
        *("download", "--since", "yesterday", "--region", "us", "--account", "ws-1"),
        *("--agent", "PROJECT-1", "--out", "archive"),
        env=environment(simulator),
        cwd=cwd,
    )
    assert done.code == 0, done.stderr


def test_every_example_is_listed_and_no_other() -> None:
    """The table of the folder names what is in it."""
    table = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert {name for name in files if f"`{name}`" in table} == files
    assert os.access(EXAMPLES / "nightly.sh", os.X_OK)


async def test_nightly_script(simulator: Simulator, tmp_path: Path) -> None:
    """Silent when all is well, with the summary in a file; one sentence when the key is refused."""
    await first_run(simulator, tmp_path)
    done = await example("nightly.sh", "archive", simulator=simulator, cwd=tmp_path)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert '"status":"complete"' in (tmp_path / "archive" / "last-run.json").read_text()

    done = await example(
        "nightly.sh", "archive", simulator=simulator, cwd=tmp_path, POLYAI_API_KEY="wrong"
    )
    assert done.code == 4
    assert "download ended with 4" in done.stdout
    assert "Fix:" in done.stderr

    done = await example("nightly.sh", simulator=simulator, cwd=tmp_path)
    assert done.code != 0
    assert "usage" in done.stderr


async def test_backfill(simulator: Simulator, tmp_path: Path) -> None:
    """All three directions; again, nothing more; failures are named and end with 3."""
    ids = simulator.calls.recorded_ids()
    write_csv(tmp_path / "calls.csv", ids)
    backfill = ("backfill_from_csv.py", "calls.csv", "archive")
    done = await example(*backfill, simulator=simulator, cwd=tmp_path, **WHOSE)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == f"{3 * len(ids)} saved, 0 already there, 0 failed\n"
    everything = expected(simulator, ids, ["combined", "user", "agent"])
    assert wavs(tmp_path / "archive") == everything

    done = await example(*backfill, simulator=simulator, cwd=tmp_path)
    assert done.stdout == f"0 saved, {3 * len(ids)} already there, 0 failed\n"

    done = await example("backfill_from_csv.py", simulator=simulator, cwd=tmp_path)
    assert done.code == 2
    assert "usage" in done.stderr
    done = await example(
        "backfill_from_csv.py", "none.csv", "archive", simulator=simulator, cwd=tmp_path
    )
    assert done.code == 2
    assert "none.csv" in done.stderr


async def test_backfill_names_what_failed(simulator: Simulator, tmp_path: Path) -> None:
    """A conversation that PolyAI does not know is named with its reason; the others are saved."""
    unknown = "CA" + 32 * "0"
    ids = simulator.calls.recorded_ids()
    write_csv(tmp_path / "calls.csv", [*ids, unknown])
    done = await example(
        "backfill_from_csv.py", "calls.csv", "archive", simulator=simulator, cwd=tmp_path, **WHOSE
    )
    assert done.code == 3
    assert done.stderr.splitlines() == 3 * [f"  {unknown}: unknown_conversation"]
    assert f"{3 * len(ids)} saved" in done.stdout


async def test_scheduler_task(simulator: Simulator, tmp_path: Path) -> None:
    """Returns a small result; a busy archive is a retry, a wrong key is not."""
    await first_run(simulator, tmp_path)
    done = await example("scheduler_task.py", "archive", simulator=simulator, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "'run_id'" in done.stdout

    with ArchiveLock(tmp_path / "archive" / ".bulkaudio" / "lock"):
        done = await example("scheduler_task.py", "archive", simulator=simulator, cwd=tmp_path)
    assert done.code == 1
    assert "TryAgainLater" in done.stderr.splitlines()[-2] + done.stderr.splitlines()[-1]

    done = await example(
        "scheduler_task.py", "archive", simulator=simulator, cwd=tmp_path, POLYAI_API_KEY="wrong"
    )
    assert done.code == 1
    assert "TryAgainLater" not in done.stderr


async def test_streamed_outcomes(simulator: Simulator, tmp_path: Path) -> None:
    """A line for each recording, in a form that the next program can take."""
    ids = simulator.calls.recorded_ids()
    write_csv(tmp_path / "calls.csv", ids)
    stream = ("stream_outcomes.py", "calls.csv", "archive")
    done = await example(*stream, simulator=simulator, cwd=tmp_path, **WHOSE)
    assert done.code == 0, done.stderr
    named = {line.removeprefix("transcribe ") for line in done.stdout.splitlines()}
    assert named == {f"archive/{path}" for path in expected(simulator, ids, ["user", "agent"])}

    done = await example(
        *stream, simulator=simulator, cwd=tmp_path, **WHOSE, POLYAI_API_KEY="wrong"
    )
    assert done.code == 0, "nothing is left to ask for"
