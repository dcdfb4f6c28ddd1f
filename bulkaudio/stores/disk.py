"""
Folders and errors of a local disk.

Every path below the archive is entered one segment at a time, relative to an open folder and
without following symbolic links: a planted link can neither be written through nor lead outside.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from bulkaudio.errors import StorageError
from bulkaudio.naming import file_stem, printable
from bulkaudio.steps import Step, reach

STATE_FOLDER = ".bulkaudio"
LEDGER_FILE = "ledger.db"
STATUS_FILE = "status.json"
TEMPORARY_FOLDER = "tmp"
SIDECAR_FOLDER = "metadata"
FOLDER_MODE = 0o700
FILE_MODE = 0o600

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

_AGAIN = "and run again: it goes on where it stopped"

CAUSES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: (
        "the disk has no space or no inodes left",
        f"free some (df -h, df -i) {_AGAIN}",
    ),
    errno.EDQUOT: ("this user's disk quota is used up", f"free some space {_AGAIN}"),
    errno.EFBIG: (
        "the file-size limit of this process or file system is reached",
        f"raise it (ulimit -f) {_AGAIN}",
    ),
    errno.EROFS: ("the disk is mounted read-only", "remount it writable, or use another folder"),
    errno.EACCES: (
        "this user has no permission there",
        "give this user read and write permission, or use another folder",
    ),
    errno.EPERM: (
        "the file system does not allow it",
        "check owner and attributes (lsattr), or use another folder",
    ),
    errno.EMFILE: (
        "this process has too many files open",
        "raise the limit (ulimit -n), or lower --concurrency",
    ),
    errno.ENFILE: (
        "this machine has too many files open",
        "close other programs, or raise the limit (fs.file-max)",
    ),
    errno.EIO: (
        "the disk reports a hardware fault",
        "check it (dmesg, smartctl) before anything else is written there, then run verify",
    ),
    errno.ENOTDIR: (
        "a file or a symbolic link is where a folder is needed",
        "move it away, or use another folder",
    ),
    errno.ELOOP: (
        "a symbolic link is where a file or folder is needed",
        "move it away: links inside an archive are never followed",
    ),
    errno.EXDEV: (
        "parts of the archive are on different file systems",
        "keep the whole archive on one file system",
    ),
    errno.ENOENT: (
        "the archive, or a part of it, was removed during the run",
        "find out what removed it, then run verify",
    ),
}


UNWRITABLE: dict[int | None, str] = {
    errno.EROFS: "remount it writable, or do it where the archive is not mounted read-only",
    errno.EACCES: "give this user write permission, or run it as the archive's owner",
    errno.EPERM: "check owner and attributes (lsattr), or run it as the archive's owner",
}
"""What lets one write to an archive that is there: another folder would be another archive."""


def sidecar_path(conversation_id: str) -> PurePosixPath:
    """Name a conversation's metadata, relative to the archive."""
    return PurePosixPath(SIDECAR_FOLDER, f"{file_stem(conversation_id)}.json")


def cause_and_fix(error: OSError, *, is_reading: bool = False) -> tuple[str, str]:
    """Say in people's words why a system call failed, and what to do about it."""
    cause, fix = CAUSES.get(
        error.errno or 0, ("the system refused", "check the disk and the permissions there")
    )
    if is_reading and error.errno in {errno.EACCES, errno.EPERM}:
        fix = "let this user read everything below it, or ask as its owner"
    return cause, fix


def _is_archive(root: Path) -> bool:
    try:
        return (root / STATE_FOLDER).is_dir()
    except OSError:  # Nobody may look in, which says no more than that.
        return False


def storage_error(
    path: Path, error: OSError, *, is_reading: bool = False, is_archive: bool = False
) -> StorageError:
    """
    Say what a failed system call means for people.

    Args:
        is_reading: Nothing was to be written, so that no right to do so is missed.
        is_archive: There is an archive already, for which no other folder is a way out.
    """
    cause, fix = cause_and_fix(error, is_reading=is_reading)
    deed = "read" if is_reading else "keep recordings in"
    if is_archive and not is_reading and error.errno in UNWRITABLE:
        deed, fix = "write to the archive", UNWRITABLE[error.errno]
    what = error.strerror or str(error)
    if isinstance(error.filename, str) and error.filename not in {str(path), path.name}:
        what += f": {printable(error.filename, 200)}"
    return StorageError(f"cannot {deed} {path}: {cause} ({what})", fix=fix)


@contextmanager
def translated(path: Path, *, is_reading: bool = False) -> Iterator[None]:
    """Turn what the system raises about `path` into a `StorageError`; blocks."""
    try:
        yield
    except OSError as error:
        is_archive = not is_reading and _is_archive(path)
        raise storage_error(path, error, is_reading=is_reading, is_archive=is_archive) from error


def make_root(root: Path) -> None:
    """Create the archive's folder with those above it, private and durable; blocks."""
    missing: list[Path] = []
    try:
        folder = root.absolute()
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            parent_fd = open_any_folder(folder.parent)
            try:
                make_folder(folder.name, parent_fd)
            finally:
                let_go(parent_fd)
        let_go(open_any_folder(root))
    except FileNotFoundError as error:
        raise unmakeable(root, error) from error
    except OSError as error:
        raise storage_error(root, error) from error


def unmakeable(root: Path, error: FileNotFoundError) -> StorageError:
    """Say of a folder that nothing keeps it from being made but the disk it would be on."""
    return StorageError(
        f"the folder {root} cannot be made: {error.strerror}",
        fix="use another folder, one whose disk takes folders",
    )


def make_folder(name: str, parent_fd: int) -> None:
    """Create a folder of mode 0700, whatever the umask, unless there is one."""
    try:
        reach(Step.FOLDER_CREATE)
        os.mkdir(name, FOLDER_MODE, dir_fd=parent_fd)
    except FileExistsError:
        return
    # Not through os.umask: that belongs to the whole process, threads included.
    reach(Step.FOLDER_MODE)
    os.chmod(name, FOLDER_MODE, dir_fd=parent_fd)
    reach(Step.FOLDER_SYNC)
    os.fsync(parent_fd)


def open_any_folder(path: Path) -> int:
    """Open a folder outside of the archive, or its root, which may be a symbolic link."""
    reach(Step.FOLDER_OPEN)
    return os.open(path, _FOLDER_FLAGS)


def let_go(fd: int) -> None:
    """
    Close a folder or a lock.

    Nothing is lost with it: what must reach the disk was synced, and the system closes a descriptor
    also when it reports an error.
    """
    with suppress(OSError):
        os.close(fd)


class Folders:
    """The folders below an archive's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root_fd = open_any_folder(root)
        self._durable: set[tuple[str, ...]] = set()

    def close(self) -> None:
        """Let go of the root; may be called again."""
        fd, self.root_fd = self.root_fd, -1
        if fd >= 0:
            let_go(fd)

    @contextmanager
    def opened(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Lend a descriptor of a folder; see `open`."""
        fd = self.open(parts, create=create)
        try:
            yield fd
        finally:
            let_go(fd)

    def open(self, parts: Sequence[str], *, create: bool = False) -> int:
        """
        Return a descriptor of the folder at `parts`, for the caller to close.

        With `create`, missing folders are made, and the entry of each is on stable storage: also
        when an earlier run had made it and was killed before it could sync it.
        """
        reach(Step.FOLDER_OPEN)
        fd = os.dup(self.root_fd)
        try:
            for depth, name in enumerate(parts, start=1):
                child = self._enter(fd, tuple(parts[:depth]), name, create=create)
                let_go(fd)
                fd = child
        except BaseException:
            let_go(fd)
            raise
        return fd

    def _enter(self, parent_fd: int, path: tuple[str, ...], name: str, *, create: bool) -> int:
        if name in {"", ".", ".."} or "/" in name:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/".join(path))
        flags = _FOLDER_FLAGS | os.O_NOFOLLOW
        if not create:
            return os.open(name, flags, dir_fd=parent_fd)
        try:
            fd = os.open(name, flags, dir_fd=parent_fd)
        except FileNotFoundError:
            make_folder(name, parent_fd)
            fd = os.open(name, flags, dir_fd=parent_fd)
        if path not in self._durable:
            try:
                reach(Step.FOLDER_SYNC)
                os.fsync(parent_fd)
            except BaseException:
                let_go(fd)
                raise
            self._durable.add(path)
        return fd


def create_file(name: str, folder_fd: int) -> int:
    """Create a file of mode 0600 for reading and writing; never opens an existing one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, FILE_MODE, dir_fd=folder_fd)
    try:
        os.fchmod(fd, FILE_MODE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_for_reading(name: str, folder_fd: int) -> int | None:
    """
    Open a regular file; None for anything else under that name.

    Neither follows a link nor waits for the other end of a FIFO.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def unlink_if_there(name: str, folder_fd: int) -> None:
    """Remove a name."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return
