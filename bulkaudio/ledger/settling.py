"""
How outcomes become rows.

A saved recording stays saved until `reopen` says otherwise, and an erased one is erased for good.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bulkaudio.ledger.rows import text_of, text_or_none
from bulkaudio.model import Outcome, Recording, Status

SETTLE = """
INSERT INTO recordings (
    conversation_id, direction, status, path, bytes, sha256, audio_seconds, codec, sample_rate,
    channels, started_at, first_seen_at, saved_at, attempts, next_try_at, http_status, error_code,
    reason, correlation_id, run_id, redaction_requested
) VALUES (
    :conversation_id, :direction, :status, :path, :bytes, :sha256, :audio_seconds, :codec,
    :sample_rate, :channels, :started_at, :now, :saved_at, :attempts, :next_try_at, :http_status,
    :error_code, :reason, :correlation_id, :run_id,
    (SELECT CASE value WHEN 'true' THEN 1 WHEN 'false' THEN 0 END FROM archive
     WHERE name = 'redacted')
)
ON CONFLICT (conversation_id, direction) DO UPDATE SET
    status = excluded.status, path = excluded.path, bytes = excluded.bytes,
    sha256 = excluded.sha256, audio_seconds = excluded.audio_seconds, codec = excluded.codec,
    sample_rate = excluded.sample_rate, channels = excluded.channels,
    started_at = coalesce(recordings.started_at, excluded.started_at),
    saved_at = excluded.saved_at, attempts = recordings.attempts + excluded.attempts,
    next_try_at = excluded.next_try_at, http_status = excluded.http_status,
    error_code = excluded.error_code, reason = excluded.reason,
    correlation_id = excluded.correlation_id, run_id = excluded.run_id,
    redaction_requested = excluded.redaction_requested
WHERE recordings.status NOT IN ('saved', 'purged')
"""
"""A row that is missing is made: `rebuild` and recovery know files that no source has named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Outcomes of one moment; `run_id` is None when no run brought them."""

    outcomes: Sequence[Outcome]
    run_id: str | None
    now: datetime

    def __post_init__(self) -> None:
        for outcome in self.outcomes:
            if outcome.status in {Status.ALREADY, Status.PURGED}:
                raise ValueError(f"{outcome.recording} was not fetched: nothing to settle")
            facts = (outcome.path, outcome.bytes, outcome.sha256)
            if outcome.status is Status.SAVED and None in facts:
                raise ValueError(f"{outcome.recording} is saved without path, size or hash")

    def write(self, connection: sqlite3.Connection) -> None:
        """Put every outcome into its row."""
        connection.executemany(SETTLE, self._rows())

    def _rows(self) -> Iterator[dict[str, object]]:
        now = text_of(self.now)
        for outcome in self.outcomes:
            is_saved = outcome.status is Status.SAVED
            audio, evidence = outcome.audio if is_saved else None, outcome.evidence
            yield {
                "conversation_id": outcome.recording.conversation_id,
                "direction": outcome.recording.direction,
                "status": outcome.status,
                "path": outcome.path.as_posix() if is_saved and outcome.path else None,
                "bytes": outcome.bytes if is_saved else None,
                "sha256": outcome.sha256 if is_saved else None,
                "audio_seconds": audio.seconds if audio else None,
                "codec": audio.codec if audio else None,
                "sample_rate": audio.sample_rate_hz if audio else None,
                "channels": audio.channels if audio else None,
                "started_at": text_or_none(outcome.recording.started_at),
                "now": now,
                "saved_at": now if is_saved else None,
                "attempts": evidence.attempts,
                "next_try_at": text_or_none(outcome.next_try_at),
                "http_status": evidence.http_status,
                "error_code": evidence.error_code,
                "reason": outcome.reason,
                "correlation_id": evidence.correlation_id,
                "run_id": self.run_id,
            }


def reopen(connection: sqlite3.Connection, recordings: Sequence[Recording], reason: str) -> None:
    """Take recordings back to open, unless they were erased, so that a run fetches them again."""
    connection.executemany(
        "UPDATE recordings SET status = 'open', reason = ?, path = NULL, bytes = NULL, "
        "sha256 = NULL, audio_seconds = NULL, codec = NULL, sample_rate = NULL, channels = NULL, "
        "saved_at = NULL, next_try_at = NULL WHERE conversation_id = ? AND direction = ? "
        "AND status <> 'purged'",
        [(reason, r.conversation_id, r.direction) for r in recordings],
    )


def take_up(
    connection: sqlite3.Connection, outcomes: Sequence[Outcome], now: datetime
) -> Sequence[Outcome]:
    """
    Keep files that were found; of two for one recording, the one whose path comes first.

    The order in which a disk names its files says nothing, and must not decide.

    Returns:
        Those that were left out, or that had to give way.
    """
    surplus = []
    for outcome in outcomes:
        recording, path = outcome.recording, str(outcome.path)
        key = (recording.conversation_id, recording.direction)
        row = connection.execute(
            "SELECT path, bytes FROM recordings "
            "WHERE conversation_id = ? AND direction = ? AND status = 'saved'",
            key,
        ).fetchone()
        if row is not None and row[0] <= path:
            surplus.append(outcome)
            continue
        if row is not None:
            surplus.append(replace(outcome, path=Path(row[0]), bytes=row[1]))
            connection.execute(
                "DELETE FROM recordings WHERE conversation_id = ? AND direction = ?", key
            )
        Settlement(outcomes=(outcome,), run_id=None, now=now).write(connection)
    return surplus
