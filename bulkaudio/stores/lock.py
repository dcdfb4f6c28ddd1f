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

BRIEF = "a brief look by "
"""How the holder's description begins when it only reads."""

BRIEF_S = 60.0
POLL_S = 0.05
POLLS_AT_LEAST = 3
"""Between taking the lock and describing itself, a holder looks like the one before."""


class ArchiveLock:
    """
    Held from `acquire` to `release`, or in a ``with`` or ``async with`` block.

    Args:
        path: ``ARCHIVE/.bulkaudio/lock``; its folder must exist.
        is_brief: Held for a look only, so that others wait for it instead of being turned away:
            somebody asking for the status must not cost a night.
    """

    _kind = fcntl.LOCK_EX

    def __init__(self, path: Path, *, is_brief: bool = False) -> None:
        self._path = path
        self._is_brief = is_brief
        self._fd: int | None = None

    def acquire(self) -> None:
        """
        Take the lock; blocks for the file system, and for others that only have a brief look.

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
                os.ftruncate(fd, 0)
                os.pwrite(fd, self._description().encode(), 0)
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
        give_up_at, polls = time.monotonic() + BRIEF_S, 0
        while not _lock(fd, self._kind):
            polls += 1
            holder = printable(os.pread(fd, HOLDER_BYTES, 0).decode("utf-8", "replace"), 200)
            is_brief = holder.startswith(BRIEF) and time.monotonic() < give_up_at
            if polls > POLLS_AT_LEAST and not is_brief:
                raise ArchiveBusyError(
                    f"another run holds {self._path.parent.parent}: "
                    f"{holder or 'it has just begun'}",
                    fix="wait until it has ended; a run that is gone holds nothing",
                )
            time.sleep(POLL_S)

    def _description(self) -> str:
        started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        kind = BRIEF if self._is_brief else ""
        return f"{kind}process {os.getpid()} on {socket.gethostname()}, since {started}"

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
    Finds out whether a run holds the archive, and leaves no trace; for a moment only.

    Others cannot be told who holds it, and would be turned away.
    """

    _kind = fcntl.LOCK_SH

    def acquire(self) -> None:
        """
        Wait for brief looks to end.

        Raises:
            ArchiveBusyError: Another run holds it; the message names it.
            StorageError: It cannot be opened.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(self._path):
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


def _lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        reach(Step.LOCK_TAKE)
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        return False
    return True
