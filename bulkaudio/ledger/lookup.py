"""
Which rows of the ledger a batch meets.

Finding a million conversations by the index takes ten times as long as reading their rows one after
the other. Whoever names them mostly does so in the order in which the ledger first saw them, or in
its reverse: a few of a batch, the pilots, tell whether the others are worth a look between them.
What is not there after all is looked up; the order is made use of, and never relied on.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from bulkaudio.model import Status

IDS_PER_QUERY = 1000

_PILOTS = 8
"""So many of a batch tell where its rows are."""

_MOST_ROWS = 4
"""For each conversation: it has up to three, and others may lie between."""

_BETWEEN = "id BETWEEN ? AND ?"
_AMONG = "conversation_id IN (SELECT value FROM json_each(?))"

_SETTLED = "AND direction = ? AND status IN ('saved', 'purged') AND (? OR started_at IS NOT NULL)"

_TOGETHER = (
    "SELECT json_group_object(conversation_id, id), sum(status = 'purged') FROM recordings WHERE"
)
"""One value for them all: as a thousand rows they cost half as much again."""

_ERASED = "SELECT id FROM recordings WHERE status = 'purged' AND"

_BY_INDEX = (
    "SELECT conversation_id, direction, id, status, started_at, first_seen_at, "
    "next_try_at, reason FROM recordings "
    "WHERE conversation_id IN (SELECT value FROM json_each(?)) "
    "AND direction IN (SELECT value FROM json_each(?))"
)


Known = tuple[int, str, str | None, str, str | None, str | None]
"""Rowid, status, start, first sight, next try and reason of a row, as the ledger has them."""

SAVED, PURGED = Status.SAVED.value, Status.PURGED.value

KEPT = frozenset({SAVED, PURGED})
"""What a run has nothing to do about: it counts as already there, erased or not."""


class Lookup:
    """
    The rows that one batch meets, as far as they were looked for.

    Args:
        directions: Plain strings, at least one.
        is_undated: The batch has no dates, so that no saved row could learn its own from it.

    Attributes:
        known: Rows that were looked up by the index.
        erased: Rows of which nothing but a tombstone is left, by direction.
    """

    def __init__(
        self, connection: sqlite3.Connection, directions: Sequence[str], *, is_undated: bool
    ) -> None:
        self._connection = connection
        self._directions = directions
        self._is_undated = is_undated
        self.known: dict[tuple[str, str], Known] = {}
        self.erased: dict[str, set[int]] = {}
        self._rows: dict[str, dict[str, int]] = {direction: {} for direction in directions}

    def settled(self, ids: Iterable[str]) -> AbstractSet[str]:
        """Return those that are kept everywhere and have nothing to learn; know all the others."""
        unique = dict.fromkeys(ids).keys()
        pilots = _some_of(list(unique))
        self.find(pilots)
        self._find_settled(unique)
        self.find(unique - self._settled_of(unique) - set(pilots))
        return self._settled_of(unique)

    def find(self, ids: Iterable[str]) -> None:
        """Look these up by the index, and know them."""
        wanted = json.dumps(self._directions)
        for chunk in _chunks(list(ids)):
            for row in self._connection.execute(_BY_INDEX, (json.dumps(chunk), wanted)):
                conversation_id, direction, rowid, status, started_at, *_ = row
                self.known[conversation_id, direction] = row[2:]
                if status in KEPT and (self._is_undated or started_at is not None):
                    self._rows[direction][conversation_id] = rowid
                    if status == PURGED:
                        self.erased.setdefault(direction, set()).add(rowid)

    def rows_of(self, settled: Iterable[str]) -> list[int]:
        """Return all rows of conversations that are settled."""
        return [rows[each] for rows in self._rows.values() for each in settled]

    def _find_settled(self, ids: AbstractSet[str]) -> None:
        """Find the settled ones, if some are known already: where these are, or by the index."""
        found = [row for rows in self._rows.values() for row in rows.values()]
        if not found:
            return
        if max(found) - min(found) < _MOST_ROWS * len(ids):
            self._take(_BETWEEN, min(found), max(found))
        else:
            for chunk in _chunks(list(ids)):
                self._take(_AMONG, json.dumps(chunk))

    def _take(self, where: str, *places: object) -> None:
        execute = self._connection.execute
        for direction, rows in self._rows.items():
            wanted = (*places, direction, self._is_undated)
            together, erased = execute(f"{_TOGETHER} {where} {_SETTLED}", wanted).fetchone()
            rows.update(json.loads(together))
            if erased:
                found = execute(f"{_ERASED} {where} {_SETTLED}", wanted)
                self.erased.setdefault(direction, set()).update(row[0] for row in found)

    def _settled_of(self, ids: AbstractSet[str]) -> AbstractSet[str]:
        for rows in self._rows.values():
            if not ids <= rows.keys():  # mostly it is so: no new set is made then
                ids = ids & rows.keys()
        return ids


def _some_of(ids: Sequence[str]) -> Sequence[str]:
    """Return the first, the last and some between."""
    return [*ids[: -1 : 1 + len(ids) // _PILOTS], *ids[-1:]]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_QUERY):
        yield ids[start : start + IDS_PER_QUERY]
