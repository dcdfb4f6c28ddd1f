"""
What happens during a run, for whoever watches it.

The flow calls one `Emit` with these values; progress, logs, the summary and ``status.json`` are
made from them and from nothing else. No event carries a key, a phone number or a transcript.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bulkaudio.model import Outcome, Plan, Rejected, is_return
from bulkaudio.quantities import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """
    The archive is locked, opened and bound: from here on its folder may be written to.

    Attributes:
        scope: As the summary's ``scope``, with everything the archive remembered filled in.
    """

    run_id: str
    started_at: datetime
    archive: Path
    scope: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """
    A batch was compared with the ledger.

    Attributes:
        from_backlog: The batch is what earlier runs left open, not the source's.
    """

    plan: Plan
    rejected: tuple[Rejected, ...] = ()
    skipped: int = 0
    from_backlog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEnded:
    """Everything the source has is planned: totals are known from here on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A host answered a request with this status, after `first_byte_s` seconds."""

    host: str
    http_status: int
    first_byte_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Bytes of a recording arrived."""

    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """
    An attempt failed and another will follow.

    Attributes:
        what: ``CA… user``, or ``listing``.
        wait_s: Seconds until then, at least.
    """

    what: str
    reason: str
    attempt: int
    wait_s: float
    http_status: int | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """
    What was counted elsewhere since it was last heard of: the sum of many events above.

    Attributes:
        http: How often each status was answered.
        throttled: Those of `retries` whose host was busy.
    """

    http: Mapping[int, int] = field(default_factory=dict)
    received_bytes: int = 0
    retries: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A recording is settled in the ledger: durable when saved."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class GateMoved:
    """A host's gate changed: `slots` requests at once, closed for `closed_s` more seconds."""

    host: str
    slots: int
    closed_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """No more work is taken: a signal or a budget. What is in flight may end."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """
    Something a person should know, once; `text` is a whole sentence.

    Attributes:
        is_routine: It is so every night: worth a line of the summary, and no warning.
        is_grave: It is told on stderr even where only errors are.
    """

    text: str
    is_routine: bool = False
    is_grave: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettled:
    """A conversation's metadata file was written, or could not be (`reason`)."""

    conversation_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureFinished:
    """
    What a killed erasure had begun was brought to its end before the run's own work.

    Attributes:
        recordings: That had audio, with their `bytes`; of so many conversations.
        ids: The first of these.
        held: Conversations of it that a hold keeps half erased.
        who, ordered_at, reason: Whose order it was.
    """

    conversations: int
    recordings: int
    bytes: int
    metadata_files: int
    ids: tuple[str, ...]
    held: int
    who: str
    ordered_at: datetime
    reason: str | None

    @property
    def text(self) -> str:
        """Say it in a sentence."""
        held = f" {self.held:,} more left half erased, because of a hold." if self.held else ""
        what = (
            f"{plural(self.recordings, 'recording')} and "
            f"{plural(self.metadata_files, 'metadata file')} of "
            f"{plural(self.conversations, 'conversation')}"
            if self.conversations
            else "the files were gone already, and the ledger's own was written anew"
        )
        done, whose = (
            ("Files of erased recordings had come back and were erased", "found")
            if is_return(self.reason)
            else ("An interrupted erasure was finished", "ordered")
        )
        return (
            f"{done}: {what}; {whose} by {self.who} on "
            f"{self.ordered_at:%Y-%m-%d at %H:%M:%SZ}.{held}"
        )


Event = (
    Started
    | Planned
    | SourceEnded
    | Answered
    | Received
    | Retrying
    | Relayed
    | Settled
    | GateMoved
    | Stopping
    | Noted
    | SidecarSettled
    | ErasureFinished
)

Emit = Callable[[Event], None]
"""Must return at once and never raise: it is called between two awaits of the flow."""
