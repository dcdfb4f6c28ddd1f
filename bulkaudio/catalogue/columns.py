"""
The catalogue's schema: every column with its type, and where it comes from.

Columns are only ever added, at the end; none is renamed, and none changes its meaning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Status

SCHEMA = "bulkaudio.catalogue/1"

Value = str | int | float | bool | datetime | None


class Kind(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    WORD = "word"
    """One of few: kept once in a file that can do so."""
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the catalogue."""

    name: str
    kind: Kind
    value: Callable[[LedgerRow], Value]
    is_required: bool = False


COLUMNS: tuple[Column, ...] = (
    Column(
        name="conversation_id",
        kind=Kind.TEXT,
        value=lambda row: row.recording.conversation_id,
        is_required=True,
    ),
    Column(
        name="direction",
        kind=Kind.WORD,
        value=lambda row: row.recording.direction.value,
        is_required=True,
    ),
    Column(name="status", kind=Kind.WORD, value=lambda row: row.status.value, is_required=True),
    Column(name="reason", kind=Kind.WORD, value=lambda row: row.reason),
    Column(name="started_at", kind=Kind.TIME, value=lambda row: row.recording.started_at),
    Column(
        name="first_seen_at", kind=Kind.TIME, value=lambda row: row.first_seen_at, is_required=True
    ),
    Column(name="saved_at", kind=Kind.TIME, value=lambda row: row.saved_at),
    Column(
        name="path", kind=Kind.TEXT, value=lambda row: None if row.path is None else str(row.path)
    ),
    Column(name="bytes", kind=Kind.INTEGER, value=lambda row: row.bytes),
    Column(name="sha256", kind=Kind.TEXT, value=lambda row: row.sha256),
    Column(name="audio_seconds", kind=Kind.REAL, value=lambda row: row.audio_seconds),
    Column(name="codec", kind=Kind.WORD, value=lambda row: row.codec),
    Column(name="sample_rate_hz", kind=Kind.INTEGER, value=lambda row: row.sample_rate_hz),
    Column(name="channels", kind=Kind.INTEGER, value=lambda row: row.channels),
    Column(
        name="redaction_requested", kind=Kind.BOOLEAN, value=lambda row: row.redaction_requested
    ),
    Column(name="attempts", kind=Kind.INTEGER, value=lambda row: row.attempts, is_required=True),
    Column(name="next_try_at", kind=Kind.TIME, value=lambda row: row.next_try_at),
    Column(name="http_status", kind=Kind.INTEGER, value=lambda row: row.http_status),
    Column(name="error_code", kind=Kind.WORD, value=lambda row: row.error_code),
    Column(name="correlation_id", kind=Kind.TEXT, value=lambda row: row.correlation_id),
    Column(name="run_id", kind=Kind.WORD, value=lambda row: row.run_id),
    Column(name="purged_at", kind=Kind.TIME, value=lambda row: row.purged_at),
)


def known(row: LedgerRow) -> LedgerRow:
    """Return what may be told: of an erased recording its tombstone, also while it is being erased."""
    if row.status is not Status.PURGED:
        return row
    return LedgerRow(
        rowid=row.rowid,
        recording=row.recording,
        status=row.status,
        first_seen_at=row.first_seen_at,
        purged_at=row.purged_at,
    )
