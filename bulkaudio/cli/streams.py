"""Standard streams that may be closed, broken, full, or unable to show every character."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from bulkaudio.errors import StorageError

ELSEWHERE = {
    "download": "; --summary-file keeps it elsewhere, too",
    "gaps": "; --csv FILE writes the days elsewhere",
    "export": ", or write elsewhere: --output FILE",
    "purge": "; --receipt FILE keeps it elsewhere, too",
    "schedule": ", or write elsewhere: --output-dir DIR",
}

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def mend_streams() -> None:
    """Make printing safe: closed streams swallow, characters a terminal lacks are escaped."""
    for fd in range(3):
        # Otherwise the next file, which may be the ledger, would become standard output.
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(fd, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def survived_pipe() -> Iterator[None]:
    """Go on when nobody reads stdout any more, and keep the interpreter quiet about it at exit."""
    try:
        yield
    except BrokenPipeError:
        _muffle(sys.stdout)


def stdout_fault(error: OSError, command: str) -> StorageError | None:
    """
    Put an error of writing to stdout into words, and let stdout swallow the rest; else None.

    Args:
        command: Which one it was, for the advice: not every command can write elsewhere, too.
    """
    # Disks of the archive, the log and the summary have words of their own already.
    if error.filename is not None or error.errno not in _DISK_ERRORS:
        return None
    _muffle(sys.stdout)
    return StorageError(
        f"the result cannot be written to standard output: {error.strerror}",
        fix="free some space where it is redirected to" + ELSEWHERE.get(command, ""),
    )


def end_streams() -> None:
    """Flush for the last time: the interpreter would end with code 120 where that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _muffle(stream)


def _muffle(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
