"""Clearing a ledger; comparing the names found in an archive with the names it should hold, in constant memory."""

import sqlite3
from collections.abc import Sequence

from bulkaudio.ledger.database import gather


def clear(connection: sqlite3.Connection) -> None:
    """Forget everything but the runs."""
    connection.execute("DELETE FROM recordings")
    connection.execute("DELETE FROM listings")
    connection.execute("DELETE FROM archive")


def note_files(connection: sqlite3.Connection, paths: Sequence[str]) -> None:
    """Collect names."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS found (path TEXT PRIMARY KEY) WITHOUT ROWID"
    )
    gather(connection, "INSERT OR IGNORE INTO found VALUES (?)", ((path,) for path in paths))


def unknown_files(connection: sqlite3.Connection, limit: int) -> tuple[int, Sequence[str]]:
    """
    Count collected names that no row has, name the first of them, and forget them.

    A row that is not saved has one while its recording is being erased.
    """
    note_files(connection, ())
    connection.execute(
        "DELETE FROM found WHERE path IN (SELECT path FROM recordings WHERE path IS NOT NULL)"
    )
    count = int(connection.execute("SELECT count(*) FROM found").fetchone()[0])
    rows = connection.execute("SELECT path FROM found ORDER BY path LIMIT ?", (limit,)).fetchall()
    connection.execute("DROP TABLE found")
    return count, [row[0] for row in rows]
