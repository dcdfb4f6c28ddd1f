"""Where listings stand, and how far back the next one must begin."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bulkaudio.ledger.rows import ListingRow, instant_of, text_of, text_or_none, time_of
from bulkaudio.model import Direction

Window = tuple[datetime | None, datetime]
"""Half-open; without a start it reaches back to the beginning."""


def start(connection: sqlite3.Connection, scope: str, window: Window) -> ListingRow:
    """
    Begin a listing.

    Unfinished ones inside its window are superseded: it will see all that they would have.
    """
    since, until = text_or_none(window[0]), text_of(window[1])
    connection.execute(
        "UPDATE listings SET state = 'superseded' WHERE state = 'open' AND scope = ? "
        "AND until <= ? AND (? IS NULL OR since >= ?)",
        (scope, until, since, since),
    )
    listing_id = connection.execute(
        "INSERT INTO listings (scope, since, until, state, started_at) VALUES (?, ?, ?, 'open', ?)",
        (scope, since, until, text_of(datetime.now(UTC))),
    ).lastrowid
    assert listing_id is not None  # noqa: S101  # an INSERT has one
    return ListingRow(listing_id=listing_id, scope=scope, since=window[0], until=window[1])


def unfinished(connection: sqlite3.Connection, scope: str) -> ListingRow | None:
    """Return the oldest listing that was begun and neither finished nor superseded."""
    row = connection.execute(
        'SELECT id, scope, since, until, cursor, "offset" FROM listings '
        "WHERE state = 'open' AND scope = ? ORDER BY id LIMIT 1",
        (scope,),
    ).fetchone()
    if row is None:
        return None
    return ListingRow(
        listing_id=row[0],
        scope=row[1],
        since=time_of(row[2]),
        until=instant_of(row[3]),
        cursor=row[4],
        offset=row[5],
    )


def all_unfinished(connection: sqlite3.Connection) -> list[ListingRow]:
    """Return every listing that was begun and neither finished nor superseded, oldest first."""
    rows = connection.execute(
        "SELECT id, scope, since, until FROM listings WHERE state = 'open' ORDER BY id"
    )
    return [
        ListingRow(
            listing_id=row[0],
            scope=row[1],
            since=time_of(row[2]),
            until=instant_of(row[3]),
        )
        for row in rows
    ]


def high_water(
    connection: sqlite3.Connection, scope: str, directions: Sequence[Direction]
) -> datetime | None:
    """Return the time before which everything is listed and settled; None before any listing."""
    rows = connection.execute(
        "SELECT since, until FROM listings WHERE state = 'finished' AND scope = ? "
        "ORDER BY finished_at, id",
        (scope,),
    )
    end = covered_until((time_of(since), instant_of(until)) for since, until in rows)
    if end is None:
        return None
    waiting = connection.execute(
        "SELECT min(started_at) FROM recordings "
        "INDEXED BY unsettled WHERE status IN ('open', 'failed', 'deferred') "
        "AND status IN ('open', 'deferred') AND direction IN (SELECT value FROM json_each(?))",
        (json.dumps(tuple(directions)),),
    ).fetchone()[0]
    oldest = time_of(waiting)
    return end if oldest is None else min(end, oldest)


def covered_until(windows: Iterable[Window]) -> datetime | None:
    """
    Return where the coverage that the first window began ends without a gap.

    Windows come in the order they were finished. One that begins after the end so far leaves a
    gap and does not count: somebody listing yesterday by hand, while the nightly job was broken
    for a week, must not make that job skip the week.
    """
    end: datetime | None = None
    for since, until in windows:
        if end is None or (until > end and (since is None or since <= end)):
            end = until
    return end
