"""Writing a file that somebody may have already."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.observe.outlets import PRIVATE, write_whole


def check_new(path: Path, *, is_overwriting: bool) -> None:
    """Refuse a name under which nothing may be written; raises `UsageError`."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return  # writing it will tell
    if not stat.S_ISREG(kind):
        raise UsageError(
            f"{path} is there already, and is no plain file", fix="choose another --output"
        )
    if not is_overwriting:
        raise UsageError(
            f"{path} is there already",
            fix="--output FILE writes another one, and --overwrite replaces it",
        )


def write_new(path: Path, text: str, *, is_overwriting: bool) -> None:
    """
    Write a file that only this user can read.

    Raises:
        UsageError: It is there, and is not to be overwritten; or what is there is no file.
        StorageError: It cannot be written.
    """
    check_new(path, is_overwriting=is_overwriting)
    try:
        if os.path.lexists(path):
            write_whole(path, text)
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, text)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", fix="choose another --output"
        ) from error


def _create(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(path, flags, PRIVATE)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), PRIVATE)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # It is this call's own: O_EXCL made it.
        with suppress(OSError):
            path.unlink()
        raise
