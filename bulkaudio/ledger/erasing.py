"""
What is to be erased, what is being erased, and what was.

An erasure is written down three times: as an intention, which already keeps the recording from
being fetched, before the first file is touched; as done, with everything but the tombstone
forgotten, when the files are gone; and, when all of it is done, by writing the ledger's file anew.
A killed one is found by its intention.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bulkaudio.ledger import burying, failures
from bulkaudio.ledger.database import Database, gather
from bulkaudio.ledger.dossiers import Dossier, dossier, dossiers, make_wanted, rows_of
from bulkaudio.ledger.rows import LedgerRow, text_of, text_or_none
from bulkaudio.ledger.tombs import (
    HELD_PIN,
    ORDER_PIN,
    PURGING,
    Interruption,
    doubt_register,
    erased_among,
    interruption,
    make_pending,
    pin,
    without_audio,
)
from bulkaudio.model import Direction, Outcome, Recording, Status

_FORGET = f"UPDATE recordings SET {burying.FORGOTTEN} WHERE conversation_id = ? AND direction = ?"  # noqa: S608  ours

_BAR = (
    "INSERT INTO recordings (conversation_id, direction, status, reason, started_at, first_seen_at) "
    "VALUES (?, ?, 'purged', 'purging', ?, ?) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """
    What of one conversation is to go.

    Attributes:
        rows: Of these recordings everything but a tombstone.
        is_whole: Nothing of it may ever come back, whatever direction is asked for.
        is_known: The archive had heard of it.
        barred: Sides that nobody has asked for so far, and that are never to be fetched.
        started_at: When the call began, for the tombstones of those.
    """

    conversation_id: str
    rows: tuple[LedgerRow, ...]
    is_whole: bool
    is_known: bool = True
    barred: tuple[Direction, ...] = ()
    started_at: datetime | None = None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Every side that gets a tombstone of its own."""
        return (*(row.recording.direction for row in self.rows), *self.barred)


class Erasures:
    """The ledger's part in erasing; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def want(self, conversation_ids: Sequence[str]) -> None:
        """Collect conversations to be erased, each once, in a table that is never synced."""
        rows = [(each,) for each in conversation_ids]
        await self._collect("INSERT OR IGNORE INTO wanted (conversation_id) VALUES (?)", rows)

    async def want_older(self, before: datetime, directions: Sequence[Direction]) -> None:
        """
        Collect those whose call began before `before` and that have anything left to be erased.

        Where no source knew the start, the first sight counts: the call was not later.
        """
        query = (
            "INSERT OR IGNORE INTO wanted (conversation_id) SELECT conversation_id FROM recordings "
            "GROUP BY conversation_id HAVING coalesce(min(started_at), min(first_seen_at)) < ? AND "
            "sum(status <> 'purged' AND direction IN (SELECT value FROM json_each(?))) > 0 "
            "ORDER BY min(id)"
        )
        await self._collect(query, [(text_of(before), json.dumps(tuple(directions)))])

    async def dossiers(self, after: int, limit: int) -> Sequence[Dossier]:
        """Return a page of what was collected, in its order; empty at the end."""
        return await self._database.read(partial(dossiers, after=after, limit=limit))

    async def dossiers_of(self, conversation_ids: Sequence[str]) -> Sequence[Dossier]:
        """Return what is known of these; their numbers count from one."""
        return await self._database.read(
            lambda connection: [
                dossier(connection, number, each) for number, each in enumerate(conversation_ids, 1)
            ]
        )

    async def begin(self, dooms: Sequence[Doom], order: str, now: datetime) -> frozenset[str]:
        """
        Write the intention down: from here on none of it is ever fetched.

        Args:
            order: Who erases and why; kept until `end`.

        Returns:
            Conversations of which no audio is left or can come, so that their metadata goes, too.
        """
        return await self._database.change(partial(_begin, dooms=dooms, order=order, now=now))

    async def finish(self, dooms: Sequence[Doom], now: datetime) -> None:
        """Forget everything but the tombstones of what is gone from the disk."""

        def forget(connection: sqlite3.Connection) -> None:
            at = text_of(now)
            sides = [(at, d.conversation_id, side) for d in dooms for side in d.directions]
            connection.executemany(_FORGET, sides)
            connection.executemany(
                "UPDATE tombstones SET is_done = 1 WHERE conversation_id = ?",
                [(doom.conversation_id,) for doom in dooms if doom.is_whole],
            )

        await self._database.change(forget)

    async def interruption(self) -> Interruption | None:
        """Say what a killed erasure has left to be done; None: nothing."""
        return await self._database.read(interruption)

    async def pending(self, after: str, limit: int, *, with_held: bool = False) -> Sequence[Doom]:
        """
        Return a page of what a killed erasure had written down and not finished, by id.

        Args:
            with_held: Also what is held since, which nobody may erase: a hold forbids to, also the
                rest of something.
        """
        work = partial(_pending, after=after, limit=limit, with_held=with_held)
        return await self._database.read(work)

    async def half_erased(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return the first of those that a hold keeps half erased, with its reason."""
        return await self._database.read(partial(_half_erased, limit=limit))

    async def rewrite(self) -> None:
        """Write the ledger's file anew, so that no trace is left in it nor in what runs told."""
        await self._database.change(failures.forget)
        await self._database.rewrite()

    async def end(self) -> None:
        """Drop the order: everything is done, or all but what is held half erased."""
        await self._database.change(_end)

    async def erased(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Return those whose metadata must not be kept, because they were erased."""
        return await self._database.read(
            lambda connection: without_audio(connection, conversation_ids)
        )

    async def bury(self, burials: Sequence[burying.Burial]) -> None:
        """Bring tombstones to a ledger that does not know them."""
        await self._database.change(partial(burying.bury, burials=burials))

    async def accept(self, burials: Sequence[burying.Burial]) -> None:
        """Bring tombstones to a ledger that may call some of it saved: it forgets all of that."""
        await self._database.change(partial(burying.accept, burials=burials))

    async def condemn(self, outcomes: Sequence[Outcome], order: str) -> frozenset[Outcome]:
        """
        Note that files of erased recordings are there, so that the next opening erases them.

        Returns:
            Those outcomes that are no recordings to be kept.
        """
        return await self._database.change(partial(burying.condemn, outcomes=outcomes, order=order))

    async def count(self) -> int:
        """Count conversations of which anything was erased."""
        return await self._database.read(burying.count)

    async def has_any(self) -> bool:
        """Whether anything was ever erased."""
        return await self._database.read(burying.has_any)

    async def buried(self, recordings: Sequence[Recording]) -> burying.Buried:
        """Say which of these were erased."""
        return await self._database.read(partial(burying.buried, recordings=recordings))

    async def bare(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Return those of which everything is erased for good, so that no metadata is to be there."""
        return await self._database.read(partial(burying.bare, conversation_ids=conversation_ids))

    async def disturb(self, conversation_ids: Sequence[str], order: str) -> None:
        """Note that something else of erased conversations is there, with the same effect."""
        work = partial(burying.disturb, conversation_ids=conversation_ids, order=order)
        await self._database.change(work)

    async def _collect(self, query: str, rows: Sequence[tuple[str, ...]]) -> None:
        def collect(connection: sqlite3.Connection) -> None:
            make_wanted(connection)
            gather(connection, query, rows)

        await self._database.read(collect)


def _begin(
    connection: sqlite3.Connection, dooms: Sequence[Doom], order: str, now: datetime
) -> frozenset[str]:
    pin(connection, order)
    doubt_register(connection)
    connection.executemany(
        "UPDATE recordings SET status = 'purged', reason = 'purging', next_try_at = NULL "
        "WHERE id = ?",
        [(row.rowid,) for doom in dooms for row in doom.rows],
    )
    at = text_of(now)
    connection.executemany(
        _BAR,
        [
            (doom.conversation_id, side, text_or_none(doom.started_at), at)
            for doom in dooms
            for side in doom.barred
        ],
    )
    connection.executemany(
        "INSERT INTO tombstones (conversation_id, purged_at, is_done) VALUES (?, ?, 0) "
        "ON CONFLICT (conversation_id) DO UPDATE SET is_done = 0",
        [(doom.conversation_id, at) for doom in dooms if doom.is_whole],
    )
    return without_audio(connection, [doom.conversation_id for doom in dooms])


def _half_erased(connection: sqlite3.Connection, limit: int) -> Sequence[tuple[str, str]]:
    make_pending(connection)
    return connection.execute(
        "SELECT conversation_id, coalesce(reason, '') FROM holds "
        "WHERE conversation_id IN (SELECT conversation_id FROM pending) "
        "ORDER BY conversation_id LIMIT ?",
        (limit,),
    ).fetchall()


def _end(connection: sqlite3.Connection) -> None:
    make_pending(connection)
    left = connection.execute("SELECT EXISTS (SELECT 1 FROM pending)").fetchone()[0]
    if left:
        connection.execute(
            "INSERT OR REPLACE INTO archive (name, value) "
            "SELECT ?, value FROM archive WHERE name = ?",
            (HELD_PIN, ORDER_PIN),
        )
    gone = (ORDER_PIN,) if left else (ORDER_PIN, HELD_PIN)
    connection.executemany("DELETE FROM archive WHERE name = ?", [(name,) for name in gone])


def _pending(
    connection: sqlite3.Connection, after: str, limit: int, *, with_held: bool
) -> Sequence[Doom]:
    make_pending(connection)
    rows = connection.execute(
        "SELECT conversation_id FROM pending WHERE conversation_id > ? "
        "AND (? OR conversation_id NOT IN (SELECT conversation_id FROM holds)) "
        "ORDER BY conversation_id LIMIT ?",
        (after, with_held, limit),
    )
    ids = [row[0] for row in rows]
    whole = erased_among(connection, ids)
    return [
        Doom(
            conversation_id=each,
            rows=tuple(
                row
                for row in rows_of(connection, each)
                if row.status is Status.PURGED and (each in whole or row.reason == PURGING)
            ),
            is_whole=each in whole,
        )
        for each in ids
    ]
