"""
Metadata beside the recordings: one JSON file for each conversation that was wanted.

From a listing they are written while the page parses, because a page of 200 MB is never held; for
identifiers from elsewhere each conversation is asked for by itself, once.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkaudio.events import Answered, Emit, Noted, SidecarSettled
from bulkaudio.fetch import Means, evidence_of, retrying_event, tell_gate
from bulkaudio.gate import Gate
from bulkaudio.model import Conversation, Direction, Metadata, Recording, Task
from bulkaudio.policy import Action, Reason, retry_after_s
from bulkaudio.polyai.client import PermanentFailure, Response
from bulkaudio.polyai.conversations import conversation_request
from bulkaudio.retry import AttemptFailed, Limits, Retry, retrying
from bulkaudio.stores.base import Store

TRANSCRIPT_KEYS = frozenset({"turns", "transcript"})
MAX_DETAILS_BYTES = 64 * 1024 * 1024

NOT_JSON = "not_json"

MOST_WAITING = 128
MOST_WAITING_BYTES = 8 * 1024 * 1024


Erased = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Asks which conversations were erased, so that nothing about them may be kept again."""


async def nobody(_: Sequence[str]) -> frozenset[str]:
    """Know of nothing that was erased."""
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarTask:
    """A conversation whose metadata is to be asked for."""

    conversation_id: str


def sidecar_text(details: Mapping[str, Any], metadata: Metadata) -> bytes:
    """Render a conversation's metadata: ``basic`` leaves the transcript out."""
    kept = (
        details
        if metadata is Metadata.FULL
        else {key: value for key, value in details.items() if key not in TRANSCRIPT_KEYS}
    )
    text = json.dumps(kept, ensure_ascii=False, indent=2, sort_keys=True)
    # A lone surrogate is legal in JSON and not in UTF-8.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def in_the_way_note(path: Path) -> Noted:
    """Say what keeps a metadata file from its name."""
    return Noted(
        text=f"{path} is no metadata file of ours and was left alone: move it away, and a later run "
        "that asks for the call's metadata writes it."
    )


@dataclass(slots=True, kw_only=True)
class DetailsWriter:
    """
    Writes what a listing says of its calls, some at a time.

    A sync of the disk for each would cost more than reading the page. Older files are replaced, for
    they knew less, unless they are the same: that is nothing to tell of.
    """

    store: Store
    metadata: Metadata
    emit: Emit
    erased: Erased = nobody
    _waiting: dict[str, bytes] = field(default_factory=dict)
    _waiting_bytes: int = 0

    async def take(self, conversation: Conversation, details: Mapping[str, Any]) -> None:
        """Keep one record for the next `flush`, which comes by itself when many wait."""
        text = sidecar_text(details, self.metadata)
        self._waiting[conversation.id] = text
        self._waiting_bytes += len(text)
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes >= MOST_WAITING_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits; durable when this returns."""
        texts, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        for conversation_id in await self.erased(list(texts)):
            del texts[conversation_id]
        kept = await self.store.write_sidecars(texts)
        for conversation_id in texts:
            reason = None
            if conversation_id in kept.unchanged:
                continue
            if conversation_id in kept.in_the_way:
                self.emit(in_the_way_note(kept.in_the_way[conversation_id]))
                reason = Reason.CONFLICT
            self.emit(SidecarSettled(conversation_id=conversation_id, reason=reason))


class Sidecars:
    """Asks for and writes the metadata files of one run."""

    def __init__(
        self, means: Means, metadata: Metadata, *, limits: Limits, erased: Erased = nobody
    ) -> None:
        self._means = means
        self._metadata = metadata
        self._limits = limits
        self._erased = erased

    async def plan(self, conversations: Sequence[Conversation]) -> Sequence[SidecarTask]:
        """Name those of a batch that have no metadata file yet, and may have one, each once."""
        ids = list(dict.fromkeys(c.id for c in conversations if not c.in_progress))
        settled = await self._means.store.has_sidecar(ids) | await self._erased(ids)
        return [SidecarTask(conversation_id=i) for i in ids if i not in settled]

    async def fetch(self, task: SidecarTask) -> None:
        """Ask for one conversation and write its file, or say why not in an event."""
        recording = Recording(conversation_id=task.conversation_id, direction=Direction.COMBINED)
        as_task = Task(recording=recording, first_seen_at=datetime.now(UTC))

        async def attempt(_: int) -> str | None:
            return await self._attempt(as_task)

        def report(retry: Retry) -> None:
            self._means.emit(retrying_event(f"{task.conversation_id} metadata", retry))

        try:
            reason = await retrying(attempt, self._limits, on_retry=report, sleep=self._means.sleep)
        except (AttemptFailed, PermanentFailure) as failure:
            reason = failure.reason
        self._means.emit(SidecarSettled(conversation_id=task.conversation_id, reason=reason))

    async def _attempt(self, task: Task) -> str | None:
        means, conversation_id = self._means, task.recording.conversation_id
        request = conversation_request(means.session.connection.agent, conversation_id)
        async with means.gate.admit() as ticket:
            try:
                async with means.session.get(request) as response:
                    answer = response.answer
                    means.emit(
                        Answered(
                            host=means.gate.host,
                            http_status=answer.http_status,
                            first_byte_s=response.first_byte_s,
                        )
                    )
                    ruling = means.verdicts.rule(answer)
                    if ruling.action is not Action.SAVE:
                        outcome = means.verdicts.judge(task, answer, ruling, evidence_of(answer))
                        if outcome.reason == Reason.THROTTLED:
                            ticket.throttled(retry_after_s(answer))
                        return outcome.reason
                    details = await _read_details(response, means.gate)
                    ticket.succeeded(response.first_byte_s)
            except AttemptFailed as failure:
                tell_gate(ticket, failure)
                raise
        text = sidecar_text(details, self._metadata)
        kept = await means.store.write_sidecars({conversation_id: text})
        for path in kept.in_the_way.values():
            means.emit(in_the_way_note(path))
            return Reason.CONFLICT
        return None


async def _read_details(response: Response, gate: Gate) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in response.chunks(gate.bandwidth):
        body += chunk
        if len(body) > MAX_DETAILS_BYTES:
            raise PermanentFailure(Reason.TOO_LARGE)
    try:
        details = json.loads(body)
    except (ValueError, RecursionError):
        raise AttemptFailed(NOT_JSON) from None
    if not isinstance(details, dict):
        raise AttemptFailed(NOT_JSON)
    return details
