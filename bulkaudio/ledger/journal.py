"""
What of the ledger is not known yet where the recordings are, for archives that are kept elsewhere.

Triggers note every row that changes, in the transaction that changes it: whatever kills a run, the
next one knows what it has to tell. They are made when such an archive is opened; a ledger beside
its recordings has none.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkaudio.ledger.database import Database
from bulkaudio.ledger.tombs import HELD_PIN, ORDER_PIN, REGISTER_PIN

RECORDING, LISTING, PINS = "recording", "listing", "pins"

STORE_PIN = "store"
"""The address of the recordings."""

PRIVATE_PINS = frozenset({ORDER_PIN, HELD_PIN, REGISTER_PIN, STORE_PIN})
"""What is said otherwise, or must be found anew."""

_TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS unshared "
        "(number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id INTEGER NOT NULL)"
    ),
    # A ledger that is told anew has millions of notes, and is told a thousand at a time.
    "CREATE INDEX IF NOT EXISTS unshared_rows ON unshared (id, kind)",
    (
        "CREATE INDEX IF NOT EXISTS unshared_others ON unshared (kind, number) "
        "WHERE kind <> 'recording'"
    ),
    "CREATE TABLE IF NOT EXISTS shared (id INTEGER PRIMARY KEY CHECK (id = 1), mark TEXT NOT NULL)",
)

_NOTE = "BEGIN INSERT INTO unshared (kind, id) VALUES"

_TRIGGERS = (
    (
        f"CREATE TRIGGER IF NOT EXISTS share_new AFTER INSERT ON recordings {_NOTE} "
        "('recording', NEW.id); END"
    ),
    (
        f"CREATE TRIGGER IF NOT EXISTS share_changed AFTER UPDATE ON recordings {_NOTE} "
        "('recording', NEW.id); END"
    ),
    (
        "CREATE TRIGGER IF NOT EXISTS share_listing AFTER UPDATE ON listings "
        f"WHEN NEW.state = 'finished' {_NOTE} ('listing', NEW.id); END"
    ),
    f"CREATE TRIGGER IF NOT EXISTS share_pin AFTER INSERT ON archive {_NOTE} ('pins', 0); END",
    f"CREATE TRIGGER IF NOT EXISTS share_pinned AFTER UPDATE ON archive {_NOTE} ('pins', 0); END",
)

_DUE = (
    "SELECT unshared.id FROM unshared JOIN recordings ON recordings.id = unshared.id "
    "WHERE kind = 'recording' AND (:is_whole OR recordings.status <> 'open') "
    "ORDER BY number LIMIT :limit"
)

LISTING_COLUMNS = ("scope", "since", "until", "started_at", "finished_at")

Entry = Mapping[str, Any]
"""An object of JSON with one key: `RECORDING`, `LISTING` or `PINS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """
    What is to be told, of one moment.

    Attributes:
        upto: What was noted later is not in it.
        recordings, listings: Rows that are in it.
        is_last: Nothing else was to be told at that moment.
    """

    entries: tuple[Entry, ...]
    upto: int
    recordings: tuple[int, ...]
    listings: tuple[int, ...]
    has_pins: bool
    is_last: bool


def mark_in(connection: sqlite3.Connection) -> str | None:
    """Return the mark of a ledger that may never have been told anywhere."""
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'shared'"
    if not connection.execute(query).fetchone()[0]:
        return None
    row = connection.execute("SELECT mark FROM shared").fetchone()
    return None if row is None else str(row[0])


class Journal:
    """The ledger's part in being known elsewhere; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self) -> str | None:
        """Note changes from here on; return the mark that the last `shared` has left."""

        def make(connection: sqlite3.Connection) -> str | None:
            for statement in (*_TABLES, *_TRIGGERS):
                connection.execute(statement)
            row = connection.execute("SELECT mark FROM shared").fetchone()
            return None if row is None else str(row[0])

        return await self._database.change(make)

    async def last_mark(self) -> str | None:
        """Return that mark, and change nothing."""
        return await self._database.read(mark_in)

    async def mark(self, text: str) -> None:
        """Remember how far others know the ledger."""
        await self._database.change(partial(_set_mark, text=text))

    async def waiting(self) -> int:
        """Count changes that are settled and not told yet, up to some thousands."""
        query = f"SELECT count(*) FROM ({_DUE})"  # noqa: S608  ours
        return await self._database.read(
            lambda connection: int(
                connection.execute(query, {"is_whole": False, "limit": 5000}).fetchone()[0]
            )
        )

    async def changes(self, limit: int, *, is_whole: bool) -> Changes:
        """
        Return what is to be told next.

        Args:
            is_whole: Also rows that are still open, and then the listings that were finished: never
                before all rows that they had brought.
        """
        return await self._database.read(partial(_changes, limit=limit, is_whole=is_whole))

    async def shared(self, changes: Changes, mark: str) -> None:
        """Note that these are known elsewhere now, all of them or none."""
        await self._database.change(partial(_shared, changes=changes, mark=mark))

    async def share_all_again(self, mark: str) -> None:
        """Note that everything is to be told anew."""

        def note(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM unshared")
            connection.execute(
                "INSERT INTO unshared (kind, id) SELECT 'recording', id FROM recordings ORDER BY id"
            )
            connection.execute(
                "INSERT INTO unshared (kind, id) SELECT 'listing', id FROM listings "
                "WHERE state = 'finished' ORDER BY finished_at, id"
            )
            connection.execute("INSERT INTO unshared (kind, id) VALUES ('pins', 0)")
            _set_mark(connection, text=mark)

        await self._database.change(note)


def _set_mark(connection: sqlite3.Connection, text: str) -> None:
    connection.execute(
        "INSERT INTO shared (id, mark) VALUES (1, ?) "
        "ON CONFLICT (id) DO UPDATE SET mark = excluded.mark",
        (text,),
    )


def _changes(connection: sqlite3.Connection, limit: int, is_whole: bool) -> Changes:  # noqa: FBT001  bound by name
    upto = connection.execute("SELECT coalesce(max(number), 0) FROM unshared").fetchone()[0]
    due = connection.execute(_DUE, {"is_whole": is_whole, "limit": limit + 1})
    found = [row[0] for row in due]
    # A row that changed twice is told once, as it is now.
    ids = tuple(dict.fromkeys(found[:limit]))
    is_last = len(found) <= limit
    entries = [{RECORDING: each} for each in _objects(connection, "recordings", ids)]
    listings: tuple[int, ...] = ()
    if is_last and is_whole:
        rows = connection.execute(
            "SELECT DISTINCT id FROM unshared WHERE kind = 'listing' AND kind <> 'recording' "
            "ORDER BY number"
        )
        listings = tuple(row[0] for row in rows)
        entries += [
            {LISTING: {name: each.get(name) for name in LISTING_COLUMNS}}
            for each in _objects(connection, "listings", listings)
        ]
    has_pins = _has_pins(connection)
    if has_pins:
        rows = connection.execute("SELECT name, value FROM archive ORDER BY name")
        entries.append({PINS: {name: text for name, text in rows if name not in PRIVATE_PINS}})
    return Changes(
        entries=tuple(entries),
        upto=upto,
        recordings=ids,
        listings=listings,
        has_pins=has_pins,
        is_last=is_last,
    )


def _has_pins(connection: sqlite3.Connection) -> bool:
    # Also that it is no recording: SQLite sees by these words that the partial index applies.
    query = "SELECT EXISTS (SELECT 1 FROM unshared WHERE kind = 'pins' AND kind <> 'recording')"
    return bool(connection.execute(query).fetchone()[0])


def _objects(connection: sqlite3.Connection, table: str, ids: Sequence[int]) -> list[Entry]:
    """Read rows whole, whatever columns they have by now, without what is not known."""
    cursor = connection.execute(
        f"SELECT {table}.* FROM json_each(?) JOIN {table} ON {table}.id = value ORDER BY key",  # noqa: S608  ours
        (json.dumps(ids),),
    )
    names = [column[0] for column in cursor.description]
    return [
        {
            name: value
            for name, value in zip(names, row, strict=True)
            if name != "id" and value is not None
        }
        for row in cursor
    ]


def _shared(connection: sqlite3.Connection, changes: Changes, mark: str) -> None:
    for kind, ids in ((RECORDING, changes.recordings), (LISTING, changes.listings)):
        connection.execute(
            "DELETE FROM unshared WHERE kind = ? AND number <= ? "
            "AND id IN (SELECT value FROM json_each(?))",
            (kind, changes.upto, json.dumps(ids)),
        )
    if changes.has_pins:
        connection.execute(
            "DELETE FROM unshared WHERE kind = 'pins' AND kind <> 'recording' AND number <= ?",
            (changes.upto,),
        )
    if changes.is_last:
        # Of rows that are gone: an archive that began anew had some.
        connection.execute(
            "DELETE FROM unshared WHERE kind = 'recording' "
            "AND id NOT IN (SELECT id FROM recordings)"
        )
    _set_mark(connection, mark)
