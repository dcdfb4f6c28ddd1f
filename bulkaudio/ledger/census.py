"""Counting what is in the ledger, a page of rows at a time, and which times were listed."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bulkaudio.ledger.listings import Window
from bulkaudio.ledger.rows import instant_of, text_of, time_of
from bulkaudio.model import Direction, Status

HOUR = 13
"""So many characters of a time name its hour."""

WHOLE = 32
"""At least as many as a time has."""

NEVER_TRIED = "never_tried"
NEVER_ASKED = "never_asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    Which rows are counted, and how finely.

    Attributes:
        after, upto: Rowids; the first is not in it.
        since, until: Half-open; None leaves the side open. With either, rows without a start are
            left out.
        width: Rows are put together whose starts have so many first characters in common.
        hours: Only rows that start in one of these hours.
    """

    after: int
    upto: int
    directions: tuple[Direction, ...]
    since: datetime | None = None
    until: datetime | None = None
    width: int = HOUR
    hours: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    Rows that have all of this in common.

    Attributes:
        start: The beginning of their start's text; None: it is not known.
        status: None for a direction that nobody asked for.
        example, correlation_id: One of them, with its support id if any of them has one.
    """

    start: str | None
    direction: Direction
    status: Status | None
    reason: str | None
    count: int
    example: str
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A window that was listed to its end, and with which choices."""

    scope: str
    window: Window


# Beside one max(), SQLite takes the plain columns from the row that has it.
_GROUPS = """
SELECT substr(started_at, 1, :width), direction, status,
    CASE WHEN status = 'open' AND reason IS NULL AND attempts = 0 THEN :never_tried
        ELSE reason END,
    count(*), conversation_id, max(correlation_id)
FROM recordings
WHERE id > :after AND id <= :upto
    AND (:since IS NULL OR started_at >= :since) AND (:until IS NULL OR started_at < :until)
    AND (:hours IS NULL OR substr(started_at, 1, 13) IN (SELECT value FROM json_each(:hours)))
    AND direction IN (SELECT value FROM json_each(:directions))
GROUP BY 1, 2, 3, 4
"""

_NEVER_ASKED = """
SELECT substr(r.started_at, 1, :width), :direction, NULL, :never_asked, count(*),
    min(r.conversation_id), NULL
FROM recordings AS r
WHERE r.id > :after AND r.id <= :upto AND r.direction <> :direction
    AND (:since IS NULL OR r.started_at >= :since) AND (:until IS NULL OR r.started_at < :until)
    AND (:hours IS NULL OR substr(r.started_at, 1, 13) IN (SELECT value FROM json_each(:hours)))
    AND r.id = (SELECT min(o.id) FROM recordings AS o WHERE o.conversation_id = r.conversation_id)
    AND NOT EXISTS (SELECT 1 FROM recordings AS o
        WHERE o.conversation_id = r.conversation_id AND o.direction = :direction)
    AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.conversation_id = r.conversation_id)
    AND (r.status <> 'purged' OR r.started_at IS NOT NULL OR EXISTS
        (SELECT 1 FROM recordings AS o
         WHERE o.conversation_id = r.conversation_id AND o.status <> 'purged'))
GROUP BY 1
"""


def groups(connection: sqlite3.Connection, page: Page) -> Sequence[Group]:
    """Count a page's rows by start, direction, status and reason."""
    return [_group(row) for row in connection.execute(_GROUPS, _bindings(page))]


def never_asked(connection: sqlite3.Connection, page: Page) -> Sequence[Group]:
    """
    Count the conversations of a page that lack a row for a direction, and were not erased whole.

    Nor is anything of a conversation asked for that nobody knows but by a tombstone: it was named
    to `purge`, and by no source.
    """
    found = []
    for direction in page.directions:
        bindings = _bindings(page) | {"direction": direction.value}
        found += [_group(row) for row in connection.execute(_NEVER_ASKED, bindings)]
    return found


def last_rowid(connection: sqlite3.Connection) -> int:
    """Return the rowid of the latest row; 0 without any."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()[0])


def undated(connection: sqlite3.Connection, directions: Sequence[Direction]) -> int:
    """Count rows without a start."""
    query = (
        "SELECT count(*) FROM recordings WHERE started_at IS NULL "
        "AND direction IN (SELECT value FROM json_each(?))"
    )
    return int(connection.execute(query, (json.dumps(tuple(directions)),)).fetchone()[0])


def directions(connection: sqlite3.Connection) -> Sequence[Direction]:
    """Name the directions that any row has."""
    query = "SELECT EXISTS (SELECT 1 FROM recordings WHERE direction = ?)"
    return [d for d in Direction if connection.execute(query, (d.value,)).fetchone()[0]]


def finished(connection: sqlite3.Connection) -> Sequence[Listed]:
    """Return every window that was listed to its end, in the order they were begun."""
    rows = connection.execute(
        "SELECT scope, since, until FROM listings WHERE state = 'finished' ORDER BY id"
    )
    return [Listed(scope=row[0], window=(time_of(row[1]), instant_of(row[2]))) for row in rows]


def _bindings(page: Page) -> dict[str, object]:
    return {
        "never_tried": NEVER_TRIED,
        "never_asked": NEVER_ASKED,
        "after": page.after,
        "upto": page.upto,
        "since": page.since and text_of(page.since),
        "until": page.until and text_of(page.until),
        "width": page.width,
        "hours": None if page.hours is None else json.dumps(page.hours),
        "directions": json.dumps(page.directions),
    }


def _group(row: tuple[str | None, str, str | None, str | None, int, str, str | None]) -> Group:
    return Group(
        start=row[0],
        direction=Direction(row[1]),
        status=None if row[2] is None else Status(row[2]),
        reason=row[3],
        count=row[4],
        example=row[5],
        correlation_id=row[6],
    )
