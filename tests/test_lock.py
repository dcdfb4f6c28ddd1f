"""The archive's lock, between real processes."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bulkaudio.errors import ArchiveBusyError, StorageError
from bulkaudio.stores.lock import ArchiveLock, Glimpse

CHILD = """
import sys, time
from pathlib import Path
from bulkaudio.stores.lock import ArchiveLock, Glimpse
ArchiveLock(Path(sys.argv[1])).acquire()
if len(sys.argv) > 2:
    import subprocess
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], close_fds=False)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Place the lock of an archive."""
    folder = tmp_path / "archive" / ".bulkaudio"
    folder.mkdir(parents=True)
    return folder / "lock"


def start_holder(path: Path, *extra: str) -> "subprocess.Popen[bytes]":
    """Start a process that holds the lock."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), *extra], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_a_second_run_is_told_who_holds_the_archive_and_at_once(path: Path) -> None:
    """The message names process, host and start; exit code 75; well within a second."""
    with start_holder(path) as child:
        began = time.monotonic()
        with pytest.raises(ArchiveBusyError, match=f"process {child.pid} on ") as caught:
            ArchiveLock(path).acquire()
        assert time.monotonic() - began < 0.5
        assert caught.value.exit_code == 75
        assert str(path.parent.parent) in str(caught.value)
        child.send_signal(signal.SIGKILL)


def test_the_lock_ends_with_its_process_and_the_file_stays(path: Path) -> None:
    """After SIGKILL the next run begins, though a grandchild lives on; the file is the same."""
    child = start_holder(path, "with a grandchild")
    inode = path.stat().st_ino
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
    with ArchiveLock(path):
        assert path.stat().st_ino == inode
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert path.exists()


def test_the_lock_holds_within_one_process_too(path: Path) -> None:
    """Two archives of one path in one program exclude each other; releasing is idempotent."""
    first, second = ArchiveLock(path), ArchiveLock(path)
    with first:
        first.acquire()
        with pytest.raises(ArchiveBusyError):
            second.acquire()
    first.release()
    with second:
        pass


def test_the_file_is_private_and_no_link_is_followed(path: Path) -> None:
    """Mode 0600 with any umask; a planted link is refused and its target untouched."""
    before = os.umask(0)
    try:
        with ArchiveLock(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    path.unlink()
    target = path.with_name("victim")
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        ArchiveLock(path).acquire()
    assert target.read_text() == "precious"


async def test_it_is_taken_and_released_off_the_loop(path: Path) -> None:
    """The asynchronous form holds the same lock."""
    async with ArchiveLock(path):
        with pytest.raises(ArchiveBusyError):
            async with ArchiveLock(path):
                pass
    async with ArchiveLock(path):
        pass


async def test_a_cancelled_wait_leaves_nothing_held(path: Path) -> None:
    """Whoever is cancelled while taking it does not hold it afterwards."""
    lock = ArchiveLock(path)
    taking = asyncio.create_task(lock.__aenter__())
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    async with ArchiveLock(path):
        pass


def try_to_lock(path: Path) -> None:
    """Exit with 75 when the lock is held."""
    try:
        ArchiveLock(path).acquire()
    except ArchiveBusyError:
        sys.exit(75)


def test_only_one_of_many_runs_gets_it(path: Path) -> None:
    """While one holds it, every other process is turned away."""
    with ArchiveLock(path):
        context = multiprocessing.get_context("spawn")
        others = [context.Process(target=try_to_lock, args=(path,)) for _ in range(2)]
        for other in others:
            other.start()
        for other in others:
            other.join()
        assert [other.exitcode for other in others] == [75, 75]


def test_a_look_is_waited_for(path: Path) -> None:
    """A run that starts while somebody asks for the status is not turned away."""
    path.touch()
    look = Glimpse(path)
    look.acquire()
    look.acquire()
    timer = threading.Timer(0.5, look.release)
    timer.start()
    with ArchiveLock(path):
        assert not timer.is_alive()
    timer.join()


def test_a_look_that_does_not_end_is_told_as_what_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, and no run that has long ended is blamed."""
    monkeypatch.setattr("bulkaudio.stores.lock.LOOK_S", 0.3)
    with ArchiveLock(path):
        pass
    with Glimpse(path), pytest.raises(ArchiveBusyError, match="is looking through") as caught:
        ArchiveLock(path).acquire()
    assert "process" not in caught.value.message
    with ArchiveLock(path):
        pass


def test_many_look_at_once_and_leave_no_trace(path: Path) -> None:
    """Not even that they were there; where nobody may write, they look all the same."""
    with Glimpse(path):
        assert not path.exists()
    with ArchiveLock(path):
        pass
    before = path.read_bytes(), path.stat().st_mtime_ns
    with Glimpse(path), Glimpse(path):
        pass
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
