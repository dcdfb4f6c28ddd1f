"""The ledger's rows as values, and how times become text there."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from bulkaudio.model import Direction, Recording, Status


class SpoiltValueError(sqlite3.DatabaseError):
    """
    A value that nobody wrote: SQLite has no sums over its pages and hands it out as it is.

    One of SQLite's own errors, so that it is taken for damage wherever those are.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """
    Everything the ledger knows of one recording.

    Attributes:
        rowid: Grows with first sight; pages are asked for by it.
        path: Relative to the archive; set while `status` is saved.
        purged_at: When it was erased; set while `status` is purged and nothing is left of it.
        attempts: Over all runs.
        redaction_requested: What was asked for, which is not what was given; None: not asked.
    """

    rowid: int
    recording: Recording
    status: Status
    first_seen_at: datetime
    redaction_requested: bool | None = None
    path: PurePosixPath | None = None
    bytes: int | None = None
    sha256: str | None = None
    audio_seconds: float | None = None
    codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    saved_at: datetime | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    http_status: int | None = None
    error_code: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    run_id: str | None = None
    purged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run; `finished_at` is None when it was killed, or is still going on."""

    run_id: str
    started_at: datetime
    finished_at: datetime | None
    scope: str
    summary: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingRow:
    """A listing and how far it got; without `cursor` and `offset` it has no page yet."""

    listing_id: int
    scope: str
    since: datetime | None
    until: datetime
    cursor: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Sums over recordings of one direction and status."""

    count: int
    bytes: int
    seconds: float


SELECT = (
    "SELECT id, conversation_id, direction, started_at, status, first_seen_at, redaction_requested, "
    "path, bytes, sha256, audio_seconds, codec, sample_rate, channels, saved_at, attempts, "
    "next_try_at, http_status, error_code, reason, correlation_id, run_id, purged_at "
    "FROM recordings"
)
"""What `row_of` reads, in its order."""


SELECT_RUNS = "SELECT run_id, started_at, finished_at, scope, summary FROM runs"
"""What `run_of` reads, in its order."""


# Guarded: SQLite raises where a value is no JSON, and a spoilt one must not look like its failure.
IS_DOWNLOAD = "CASE WHEN json_valid(scope) THEN json_extract(scope, '$.source') END <> 'ledger'"
"""A repair takes what the ledger itself names."""

SELECT_SUCCESSES = (
    "SELECT CASE WHEN json_valid(scope) THEN json_extract(scope, '$.source') END AS source, "
    "max(finished_at) FROM runs WHERE source <> 'ledger' "
    "AND CASE WHEN json_valid(summary) THEN json_extract(summary, '$.exit_code') END = 0 "
    "GROUP BY source"
)
"""When the last download with exit code 0 ended, by its source."""


def row_of(values: tuple[Any, ...]) -> LedgerRow:
    """Read a row that was selected by `SELECT`; raises `SpoiltValueError`."""
    try:
        return _row_of(values)
    except (ValueError, TypeError) as error:
        raise SpoiltValueError(f"recording {values[0]}: {error}") from error


def _row_of(values: tuple[Any, ...]) -> LedgerRow:
    recording = Recording(
        conversation_id=values[1], direction=Direction(values[2]), started_at=time_of(values[3])
    )
    redaction = values[6]
    return LedgerRow(
        rowid=values[0],
        recording=recording,
        status=Status(values[4]),
        first_seen_at=instant_of(values[5]),
        redaction_requested=None if redaction is None else bool(redaction),
        path=None if values[7] is None else PurePosixPath(values[7]),
        bytes=values[8],
        sha256=values[9],
        audio_seconds=values[10],
        codec=values[11],
        sample_rate_hz=values[12],
        channels=values[13],
        saved_at=time_of(values[14]),
        attempts=values[15],
        next_try_at=time_of(values[16]),
        http_status=values[17],
        error_code=values[18],
        reason=values[19],
        correlation_id=values[20],
        run_id=values[21],
        purged_at=time_of(values[22]),
    )


def run_of(values: tuple[Any, ...]) -> RunRow:
    """Read a run that was selected by `SELECT_RUNS`; raises `SpoiltValueError`."""
    run = RunRow(
        run_id=values[0],
        started_at=instant_of(values[1]),
        finished_at=time_of(values[2]),
        scope=values[3],
        summary=values[4],
    )
    try:
        json.loads(run.summary or "{}")
    except (ValueError, TypeError) as error:
        raise SpoiltValueError(f"summary of run {run.run_id}: {error}") from error
    return run


def text_of(time: datetime) -> str:
    """
    Write an aware time as ISO 8601 in UTC, ``2026-11-22T06:00:00.000000Z``.

    Always with microseconds: texts of one width sort and compare as the times they stand for.
    """
    if time.tzinfo is None:
        raise ValueError("a naive time has no place in the ledger")
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def text_or_none(time: datetime | None) -> str | None:
    """Write a time that may be unknown."""
    return None if time is None else text_of(time)


def time_of(text: str | None) -> datetime | None:
    """Read a time that may be unknown; raises `SpoiltValueError`."""
    return None if text is None else instant_of(text)


def instant_of(text: str) -> datetime:
    """Read what `text_of` wrote; raises `SpoiltValueError`."""
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise SpoiltValueError(f"a time: {error}") from error
