"""
Files that somebody named for what a run says: its log and its summary.

A pipe, or what the system keeps under /dev and /proc, is written to as it is, and only if that
needs no waiting. Under any other name a link or a device is not what anybody meant: it is neither
followed nor replaced, but refused.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600

STATE_FOLDER, METADATA_FOLDER, RECORDING = ".bulkaudio", "metadata", ".wav"


def is_archives_own(path: Path, archive: Path) -> bool:
    """
    Whether a name belongs to what an archive keeps: ledger, metadata or recordings, also another's.

    Links are followed as far as the folder; the archive's own root is free, and used for this.
    """
    # Folded, because some file systems take both cases for one.
    whole = Path(os.path.realpath(path.parent), path.name.casefold())
    root = os.path.realpath(archive)
    below = whole.parts[len(Path(root).parts) :] if whole.is_relative_to(root) else ()
    return (
        whole.suffix == RECORDING
        or STATE_FOLDER in {part.casefold() for part in whole.parts}
        or METADATA_FOLDER in {part.casefold() for part in below[:1]}
    )


def open_outlet(path: Path, *, mode: int = PRIVATE) -> int:
    """
    Open a file for appending, made with this mode whatever the umask; never waits.

    Raises:
        OSError: With a `strerror` for people.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    is_systems = str(path.absolute()).startswith(("/dev/", "/proc/"))
    if not is_systems:
        flags |= os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        os.fchmod(fd, mode)
    except FileExistsError:
        fd = _open_existing(path, flags)
    kind = os.fstat(fd).st_mode
    if not (is_systems or stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    os.set_blocking(fd, True)
    return fd


def write_whole(path: Path, text: str, *, mode: int = PRIVATE) -> None:
    """
    Write a text so that readers see the old or the new one, whole, where that can be.

    Raises:
        OSError: With a `strerror` for people.
    """
    with replacing(path, mode=mode) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, *, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """
    Lend a file that takes the place of `path`, whole and synced, when the block ends well.

    Raises:
        OSError: With a `strerror` for people; the old file is still there then.
    """
    if not _is_replaceable(path):
        with os.fdopen(open_outlet(path, mode=mode), "wb") as file:
            yield file
        return
    _clear(path, mode)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(_claim(temporary, mode), "wb") as file:
        try:
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
            # While it is claimed: what nobody claims may be taken for left over.
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _claim(temporary: Path, mode: int) -> int:
    """
    Open a temporary file under a lock, which ends with the process however that ends.

    Another process may have the same number where both see one folder from two containers: it is
    waited for.
    """
    while True:
        fd = open_outlet(temporary, mode=mode)
        try:
            # Without locks on this file system, nobody clears it either.
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_still(temporary, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _clear(path: Path, mode: int) -> None:
    """Remove what writers of `path` that were killed left beside it; never raises."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9]{{1,7}}")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_unclaimed(Path(entry.path), mode)


def _remove_unclaimed(temporary: Path, mode: int) -> None:
    """Remove a file that is as `replacing` makes them and that no process has locked."""
    found = temporary.lstat()
    is_ours = found.st_uid == os.geteuid() and found.st_nlink == 1
    if not is_ours or found.st_mode != stat.S_IFREG | mode:
        return
    fd = os.open(temporary, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(temporary, fd):
            temporary.unlink()
    finally:
        os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _open_existing(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags)
    except OSError as error:
        words = {
            errno.ELOOP: "it is a symbolic link",
            errno.ENXIO: "nobody reads from it",
        }
        raise OSError(error.errno, words.get(error.errno or 0, error.strerror), str(path)) from None


def _is_replaceable(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
