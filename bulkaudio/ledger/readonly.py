"""
A ledger that is read and not touched: no file is made or changed beside it.

Who looks for long does not keep the archive's lock, so a run may begin meanwhile and change what is
read. Before and after each reading, the lock and the files themselves are looked at: what was read in
between counts only if all are as they were.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bulkaudio.errors import ArchiveBusyError, LedgerError
from bulkaudio.ledger import rehearsal, settling
from bulkaudio.ledger.database import (
    CACHE_KIB,
    Database,
    check_content,
    check_header,
    check_identity,
    is_absent,
)
from bulkaudio.ledger.faults import is_full, missing, translated
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.migrations import MIGRATIONS, migrate, version_of
from bulkaudio.model import Batch, Conversation, Direction, Outcome
from bulkaudio.stores.lock import Glimpse

T = TypeVar("T")

LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24

MOST_COPIED_BYTES = 256 * 1024 * 1024
"""A copy takes longer than an answer may, and much of the temporary folder."""

Stamp = tuple[int, int, int] | None
Identity = tuple[Stamp, Stamp]


class ReadOnlyDatabase(Database):
    """
    Reads; a ledger that is not there is an empty one.

    What would have to be changed before it can be read, an old ledger or what `suppose` is told, is
    changed in a copy.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reading: Reading | None = None
        self._identity: Identity | None = None

    async def suppose(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Read from here on as if `work` had changed the ledger."""
        await self._post(lambda: self._suppose(work))

    def _connect(self, *, is_new_allowed: bool) -> None:
        with _room_elsewhere(), translated(self._path, is_reading=True):
            self._identity = self._look()
            is_new = is_absent(self._path)
            if is_new and not is_new_allowed:
                raise missing(self._path)
            self._take(_empty() if is_new else self._open(is_new_allowed=is_new_allowed))

    def _take(self, reading: "Reading") -> None:
        self._close_reading()
        self._reading, self._connection = reading, reading.connection
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

    def _open(self, *, is_new_allowed: bool) -> "Reading":
        check_header(self._path)
        reading = readable(self._path)
        try:
            check_identity(reading.connection, self._path, is_new_allowed=is_new_allowed)
            check_content(reading.connection, self._path)
            if version_of(reading.connection) == len(MIGRATIONS):
                return reading
        except BaseException:
            reading.close()
            raise
        reading.close()
        return self._copy()

    def _copy(self) -> "Reading":
        try:
            reading = copied(self._path)
        except OSError as error:
            raise LedgerError(
                f"the ledger {self._path} has to be read from a copy, and none can be made in the "
                f"system's temporary folder: {error.strerror}",
                fix="free some space there, or set TMPDIR to a folder with room for it",
            ) from error
        try:
            migrate(reading.connection, reading.path)
        except BaseException:
            reading.close()
            raise
        return reading

    def _suppose(self, work: Callable[[sqlite3.Connection], object]) -> None:
        with _room_elsewhere(), translated(self._path, is_reading=True):
            if self._reading is None or self._reading.folder is None:
                self._check()
                self._take(self._copy())
                self._check()
            connection = self._usable()
            connection.execute("BEGIN")
            work(connection)
            connection.execute("COMMIT")

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check()
        try:
            with _room_elsewhere():
                return super()._read(work)
        finally:
            # Also what looks like damage may have been a run's doing.
            self._check()

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        del work
        raise AssertionError("this ledger is for reading")

    def _check(self) -> None:
        if self._look() != self._identity:
            raise ArchiveBusyError(
                f"a run has changed {self._path.parent.parent} meanwhile",
                fix="ask again: nothing was written",
            )

    def _look(self) -> Identity | None:
        with Glimpse(self._path.with_name("lock")):
            return _stamp(self._path), _stamp(_log_of(self._path))

    def _disconnect(self) -> None:
        try:
            super()._disconnect()
        finally:
            self._close_reading()


class ReadOnlyLedger(Ledger):
    """A ledger to ask, and to plan with; whatever would change it is a bug."""

    def __init__(self, path: Path, database: ReadOnlyDatabase) -> None:
        super().__init__(path, database)
        self._reading = database
        self._foreseen = rehearsal.Foreseen()
        self._seen = self._foreseen

    @classmethod
    async def reading(cls, path: Path, *, is_new_allowed: bool) -> "ReadOnlyLedger":
        """
        Open the ledger at `path`.

        Args:
            is_new_allowed: What is not there is taken for empty, and not for lost.

        Raises:
            ArchiveBusyError: A run holds the archive; also by whatever is read later.
        """
        return cls(path, await ReadOnlyDatabase.open(path, is_new_allowed=is_new_allowed))

    async def suppose(self, outcomes: Sequence[Outcome], now: datetime) -> None:
        """Answer from here on as if these had been kept."""
        if outcomes:
            await self._reading.suppose(
                settling.Settlement(outcomes=outcomes, run_id=None, now=now).write
            )

    async def rehearse(
        self, batch: Batch, directions: Sequence[Direction], now: datetime
    ) -> rehearsal.Rehearsed:
        """Say what a run would do about a batch; batches after it count as of the same run."""
        return await self._database.read(
            lambda connection: rehearsal.Rehearsal(
                connection, directions, now, self._foreseen
            ).rehearse(batch)
        )

    async def measured(
        self, ids: Sequence[str], directions: Sequence[Direction]
    ) -> Sequence[rehearsal.Measured]:
        """Return length and size of those that are saved."""
        return await self._database.read(
            partial(rehearsal.measured, ids=ids, directions=directions)
        )

    async def unknown(
        self, conversations: Sequence[Conversation], directions: Sequence[Direction]
    ) -> Sequence[tuple[Conversation, Direction, bool]]:
        """Find what is listed and not in the ledger; see `bulkaudio.ledger.rehearsal.unknown`."""
        return await self._database.read(
            partial(rehearsal.unknown, conversations=conversations, directions=directions)
        )


@contextmanager
def _room_elsewhere() -> Iterator[None]:
    """Tell which disk is full: only copies are written here, names that were found, rows to be sorted."""
    try:
        yield
    except LedgerError as error:
        if not is_full(error):
            raise
        raise LedgerError(
            "the system's temporary folder, where the ledger is copied and sorted, has no room",
            fix="free some space there, or set TMPDIR to a folder with room",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A connection that changes nothing but, perhaps, a copy of its own: `folder` is where that lies."""

    connection: sqlite3.Connection
    path: Path
    folder: "TemporaryDirectory[str] | None" = None

    def close(self) -> None:
        """Let go of it; may be called again."""
        try:
            self.connection.close()
        finally:
            if self.folder is not None:
                self.folder.cleanup()


def readable(path: Path) -> Reading:
    """
    Open a ledger so that nothing beside it is written, locked or made.

    A log that a killed run left would be taken up in place, so it is read from a copy. Where nobody
    can write, and where there is no room for one, it is read as it is.
    """
    if not has_log(path) or not _has_frames(_log_of(path)):
        return Reading(connection=_at(path, "immutable=1"), path=path)
    size = path.stat().st_size + _log_of(path).stat().st_size
    if os.access(_log_of(path), os.W_OK) and size <= MOST_COPIED_BYTES:
        with suppress(OSError):
            return copied(path)
    return Reading(connection=_with_log(path), path=path)


def copied(path: Path) -> Reading:
    """
    Copy a ledger and its log to the system's temporary folder, and open that.

    Raises:
        OSError: There is no room.
    """
    folder = TemporaryDirectory(prefix="bulkaudio-")
    try:
        copy = Path(folder.name) / path.name
        shutil.copyfile(path, copy)
        if has_log(path):
            shutil.copyfile(_log_of(path), _log_of(copy))
        connection = sqlite3.connect(copy, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A copy that a power cut spoils is nobody's loss.
        connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        folder.cleanup()
        raise
    return Reading(connection=connection, path=copy, folder=folder)


def has_log(path: Path) -> bool:
    """Whether a run that was killed left something beside its ledger."""
    log = _stamp(_log_of(path))
    return log is not None and log[1] > 0


def _has_frames(log: Path) -> bool:
    """
    Whether anything in a log can belong to its ledger.

    Every frame repeats the salts of the log's header. A log without a frame SQLite takes for used up,
    and removes it.
    """
    with log.open("rb") as file:
        header, frame = file.read(LOG_HEADER_BYTES), file.read(FRAME_HEADER_BYTES)
    return len(frame) == FRAME_HEADER_BYTES and frame[8:16] == header[16:24] != bytes(8)


def _with_log(path: Path) -> sqlite3.Connection:
    """
    Read a ledger with its log where they lie.

    SQLite keeps the log's index in memory, where it holds the file alone; as that takes a lock, and a
    file that is only read takes none, it locks by the one of its ways that does nothing.
    """
    connection = _at(path, "vfs=unix-none")
    if sys.version_info >= (3, 12):
        # Before, closing tries to bring the log over, and fails: the file is open for reading only.
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # noqa: FBT003
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _empty() -> Reading:
    """Make a ledger that nobody else sees and that ends with its connection."""
    connection = sqlite3.connect("", isolation_level=None)
    migrate(connection, Path())
    return Reading(connection=connection, path=Path())


def _at(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro&{how}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _stamp(path: Path) -> Stamp:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
