"""
One recording on its way to the disk: private, hashed while it is written, proven, synced.

Rules of this file: a thread goes on after the coroutine that waits for it was cancelled, so every
use of a descriptor is under that file's lock, and closing is one of them. A descriptor whose fsync
failed is closed and never synced again: the kernel may have dropped the pages and would report
success.
"""

import asyncio
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import aiofiles.threadpool

from bulkaudio.errors import StorageError
from bulkaudio.model import Audio, Direction, Recording
from bulkaudio.naming import conversation_id_of, file_stem
from bulkaudio.steps import Step, reach
from bulkaudio.stores.base import Staged
from bulkaudio.stores.disk import create_file, translated, unlink_if_there
from bulkaudio.wav import Flaw, prove

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

PIECE_BYTES = 256 * 1024
"""aiofiles takes one hop to a thread a call: in 8 KiB writes that costs nineteen twentieths."""

MAX_WRITES = 8
"""Chunks of a piece that are written one by one: putting them together first would copy them."""

PART = "part"
MOVED = "moved"
"""Suffix of the note that stands in for a temporary name where there are no hard links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """
    Where temporary files are made, and the threads that do it.

    Attributes:
        live: Names that this process has made and not yet dropped, each with the file that may
            still be open.
    """

    folder: Path
    folder_fd: int
    pool: ThreadPoolExecutor
    live: "dict[str, RecordingFile | None]" = field(default_factory=dict)
    _tokens: Iterator[int] = field(
        default_factory=lambda: count(secrets.randbits(32)), init=False, repr=False
    )

    def token(self) -> str:
        """
        Return eight hexadecimal digits that no other name of this bench has.

        Counted from a random start: asking the system for each would let another thread go first.
        """
        return f"{next(self._tokens) & 0xFFFF_FFFF:08x}"

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Do `work` in a thread of this bench."""
        return asyncio.get_running_loop().run_in_executor(self.pool, work)

    def drop(self, name: str) -> None:
        """Remove a temporary name; blocks."""
        with translated(self.folder / name):
            reach(Step.FORGET)
            unlink_if_there(name, self.folder_fd)
        self.live.pop(name, None)


def temporary_name(recording: Recording, token: str) -> str:
    """Make a name that is unique and says, after a crash, what the file is."""
    stem = file_stem(recording.conversation_id)
    return f"{stem}.{recording.direction}.{token}.{PART}"


def recording_of(name: str) -> Recording | None:
    """Read `temporary_name`, or a note's, back, without the start; None for other names."""
    match name.rsplit(".", 3):
        case [stem, direction, _, suffix] if suffix in {PART, MOVED} and direction in set(
            Direction
        ):
            conversation_id = conversation_id_of(stem)
            if conversation_id is not None:
                return Recording(conversation_id=conversation_id, direction=Direction(direction))
    return None


class RecordingFile(io.FileIO):
    """A temporary file that knows its hash and can be closed while another thread writes."""

    def __init__(self, fd: int, path: Path) -> None:
        super().__init__(fd, "r+")
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._lock = Lock()

    def writelines(self, lines: "Iterable[ReadableBuffer]", /) -> None:
        """Write all of these bytes; a short write is continued, and the reason for it then raised."""
        with self._lock, translated(self.path):
            for line in lines:
                view = memoryview(line)
                done = 0
                while done < len(view):
                    reach(Step.STAGE_WRITE)
                    done += super().write(view[done:]) or 0
                self._hash.update(view)
                self.size += done

    def prove(self, *, framed: bool) -> Audio | Flaw:
        """Judge what is on the disk, not what was meant to be."""
        with self._lock, translated(self.path):
            fd = self.fileno()
            reach(Step.STAGE_PROVE)
            return prove(lambda at, size: os.pread(fd, size, at), self.size, framed=framed)

    def sha256(self) -> str:
        """Hash of everything written."""
        return self._hash.hexdigest()

    def make_durable(self) -> None:
        """Bring the bytes to stable storage and close; once."""
        with self._lock, translated(self.path):
            try:
                reach(Step.STAGE_SYNC)
                os.fsync(self.fileno())
            finally:
                self.close()

    def abandon(self) -> None:
        """Close without a wish; an error here changes nothing."""
        with self._lock, suppress(OSError):
            self.close()


Keep = Callable[[Recording, RecordingFile], "asyncio.Future[None]"]
"""Begins to bring a proven file to where it is safe, and closes it."""


class LocalStaging:
    """
    Implements `bulkaudio.stores.base.Staging`.

    The file is made by the thread that writes its first piece, and proven by the one that writes
    its last: a hop to a thread costs as much as writing a short recording.

    Args:
        keep: What comes after the proof; None brings the bytes to this disk.
    """

    def __init__(self, bench: Workbench, recording: Recording, keep: Keep | None = None) -> None:
        self._bench = bench
        self._keep = keep
        self._recording = recording
        self._path = bench.folder / temporary_name(recording, bench.token())
        self._file: RecordingFile | None = None
        self._writer: Any = None
        self._is_given_up = False
        self._birth = Lock()
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._result: Staged | Flaw | None = None

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes; they reach the disk in pieces of `PIECE_BYTES` or more."""
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes >= PIECE_BYTES:
            await self._flush(self._take())

    async def seal(self, *, framed: bool) -> Staged | Flaw:
        """Write the rest, prove, and begin to keep it, which goes on while others are fetched."""
        if self._result is not None:
            return self._result
        piece = self._take()
        proof = await self._bench.run(lambda: self._finish(piece, framed=framed))
        if isinstance(proof, Flaw):
            self._result = proof
            return proof
        file = self._created()
        if self._keep is None:
            durable = self._bench.run(file.make_durable)
        else:
            durable = self._keep(self._recording, file)
        durable.add_done_callback(_take_note)
        self._result = Staged(
            recording=self._recording,
            temporary=self._path,
            bytes=file.size,
            sha256=file.sha256(),
            audio=proof,
            durable=durable,
        )
        return self._result

    async def discard(self) -> None:
        """Remove the temporary file, unless it was sealed and belongs to whoever has the result."""
        if self._result is None:
            self._chunks.clear()
            # Shielded: begun, it ends, even if whoever cleans up is cancelled once more.
            await asyncio.shield(self._bench.run(self._abandon))

    def _take(self) -> Sequence[bytes]:
        """Return what waits to be written: a few large chunks as they are, many small ones as one."""
        chunks, self._chunks, self._waiting_bytes = self._chunks, [], 0
        return chunks if len(chunks) <= MAX_WRITES else [b"".join(chunks)]

    async def _flush(self, piece: Sequence[bytes]) -> None:
        if self._writer is not None:
            await self._writer.writelines(piece)
            return
        await self._bench.run(lambda: self._created().writelines(piece))
        loop = asyncio.get_running_loop()
        self._writer = aiofiles.threadpool.wrap(self._file, loop=loop, executor=self._bench.pool)

    def _created(self) -> RecordingFile:
        """Return the file, which the first to ask for it makes; blocks then."""
        with self._birth:
            if self._file is None:
                if self._is_given_up:
                    # Whoever asked was cancelled before this thread had the time to begin.
                    raise StorageError(f"{self._path} is not wanted any more")
                with translated(self._path):
                    reach(Step.STAGE_CREATE)
                    fd = create_file(self._path.name, self._bench.folder_fd)
                self._file = self._bench.live[self._path.name] = RecordingFile(fd, self._path)
            return self._file

    def _finish(self, piece: Sequence[bytes], *, framed: bool) -> Audio | Flaw:
        file = self._created()
        file.writelines(piece)
        proof = file.prove(framed=framed)
        if isinstance(proof, Flaw):
            self._abandon()
        return proof

    def _abandon(self) -> None:
        with self._birth:
            self._is_given_up, file = True, self._file
        if file is None:
            return
        file.abandon()
        # What cannot be removed now is removed at the next start.
        with suppress(OSError):
            reach(Step.STAGE_REMOVE)
            unlink_if_there(self._path.name, self._bench.folder_fd)
        self._bench.live.pop(self._path.name, None)


def _take_note(durable: "asyncio.Future[None]") -> None:
    """Look at the result, so that what nobody waits for any more is not reported as lost."""
    if not durable.cancelled():
        durable.exception()
