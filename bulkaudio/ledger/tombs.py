"""Which conversations were erased, asked inside a transaction, and on whose order it is done."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bulkaudio.model import is_return

ORDER_PIN = "purging"
"""Who erases and why, from the first intention until the ledger's file is written anew."""

HELD_PIN = "purging_held"
"""The same of an order of which nothing is left to be done but what a hold keeps."""

REGISTER_PIN = "register"
"""Size in bytes of the register when it told everything; with `GROWN` where there was more to tell since."""

GROWN = "+"

PURGING = "purging"
"""Reason of a tombstone whose files may still be there."""

_PENDING = (
    "CREATE TEMP VIEW IF NOT EXISTS pending AS "
    "SELECT conversation_id FROM main.tombstones WHERE NOT is_done UNION "
    "SELECT conversation_id FROM main.recordings WHERE status = 'purged' AND reason = 'purging'"
)


def make_pending(connection: sqlite3.Connection) -> None:
    """Make a view of conversations of which something may still be there to be erased."""
    connection.execute(_PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """
    An erasure that was begun and not brought to its end.

    Attributes:
        conversations: Of which files may still be there; none when only the ledger's own file has to
            be written anew.
        recordings: Of these, with audio.
        held: Those of `conversations` that a hold keeps, which came too late for some of it.
        is_return: Nothing broke off: files of what was erased before were found there again.
    """

    conversations: int
    recordings: int
    held: int
    is_return: bool = False


def interruption(connection: sqlite3.Connection) -> Interruption | None:
    """Say what a killed erasure has left to be done; None: nothing. Walks the table only then."""
    pinned = connection.execute(
        "SELECT CASE WHEN json_valid(value) THEN json_extract(value, '$.reason') END FROM archive "
        "WHERE name IN (?, ?)",
        (ORDER_PIN, HELD_PIN),
    ).fetchall()
    if not pinned:
        return None
    make_pending(connection)
    conversations, held = connection.execute(
        "SELECT count(*), coalesce(sum(conversation_id IN (SELECT conversation_id FROM holds)), 0) "
        "FROM pending"
    ).fetchone()
    [recordings] = connection.execute(
        "SELECT count(*) FROM recordings "
        "WHERE status = 'purged' AND reason = 'purging' AND path IS NOT NULL"
    ).fetchone()
    return Interruption(
        conversations=conversations,
        recordings=recordings,
        held=held,
        is_return=all(is_return(reason) for [reason] in pinned),
    )


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


def pin_first(connection: sqlite3.Connection, order: str) -> None:
    """Remember it unless there is one to be carried out: what it wants is done along with that."""
    connection.execute(
        "INSERT INTO archive (name, value) SELECT ?, ? "
        "WHERE NOT EXISTS (SELECT 1 FROM archive WHERE name IN (?, ?))",
        (ORDER_PIN, order, ORDER_PIN, HELD_PIN),
    )


def pin(connection: sqlite3.Connection, order: str) -> None:
    """Remember whose order is being carried out."""
    connection.execute(
        "INSERT INTO archive (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (ORDER_PIN, order),
    )


def has_entries(connection: sqlite3.Connection) -> bool:
    """Whether anything was erased whole or is held, also for a ledger from before there was that."""
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('tombstones', 'holds')"
    if not connection.execute(query).fetchone()[0]:
        return False
    query = "SELECT EXISTS (SELECT 1 FROM tombstones) OR EXISTS (SELECT 1 FROM holds)"
    return bool(connection.execute(query).fetchone()[0])


def doubt_register(connection: sqlite3.Connection) -> None:
    """Note that the register need not tell everything: it is to grow, and may lose that again."""
    connection.execute(
        "UPDATE archive SET value = value || ? WHERE name = ? AND value NOT LIKE ?",
        (GROWN, REGISTER_PIN, f"%{GROWN}"),
    )
