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
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bulkaudio.errors import ArchiveBusyError
from bulkaudio.naming import printable
from bulkaudio.stores.disk import FILE_MODE, translated

HOLDER_BYTES = 300


class ArchiveLock:
    """
    Held from `acquire` to `release`, or in a ``with`` or ``async with`` block.

    Args:
        path: ``ARCHIVE/.bulkaudio/lock``; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """
        Take the lock, without waiting; blocks only for the file system.

        Raises:
            ArchiveBusyError: Another run holds it; the message names it.
            StorageError: It cannot be opened.
        """
        if self._fd is not None:
            return
        # Not inherited by programs that are started: it would outlive this process with them.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(self._path):
            fd = os.open(self._path, flags, FILE_MODE)
            try:
                self._lock(fd)
                os.fchmod(fd, FILE_MODE)
                os.ftruncate(fd, 0)
                os.pwrite(fd, _describe_holder().encode(), 0)
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd

    def release(self) -> None:
        """Let the next run in; safe to call again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            holder = printable(os.pread(fd, HOLDER_BYTES, 0).decode("utf-8", "replace"), 200)
            raise ArchiveBusyError(
                f"another run holds {self._path.parent.parent}: {holder or 'it has just begun'}",
                fix="wait until it has ended; a run that is gone holds nothing",
            ) from None

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


def _describe_holder() -> str:
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"process {os.getpid()} on {socket.gethostname()}, since {started}"
