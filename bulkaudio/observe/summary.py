"""How a run ended: for machines one JSON line, for people a short page of words."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bulkaudio.errors import BulkAudioError
from bulkaudio.events import ErasureFinished
from bulkaudio.model import Outcome
from bulkaudio.observe.tally import MAX_FAILURES, Counts, Details, Snapshot, Tally
from bulkaudio.version import __version__

__all__ = ["Ending", "Summary", "Tally", "utc_text"]

SCHEMA = "bulkaudio.run/1"

SCOPE: Mapping[str, Any] = {
    "region": None,
    "account": None,
    "agent": None,
    "source": None,
    "since": None,
    "until": None,
    "directions": [],
    "redaction_requested": False,
}
"""Every key of ``scope``, in order; a run that ended before it knew a value keeps these."""


class Ending(Protocol):
    """How a run ended, apart from its numbers."""

    @property
    def status(self) -> str:
        """``complete``, ``partial``, ``stopped``, ``failed`` or ``interrupted``."""
        ...

    @property
    def exit_code(self) -> int:
        """As the contract says."""
        ...

    @property
    def error(self) -> BulkAudioError | None:
        """What ended the run early."""
        ...

    @property
    def run_id(self) -> str:
        """Empty when it ended before it was given one."""
        ...

    @property
    def started_at(self) -> datetime:
        """Aware."""
        ...

    @property
    def finished_at(self) -> datetime:
        """Aware."""
        ...

    @property
    def scope(self) -> Mapping[str, Any]:
        """What was asked for; see `SCOPE`."""
        ...

    @property
    def archive(self) -> Path:
        """Its root."""
        ...

    @property
    def store(self) -> str | None:
        """Address of the object store that its recordings are in; None: they are in its root."""
        ...

    @property
    def report(self) -> Path | None:
        """The page about the archive that was written after it."""
        ...

    @property
    def report_fault(self) -> BulkAudioError | None:
        """Why a page that was wanted was not written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    Everything that is told of a run when it is over.

    Attributes:
        duration_s: By the wall clock, never negative.
        scope: With every key of `SCOPE`.
        report: The HTML page, when one was written.
        report_fault: Why it could not be, when one was wanted.
    """

    status: str
    exit_code: int
    error: BulkAudioError | None
    run_id: str
    started_at: datetime
    finished_at: datetime
    duration_s: float
    scope: Mapping[str, Any]
    counts: Counts
    bytes: int
    audio_seconds: float
    stopped_by: str | None
    details: Details
    archive: Path
    store: str | None = None
    report: Path | None = None
    report_fault: BulkAudioError | None = None

    @classmethod
    def of(cls, ending: Ending, tally: Tally) -> "Summary":
        """Join how a run ended with what was counted meanwhile."""
        now: Snapshot = tally.snapshot()
        scope = {key: ending.scope.get(key, default) for key, default in SCOPE.items()}
        return cls(
            status=ending.status,
            exit_code=ending.exit_code,
            error=ending.error,
            run_id=ending.run_id,
            started_at=ending.started_at,
            finished_at=ending.finished_at,
            duration_s=max(0.0, (ending.finished_at - ending.started_at).total_seconds()),
            scope=scope
            | {"redaction_requested": bool(scope["redaction_requested"])}
            | {k: v for k, v in ending.scope.items() if k not in SCOPE},
            counts=now.counts,
            bytes=now.saved_bytes,
            audio_seconds=now.audio_seconds,
            stopped_by=now.stopping,
            details=tally.details(),
            archive=ending.archive,
            store=ending.store,
            report=ending.report,
            report_fault=ending.report_fault,
        )

    @property
    def are_failures_truncated(self) -> bool:
        """Whether more recordings failed than `details.failures` tells."""
        return self.counts.failed > len(self.details.failures)

    def to_json(self) -> str:
        """Return the schema's one line, ASCII only, without its newline."""
        return json.dumps(self.document(), separators=(",", ":"), allow_nan=False)

    def document(self) -> dict[str, Any]:
        """Return what `to_json` writes; keys after ``report`` are additions to the contract."""
        details = self.details
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "status": self.status,
            "exit_code": self.exit_code,
            "version": __version__,
            "started_at": utc_text(self.started_at),
            "finished_at": utc_text(self.finished_at),
            "duration_s": round(self.duration_s, 3),
            "scope": {key: _plain(value) for key, value in self.scope.items()},
            "counts": asdict(self.counts),
            "bytes": self.bytes,
            "audio_seconds": round(self.audio_seconds, 3),
            "http": {str(status): n for status, n in details.http.items()},
            "failures": [_failure(outcome) for outcome in details.failures[:MAX_FAILURES]],
            "archive": str(self.archive),
            "report": str(self.report) if self.report else None,
            "store": self.store,
            "failures_truncated": self.are_failures_truncated,
            "stopped_by": self.stopped_by,
            "error": _error(self.error),
            "metadata": asdict(details.sidecars),
            # Where and why, never the text: a wrong column may well hold telephone numbers.
            "rejections": [{"where": r.where, "why": r.why} for r in details.rejections],
            "suspicious": [_plain(asdict(found)) for found in details.lookalikes],
            "notes": list(details.notes),
            "erasure_finished": _erasure(details.erasure),
        }


def utc_text(moment: datetime) -> str:
    """Write an aware time as ISO 8601 in UTC, to the millisecond, with ``Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _failure(outcome: Outcome) -> dict[str, Any]:
    evidence = outcome.evidence
    return {
        "id": outcome.recording.conversation_id,
        "direction": outcome.recording.direction.value,
        "reason": outcome.reason,
        "http_status": evidence.http_status,
        "error_code": evidence.error_code,
        "attempts": evidence.attempts,
        "correlation_id": evidence.correlation_id,
    }


def _erasure(finished: ErasureFinished | None) -> dict[str, Any] | None:
    if finished is None:
        return None
    return {
        "conversations": finished.conversations,
        "recordings": finished.recordings,
        "bytes": finished.bytes,
        "metadata_files": finished.metadata_files,
        "held": finished.held,
        "ids": list(finished.ids),
        "who": finished.who,
        "ordered_at": utc_text(finished.ordered_at),
        "reason": finished.reason,
    }


def _error(error: BulkAudioError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "fix": error.fix,
        "correlation_id": error.correlation_id,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return str(value) if isinstance(value, str) else value
    return str(value)
