"""
What a run's events become in the log.

Event names are stable; their list is `NAMES`. No key, number or transcript gets here, because no
event carries one.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from bulkaudio.events import (
    Answered,
    ErasureFinished,
    Event,
    GateMoved,
    Noted,
    Planned,
    Received,
    Relayed,
    Retrying,
    Settled,
    SidecarSettled,
    SourceEnded,
    Started,
    Stopping,
)
from bulkaudio.model import Outcome, Status
from bulkaudio.observe.summary import utc_text

NAMES = (
    *("started", "planned", "rejected", "source_ended", "answered", "retry", "gate", "stopping"),
    *(
        "saved",
        "already",
        "absent",
        "deferred",
        "failed",
        "purged",
        "open",
        "sidecar",
        "sidecar_failed",
    ),
    *("erasure_finished", "note", "message"),
)
"""Every event name; ``message`` is anything that was not made from an event."""

LOGGER = logging.getLogger("bulkaudio")

FIELDS = "bulkaudio_fields"
NAME = "bulkaudio_event"
"""Attributes of a record that was made from an event."""

Rare = (
    Started
    | Planned
    | SourceEnded
    | GateMoved
    | Stopping
    | Noted
    | SidecarSettled
    | ErasureFinished
)
"""What comes a few times a run, or a few thousand."""


class LogEvents:
    """Turns events into log records: an `Emit`."""

    def __call__(self, event: Event) -> None:
        """Log an event; see `Emit`."""
        match event:
            case Received() | Relayed():
                return
            case Settled(outcome=outcome):
                _log_outcome(outcome)
            case Answered(host=host, http_status=status, first_byte_s=first_byte_s):
                if LOGGER.isEnabledFor(logging.DEBUG):
                    more = {"first_byte_s": round(first_byte_s, 3)}
                    _log(logging.DEBUG, "answered", {"host": host, "http_status": status} | more)
            case Retrying():
                _log_retry(event)
            case _:
                _log_rare(event)


def _log(level: int, name: str, fields: Mapping[str, Any]) -> None:
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, "%s", name, extra={NAME: name, FIELDS: fields})


def _log_outcome(outcome: Outcome) -> None:
    level = logging.INFO if outcome.status is Status.FAILED else logging.DEBUG
    if not LOGGER.isEnabledFor(level):
        return
    evidence = outcome.evidence
    fields = {
        "id": outcome.recording.conversation_id,
        "direction": outcome.recording.direction.value,
        "reason": outcome.reason,
        "http_status": evidence.http_status,
        "error_code": evidence.error_code,
        "attempts": evidence.attempts or None,
        "correlation_id": evidence.correlation_id,
        "bytes": outcome.bytes,
        "path": None if outcome.path is None else str(outcome.path),
    }
    _log(level, outcome.status.value, fields)


def _log_retry(event: Retrying) -> None:
    fields = {
        "what": event.what,
        "reason": event.reason,
        "attempt": event.attempt,
        "wait_s": round(event.wait_s, 2),
        "http_status": event.http_status,
        "correlation_id": event.correlation_id,
    }
    _log(logging.INFO, "retry", fields)


def _log_rare(event: Rare) -> None:
    match event:
        case ErasureFinished():
            _log(logging.WARNING, "erasure_finished", _erasure_fields(event))
        case Noted(text=text, is_routine=is_routine, is_grave=is_grave):
            level = logging.INFO if is_routine else logging.WARNING
            _log(logging.ERROR if is_grave else level, "note", {"text": text})
        case Stopping(reason=reason):
            _log(logging.INFO, "stopping", {"reason": reason})
        case Planned():
            _log_plan(event)
        case GateMoved(host=host, slots=slots, closed_s=closed_s, reason=reason):
            level = logging.INFO if closed_s >= 1.0 else logging.DEBUG
            fields = {"host": host, "slots": slots, "closed_s": round(closed_s, 1)}
            _log(level, "gate", fields | {"reason": reason})
        case SidecarSettled(conversation_id=conversation_id, reason=failure):
            level = logging.DEBUG if failure is None else logging.INFO
            name = "sidecar" if failure is None else "sidecar_failed"
            _log(level, name, {"id": conversation_id, "reason": failure})
        case Started(run_id=run_id, archive=archive):
            fields = {"run_id": run_id, "archive": str(archive), "pid": os.getpid()}
            _log(logging.INFO, "started", fields | dict(event.scope))
        case SourceEnded():
            _log(logging.DEBUG, "source_ended", {})


def _erasure_fields(event: ErasureFinished) -> Mapping[str, Any]:
    return {
        "conversations": event.conversations,
        "recordings": event.recordings,
        "bytes": event.bytes,
        "metadata_files": event.metadata_files,
        "held": event.held,
        "ids": list(event.ids),
        "who": event.who,
        "ordered_at": utc_text(event.ordered_at),
        "reason": event.reason,
        "text": event.text,
    }


def _log_plan(event: Planned) -> None:
    plan = event.plan
    # The row's text stays out: in a wrong column it may be a telephone number.
    for row in event.rejected:
        _log(logging.INFO, "rejected", {"where": row.where, "why": row.why})
    fields = {
        "todo": len(plan.todo),
        "already": plan.already,
        "erased": plan.erased,
        "absent": plan.absent,
        "deferred": plan.deferred,
        "duplicates": plan.duplicates,
        "skipped": event.skipped,
    }
    _log(logging.DEBUG, "planned", fields)
