"""
A ledger made anew from what an older one had told elsewhere, and then held to what is there.

What comes from elsewhere is believed only as far as it can be a row of ours.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from bulkaudio.ledger.database import Database, gather
from bulkaudio.ledger.journal import LISTING_COLUMNS, PRIVATE_PINS, Entry
from bulkaudio.ledger.rows import (
    SELECT,
    LedgerRow,
    SpoiltValueError,
    instant_of,
    row_of,
    text_of,
    text_or_none,
    time_of,
)
from bulkaudio.model import Outcome, Recording, Status
from bulkaudio.naming import is_conversation_id

_COLUMNS = tuple(SELECT.removeprefix("SELECT ").removesuffix(" FROM recordings").split(", "))
_SHA256 = re.compile("[0-9a-f]{64}")

_LOST = (
    f"{SELECT} WHERE id > ? AND id <= ? AND status = 'saved' AND id NOT IN (SELECT id FROM seen) "  # noqa: S608  ours
    "ORDER BY id LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a listing says is there: `size` in bytes, None where it tells none."""

    name: str
    recording: Recording
    size: int | None


class Restoring:
    """A new ledger's part in learning what an older one knew; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, entries: Sequence[Entry]) -> int:
        """
        Take entries in their order; return how many no ledger of ours can have told.

        Later ones take the place of earlier ones.
        """
        return await self._database.change(partial(_take, entries=entries))

    async def familiar(
        self, sightings: Sequence[Sighting]
    ) -> tuple[frozenset[str], Sequence[tuple[str, LedgerRow]]]:
        """
        Compare what is there with what is called saved there.

        Returns:
            The names that have the size they should, and the others that a row has, with it.
        """
        return await self._database.read(partial(_familiar, sightings=sightings))

    async def found(self, outcomes: Sequence[Outcome]) -> None:
        """Note that recordings are there which were told as anything but saved."""
        names = [(each.recording.conversation_id, each.recording.direction) for each in outcomes]
        await self._database.read(partial(_found, names=names))

    async def lost(self, after: int, upto: int, limit: int) -> Sequence[LedgerRow]:
        """
        Return a page of rows called saved that neither `familiar` nor `found` was told of.

        Args:
            after, upto: Rowids; the first is not in it.
        """

        def find(connection: sqlite3.Connection) -> Sequence[LedgerRow]:
            _make_seen(connection)
            return [row_of(values) for values in connection.execute(_LOST, (after, upto, limit))]

        return await self._database.read(find)

    async def saved(self) -> tuple[int, int]:
        """Count what is called saved, and its bytes."""
        query = "SELECT count(*), coalesce(sum(bytes), 0) FROM recordings WHERE status = 'saved'"
        count, size = await self._database.read(
            lambda connection: connection.execute(query).fetchone()
        )
        return int(count), int(size)


def _take(connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
    refused = 0
    for entry in entries:
        [(kind, told)] = entry.items() if len(entry) == 1 else [("", None)]
        try:
            match kind, told:
                case "recording", dict():
                    _take_recording(connection, told)
                case "listing", dict():
                    _take_listing(connection, told)
                case "pins", dict():
                    _take_pins(connection, told)
                case _:
                    refused += 1
        except (SpoiltValueError, sqlite3.IntegrityError, ValueError, TypeError):
            refused += 1
    return refused


def _take_recording(connection: sqlite3.Connection, told: Mapping[str, Any]) -> None:
    values = {name: told.get(name) for name in _COLUMNS if name != "id"}
    values["attempts"] = told.get("attempts", 0)
    row = row_of((0, *(values[name] for name in _COLUMNS[1:])))
    _check(row)
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    updates = ", ".join(f"{name} = excluded.{name}" for name in values)
    connection.execute(
        f"INSERT INTO recordings ({names}) VALUES ({marks}) "  # noqa: S608  names of columns
        f"ON CONFLICT (conversation_id, direction) DO UPDATE SET {updates}",
        values,
    )


def _check(row: LedgerRow) -> None:
    """Refuse what would lead out of the archive, or call something saved that nobody can find."""
    times = (
        *(row.recording.started_at, row.first_seen_at, row.saved_at, row.next_try_at),
        row.purged_at,
    )
    if not is_conversation_id(str(row.recording.conversation_id)):
        raise ValueError("no conversation id")
    if any(each is not None and each.tzinfo is None for each in times):
        raise ValueError("a naive time")
    if row.path is not None and (row.path.is_absolute() or ".." in row.path.parts):
        raise ValueError("a path that leads elsewhere")
    if row.status is not Status.SAVED:
        return
    is_whole = type(row.bytes) is int and row.bytes >= 0 and isinstance(row.sha256, str)
    if row.path is None or row.path == PurePosixPath() or not is_whole:
        raise ValueError("saved without path, size or hash")
    if not _SHA256.fullmatch(row.sha256 or ""):
        raise ValueError("no hash")


def _take_listing(connection: sqlite3.Connection, told: Mapping[str, Any]) -> None:
    values = {name: told.get(name) for name in LISTING_COLUMNS}
    values["since"] = text_or_none(time_of(values["since"]))
    for name in ("until", "started_at", "finished_at"):
        values[name] = text_of(instant_of(str(values[name])))
    if not isinstance(values["scope"], str):
        raise TypeError("no scope")
    connection.execute(
        "INSERT INTO listings (scope, since, until, state, started_at, finished_at) "
        "VALUES (:scope, :since, :until, 'finished', :started_at, :finished_at)",
        values,
    )


def _take_pins(connection: sqlite3.Connection, told: Mapping[str, Any]) -> None:
    if not all(isinstance(text, str) for text in told.values()):
        raise TypeError("a pin that is no text")
    connection.executemany(
        "INSERT INTO archive (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, text) for name, text in told.items() if name not in PRIVATE_PINS],
    )


def _make_seen(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY)")


def _found(connection: sqlite3.Connection, names: Sequence[tuple[str, str]]) -> None:
    _make_seen(connection)
    query = (
        "INSERT OR IGNORE INTO seen "
        "SELECT id FROM recordings WHERE conversation_id = ? AND direction = ?"
    )
    gather(connection, query, names)


def _familiar(
    connection: sqlite3.Connection, sightings: Sequence[Sighting]
) -> tuple[frozenset[str], Sequence[tuple[str, LedgerRow]]]:
    _make_seen(connection)
    kept, others, seen = set(), [], []
    for each in sightings:
        values = connection.execute(
            f"{SELECT} WHERE conversation_id = ? AND direction = ? AND status = 'saved'",
            (each.recording.conversation_id, each.recording.direction),
        ).fetchone()
        row = None if values is None else row_of(values)
        if row is None or str(row.path) != each.name:
            continue
        if row.bytes == each.size:
            kept.add(each.name)
            seen.append((row.rowid,))
        else:
            others.append((each.name, row))
    gather(connection, "INSERT OR IGNORE INTO seen VALUES (?)", seen)
    return frozenset(kept), others
