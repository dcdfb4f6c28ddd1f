"""The ledger call by call, every direction of one conversation at once; and the last runs."""

import sqlite3
from itertools import groupby

from bulkaudio.ledger.rows import (
    IS_DOWNLOAD,
    SELECT,
    SELECT_RUNS,
    LedgerRow,
    RunRow,
    row_of,
    run_of,
)
from bulkaudio.model import Direction

Call = tuple[LedgerRow, ...]
"""The rows of one conversation, at least one, in the order of their directions' names."""


def calls_after(connection: sqlite3.Connection, conversation_id: str, limit: int) -> list[Call]:
    """
    Return whole calls of about `limit` rows, by id; empty at the end.

    By the index that keeps (conversation, direction) unique: nothing is sorted, and what a later
    run added to an old call stands beside it.
    """
    most = limit + len(Direction)
    rows = connection.execute(
        f"{SELECT} WHERE conversation_id > ? ORDER BY conversation_id, direction LIMIT ?",
        (conversation_id, most),
    ).fetchall()
    calls = [tuple(map(row_of, group)) for _, group in groupby(rows, key=lambda row: row[1])]
    # The last one may go on behind the page.
    return calls if len(rows) < most else calls[:-1]


def last_runs(connection: sqlite3.Connection, limit: int) -> list[RunRow]:
    """Return the runs that were started last, newest first."""
    rows = connection.execute(f"{SELECT_RUNS} ORDER BY number DESC LIMIT ?", (limit,))
    return [run_of(row) for row in rows]


def last_of_each(connection: sqlite3.Connection) -> tuple[RunRow | None, RunRow | None]:
    """Return the download that was started last, and the last repair if it was started later."""
    download = connection.execute(
        # What is not known to be a repair is none.
        f"{SELECT_RUNS} WHERE COALESCE({IS_DOWNLOAD}, TRUE) ORDER BY number DESC LIMIT 1"
    ).fetchone()
    last = connection.execute(f"{SELECT_RUNS} ORDER BY number DESC LIMIT 1").fetchone()
    repair = None if last is None or last == download else run_of(last)
    return (None if download is None else run_of(download)), repair
