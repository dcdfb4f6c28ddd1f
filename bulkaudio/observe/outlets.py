"""
Files that somebody named for what a run says: its log and its summary.

A pipe, or what the system keeps under /dev and /proc, is written to as it is, and only if that
needs no waiting. Under any other name a link or a device is not what anybody meant: it is neither
followed nor replaced, but refused.
"""

import errno
import os
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(open_outlet(temporary, mode=mode), "wb") as file:
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
