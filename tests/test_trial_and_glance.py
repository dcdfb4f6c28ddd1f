"""What a diagnosis finds on a disk that falls short, and in a ledger that is hardly there."""

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.faults import is_damage
from bulkaudio.ledger.glance import Glance, glance, is_there
from bulkaudio.ledger.readonly import MOST_COPIED_BYTES
from bulkaudio.stores.disk import cause_and_fix
from bulkaudio.stores.trial import LOCAL_DISK, Shortcoming, file_system_of, try_out
from tests.test_ledger_edges import filled
from tests.test_store_edges import refusing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Place a ledger in a new archive."""
    folder = tmp_path / "archive" / ".bulkaudio"
    folder.mkdir(parents=True)
    return folder / "ledger.db"


def fix_of(code: int) -> str:
    """Say what to do about a system call that failed for a reason of the moment."""
    return cause_and_fix(OSError(code, os.strerror(code)))[1]


def tried(home: Path) -> tuple[Shortcoming, ...]:
    """Try a disk out, and see that nothing of it stays."""
    before = list(home.iterdir())
    found = try_out(home)
    assert list(home.iterdir()) == before
    return found


# A disk.


def test_a_disk_on_which_everybody_reads_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modes that the disk does not take are told as they are, and keep nobody from downloading."""
    mkdir, fchmod = os.mkdir, os.fchmod

    def make_open(folder: str, mode: int) -> None:
        mkdir(folder, mode)
        Path(folder).chmod(0o755)

    monkeypatch.setattr(os, "mkdir", make_open)
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: fchmod(fd, mode | 0o044))
    [found] = tried(tmp_path)
    assert "get 0755 and 0644" in found.what
    assert "umask=077" in found.fix
    assert not found.is_fatal


def test_a_folder_that_hands_its_group_on_is_as_private(tmp_path: Path) -> None:
    """The setgid bit lets nobody in."""
    tmp_path.chmod(0o2700)
    assert tried(tmp_path) == ()


@pytest.mark.parametrize(
    ("code", "fix"),
    [(errno.EINVAL, LOCAL_DISK), (errno.EIO, fix_of(errno.EIO))],
    ids=["EINVAL", "EIO"],
)
def test_a_disk_that_does_not_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str
) -> None:
    """Files and folders are tried each; another disk is advised only if this kind never can."""
    monkeypatch.setattr(os, "fsync", refusing(code))
    assert tried(tmp_path) == tuple(
        Shortcoming(what=f"{what} cannot be synced to the disk ({os.strerror(code)})", fix=fix)
        for what in ("files", "folders")
    )


@pytest.mark.parametrize(
    ("code", "fix", "is_fatal"),
    [
        (errno.EPERM, LOCAL_DISK, False),
        (errno.EMLINK, LOCAL_DISK, False),
        (errno.EIO, fix_of(errno.EIO), True),
        (errno.ENOSPC, fix_of(errno.ENOSPC), True),
    ],
    ids=["EPERM", "EMLINK", "EIO", "ENOSPC"],
)
def test_a_disk_that_does_not_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str, *, is_fatal: bool
) -> None:
    """A disk without hard links is worked around, one that fails at them is not."""
    monkeypatch.setattr(os, "link", refusing(code))
    what = f"there are no hard links ({os.strerror(code)})"
    assert tried(tmp_path) == (Shortcoming(what=what, fix=fix, is_fatal=is_fatal),)


def test_a_disk_that_does_not_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks, two runs would write one archive: that is a fault."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    what = f"files cannot be locked ({os.strerror(errno.ENOLCK)})"
    assert tried(tmp_path) == (Shortcoming(what=what, fix=LOCAL_DISK),)


def test_a_disk_that_gives_a_lock_to_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is granted twice at once is found out, although no call failed."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    [found] = tried(tmp_path)
    assert found.what == "a lock does not keep others out"
    assert found.is_fatal


def test_a_system_that_does_not_tell_its_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a list of mounts, or of a folder that is gone, no kind is named and none guessed."""
    assert file_system_of(tmp_path / "gone") is None
    monkeypatch.setattr("bulkaudio.stores.trial.MOUNTS", tmp_path / "mountinfo")
    assert file_system_of(tmp_path) is None


def test_a_folder_whose_mount_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the line of the folder's own device names its kind, wherever it is in the list."""
    device = tmp_path.stat().st_dev
    own = f"{os.major(device)}:{os.minor(device)}"
    other = "22 1 4095:1048575 / / rw,relatime shared:1 - xfs /dev/other rw\n"
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr("bulkaudio.stores.trial.MOUNTS", mounts)
    mounts.write_text(other)
    assert file_system_of(tmp_path) is None
    mounts.write_text(f"{other}23 22 {own} / /own rw - ext4 /dev/own rw\n")
    assert file_system_of(tmp_path) == "ext4"


# A ledger.


@pytest.mark.parametrize("place", [Path.touch, lambda _: None], ids=["empty", "missing"])
def test_a_ledger_that_is_not_there(path: Path, place: Callable[[Path], None]) -> None:
    """What has no byte in it is no ledger yet, which is no error; and none is made."""
    place(path)
    before = list(path.parent.iterdir())
    assert not is_there(path)
    assert glance(path, check_s=1) == Glance()
    assert list(path.parent.iterdir()) == before


def test_a_ledger_into_which_no_run_came_to_write(path: Path) -> None:
    """A database without a table is one that a crash left new: nothing is in it, nothing wrong."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert is_there(path)
    assert glance(path, check_s=1) == Glance()


@pytest.mark.parametrize("size", [1, MOST_COPIED_BYTES])
def test_a_killed_runs_log_in_which_nothing_is(path: Path, size: int) -> None:
    """It is said that a run was killed, what the ledger itself holds, and the log stays."""
    asyncio.run(filled(path, "CA1"))
    log = path.with_name(f"{path.name}-wal")
    log.touch()
    os.truncate(log, size)
    found = glance(path, check_s=1)
    assert (found.was_killed, found.contents and found.contents.saved) == (True, 1)
    assert log.stat().st_size == size


def test_a_ledger_too_large_to_check_in_time(path: Path) -> None:
    """A check that takes too long is broken off, and what is in the ledger is told all the same."""
    asyncio.run(filled(path, *(f"CA{n:032x}" for n in range(2000))))
    hurried, patient = glance(path, check_s=1e-9), glance(path, check_s=60)
    assert (hurried.is_checked, patient.is_checked) == (False, True)
    assert hurried.contents == patient.contents
    assert hurried.contents is not None
    assert hurried.contents.saved == 2000


def test_a_check_that_fails_is_not_taken_for_a_slow_one(path: Path) -> None:
    """What another program put in that SQLite cannot check is told, and not passed over."""
    asyncio.run(filled(path, "CA1"))
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("THEIRS", lambda one, two: (one > two) - (one < two))
        connection.execute("CREATE TABLE theirs (name TEXT COLLATE THEIRS UNIQUE)")
        connection.execute("INSERT INTO theirs VALUES ('a'), ('b')")
        connection.commit()
    with pytest.raises(LedgerError, match="THEIRS") as caught:
        glance(path, check_s=60)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert is_damage(caught.value)
