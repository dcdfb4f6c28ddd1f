"""Legal holds: conversations that must be kept, whatever anybody wants erased."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from bulkaudio.ledger.database import Database
from bulkaudio.ledger.rows import instant_of, text_of
from bulkaudio.ledger.tombs import doubt_register


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One conversation that is held: since when, by whom, and why if that was said."""

    conversation_id: str
    held_at: datetime
    who: str
    reason: str | None = None


HOLD = (
    "INSERT INTO {table} (conversation_id, held_at, who, reason) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (conversation_id) DO UPDATE SET who = excluded.who, "
    "reason = coalesce(excluded.reason, reason)"
)


def row_of_hold(hold: Hold) -> tuple[str | None, ...]:
    """Write the values of `HOLD`."""
    return (hold.conversation_id, text_of(hold.held_at), hold.who, hold.reason)


def hold_of(values: tuple[Any, ...]) -> Hold:
    """Read a row: id, since when, by whom, why; raises `SpoiltValueError`."""
    return Hold(
        conversation_id=values[0], held_at=instant_of(values[1]), who=values[2], reason=values[3]
    )


class Holds:
    """The ledger's holds; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, holds: Sequence[Hold]) -> None:
        """Hold conversations; one that is held already gets the newer reason, and its first date."""
        rows = [row_of_hold(hold) for hold in holds]
        await self._database.change(partial(_change, query=HOLD.format(table="holds"), rows=rows))

    async def remove(self, conversation_ids: Sequence[str]) -> None:
        """Hold these no longer."""
        query = "DELETE FROM holds WHERE conversation_id = ?"
        rows = [(each,) for each in conversation_ids]
        await self._database.change(partial(_change, query=query, rows=rows))

    async def after(self, conversation_id: str, limit: int) -> Sequence[Hold]:
        """Return a page of holds in the order of their ids; empty at the end."""

        def find(connection: sqlite3.Connection) -> Sequence[Hold]:
            rows = connection.execute(
                "SELECT conversation_id, held_at, who, reason FROM holds "
                "WHERE conversation_id > ? ORDER BY conversation_id LIMIT ?",
                (conversation_id, limit),
            )
            return [hold_of(row) for row in rows]

        return await self._database.read(find)


def _change(
    connection: sqlite3.Connection, query: str, rows: Sequence[tuple[str | None, ...]]
) -> None:
    connection.executemany(query, rows)
    doubt_register(connection)
