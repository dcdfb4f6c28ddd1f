"""What is done about the erased when files are looked through: tombstones brought back, finds noted."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bulkaudio.ledger.rows import text_of, text_or_none
from bulkaudio.ledger.tombs import erased_among, pin_first
from bulkaudio.model import Direction, Outcome, Recording

FORGOTTEN = (
    "reason = NULL, path = NULL, bytes = NULL, sha256 = NULL, audio_seconds = NULL, codec = NULL, "
    "sample_rate = NULL, channels = NULL, saved_at = NULL, attempts = 0, next_try_at = NULL, "
    "http_status = NULL, error_code = NULL, correlation_id = NULL, run_id = NULL, "
    "redaction_requested = NULL, purged_at = ?"
)
"""What the ledger knows of a recording of which only the tombstone is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """A tombstone that is brought to a ledger made anew: `rows` by direction, with start and first sight."""

    conversation_id: str
    rows: tuple[tuple[Direction, datetime | None, datetime], ...]
    is_whole: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """Recordings by id and side: those of which nothing is to be there, and those to be erased yet."""

    gone: frozenset[tuple[str, Direction]]
    pending: frozenset[tuple[str, Direction]]


def bury(connection: sqlite3.Connection, burials: Sequence[Burial]) -> None:
    """Bring tombstones to a ledger that does not know them."""
    connection.executemany(
        "INSERT INTO recordings (conversation_id, direction, status, started_at, first_seen_at, "
        "purged_at) VALUES (?, ?, 'purged', ?, ?, ?) ON CONFLICT DO UPDATE SET status = 'purged', "
        "reason = 'purging', next_try_at = NULL WHERE recordings.status <> 'purged'",
        [
            (
                each.conversation_id,
                direction,
                None if started_at is None else text_of(started_at),
                text_of(first_seen_at),
                text_of(each.at),
            )
            for each in burials
            for direction, started_at, first_seen_at in each.rows
        ],
    )
    connection.executemany(
        "INSERT INTO tombstones (conversation_id, purged_at, is_done) VALUES (?, ?, 1) "
        "ON CONFLICT DO NOTHING",
        [(each.conversation_id, text_of(each.at)) for each in burials if each.is_whole],
    )
    # Of what another ledger had told before it was erased.
    connection.executemany(
        "UPDATE recordings SET status = 'purged', reason = 'purging', next_try_at = NULL "
        "WHERE conversation_id = ? AND status <> 'purged'",
        [(each.conversation_id,) for each in burials if each.is_whole],
    )


def accept(connection: sqlite3.Connection, burials: Sequence[Burial]) -> None:
    """
    Bring tombstones to a ledger that was put back from before an erasure.

    Files that were put back with it are not erased here: they are found as what came back.
    """
    forget = f"UPDATE recordings SET status = 'purged', {FORGOTTEN} WHERE status <> 'purged' AND "  # noqa: S608  ours
    connection.executemany(
        f"{forget} conversation_id = ? AND direction = ?",
        [(text_of(b.at), b.conversation_id, side) for b in burials for side, *_ in b.rows],
    )
    connection.executemany(
        f"{forget} conversation_id = ?",
        [(text_of(b.at), b.conversation_id) for b in burials if b.is_whole],
    )
    bury(connection, burials)


def condemn(
    connection: sqlite3.Connection, outcomes: Sequence[Outcome], order: str
) -> frozenset[Outcome]:
    """Note that files of erased recordings are there; return which of these are."""
    whole = erased_among(connection, [each.recording.conversation_id for each in outcomes])
    doomed = []
    for outcome in outcomes:
        recording = outcome.recording
        key = (recording.conversation_id, recording.direction)
        if recording.conversation_id in whole:
            connection.execute(
                "INSERT INTO recordings (conversation_id, direction, status, started_at, "
                "first_seen_at) SELECT ?, ?, 'purged', ?, purged_at FROM tombstones "
                "WHERE conversation_id = ? ON CONFLICT DO NOTHING",
                (*key, text_or_none(recording.started_at), recording.conversation_id),
            )
        changed = connection.execute(
            "UPDATE recordings SET reason = 'purging', path = ? "
            "WHERE conversation_id = ? AND direction = ? AND status = 'purged'",
            (str(outcome.path), *key),
        ).rowcount
        if changed:
            doomed.append(outcome)
    if doomed:
        pin_first(connection, order)
    return frozenset(doomed)


def count(connection: sqlite3.Connection) -> int:
    """Count conversations of which anything was erased; walks the table."""
    query = (
        "SELECT count(*) FROM (SELECT conversation_id FROM tombstones UNION "
        "SELECT conversation_id FROM recordings WHERE status = 'purged')"
    )
    return int(connection.execute(query).fetchone()[0])


def has_any(connection: sqlite3.Connection) -> bool:
    """Whether anything was erased; walks the table where nothing was."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM tombstones) "
        "OR EXISTS (SELECT 1 FROM recordings WHERE status = 'purged')"
    )
    return bool(connection.execute(query).fetchone()[0])


def buried(connection: sqlite3.Connection, recordings: Sequence[Recording]) -> Buried:
    """Say which of these were erased."""
    rows = connection.execute(
        "SELECT wanted.id, wanted.direction, "
        "coalesce(tombstones.is_done, 1) AND coalesce(recordings.reason, '') <> 'purging' FROM ("
        "SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS direction "
        "FROM json_each(?)) AS wanted "
        "LEFT JOIN tombstones ON tombstones.conversation_id = wanted.id "
        "LEFT JOIN recordings ON recordings.conversation_id = wanted.id "
        "AND recordings.direction = wanted.direction "
        "WHERE tombstones.conversation_id IS NOT NULL OR recordings.status = 'purged'",
        (json.dumps([(each.conversation_id, each.direction) for each in recordings]),),
    )
    gone: set[tuple[str, Direction]] = set()
    pending: set[tuple[str, Direction]] = set()
    for id_, direction, is_over in rows:
        (gone if is_over else pending).add((id_, Direction(direction)))
    return Buried(gone=frozenset(gone), pending=frozenset(pending))


def bare(connection: sqlite3.Connection, conversation_ids: Sequence[str]) -> frozenset[str]:
    """
    Return those of which everything is erased for good, so that no metadata is to be there.

    Of a call that has lost one side, and of which another was never recorded, it stays.
    """
    ids = json.dumps(list(conversation_ids))
    rows = connection.execute(
        "SELECT conversation_id FROM tombstones WHERE is_done "
        "AND conversation_id IN (SELECT value FROM json_each(?)) UNION "
        "SELECT conversation_id FROM recordings "
        "WHERE conversation_id IN (SELECT value FROM json_each(?)) "
        "GROUP BY conversation_id HAVING min(status = 'purged') EXCEPT "
        "SELECT conversation_id FROM recordings WHERE reason = 'purging' "
        "AND conversation_id IN (SELECT value FROM json_each(?)) EXCEPT "
        "SELECT conversation_id FROM tombstones WHERE NOT is_done "
        "AND conversation_id IN (SELECT value FROM json_each(?))",
        (ids,) * 4,
    )
    return frozenset(row[0] for row in rows)


def disturb(connection: sqlite3.Connection, conversation_ids: Sequence[str], order: str) -> None:
    """Note that something else of erased conversations is there."""
    ids = json.dumps(list(conversation_ids))
    changed = connection.execute(
        "UPDATE tombstones SET is_done = 0 "
        "WHERE conversation_id IN (SELECT value FROM json_each(?))",
        (ids,),
    ).rowcount
    changed += connection.execute(
        "UPDATE recordings SET reason = 'purging' WHERE status = 'purged' "
        "AND conversation_id IN (SELECT value FROM json_each(?))",
        (ids,),
    ).rowcount
    if changed:
        pin_first(connection, order)
