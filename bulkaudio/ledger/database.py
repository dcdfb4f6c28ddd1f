"""
One SQLite connection in one thread, and the door to it.

Rules of this file: only the owner thread touches the connection. Two writing connections can
corrupt a WAL in SQLite 3.7 to 3.51.2, so the lock is exclusive and outsiders read ``status.json``.
"""

import asyncio
import sqlite3
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from traceback import clear_frames
from typing import Any, Self, TypeVar

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.faults import NewerLedgerError, damaged, is_sticky, missing, translated
from bulkaudio.ledger.files import InPlace, create_private, rebuild_command, sync_folder
from bulkaudio.ledger.migrations import APPLICATION_ID, MIGRATIONS, migrate, version_of
from bulkaudio.steps import Step, reach

T = TypeVar("T")

BUSY_S = 2.0
MAGIC, WRITE_VERSION_AT = b"SQLite format 3\0", 18
CACHE_KIB = 4 * 1024
"""A run of a hundred thousand takes no more memory than one of ten thousand; the system caches, too."""
QUICK_CHECK_BYTES = 256 * 1024 * 1024
"""Up to this size every opening walks the whole file, at about half a gigabyte a second."""

COMPANIONS = ("-wal", "-journal")
"""What SQLite opens beside the file, by itself."""


class Database:
    """Runs functions on the connection, one after the other, in the thread that owns it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # An executor rather than a thread of our own: a cancelled or failing call never ends it,
        # and it does not keep the interpreter alive when `aclose` was forgotten.
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._connection: sqlite3.Connection | None = None
        self._in_place: InPlace | None = None
        self._broken: LedgerError | None = None
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, path: Path, *, is_new_allowed: bool) -> Self:
        """Open, check and migrate; raises `LedgerError`, and then nothing stays open."""
        database = cls(path)
        try:
            await database._post(lambda: database._connect(is_new_allowed=is_new_allowed))
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which changes nothing."""
        return await self._post(lambda: self._read(work))

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Run `work` as one transaction; its changes are durable when this returns.

        A caller that is cancelled meanwhile does not learn how it ended; the transaction is whole
        either way.
        """
        return await self._post(lambda: self._change(work))

    async def rewrite(self) -> None:
        """
        Write the file anew without the traces of what was changed or deleted, and empty its log.

        SQLite leaves old bytes in free pages and between rows; a ledger that calls recordings
        erased must not go on holding what it knew of them.
        """
        await self._post(self._rewrite)

    async def aclose(self) -> None:
        """Let everything posted before end, then close. May be called again, and by several."""
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.run_in_executor(self._owner, self._disconnect)
            # No wait: the one thread ends by itself after the work above.
            self._owner.shutdown(wait=False)
        await asyncio.shield(self._closing)

    async def _post(self, work: Callable[[], T]) -> T:
        if self._closing is not None:
            raise LedgerError(f"the ledger {self._path} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._owner, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with translated(self._path):
                reach(Step.LEDGER_READ)
                return work(self._usable())
        except Exception as error:
            _release_cursors(error)
            raise

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._usable()
        if self._broken is not None:
            raise self._broken
        try:
            with translated(self._path):
                return self._transact(connection, work)
        except Exception as error:
            # Without a cause it is our own finding: the files are no longer in their place.
            if isinstance(error, LedgerError) and (
                error.__cause__ is None or is_sticky(error.__cause__)
            ):
                self._broken = error
            _release_cursors(error)
            raise

    def _transact(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]
    ) -> T:
        files = self._files()
        files.check()
        reach(Step.LEDGER_BEGIN)
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            reach(Step.LEDGER_COMMIT)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise
        reach(Step.LEDGER_COMMITTED)
        files.watch_wal()
        files.check()
        return result

    def _rewrite(self) -> None:
        connection, files = self._usable(), self._files()
        with translated(self._path):
            files.check()
            reach(Step.LEDGER_REWRITE)
            connection.execute("VACUUM")
            reach(Step.LEDGER_EMPTY_LOG)
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if is_busy:
                raise AssertionError("nobody else can be reading it")
            files.watch_wal()
            files.check()

    def _files(self) -> InPlace:
        assert self._in_place is not None  # noqa: S101  # set with the connection
        return self._in_place

    def _usable(self) -> sqlite3.Connection:
        assert self._connection is not None  # noqa: S101  # closing is this thread's last work
        return self._connection

    def _connect(self, *, is_new_allowed: bool) -> None:
        with translated(self._path):
            is_new = is_absent(self._path)
            if is_new and not is_new_allowed:
                raise missing(self._path)
            if is_new and not self._path.exists():
                create_private(self._path)
            reach(Step.LEDGER_OPEN)
            check_header(self._path)
            connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            try:
                # Before the first read: no shared-memory file is made then.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                check_identity(connection, self._path, is_new_allowed=is_new_allowed)
                _configure(connection)
                check_content(connection, self._path)
                migrate(connection, self._path)
                sync_folder(self._path.parent)
                self._in_place = InPlace(self._path)
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with translated(self._path):
                try:
                    reach(Step.LEDGER_CLOSE)
                finally:
                    connection.close()


def _release_cursors(error: Exception) -> None:
    """
    Empty the frames that an error keeps alive.

    A cursor in one of them would keep SQLite from really closing the connection, files and lock
    included, for as long as anybody holds the error.
    """
    for each in (error, error.__cause__):
        if each is not None:
            clear_frames(each.__traceback__)


def gather(
    connection: sqlite3.Connection, query: str, rows: Iterable[tuple[object, ...]] = ((),)
) -> None:
    """Fill a temporary table, which SQLite spills to disk and never syncs."""
    connection.execute("BEGIN")
    try:
        connection.executemany(query, rows)
    finally:
        connection.execute("COMMIT")


def is_absent(path: Path) -> bool:
    """Whether there is nothing at `path` yet; raises `LedgerError` for what is no ledger."""
    size = _size(path)
    if size is None:
        fix = f"make the ledger anew, which moves it aside: {rebuild_command(path)}"
        raise LedgerError(f"{path} is not a regular file", fix=fix)
    for companion in COMPANIONS:
        beside = path.with_name(path.name + companion)
        if _size(beside) is None:
            fix = "move it away and run again"
            raise LedgerError(f"{beside} is not a regular file", fix=fix)
    return not size


def _size(path: Path) -> int | None:
    """Return the size of a file, 0 when it is missing; None of what is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _configure(connection: sqlite3.Connection) -> None:
    """Set what only our own ledger may be given: switching to WAL writes to the file."""
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        # SQLite raises nothing when the disk is in the way of it, and goes on with another journal,
        # whose last transaction a power cut may take back.
        raise OSError(f"it cannot be given a write-ahead log, and stays in {mode} mode")
    # FULL: every commit is synced. NORMAL was measured and buys nothing at 50 rows a commit.
    connection.execute("PRAGMA synchronous = FULL")
    # Takes the exclusive lock now, so that another program is noticed at the start.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")


def check_identity(connection: sqlite3.Connection, path: Path, *, is_new_allowed: bool) -> None:
    """Tell our ledger from other programs' files and from later versions of it."""
    application = _pragma(connection, "application_id")
    version = version_of(connection)
    objects = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    # A crash between creating the file and the first migration leaves an empty database.
    is_blank = application == 0 and version == 0 and objects == 0
    if is_blank and is_new_allowed:
        return
    if application != APPLICATION_ID or version == 0:
        raise LedgerError(
            f"{path} is not a ledger of bulkaudio",
            fix=f"make the ledger anew, which moves it aside: {rebuild_command(path)}",
        )
    if version > len(MIGRATIONS):
        raise NewerLedgerError(
            f"the ledger {path} was written by a newer bulkaudio (schema {version}, this one "
            f"knows {len(MIGRATIONS)})",
            fix="upgrade bulkaudio; or make the ledger anew, which moves this one aside: "
            f"{rebuild_command(path)} --force",
        )


def check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Walk every page of a ledger that is small enough for that."""
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        check_whole(connection, path)


def check_whole(connection: sqlite3.Connection, path: Path, how: str = "quick_check") -> None:
    """Walk every page and constraint; raises `LedgerError` with the first finding."""
    found = connection.execute(f"PRAGMA {how}(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)


def check_header(path: Path) -> None:
    """Find the one damage that SQLite words as a file that may not be written."""
    with path.open("rb") as file:
        header = file.read(WRITE_VERSION_AT + 1)
    if header.startswith(MAGIC) and header[WRITE_VERSION_AT:] not in {b"", b"\1", b"\2"}:
        raise damaged(path, "no such version of the file format")


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
