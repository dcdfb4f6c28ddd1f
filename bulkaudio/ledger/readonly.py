"""
A ledger that is read and not touched: no lock is kept, no file is made or changed beside it.

A run is never kept waiting for it, so one may begin meanwhile and change what is read. Before and
after each reading, the archive's lock and the file itself are looked at: what was read in between
counts only if both are as they were.
"""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bulkaudio.errors import ArchiveBusyError
from bulkaudio.ledger import rehearsal
from bulkaudio.ledger.database import (
    CACHE_KIB,
    Database,
    check_content,
    check_header,
    check_identity,
    is_absent,
)
from bulkaudio.ledger.faults import missing, translated
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.migrations import MIGRATIONS, migrate, version_of
from bulkaudio.model import Batch, Conversation, Direction
from bulkaudio.stores.lock import Glimpse

T = TypeVar("T")

Identity = tuple[int, int, int]


class ReadOnlyDatabase(Database):
    """
    Reads; a ledger that is not there is an empty one.

    A ledger with a log beside it was left by a run that was killed, and an old one has to be brought
    up to date: both are read from a copy, in the system's temporary folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._copy: TemporaryDirectory[str] | None = None
        self._identity: Identity | None = None

    def _connect(self, *, is_new_allowed: bool) -> None:
        with translated(self._path):
            self._identity = self._look()
            is_new = is_absent(self._path)
            if is_new and not is_new_allowed:
                raise missing(self._path)
            connection = _empty() if is_new else self._open()
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._connection = connection

    def _open(self) -> sqlite3.Connection:
        check_header(self._path)
        wal = self._path.with_name(f"{self._path.name}-wal")
        has_log = wal.exists() and wal.stat().st_size > 0
        if not has_log:
            connection = immutable(self._path)
            try:
                check_identity(connection, self._path, is_new_allowed=False)
                check_content(connection, self._path)
                if version_of(connection) == len(MIGRATIONS):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        return self._open_copy(wal if has_log else None)

    def _open_copy(self, wal: Path | None) -> sqlite3.Connection:
        self._copy = TemporaryDirectory(prefix="bulkaudio-")
        copy = Path(self._copy.name) / self._path.name
        shutil.copyfile(self._path, copy)
        if wal is not None:
            shutil.copyfile(wal, copy.with_name(wal.name))
        connection = sqlite3.connect(copy, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            check_identity(connection, self._path, is_new_allowed=False)
            check_content(connection, copy)
            migrate(connection, copy)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check()
        try:
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
            try:
                status = self._path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _disconnect(self) -> None:
        try:
            super()._disconnect()
        finally:
            if self._copy is not None:
                self._copy.cleanup()


class ReadOnlyLedger(Ledger):
    """A ledger to ask, and to plan with; whatever would change it is a bug."""

    def __init__(self, path: Path, database: Database) -> None:
        super().__init__(path, database)
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


def _empty() -> sqlite3.Connection:
    """Make a ledger that nobody else sees and that ends with its connection."""
    connection = sqlite3.connect("", isolation_level=None)
    migrate(connection, Path())
    return connection


def immutable(path: Path) -> sqlite3.Connection:
    """Open a database so that SQLite neither locks it nor looks for a log."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)
