"""One thread for reads that may never return, and the descriptor it reads."""

import asyncio
import os
import queue
import select
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from bulkaudio.errors import StorageError, UsageError, exhaustion
from bulkaudio.naming import printable

T = TypeVar("T")

_CHUNK_BYTES = 256 * 1024
_GOODBYE_S = 1.0


class ClosedError(Exception):
    """The input was closed while it was being read."""


class Offload:
    """
    Runs blocking calls one after another in a thread of its own.

    Not an executor: the interpreter joins those at exit, and a silent pipe would keep it. Not the
    loop's default one either: it also resolves host names.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Await `call`; when cancelled, it ends in its own time and its result is dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="bulkaudio-input", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may itself be optional

        def work() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as caught:  # noqa: BLE001 - raised again in the awaiting task
                error = caught
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver, result, error)

        self._calls.put(work)
        return await future

    async def aclose(self, goodbye: Callable[[], Any]) -> None:
        """Run `goodbye` last and end the thread; one stuck in the kernel is left behind."""
        if self._thread is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self.run(goodbye)
        finally:
            self._calls.put(None)
            self._thread = None

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class InputFile:
    """
    A file, FIFO or standard input, read in whatever pieces arrive.

    `interrupt` is called from outside; everything else from one thread, where it may block.

    Args:
        path: None: standard input.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.name = "standard input" if path is None else printable(str(path), 200)
        self._fd: int | None = None
        # Its write end, closed, wakes the thread out of `poll`.
        self._wake, self._waker = os.pipe()
        self._is_interrupted = False

    def open(self) -> None:
        """Open for reading; raises `UsageError` when there is nothing to read."""
        try:
            self._fd = self._open()
            is_folder = stat.S_ISDIR(os.fstat(self._fd).st_mode)
        except OSError as error:
            if (lack := exhaustion(error)) is not None:
                raise lack from error
            raise UsageError(
                f"{self.name} cannot be read: {error.strerror}",
                fix="check the path and its permissions; - in place of a file is standard input",
            ) from error
        if is_folder:
            raise UsageError(f"{self.name} is a folder", fix="name a CSV file in it")

    def _open(self) -> int:
        if self._path is not None:
            # Non-blocking: opening a FIFO would wait, beyond interruption, for its writer.
            return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if sys.stdin is None:  # closed by the parent: 0 may be anybody's descriptor by now
            raise UsageError("standard input is closed", fix="pipe the ids in, or name a file")
        return os.dup(0)

    def read(self) -> bytes:
        """
        Return the next bytes, empty at the end.

        Raises:
            ClosedError: When interrupted.
            StorageError: When the disk fails.
        """
        if self._fd is None:
            raise ClosedError
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                raise ClosedError
            try:
                return os.read(self._fd, _CHUNK_BYTES)
            except BlockingIOError:  # another process took it
                continue
            except OSError as error:
                raise StorageError(
                    f"reading {self.name} broke off: {error.strerror}",
                    fix="check its disk or network, and run again: it goes on where it stopped",
                ) from error

    def interrupt(self) -> None:
        """Make the read that is going on, and every later one, raise `ClosedError`."""
        if not self._is_interrupted:
            self._is_interrupted = True
            os.close(self._waker)

    def close(self) -> None:
        """Close what is open; to be called once, after `interrupt`."""
        os.close(self._wake)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
