"""The ledger held to the register beside it: which erasures and holds the register does not tell."""

import sqlite3
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bulkaudio.ledger.database import Database, gather
from bulkaudio.ledger.dossiers import rows_of
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.holds import HOLD, Hold, hold_of, row_of_hold
from bulkaudio.ledger.rows import instant_of
from bulkaudio.ledger.tombs import erased_among
from bulkaudio.model import Status

WHOLE = ""
"""In place of a direction: all of a conversation."""

_TABLES = (
    (
        "CREATE TEMP TABLE told_purged (conversation_id TEXT NOT NULL, direction TEXT NOT NULL, "
        "PRIMARY KEY (conversation_id, direction)) WITHOUT ROWID"
    ),
    (
        "CREATE TEMP TABLE told_held (conversation_id TEXT PRIMARY KEY, held_at TEXT NOT NULL, "
        "who TEXT NOT NULL, reason TEXT) WITHOUT ROWID"
    ),
    (
        "CREATE TEMP TABLE untold_purged (number INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, "
        "erased_at TEXT)"
    ),
)
_NAMES = ("told_purged", "told_held", "untold_purged", "told_until")

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

_UNKNOWN = (
    "SELECT count(DISTINCT conversation_id) FROM temp.told_purged AS told "
    "WHERE NOT EXISTS (SELECT 1 FROM main.tombstones AS t "
    "WHERE t.conversation_id = told.conversation_id) AND (direction = '' OR NOT EXISTS ("
    "SELECT 1 FROM main.recordings AS r WHERE r.conversation_id = told.conversation_id "
    "AND r.direction = told.direction AND r.status = 'purged'))"
)

_NEWEST = (
    "CREATE TEMP TABLE told_until AS SELECT coalesce(max(at), '') AS at FROM ("
    "SELECT max(started_at) AS at FROM main.runs UNION ALL "
    "SELECT max(finished_at) FROM main.runs UNION ALL SELECT max(held_at) FROM main.holds UNION ALL "
    "SELECT max(purged_at) FROM main.tombstones)"
)
"""When this ledger was last written to, as far as it says, before it has taken anything over."""
_UNTIL = "(SELECT at FROM temp.told_until)"

_NOT_HELD = (
    "FROM temp.told_held WHERE conversation_id NOT IN (SELECT conversation_id FROM main.holds)"
)
# Held before that, it was known here, and was released; held since, this is an older ledger.
_UNRELEASED = f"{_NOT_HELD} AND held_at < {_UNTIL}"
_UNKNOWN_HOLDS = f"{_NOT_HELD} AND held_at >= {_UNTIL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """
    How a ledger and its register differ, in conversations.

    Attributes:
        erased, held, released: What the ledger knows and the register does not tell.
        pending: What is being erased, and not told.
        unknown_erased, unknown_held: What is told, and the ledger does not know.
    """

    erased: int = 0
    held: int = 0
    released: int = 0
    pending: int = 0
    unknown_erased: int = 0
    unknown_held: int = 0


class Registered:
    """Compares, in temporary tables: `begin`, `take…`, `compare`, pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self) -> None:
        """Know of nothing that is told."""

        def begin(connection: sqlite3.Connection) -> None:
            for name in _NAMES:
                connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
            for statement in (*_TABLES, _NEWEST):
                connection.execute(statement)

        await self._database.read(begin)

    async def take_purged(self, keys: Sequence[tuple[str, str]]) -> None:
        """Note what is told as erased: conversations with a direction, or `WHOLE`."""
        await self._take("INSERT OR IGNORE INTO temp.told_purged VALUES (?, ?)", keys)

    async def take_held(self, holds: Sequence[Hold]) -> None:
        """Note what is told as held."""
        await self._take(HOLD.format(table="temp.told_held"), [row_of_hold(h) for h in holds])

    async def take_released(self, ids: Sequence[str]) -> None:
        """Note what is told as held no longer."""
        query = "DELETE FROM temp.told_held WHERE conversation_id = ?"
        await self._take(query, [(each,) for each in ids])

    async def compare(self) -> Difference:
        """Say, once everything is taken, what is not told, and what the ledger does not know."""

        def find(connection: sqlite3.Connection) -> Difference:
            def count(query: str) -> int:
                return int(connection.execute(query).fetchone()[0])

            gather(connection, _UNTOLD)
            erased = count("SELECT count(erased_at) FROM temp.untold_purged")
            return Difference(
                erased=erased,
                pending=count("SELECT count(*) FROM temp.untold_purged") - erased,
                held=count(f"SELECT count(*) {_UNTOLD_HOLDS}"),
                released=count(f"SELECT count(*) {_UNRELEASED}"),
                unknown_erased=count(_UNKNOWN),
                unknown_held=count(f"SELECT count(*) {_UNKNOWN_HOLDS}"),
            )

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

    async def untold_holds(self, after: str, limit: int) -> Sequence[Hold]:
        """Return a page of what is not told as held, behind an id; empty at the end."""
        return await self._holds(_UNTOLD_HOLDS, after, limit)

    async def unreleased(self, after: str, limit: int) -> Sequence[Hold]:
        """Return the same of what is told as held, and was released."""
        return await self._holds(_UNRELEASED, after, limit)

    async def unknown_holds(self, after: str, limit: int) -> Sequence[Hold]:
        """Return the same of what is told as held since the ledger was last written to."""
        return await self._holds(_UNKNOWN_HOLDS, after, limit)

    async def _holds(self, source: str, after: str, limit: int) -> Sequence[Hold]:
        query = (
            f"SELECT conversation_id, held_at, who, reason {source} "
            "AND conversation_id > ? ORDER BY conversation_id LIMIT ?"
        )
        return await self._database.read(
            lambda connection: [hold_of(row) for row in connection.execute(query, (after, limit))]
        )

    async def _take(self, query: str, rows: Sequence[tuple[str | None, ...]]) -> None:
        await self._database.read(partial(gather, query=query, rows=rows))


def _doom(connection: sqlite3.Connection, conversation_id: str, whole: Container[str]) -> Doom:
    rows = rows_of(connection, conversation_id)
    return Doom(
        conversation_id=conversation_id,
        rows=tuple(row for row in rows if row.status is Status.PURGED),
        is_whole=conversation_id in whole,
    )
