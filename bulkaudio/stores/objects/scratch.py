"""
Folders for temporary files on machines that have nothing else of an archive.

Each is private, in the system's folder for such things, and locked for as long as its process lives;
what a killed one left is removed by the next one that comes. Everything here blocks.
"""

import fcntl
import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.errors import StorageError
from bulkaudio.stores.disk import let_go, translated

BEGINNING = "bulkaudio-worker-"
YOUNG_S = 60.0
"""So young, one that nobody has locked may be one that was made a moment ago."""

_NAME = re.compile(rf"{BEGINNING}[a-z0-9_]{{8}}")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A folder, and the descriptor that holds its lock."""

    folder: Path
    fd: int


def take() -> Scratch:
    """Make a folder, and remove those that were left; raises `StorageError`."""
    try:
        above = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise StorageError(
            "this machine has no folder for temporary files that can be written",
            fix="free some space there, or set TMPDIR to a folder on a disk that has some",
        ) from error
    with translated(above):
        sweep(above, time.time())
        folder = Path(tempfile.mkdtemp(prefix=BEGINNING))
        fd = os.open(folder, _FLAGS)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Scratch(folder=folder, fd=fd)


def leave(scratch: Scratch) -> None:
    """Remove a folder with all that is in it."""
    _remove(scratch.folder, scratch.fd)
    let_go(scratch.fd)


def sweep(above: Path, now: float) -> None:
    """Remove what processes of this user have left that are gone."""
    for folder in above.iterdir():
        if _NAME.fullmatch(folder.name) is None:
            continue
        with suppress(OSError):
            fd = os.open(folder, _FLAGS)
            try:
                if _is_abandoned(fd, now):
                    _remove(folder, fd)
            finally:
                let_go(fd)


def _is_abandoned(fd: int, now: float) -> bool:
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or now - status.st_mtime < YOUNG_S:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(folder: Path, fd: int) -> None:
    with suppress(OSError):
        for name in os.listdir(fd):  # by descriptor
            os.unlink(name, dir_fd=fd)
        folder.rmdir()
