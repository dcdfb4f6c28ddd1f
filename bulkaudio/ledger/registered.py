"""The ledger held to the register beside it: which erasures and holds the register does not tell."""

import sqlite3
from collections.abc import Container, Sequence
from datetime import datetime
from functools import partial

from bulkaudio.ledger.database import Database, gather
from bulkaudio.ledger.dossiers import rows_of
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.holds import Hold, hold_of
from bulkaudio.ledger.rows import instant_of
from bulkaudio.ledger.tombs import erased_among, make_pending
from bulkaudio.model import Status

WHOLE = ""
"""In place of a direction: all of a conversation."""

_TABLES = (
    (
        "CREATE TEMP TABLE told_purged (conversation_id TEXT NOT NULL, direction TEXT NOT NULL, "
        "PRIMARY KEY (conversation_id, direction)) WITHOUT ROWID"
    ),
    "CREATE TEMP TABLE told_held (conversation_id TEXT PRIMARY KEY) WITHOUT ROWID",
    (
        "CREATE TEMP TABLE untold_purged (number INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, "
        "erased_at TEXT)"
    ),
)
_NAMES = ("told_purged", "told_held", "untold_purged")

_UNTOLD = (
    "INSERT INTO temp.untold_purged (conversation_id, erased_at) "
    "SELECT conversation_id, CASE WHEN min(is_done) THEN max(purged_at) END FROM ("
    "SELECT conversation_id, purged_at, is_done FROM main.tombstones AS t WHERE NOT EXISTS ("
    "SELECT 1 FROM temp.told_purged AS told "
    "WHERE told.conversation_id = t.conversation_id AND told.direction = '') "
    "UNION ALL "
    "SELECT conversation_id, purged_at, coalesce(reason, '') <> 'purging' FROM main.recordings AS r "
    "WHERE status = 'purged' AND NOT EXISTS (SELECT 1 FROM temp.told_purged AS told "
    "WHERE told.conversation_id = r.conversation_id AND told.direction IN ('', r.direction))"
    ") GROUP BY conversation_id ORDER BY conversation_id"
)

_UNTOLD_HOLDS = (
    "FROM main.holds WHERE conversation_id NOT IN (SELECT conversation_id FROM temp.told_held)"
)


class Registered:
    """Compares, in temporary tables: `begin`, `take…`, `untold…`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self) -> None:
        """Know of nothing that is told."""

        def begin(connection: sqlite3.Connection) -> None:
            for name in _NAMES:
                connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
            for statement in _TABLES:
                connection.execute(statement)

        await self._database.read(begin)

    async def take_purged(self, keys: Sequence[tuple[str, str]]) -> None:
        """Note what is told as erased: conversations with a direction, or `WHOLE`."""
        await self._take("INSERT OR IGNORE INTO temp.told_purged VALUES (?, ?)", keys)

    async def take_held(self, ids: Sequence[str]) -> None:
        """Note what is told as held."""
        query = "INSERT OR IGNORE INTO temp.told_held VALUES (?)"
        await self._take(query, [(each,) for each in ids])

    async def take_released(self, ids: Sequence[str]) -> None:
        """Note what is told as held no longer."""
        query = "DELETE FROM temp.told_held WHERE conversation_id = ?"
        await self._take(query, [(each,) for each in ids])

    async def untold(self) -> tuple[int, int, int]:
        """Count, once everything is taken, what is not told: erased, being erased, and held."""

        def find(connection: sqlite3.Connection) -> tuple[int, int, int]:
            gather(connection, _UNTOLD)
            count, erased = connection.execute(
                "SELECT count(*), count(erased_at) FROM temp.untold_purged"
            ).fetchone()
            [held] = connection.execute(f"SELECT count(*) {_UNTOLD_HOLDS}").fetchone()
            return int(erased), int(count - erased), int(held)

        return await self._database.read(find)

    async def untold_dooms(
        self, after: int, limit: int
    ) -> Sequence[tuple[int, datetime | None, Doom]]:
        """
        Return a page of what is not told as erased, behind a number; empty at the end.

        Returns:
            With each its number and since when it is erased; None: it is being erased.
        """

        def find(
            connection: sqlite3.Connection,
        ) -> Sequence[tuple[int, datetime | None, Doom]]:
            rows = connection.execute(
                "SELECT number, conversation_id, erased_at FROM temp.untold_purged "
                "WHERE number > ? ORDER BY number LIMIT ?",
                (after, limit),
            ).fetchall()
            whole = erased_among(connection, [row[1] for row in rows])
            return [
                (number, None if at is None else instant_of(at), _doom(connection, id_, whole))
                for number, id_, at in rows
            ]

        return await self._database.read(find)

    async def pending(self) -> Sequence[Doom]:
        """Return one of what is being erased, held or not; none where nothing is."""

        def find(connection: sqlite3.Connection) -> Sequence[Doom]:
            make_pending(connection)
            query = "SELECT conversation_id FROM pending ORDER BY conversation_id LIMIT 1"
            ids = [row[0] for row in connection.execute(query)]
            whole = erased_among(connection, ids)
            return [_doom(connection, each, whole) for each in ids]

        return await self._database.read(find)

    async def untold_holds(self, after: str, limit: int) -> Sequence[Hold]:
        """Return a page of what is not told as held, behind an id; empty at the end."""

        def find(connection: sqlite3.Connection) -> Sequence[Hold]:
            rows = connection.execute(
                f"SELECT conversation_id, held_at, who, reason {_UNTOLD_HOLDS} "
                "AND conversation_id > ? ORDER BY conversation_id LIMIT ?",
                (after, limit),
            )
            return [hold_of(row) for row in rows]

        return await self._database.read(find)

    async def _take(self, query: str, rows: Sequence[tuple[str, ...]]) -> None:
        await self._database.read(partial(gather, query=query, rows=rows))


def _doom(connection: sqlite3.Connection, conversation_id: str, whole: Container[str]) -> Doom:
    rows = rows_of(connection, conversation_id)
    return Doom(
        conversation_id=conversation_id,
        rows=tuple(row for row in rows if row.status is Status.PURGED),
        is_whole=conversation_id in whole,
    )
