"""
What a batch means to the ledger: which recordings are new, due, settled, or seen before.

A batch is compared by a query or two per thousand ids, and recordings that are already saved are
neither written to nor looked at one by one: a million of them cost two seconds.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from bulkaudio.ledger.lookup import PURGED, SAVED, Known, Lookup
from bulkaudio.ledger.rows import instant_of, text_of, text_or_none, time_of
from bulkaudio.ledger.tombs import erased_among
from bulkaudio.model import (
    BareConversations,
    Batch,
    Bookmark,
    Conversation,
    Direction,
    Plan,
    Recording,
    Status,
    Task,
)
from bulkaudio.policy import MAX_DEFERRAL, SUSPICIOUS, Reason

LONGEST_CALL = timedelta(days=1)


class Seen:
    """
    Which rows this run has considered: one bit a row, so ten million take 1.25 MB.

    Exact, unlike a Bloom filter: a false positive would silently skip a recording.
    """

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, rowid: int) -> bool:
        """Mark a row; return whether it was not marked before."""
        place, bit = rowid >> 3, 1 << (rowid & 7)
        self._reach(place)
        is_new = not self._bits[place] & bit
        self._bits[place] |= bit
        return is_new

    def add_all(self, rowids: Collection[int]) -> AbstractSet[int]:
        """Mark different rows; return those that were marked before."""
        if not rowids:
            return frozenset()
        first, last = min(rowids), max(rowids)
        start, end = first >> 3, (last >> 3) + 1
        if last - first + 1 == len(rowids):
            marks = ((1 << len(rowids)) - 1) << (first & 7)
        else:
            places = bytearray(end - start)
            for rowid in rowids:
                places[(rowid >> 3) - start] |= 1 << (rowid & 7)
            marks = int.from_bytes(places, "little")
        self._reach(end - 1)
        before = int.from_bytes(self._bits[start:end], "little")
        old = frozenset(filter(self.has, rowids)) if before & marks else frozenset()
        self._bits[start:end] = (before | marks).to_bytes(end - start, "little")
        return old

    def has(self, rowid: int) -> bool:
        """Whether a row that is not behind the last one was marked."""
        return bool(self._bits[rowid >> 3] >> (rowid & 7) & 1)

    def _reach(self, place: int) -> None:
        if place >= len(self._bits):
            self._bits.extend(bytes(max(place + 1 - len(self._bits), len(self._bits), 1024)))


STARTED_AT = 2

OPEN, ABSENT = Status.OPEN.value, Status.ABSENT.value
DEFERRED, IN_PROGRESS = Status.DEFERRED.value, Reason.IN_PROGRESS.value
FAILED = Status.FAILED.value
PUT_OFF = "put_off"
"""No status, but what of the deferred has a time before which it is not due."""

SETTLED = frozenset({SAVED, ABSENT, PURGED})


class Planner:
    """
    Plans one batch inside one transaction.

    Directions and statuses are plain strings here: hashing and comparing a member of an enum is a
    call into Python, and made planning a million recordings half as slow again.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        directions: Sequence[Direction],
        now: datetime,
        seen: Seen,
    ) -> None:
        self._connection = connection
        self._directions = tuple(dict.fromkeys(d.value for d in directions))
        self._now, self._latest = text_of(now), _latest_deferral(now)
        self._seen = seen
        self._next_id = 1 + int(
            connection.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()[0]
        )
        self._known: dict[tuple[str, str], Known] = {}
        self._erased: frozenset[str] = frozenset()
        self._inserts: list[tuple[object, ...]] = []
        self._dates: list[tuple[str | None, int]] = []
        self._in_progress: list[tuple[str, int]] = []
        self._todo: list[Task] = []
        self._counts = Counter[str]()

    def plan(self, batch: Batch) -> Plan:
        """Compare the batch, write what is new about it and where its listing stands."""
        left = self._pass_settled(batch.conversations)
        self._erased = erased_among(self._connection, [each.id for each in left])
        for conversation in left:
            self._consider(conversation)
        self._write()
        if batch.bookmark is not None:
            keep_bookmark(self._connection, batch.bookmark, self._now)
        counts = self._counts
        return Plan(
            conversations=counts["conversations"],
            todo=tuple(self._todo),
            already=counts[SAVED] + counts[PURGED],
            absent=counts[ABSENT],
            deferred=counts[DEFERRED] + counts[PUT_OFF],
            put_off=counts[PUT_OFF],
            erased=counts[PURGED],
            duplicates=counts["duplicates"],
        )

    def _pass_settled(self, conversations: Sequence[Conversation]) -> Sequence[Conversation]:
        """
        Count what is saved and needs no more than that; return the others in their order.

        In a second run that is almost everything, and as sets it costs a tenth of what it costs
        one by one.
        """
        ids, is_undated = _ids_of(conversations)
        lookup = Lookup(self._connection, self._directions, is_undated=is_undated)
        self._known = lookup.known
        settled = lookup.settled(ids)
        rows = lookup.rows_of(settled)
        old = self._seen.add_all(rows)
        new = settled
        if old:
            new = {each for each in settled if old.isdisjoint(lookup.rows_of([each]))}
        self._counts["conversations"] += len(new)
        erased = self._erased_of(lookup, rows, old)
        self._counts[SAVED] += len(rows) - len(old) - sum(erased.values())
        self._counts[PURGED] += sum(erased.values())
        self._counts["duplicates"] += len(old)
        if len(settled) == len(ids):
            return ()
        left = [at for at, each in enumerate(ids) if each not in settled]
        repeated = len(ids) - len(left) - len(settled)
        self._counts["duplicates"] += repeated * len(self._directions)
        return [conversations[at] for at in left]

    def _erased_of(
        self, lookup: Lookup, rows: Sequence[int], old: AbstractSet[int]
    ) -> Mapping[str, int]:
        """Count those of settled rows, by direction, of which nothing but a tombstone is left."""
        if not lookup.erased:
            return {}
        new = set(rows) - old
        return {direction: len(new & found) for direction, found in lookup.erased.items()}

    def _consider(self, conversation: Conversation) -> None:
        is_first_sight = True
        for direction in self._directions:
            row = self._known.get((conversation.id, direction))
            if row is None:
                row = self._insert(conversation, direction)
            elif row[STARTED_AT] is None and conversation.started_at is not None:
                row = self._date(conversation, direction, row)
            if self._seen.add(row[0]):
                self._counts[self._sort(conversation, direction, row)] += 1
            else:
                self._counts["duplicates"] += 1
                is_first_sight = False
        if is_first_sight:
            self._counts["conversations"] += 1

    def _sort(self, conversation: Conversation, direction: str, row: Known) -> str:
        """Return what a row counts as, and take note of what is to be done about it."""
        rowid, status, started_at, first_seen_at, next_try_at, reason = row
        if status in SETTLED:
            return status
        if conversation.in_progress:
            if (status, reason) != (DEFERRED, IN_PROGRESS):
                self._in_progress.append((IN_PROGRESS, rowid))
            return DEFERRED
        if status == DEFERRED and self._now < (next_try_at or "") <= self._latest:
            return PUT_OFF
        failed_for = reason if status == FAILED or reason == SUSPICIOUS else None
        self._todo.append(
            _task(conversation.id, direction, started_at, first_seen_at, failed_for=failed_for)
        )
        return OPEN

    def _insert(self, conversation: Conversation, direction: str) -> Known:
        is_later = conversation.in_progress
        started_at = text_or_none(conversation.started_at)
        status, reason = (DEFERRED, IN_PROGRESS) if is_later else (OPEN, None)
        if conversation.id in self._erased:
            # Erased whole, and asked for now in a direction that had never been asked for.
            status, reason = PURGED, None
        row = (self._next_id, status, started_at, self._now, None, reason)
        self._next_id += 1
        self._inserts.append(
            (row[0], conversation.id, direction, status, started_at, self._now, reason)
        )
        self._known[conversation.id, direction] = row
        return row

    def _date(self, conversation: Conversation, direction: str, row: Known) -> Known:
        # The first date stays for good: the path of a dated layout is made from it.
        started_at = text_or_none(conversation.started_at)
        self._dates.append((started_at, row[0]))
        row = (*row[:2], started_at, *row[3:])
        self._known[conversation.id, direction] = row
        return row

    def _write(self) -> None:
        execute = self._connection.executemany
        execute(
            "INSERT INTO recordings (id, conversation_id, direction, status, started_at, "
            "first_seen_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._inserts,
        )
        execute("UPDATE recordings SET started_at = ? WHERE id = ?", self._dates)
        execute(
            "UPDATE recordings SET status = 'deferred', reason = ?, next_try_at = NULL "
            "WHERE id = ?",
            self._in_progress,
        )


def _ids_of(conversations: Sequence[Conversation]) -> tuple[Sequence[str], bool]:
    """Return the ids, and whether nothing else is known that the ledger could learn."""
    if isinstance(conversations, BareConversations):
        return conversations.ids, True
    ids = [conversation.id for conversation in conversations]
    return ids, not any(conversation.started_at for conversation in conversations)


def keep_bookmark(connection: sqlite3.Connection, bookmark: Bookmark, now: str) -> None:
    """Move a listing on; after its last page it is finished, as far as it could be known."""
    known_until = None if bookmark.known_until is None else text_of(bookmark.known_until)
    connection.execute(
        'UPDATE listings SET cursor = ?, "offset" = ?, state = ?, finished_at = ?, '
        "until = min(until, coalesce(?, until)) WHERE id = ?",
        (
            bookmark.cursor,
            bookmark.offset,
            "finished" if bookmark.is_last else "open",
            now if bookmark.is_last else None,
            known_until,
            bookmark.listing_id,
        ),
    )


class Backlog(NamedTuple):
    """
    Which page of the backlog is wanted: `limit` recordings with a rowid beyond `after`.

    Directly behind them, other directions of conversations that the page has already belong to it.
    """

    directions: Sequence[Direction]
    statuses: Sequence[Status]
    now: datetime
    after: int
    limit: int


def backlog(connection: sqlite3.Connection, page: Backlog, seen: Seen) -> tuple[Plan, int]:
    """Take the next unsettled recordings that are due and not yet considered in this run."""
    # By itself SQLite prefers to walk the whole table in the order of its rowids.
    query = (
        "SELECT id, conversation_id, direction, started_at, first_seen_at, "
        "CASE WHEN status = 'failed' OR reason = ? THEN reason END "
        "FROM recordings INDEXED BY unsettled "
        "WHERE status IN ('open', 'failed', 'deferred') AND id > ? "
        "AND status IN (SELECT value FROM json_each(?)) "
        "AND direction IN (SELECT value FROM json_each(?)) "
        "AND (next_try_at IS NULL OR next_try_at <= ? OR next_try_at > ? OR status <> 'deferred') "
        "AND (reason IS NOT ? OR coalesce(started_at, first_seen_at) <= ?) "
        "ORDER BY id"
    )
    wanted = (json.dumps(tuple(page.statuses)), json.dumps(tuple(page.directions)))
    todo: list[Task] = []
    firsts: dict[str, int] = {}
    position = page.after
    due = (text_of(page.now), _latest_deferral(page.now))
    # A call that was going on is the listing's to call finished: asked for now, half of it might
    # be served. One that no listing names again is asked for all the same when it must be over.
    over = (IN_PROGRESS, text_of(page.now - LONGEST_CALL))
    for row in connection.execute(query, (SUSPICIOUS, page.after, *wanted, *due, *over)):
        if len(todo) >= page.limit and row[1] not in firsts:
            break
        position = row[0]
        if seen.add(row[0]):
            todo.append(_task(*row[1:5], failed_for=row[5]))
            firsts.setdefault(row[1], row[0])
    plan = Plan(
        conversations=sum(_is_new(connection, *first, seen) for first in firsts.items()),
        todo=tuple(todo),
        already=0,
        absent=0,
        deferred=0,
        duplicates=0,
    )
    return plan, position


def _is_new(connection: sqlite3.Connection, conversation_id: str, first: int, seen: Seen) -> bool:
    """Whether no earlier page took a row of this conversation: its directions may lie on two."""
    rows = connection.execute(
        "SELECT id FROM recordings WHERE conversation_id = ? AND id < ?", (conversation_id, first)
    )
    return not any(seen.has(rowid) for (rowid,) in rows)


def _latest_deferral(now: datetime) -> str:
    """
    Return the latest time to which anything can have been put off by now.

    What is put off further was so by a clock that was ahead, and is due: it could be erased at
    PolyAI long before that clock's time comes.
    """
    return text_of(now + MAX_DEFERRAL)


def _task(
    conversation_id: str,
    direction: str,
    started_at: str | None,
    first_seen_at: str,
    *,
    failed_for: str | None,
) -> Task:
    recording = Recording(
        conversation_id=conversation_id,
        direction=Direction(direction),
        started_at=time_of(started_at),
    )
    return Task(
        recording=recording,
        first_seen_at=instant_of(first_seen_at),
        failed_for=failed_for,
    )
