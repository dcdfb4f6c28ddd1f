"""Which conversations somebody wants erased or held, and all that the ledger knows of each."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from bulkaudio.ledger.rows import SELECT, LedgerRow, row_of
from bulkaudio.ledger.tombs import erased_among


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """
    All that the ledger knows of one conversation that somebody wants erased.

    Attributes:
        number: Grows from one to the next; pages are asked for by it.
        rows: Its recordings, erased ones too.
        hold: Why it must be kept; None when nothing forbids to erase it, and empty when no reason
            was given.
        is_buried: It was erased whole before.
        is_half_erased: Something of it was to go, and may still be there: the erasure was killed.
    """

    number: int
    conversation_id: str
    rows: tuple[LedgerRow, ...]
    hold: str | None = None
    is_buried: bool = False
    is_half_erased: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether the archive never heard of it."""
        return not self.rows and not self.is_buried


def make_wanted(connection: sqlite3.Connection) -> None:
    """Make the table that conversations are collected in; never synced."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS wanted "
        "(number INTEGER PRIMARY KEY, conversation_id TEXT UNIQUE)"
    )


def dossiers(connection: sqlite3.Connection, after: int, limit: int) -> Sequence[Dossier]:
    """Return a page of what was collected."""
    make_wanted(connection)
    page = connection.execute(
        "SELECT number, conversation_id FROM wanted WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    ).fetchall()
    return [dossier(connection, number, each) for number, each in page]


def dossier(connection: sqlite3.Connection, number: int, conversation_id: str) -> Dossier:
    """Gather all that is known of one conversation."""
    key = (conversation_id,)
    hold = connection.execute(
        "SELECT coalesce(reason, '') FROM holds WHERE conversation_id = ?", key
    ).fetchone()
    return Dossier(
        number=number,
        conversation_id=conversation_id,
        rows=rows_of(connection, conversation_id),
        hold=None if hold is None else hold[0],
        is_buried=bool(erased_among(connection, key)),
        is_half_erased=_is_half_erased(connection, conversation_id),
    )


def _is_half_erased(connection: sqlite3.Connection, conversation_id: str) -> bool:
    found = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM tombstones WHERE conversation_id = ? AND NOT is_done) "
        "OR EXISTS (SELECT 1 FROM recordings "
        "WHERE conversation_id = ? AND status = 'purged' AND reason = 'purging')",
        (conversation_id, conversation_id),
    )
    return bool(found.fetchone()[0])


def rows_of(connection: sqlite3.Connection, conversation_id: str) -> tuple[LedgerRow, ...]:
    """Return its recordings, in the order of their directions."""
    rows = connection.execute(
        f"{SELECT} WHERE conversation_id = ? ORDER BY direction", (conversation_id,)
    )
    return tuple(row_of(row) for row in rows)
