"""
Whether a folder's disk can do what an archive asks of it, tried out in a folder that is removed.

Everything here blocks, and a dead network disk blocks for good: call it from where nobody waits for
the thread.
"""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import (
    FILE_MODE,
    FOLDER_MODE,
    STATE_FOLDER,
    cause_and_fix,
    create_file,
    let_go,
    open_any_folder,
    unlink_if_there,
)
from bulkaudio.stores.publishing import NO_LINKS

PREFIX = "doctor-"
NAMES = ("one.part", "two.part")
MOUNTS = Path("/proc/self/mountinfo")

NO_SYNC_OR_LOCK = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK}

LOCAL_DISK = "use a folder on a local disk, such as ext4, xfs or apfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcoming:
    """Something that the disk cannot do; without `is_fatal` there is a way round it."""

    what: str
    fix: str
    is_fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A file or folder that others than its owner can reach, or that belongs to somebody else."""

    path: Path
    mode: int
    owner: int
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is left on a disk, for this user."""

    free_bytes: int
    has_inodes: bool


def home_of(root: Path) -> Path:
    """
    Return the folder to try things out in: the nearest to an archive's own that is there.

    Raises:
        OSError: Something else than a folder is in the way, or this user may not look.
    """
    state = root / STATE_FOLDER
    if state.is_dir():
        return state
    folder = root.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return folder


def room_of(folder: Path) -> Room:
    """Look how much space is left."""
    status = os.statvfs(folder)
    # Some file systems have no fixed number of inodes, and say 0 of 0.
    has_inodes = status.f_favail > 0 or status.f_files == 0
    return Room(free_bytes=status.f_bavail * status.f_frsize, has_inodes=has_inodes)


def try_out(home: Path) -> tuple[Shortcoming, ...]:
    """
    Make files below `home` as a run does: private, linked, synced, locked.

    Raises:
        OSError: Nothing can be made there at all.
    """
    with _scratch(home) as folder_fd:
        fd = create_file(NAMES[0], folder_fd)
        try:
            os.write(fd, b"\0")
            found = [
                *_private(fd, folder_fd),
                *_synced(fd, folder_fd),
                *_linked(folder_fd),
                *_locked(fd, folder_fd),
            ]
        finally:
            os.close(fd)
        return tuple(found)


@contextmanager
def _scratch(home: Path) -> Iterator[int]:
    hidden = "" if home.name == STATE_FOLDER else ".bulkaudio-"
    folder = Path(tempfile.mkdtemp(prefix=hidden + PREFIX, dir=home))
    try:
        fd = open_any_folder(folder)
        try:
            yield fd
        finally:
            for name in NAMES:
                with suppress(OSError):
                    unlink_if_there(name, fd)
            let_go(fd)
    finally:
        folder.rmdir()


def _private(fd: int, folder_fd: int) -> Iterator[Shortcoming]:
    # The rights alone: below a folder with the setgid bit, new folders have it, too.
    modes = os.fstat(folder_fd).st_mode & 0o777, os.fstat(fd).st_mode & 0o777
    if modes != (FOLDER_MODE, FILE_MODE):
        shown = " and ".join(f"{mode:04o}" for mode in modes)
        yield Shortcoming(
            what=f"folders and files cannot be made private there: they get {shown}",
            fix="mount it with umask=077 for this user alone, or " + LOCAL_DISK,
            is_fatal=False,
        )


def _synced(fd: int, folder_fd: int) -> Iterator[Shortcoming]:
    for what, each in (("files", fd), ("folders", folder_fd)):
        try:
            reach(Step.TRIAL_SYNC)
            os.fsync(each)
        except OSError as error:
            yield _shortcoming(error, f"{what} cannot be synced to the disk")


def _linked(folder_fd: int) -> Iterator[Shortcoming]:
    one, two = NAMES
    try:
        reach(Step.TRIAL_LINK)
        os.link(one, two, src_dir_fd=folder_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
    except OSError as error:
        # Without them a run renames instead, and notes what it renamed.
        yield _shortcoming(error, "there are no hard links", is_fatal=error.errno not in NO_LINKS)


def _locked(fd: int, folder_fd: int) -> Iterator[Shortcoming]:
    other = os.open(NAMES[0], os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        reach(Step.TRIAL_LOCK)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _takes(other):
            yield Shortcoming(
                what="a lock does not keep others out", fix="turn locking on, or " + LOCAL_DISK
            )
    except OSError as error:
        yield _shortcoming(error, "files cannot be locked")
    finally:
        os.close(other)


def _takes(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shortcoming(error: OSError, what: str, *, is_fatal: bool = True) -> Shortcoming:
    is_kind = error.errno in NO_SYNC_OR_LOCK | NO_LINKS
    fix = LOCAL_DISK if is_kind else cause_and_fix(error)[1]
    return Shortcoming(what=f"{what} ({error.strerror})", fix=fix, is_fatal=is_fatal)


def exposures(root: Path, names: tuple[str, ...]) -> tuple[Exposure, ...]:
    """Name what is there, of the archive's folder and `names` in it, and is not this user's alone."""
    found = []
    for path in (root, *(root / name for name in names)):
        try:
            status = path.stat() if path == root else path.lstat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        is_own = status.st_uid == os.geteuid()
        if mode & 0o077 or not is_own:
            found.append(Exposure(path=path, mode=mode, owner=status.st_uid, is_own=is_own))
    return tuple(found)


def file_system_of(folder: Path) -> str | None:
    """Name the kind of file system a folder is on; None where this system does not tell."""
    try:
        device = folder.stat().st_dev
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [wanted]:
            return rest.split(" ", 1)[0]
    return None
