"""
Planning that writes nothing: what is new goes into a temporary table, which ends with the connection.

Everything else is `bulkaudio.ledger.planning`'s, so that what is foretold is what a run will do.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from bulkaudio.ledger.lookup import IDS_PER_QUERY, PURGED, SAVED, Known, Lookup
from bulkaudio.ledger.planning import Planner, Seen
from bulkaudio.ledger.tombs import erased_among
from bulkaudio.model import Batch, Conversation, Direction, Plan

_TABLE = (
    "CREATE TEMP TABLE IF NOT EXISTS fresh (conversation_id TEXT NOT NULL, direction TEXT NOT NULL, "
    "id INTEGER NOT NULL, status TEXT NOT NULL, started_at TEXT, first_seen_at TEXT NOT NULL, "
    "reason TEXT, PRIMARY KEY (conversation_id, direction)) WITHOUT ROWID"
)

_FRESH = (
    "SELECT conversation_id, direction, id, status, started_at, first_seen_at, NULL, reason "
    "FROM temp.fresh WHERE conversation_id IN (SELECT value FROM json_each(?))"
)

Sums = Mapping[tuple[Direction, str], int]
"""Recordings by direction and by what is to become of them: a status, or ``put_off``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of a saved recording's length and size."""

    conversation_id: str
    direction: Direction
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """
    What a run would do about a batch.

    Attributes:
        told: Recordings of the backlog whose calls the batch names with their length, and that no
            batch has named so before.
    """

    plan: Plan
    sums: Sums
    told: Sequence[tuple[str, Direction]]


class Foreseen(Seen):
    """
    What was considered so far, and how many rowids behind the ledger's last one it took.

    The ledger keeps no call's length. What earlier runs left is considered before the source is read,
    and mostly the source names it again, with the length: one more bit a row remembers which that is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self._left: bytes | None = None
        self._told = Seen()

    def begin(self) -> None:
        """Take all that was considered before the first batch for the backlog."""
        if self._left is None:
            self._left = bytes(self._bits)

    def tell(self, rowid: int) -> bool:
        """Whether this row is of the backlog, and its length is told for the first time."""
        left, place = self._left or b"", rowid >> 3
        is_left = place < len(left) and left[place] >> (rowid & 7) & 1
        return bool(is_left) and self._told.add(rowid)


class Rehearsal(Planner):
    """Plans one batch like `Planner`, and changes nothing that lasts."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directions: Sequence[Direction],
        now: datetime,
        seen: Foreseen,
    ) -> None:
        super().__init__(connection, directions, now, seen)
        connection.execute(_TABLE)
        self._foreseen = seen
        seen.begin()
        self._told: list[tuple[str, Direction]] = []
        self._next_id += seen.taken
        self._sums = Counter[tuple[str, str]]()
        self._settled_erased: Mapping[str, int] = {}

    def rehearse(self, batch: Batch) -> Rehearsed:
        """Say what a run would do about a batch, also by direction."""
        plan = self.plan(replace(batch, bookmark=None))
        sums = {(Direction(side), kind): n for (side, kind), n in self._sums.items()}
        return Rehearsed(plan=plan, sums=sums, told=self._told)

    def _pass_settled(self, conversations: Sequence[Conversation]) -> Sequence[Conversation]:
        left = super()._pass_settled(conversations)
        # Settled is what is saved or erased in every direction.
        each = (self._counts[SAVED] + self._counts[PURGED]) // len(self._directions)
        for side in self._directions:
            erased = self._settled_erased.get(side, 0)
            self._sums.update({(side, SAVED): each - erased, (side, PURGED): erased})
        ids = [conversation.id for conversation in left]
        for start in range(0, len(ids), IDS_PER_QUERY):
            chunk = json.dumps(ids[start : start + IDS_PER_QUERY])
            for row in self._connection.execute(_FRESH, (chunk,)):
                self._known[row[0], row[1]] = row[2:]
        return left

    def _consider(self, conversation: Conversation) -> None:
        for direction in self._directions if conversation.duration_s else ():
            row = self._known.get((conversation.id, direction))
            if row is not None and self._foreseen.tell(row[0]):
                self._told.append((conversation.id, Direction(direction)))
        super()._consider(conversation)

    def _erased_of(
        self, lookup: Lookup, rows: Sequence[int], old: AbstractSet[int]
    ) -> Mapping[str, int]:
        self._settled_erased = super()._erased_of(lookup, rows, old)
        return self._settled_erased

    def _sort(self, conversation: Conversation, direction: str, row: Known) -> str:
        kind = super()._sort(conversation, direction, row)
        self._sums[direction, kind] += 1
        return kind

    def _write(self) -> None:
        self._foreseen.taken += len(self._inserts)
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO temp.fresh (id, conversation_id, direction, status, started_at, "
            "first_seen_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._inserts,
        )
        self._connection.execute("COMMIT")


def measured(
    connection: sqlite3.Connection, ids: Sequence[str], directions: Sequence[Direction]
) -> Sequence[Measured]:
    """Return what is known of those of these conversations' recordings that are saved."""
    rows = connection.execute(
        "SELECT conversation_id, direction, audio_seconds, bytes FROM recordings "
        "WHERE conversation_id IN (SELECT value FROM json_each(?)) "
        "AND direction IN (SELECT value FROM json_each(?)) "
        "AND status = 'saved' AND audio_seconds > 0",
        (json.dumps(list(ids)), json.dumps(tuple(directions))),
    )
    return [
        Measured(conversation_id=row[0], direction=Direction(row[1]), seconds=row[2], bytes=row[3])
        for row in rows
    ]


def unknown(
    connection: sqlite3.Connection,
    conversations: Sequence[Conversation],
    directions: Sequence[Direction],
) -> Sequence[tuple[Conversation, Direction, bool]]:
    """
    Find what a listing names and the ledger lacks; each only the first time that it is asked for.

    What was erased whole lacks nothing.

    Returns:
        With each whether the ledger knows the conversation for another direction.
    """
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS told (conversation_id TEXT PRIMARY KEY) WITHOUT ROWID"
    )
    by_id = {each.id: each for each in conversations}
    wanted = json.dumps(list(by_id))
    known: dict[str, set[str]] = {}
    for id_, direction in connection.execute(
        "SELECT conversation_id, direction FROM recordings "
        "WHERE conversation_id IN (SELECT value FROM json_each(?))",
        (wanted,),
    ):
        known.setdefault(id_, set()).add(direction)
    erased = erased_among(connection, by_id)
    lacking = [
        each
        for each in by_id
        if each not in erased and not known.get(each, set()).issuperset(directions)
    ]
    told = {
        row[0]
        for row in connection.execute(
            "SELECT conversation_id FROM temp.told "
            "WHERE conversation_id IN (SELECT value FROM json_each(?))",
            (json.dumps(lacking),),
        )
    }
    new = [each for each in lacking if each not in told]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO temp.told VALUES (?)", [(each,) for each in new])
    connection.execute("COMMIT")
    return [
        (by_id[each], direction, each in known)
        for each in new
        for direction in directions
        if direction not in known.get(each, set())
    ]
