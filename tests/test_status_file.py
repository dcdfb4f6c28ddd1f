"""The file that outsiders read while a run goes on."""

import asyncio
import json
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bulkaudio.events import GateMoved, SourceEnded, Started, Stopping
from bulkaudio.observe.status_file import StatusFile, read_status
from bulkaudio.observe.tally import Tally

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def started(archive: Path, run_id: str = "run-1") -> Started:
    """Make an archive's state folder, and the event of its run."""
    (archive / ".bulkaudio").mkdir(mode=0o700, parents=True, exist_ok=True)
    return Started(run_id=run_id, started_at=NOW, archive=archive)


def test_nothing_is_written_before_the_archive_is_ours(tmp_path: Path) -> None:
    """A run that is refused leaves the other run's file alone."""
    archive = tmp_path / "archive"
    started(archive)
    with StatusFile(tally=Tally(), every_s=0.01).writing():
        time.sleep(0.05)
    assert read_status(archive) is None
    assert list((archive / ".bulkaudio").iterdir()) == []


def test_document_tells_the_run_as_it_is(tmp_path: Path) -> None:
    """The file has the schema's keys, the counts, and how the hosts are doing."""
    tally = Tally()
    file = StatusFile(tally=tally, clock=lambda: NOW)
    file(started(tmp_path))
    tally(GateMoved(host="h", slots=5, closed_s=12.0, reason="the host asked to wait"))
    file.write()
    document = read_status(tmp_path)
    assert document is not None
    assert document["schema"] == "bulkaudio.status/1"
    assert (document["run_id"], document["pid"]) == ("run-1", os.getpid())
    assert document["updated_at"] == document["started_at"] == "2026-11-22T06:00:00.000Z"
    assert document["counts"]["recordings"] == document["open"] == 0
    assert document["slots"] == {"h": 5}
    assert document["waiting"]["reason"] == "the host asked to wait"
    assert document["phase"] == "planning and downloading"
    tally(SourceEnded())
    file.write()
    assert (read_status(tmp_path) or {})["phase"] == "downloading"
    tally(Stopping(reason="SIGINT"))
    file.write()
    assert (read_status(tmp_path) or {})["phase"] == "stopping"


def test_file_is_private_fresh_and_ends_with_the_run(tmp_path: Path) -> None:
    """It is rewritten while the run goes on, mode 0600, and says at last that it has ended."""
    tally = Tally()
    file = StatusFile(tally=tally, every_s=0.01)
    path = tmp_path / ".bulkaudio" / "status.json"
    with file.writing():
        file(started(tmp_path))
        deadline = time.monotonic() + 5
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mode & 0o777 == 0o600
        document = read_status(tmp_path)
        assert document is not None
        assert document["phase"] != "ended"
    while (read_status(tmp_path) or {})["phase"] != "ended" and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = read_status(tmp_path)
    assert ended is not None
    assert ended["phase"] == "ended"
    assert [p.name for p in path.parent.iterdir()] == ["status.json"]


async def test_loop_is_never_blocked_by_it(tmp_path: Path) -> None:
    """Begun and ended on the loop, it writes and waits in its thread alone."""
    file = StatusFile(tally=Tally(), every_s=0.01)
    await asyncio.to_thread(lambda: file(started(tmp_path)))
    with file.writing():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    assert ((await asyncio.to_thread(read_status, tmp_path)) or {})["phase"] == "ended"


def test_readers_see_whole_documents_only(tmp_path: Path) -> None:
    """However often it is replaced, a reader never sees half of it."""
    file = StatusFile(tally=Tally())
    file(started(tmp_path))
    file.write()
    path = tmp_path / ".bulkaudio" / "status.json"
    done = threading.Event()

    def rewrite() -> None:
        while not done.is_set():
            file.write()

    writer = threading.Thread(target=rewrite)
    writer.start()
    for _ in range(300):
        json.loads(path.read_text())
    done.set()
    writer.join()


def test_last_state_overwrites_earlier_runs_but_not_later_ones(tmp_path: Path) -> None:
    """A run that ends late leaves the file of the run after it alone, not that before it."""
    first, second = StatusFile(tally=Tally()), StatusFile(tally=Tally())
    first(started(tmp_path, "run-1"))
    second(replace(started(tmp_path, "run-2"), started_at=NOW + timedelta(seconds=1)))
    first.write()
    second.write(has_ended=True)
    assert (read_status(tmp_path) or {})["run_id"] == "run-2"
    first.write(has_ended=True)
    assert (read_status(tmp_path) or {})["run_id"] == "run-2"


def test_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """A link under the temporary name is replaced, and its target untouched."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    file = StatusFile(tally=Tally())
    file(started(tmp_path))
    (tmp_path / ".bulkaudio" / "status.json.new").symlink_to(victim)
    file.write()
    assert victim.read_text() == "untouched"
    assert read_status(tmp_path) is not None


def test_trouble_with_the_file_is_not_the_run_s(tmp_path: Path) -> None:
    """A folder that is gone, and a file that is no JSON, raise nothing."""
    file = StatusFile(tally=Tally())
    file(Started(run_id="r", started_at=NOW, archive=tmp_path / "gone"))
    file.write()
    started(tmp_path)
    (tmp_path / ".bulkaudio" / "status.json").write_text("{half")
    assert read_status(tmp_path) is None
