"""Which conversations were erased, asked inside a transaction, and on whose order it is done."""

import json
import sqlite3
from collections.abc import Iterable, Sequence

ORDER_PIN = "purging"
"""Who erases and why, from the first intention until the ledger's file is written anew."""

PURGING = "purging"
"""Reason of a tombstone whose files may still be there."""


def erased_among(connection: sqlite3.Connection, conversation_ids: Iterable[str]) -> frozenset[str]:
    """Return those that were erased whole, so that no direction of them is ever fetched."""
    ids = list(conversation_ids)
    if not ids or not connection.execute("SELECT EXISTS (SELECT 1 FROM tombstones)").fetchone()[0]:
        return frozenset()
    rows = connection.execute(
        "SELECT conversation_id FROM tombstones "
        "WHERE conversation_id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    )
    return frozenset(row[0] for row in rows)


def without_audio(connection: sqlite3.Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return those that were erased, in whole or in part, and of which no audio is left or due."""
    wanted = json.dumps(list(ids))
    rows = connection.execute(
        "SELECT conversation_id FROM tombstones "
        "WHERE conversation_id IN (SELECT value FROM json_each(?)) UNION "
        "SELECT conversation_id FROM recordings "
        "WHERE conversation_id IN (SELECT value FROM json_each(?)) GROUP BY conversation_id "
        "HAVING sum(status = 'purged') > 0 "
        "AND sum(status IN ('saved', 'open', 'deferred', 'failed')) = 0",
        (wanted, wanted),
    )
    return frozenset(row[0] for row in rows)


def pin(connection: sqlite3.Connection, order: str) -> None:
    """Remember whose order is being carried out."""
    connection.execute(
        "INSERT INTO archive (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (ORDER_PIN, order),
    )
