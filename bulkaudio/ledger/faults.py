"""What SQLite's errors mean to the person who runs this, with the fix."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.files import rebuild_command
from bulkaudio.stores.disk import cause_and_fix

PRIMARY_CODE = 0xFF
"""Extended result codes keep the primary one in their low byte."""

CONTENT_IS_BAD = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}

CAUSES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run again: nothing is lost"),
    sqlite3.SQLITE_BUSY: (
        "another program has it locked",
        "end that program (a database browser, a backup) and run again",
    ),
    sqlite3.SQLITE_READONLY: (
        "it may not be written",
        "make the archive's .bulkaudio folder writable for this user, or remount the disk",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check the permissions of the archive's .bulkaudio folder and the descriptor limit",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk failed to read or write it",
        "check the disk (dmesg), its quota and the file-size limit, then run again",
    ),
}

STICKY = {sqlite3.SQLITE_IOERR, *CONTENT_IS_BAD}
"""After these nothing more is written: a repeated fsync may report a success that is none."""


class NewerLedgerError(LedgerError):
    """Written by a later version: whole, but not for this one to read."""


def is_damage(error: LedgerError) -> bool:
    """Whether the ledger is lost or spoilt, rather than out of this process's reach for now."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return _is_bad_content(cause)
    return (cause is None or isinstance(cause, UnicodeError)) and not isinstance(
        error, NewerLedgerError
    )


@contextmanager
def translated(path: Path, *, is_reading: bool = False) -> Iterator[None]:
    """
    Turn whatever SQLite or the file system raises about `path` into a `LedgerError`.

    Args:
        is_reading: Nothing was to be written, so that no right to do so is missed.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise ledger_error(path, error) from error
    except UnicodeError as error:
        # Of a schema that was spoilt, SQLite quotes bytes that are no text.
        raise damaged(path, error) from error
    except OSError as error:
        cause, fix = cause_and_fix(error, is_reading=is_reading)
        raise LedgerError(
            f"the ledger {path} cannot be used: {cause} ({error.strerror or error})", fix=fix
        ) from error


def missing(path: Path) -> LedgerError:
    """Say that a ledger is gone where recordings are, and how it is made anew."""
    return LedgerError(
        f"the ledger {path} is missing beside saved recordings",
        fix=f"make it anew from the files kept: {rebuild_command(path)}",
    )


def damaged(path: Path, found: object) -> LedgerError:
    """Say that a ledger is spoilt, by what, and how it is made anew."""
    return LedgerError(
        f"the ledger {path} is damaged: {found}",
        fix=f"make it anew from the files kept, which moves this one aside: {rebuild_command(path)}",
    )


def ledger_error(path: Path, error: sqlite3.Error) -> LedgerError:
    """Name the likely cause of a SQLite error, and the fix."""
    if _is_bad_content(error):
        return damaged(path, error)
    cause, fix = CAUSES[primary_code(error)]
    return LedgerError(f"the ledger {path} cannot be used: {cause} ({error})", fix=fix)


def _is_bad_content(error: sqlite3.Error) -> bool:
    code = primary_code(error)
    return code in CONTENT_IS_BAD or code not in CAUSES


def is_full(error: LedgerError) -> bool:
    """Whether SQLite found no room for what it had to write."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and primary_code(cause) == sqlite3.SQLITE_FULL


def is_sticky(error: BaseException | None) -> bool:
    """Whether the connection must not be written to again after this error."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in STICKY


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors that Python's own binding raises."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & PRIMARY_CODE
