"""
One run an archive.

The lock is the kernel's, on an open file: it ends with the process, however that ends, so that
there is nothing to clean up and nothing stale to believe. The file stays: removing it would let
two runs lock two different files of one name.
"""

import asyncio
import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bulkaudio.errors import ArchiveBusyError
from bulkaudio.naming import printable
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import FILE_MODE, let_go, translated

HOLDER_BYTES = 300

LOOK_S = 60.0
"""So long a run waits for those who only look: a question must not cost a night."""

POLL_S = 0.05
POLLS_AT_LEAST = 3
"""Between taking the lock and describing itself, a holder looks like the one before."""


class ArchiveLock:
    """
    Held from `acquire` to `release`, or in a ``with`` or ``async with`` block.

    Args:
        path: ``ARCHIVE/.bulkaudio/lock``; its folder must exist.
    """

    _kind = fcntl.LOCK_EX

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """
        Take the lock; blocks for the file system, and a while for others that only look.

        Raises:
            ArchiveBusyError: Another run holds it; the message names it.
            StorageError: It cannot be opened.
        """
        if self._fd is not None:
            return
        # Not inherited by programs that are started: it would outlive this process with them.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(self._path):
            reach(Step.LOCK_OPEN)
            fd = os.open(self._path, flags, FILE_MODE)
            try:
                self._wait(fd)
                reach(Step.LOCK_WRITE)
                os.fchmod(fd, FILE_MODE)
                # Written over, and then cut: a full disk takes no new block where one was given up.
                os.ftruncate(fd, os.pwrite(fd, _description().encode(), 0))
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd

    def release(self) -> None:
        """Let the next run in; safe to call again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            let_go(fd)

    def _wait(self, fd: int) -> None:
        give_up_at, polls = time.monotonic() + LOOK_S, 0
        while not _lock(fd, self._kind):
            polls += 1
            is_looked_at = _is_shared(fd)
            is_waiting = is_looked_at and time.monotonic() < give_up_at
            if polls > POLLS_AT_LEAST and not is_waiting:
                raise self._looked_at() if is_looked_at else self._held(fd)
            time.sleep(POLL_S)

    def _held(self, fd: int) -> ArchiveBusyError:
        holder = printable(os.pread(fd, HOLDER_BYTES, 0).decode("utf-8", "replace"), 200)
        return ArchiveBusyError(
            f"another run holds {self._path.parent.parent}: {holder or 'it has just begun'}",
            fix="wait until it has ended; a run that is gone holds nothing",
        )

    def _looked_at(self) -> ArchiveBusyError:
        return ArchiveBusyError(
            f"somebody is looking through {self._path.parent.parent}, such as with verify or report",
            fix="wait until that has ended",
        )

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        acquiring = asyncio.get_running_loop().run_in_executor(None, self.acquire)
        try:
            await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            # The thread goes on; what it acquires must not stay held.
            with suppress(Exception):
                await acquiring
            self.release()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Glimpse(ArchiveLock):
    """
    Keeps runs away while somebody only reads; leaves no trace, and needs no right to write.

    Many may look at once. Nobody can be told who they are, only that they are: a lock that is shared
    is no run's, and a run waits for it.
    """

    _kind = fcntl.LOCK_SH

    def acquire(self) -> None:
        """
        Take the lock; where there is no file for it yet, there is nothing to hold.

        Raises:
            ArchiveBusyError: A run holds it; the message names it.
            StorageError: It cannot be opened.
        """
        if self._fd is not None:
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(self._path, is_reading=True):
            try:
                fd = os.open(self._path, flags)
            except FileNotFoundError:
                return
            try:
                self._wait(fd)
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd


def _description() -> str:
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"process {os.getpid()} on {socket.gethostname()}, since {started}"


def _is_shared(fd: int) -> bool:
    """Whether those who hold it only look; holds nothing afterwards."""
    is_shared = _lock(fd, fcntl.LOCK_SH)
    if is_shared:
        fcntl.flock(fd, fcntl.LOCK_UN)
    return is_shared


def _lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        reach(Step.LOCK_TAKE)
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        return False
    return True
