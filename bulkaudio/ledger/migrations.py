"""
The ledger's schema, as numbered steps from nothing to today.

A step is never changed once it is released: files in the field have run it. Each step and the
``user_version`` it leads to are committed together, and a ledger that already holds something is
copied aside before the first step touches it.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.ledger.files import create_private, sync_file, sync_folder
from bulkaudio.steps import Step, reach

APPLICATION_ID = 0x62756C6B
"""``bulk``: tells our files from any other program's SQLite database."""

UNSETTLED = "status IN ('open', 'failed', 'deferred')"
"""Worded exactly as in the partial index, so that SQLite sees that the index applies."""


def _first(connection: sqlite3.Connection) -> None:
    _make_recordings(connection)
    connection.execute(
        """
        CREATE TABLE runs (
            number INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            started_at TEXT NOT NULL,
            finished_at TEXT,
            scope TEXT NOT NULL,
            summary TEXT
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE listings (
            id INTEGER PRIMARY KEY,
            scope TEXT NOT NULL,
            since TEXT,
            until TEXT NOT NULL,
            cursor TEXT,
            "offset" INTEGER,
            state TEXT NOT NULL CHECK (state IN ('open', 'finished', 'superseded')),
            started_at TEXT NOT NULL,
            finished_at TEXT
        )
        """
    )
    connection.execute("CREATE TABLE archive (name TEXT PRIMARY KEY, value TEXT NOT NULL)")


def _make_recordings(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE recordings (
            id INTEGER PRIMARY KEY,
            conversation_id TEXT NOT NULL,
            direction TEXT NOT NULL CHECK (direction IN ('combined', 'user', 'agent')),
            redaction_requested INTEGER CHECK (redaction_requested IN (0, 1)),
            status TEXT NOT NULL
                CHECK (status IN ('open', 'saved', 'absent', 'deferred', 'failed')),
            path TEXT,
            bytes INTEGER,
            sha256 TEXT CHECK (length(sha256) = 64),
            audio_seconds REAL,
            codec TEXT,
            sample_rate INTEGER,
            channels INTEGER,
            started_at TEXT,
            first_seen_at TEXT NOT NULL,
            saved_at TEXT,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_try_at TEXT,
            http_status INTEGER,
            error_code TEXT,
            reason TEXT,
            correlation_id TEXT,
            run_id TEXT,
            CHECK (status <> 'saved' OR
                   (path IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
            UNIQUE (conversation_id, direction)
        )
        """
    )
    # Partial: an archive of millions of saved recordings keeps this index small.
    connection.execute(f"CREATE INDEX unsettled ON recordings (id) WHERE {UNSETTLED}")


def _erasing(connection: sqlite3.Connection) -> None:
    """Let recordings be erased, whole conversations be kept from coming back, and others be held."""
    _allow_status(connection, "purged")
    connection.execute("ALTER TABLE recordings ADD COLUMN purged_at TEXT")
    connection.execute(
        """
        CREATE TABLE tombstones (
            conversation_id TEXT PRIMARY KEY,
            purged_at TEXT NOT NULL,
            is_done INTEGER NOT NULL CHECK (is_done IN (0, 1))
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TABLE holds (
            conversation_id TEXT PRIMARY KEY,
            held_at TEXT NOT NULL,
            who TEXT NOT NULL,
            reason TEXT
        ) WITHOUT ROWID
        """
    )


def _allow_status(connection: sqlite3.Connection, status: str) -> None:
    """
    Add a word to those that the table of recordings takes.

    SQLite changes no constraint of a table that is there: its rows move to a new one, whatever
    columns it has by then.
    """
    query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'recordings' AND type = ? AND sql <> ''"
    [[table]] = connection.execute(query, ("table",)).fetchall()
    indexes = [row[0] for row in connection.execute(query, ("index",))]
    widened = table.replace("'failed')", f"'failed', '{status}')", 1)
    connection.execute(re.sub(r'TABLE "?recordings"?', "TABLE recordings_anew", widened, count=1))
    connection.execute("INSERT INTO recordings_anew SELECT * FROM recordings")
    connection.execute("DROP TABLE recordings")
    connection.execute("ALTER TABLE recordings_anew RENAME TO recordings")
    for index in indexes:
        connection.execute(index)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _erasing)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[Callable[[sqlite3.Connection], None], ...] = MIGRATIONS,
) -> Path | None:
    """
    Bring a ledger up to date; return the copy that was made before, if one was needed.

    The connection must be in autocommit mode and hold the ledger exclusively.
    """
    version = version_of(connection)
    if version == len(migrations):
        return None
    backup = _back_up(connection, path, version) if version else None
    for number, step in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            reach(Step.LEDGER_MIGRATE)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
    return backup


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many steps this ledger has behind it."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = path.with_name(f"{path.name}.v{version}.{stamp}.bak")
    create_private(target)
    # Through SQLite, not by copying the file: what the WAL holds belongs to it.
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
    sync_file(target)
    sync_folder(target.parent)
    return target
