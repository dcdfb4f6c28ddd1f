"""
One recording: request, stream into a private file, prove, stage.

What an answer means is decided in `bulkaudio.verdicts`, who may ask and when in `bulkaudio.gate`,
how often in `bulkaudio.retry`. One attempt is all of it: request, body and proof; while the next
one is waited for, no slot, connection or file is held.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from bulkaudio.errors import BulkAudioError
from bulkaudio.events import Answered, Emit, Noted, Received, Retrying
from bulkaudio.gate import NO_SUCH_HOST, Gate
from bulkaudio.model import Evidence, Outcome, Status, Task
from bulkaudio.naming import printable
from bulkaudio.policy import SUSPICIOUS, Action, Answer, Reason, retry_after_s
from bulkaudio.polyai.client import PermanentFailure, Response, Session
from bulkaudio.polyai.recordings import recording_request
from bulkaudio.retry import AttemptFailed, Limits, Retry, retrying
from bulkaudio.stores.base import Staged, Staging, Store
from bulkaudio.ticket import Ticket
from bulkaudio.verdicts import Verdicts
from bulkaudio.wav import Flaw, looks_like_wav

WAV_HEAD_BYTES = 12

SHOWS_HEALTH = {Action.MISSING, Action.FAIL, Action.FORBIDDEN}
"""Refusals that only a working host gives."""

USUAL_LABELS = {
    "audio/wav",
    "audio/x-wav",
    "audio/wave",
    "audio/vnd.wave",
    "application/octet-stream",
}

NOT_THE_HOSTS = {Reason.NOT_AUDIO, Reason.TRUNCATED, Reason.THROTTLED}
"""Reasons that say nothing about the host's health, or were told to the gate already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A staged recording with the server's side of it."""

    staged: Staged
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """
    What fetching needs: the two ends, the gate and the judge between them, and who is told.

    Attributes:
        sleep: Waits between attempts; raises `Draining` when the run is stopping.
    """

    session: Session
    gate: Gate
    verdicts: Verdicts
    store: Store
    emit: Emit
    sleep: Callable[[float], Awaitable[None]]


class Fetcher:
    """
    Fetches recordings of one agent.

    Args:
        redacted: None leaves it to the API's default.
    """

    def __init__(self, means: Means, *, redacted: bool | None, limits: Limits) -> None:
        self._means = means
        self._redacted = redacted
        self._limits = limits
        self._has_noted_label = False
        self._noted_forms: set[str] = set()
        self._failing: dict[Task, AttemptFailed] = {}

    async def fetch(self, task: Task) -> Fetched | Outcome:
        """
        Bring one recording to the point of being staged, or to the reason why not.

        Raises:
            BulkAudioError: What must stop the run.
            Draining: The run is stopping; the recording stays open.
        """

        async def attempt(number: int) -> Fetched | Outcome:
            return await self._attempt(task, number)

        def report(retry: Retry) -> None:
            self._failing[task] = retry.failure
            what = f"{task.recording.conversation_id} {task.recording.direction}"
            self._means.emit(retrying_event(what, retry))

        try:
            result = await retrying(attempt, self._limits, on_retry=report, sleep=self._means.sleep)
        except (AttemptFailed, PermanentFailure) as failure:
            result = Outcome(
                recording=task.recording,
                status=Status.FAILED,
                reason=failure.reason,
                evidence=failure.evidence,
            )
        self._failing.pop(task, None)
        return result

    def suspects(self) -> list[Outcome]:
        """
        Return, as open, what was being retried when the run ended, with why and how often.

        A hundred recordings in a row that PolyAI itself has lost look like a host that is down.
        Remembered by their ``http_500``, they do not look so again: the next run gets past them. Any
        other reason of an open recording is only told, and takes no earlier run's finding away.
        """
        return [
            Outcome(
                recording=task.recording,
                status=Status.OPEN,
                reason=failure.reason,
                evidence=failure.evidence,
            )
            for task, failure in self._failing.items()
            if failure.reason == SUSPICIOUS
            # Without an address nothing was asked.
            or (task.failed_for is None and failure.reason != NO_SUCH_HOST)
        ]

    async def _attempt(self, task: Task, number: int) -> Fetched | Outcome:
        async with self._means.gate.admit() as ticket:
            try:
                received = await self._request(task, number, ticket)
            except AttemptFailed as failure:
                failure.evidence = replace(failure.evidence, attempts=number)
                if not _is_known(task, failure):
                    tell_gate(ticket, failure)
                raise
            except PermanentFailure as failure:
                failure.evidence = replace(failure.evidence, attempts=number)
                raise
            except BulkAudioError:
                # Before the slot comes free: nobody else may ask what ends the run.
                self._means.gate.close()
                raise
        if isinstance(received, Outcome):
            return received
        fetched = await _prove(received)
        self._note_forms(fetched.staged.audio.notes)
        return fetched

    async def _request(self, task: Task, number: int, ticket: Ticket) -> "_Received | Outcome":
        means = self._means
        agent = means.session.connection.agent
        request = recording_request(agent, task.recording, redacted=self._redacted)
        async with means.session.get(request) as response:
            answer = response.answer
            evidence = evidence_of(answer, number)
            means.emit(
                Answered(
                    host=means.gate.host,
                    http_status=answer.http_status,
                    first_byte_s=response.first_byte_s,
                )
            )
            ruling = means.verdicts.rule(answer, task.failed_for)
            if ruling.action is not Action.SAVE:
                if ruling.action in SHOWS_HEALTH:
                    ticket.succeeded(response.first_byte_s)
                outcome = means.verdicts.judge(task, answer, ruling, evidence)
                if outcome.reason == Reason.THROTTLED:
                    ticket.throttled(retry_after_s(answer))
                return outcome
            staging = await means.store.stage(task.recording)
            try:
                await self._receive(response, staging, ticket)
            except BaseException:
                await staging.discard()
                raise
            ticket.succeeded(response.first_byte_s)
            self._note_label(response.content_type)
            return _Received(staging=staging, framed=response.framed, evidence=evidence)

    def _note_label(self, content_type: str | None) -> None:
        """Say once in a run that a label is wrong: the bytes decide, and have."""
        label = printable((content_type or "").partition(";")[0].strip().lower())
        if label and label not in USUAL_LABELS and not self._has_noted_label:
            self._has_noted_label = True
            self._means.emit(
                Noted(
                    text=f"PolyAI labels recordings as {label}; their bytes are WAVs and are kept."
                )
            )

    def _note_forms(self, notes: Sequence[str]) -> None:
        """Say once in a run of each peculiarity of a WAV that it was accepted."""
        for note in notes:
            kind = note.rstrip("0123456789").removesuffix(" by ")
            if kind not in self._noted_forms:
                self._noted_forms.add(kind)
                self._means.emit(
                    Noted(
                        text=f"Some recordings are unusual WAVs ({kind}); they arrived whole and "
                        "are kept as they are.",
                        is_routine=True,
                    )
                )

    async def _receive(self, response: Response, staging: Staging, ticket: Ticket) -> None:
        """Stream the body; a body that does not begin as a WAV is not worth its bytes."""
        head = b""
        async for chunk in response.chunks(self._means.gate.bandwidth):
            if len(head) < WAV_HEAD_BYTES:
                head += chunk[:WAV_HEAD_BYTES]
                if not looks_like_wav(head[:WAV_HEAD_BYTES]):
                    raise AttemptFailed(Reason.NOT_AUDIO, evidence=response.evidence)
                ticket.began(response.first_byte_s)
            ticket.received(len(chunk))
            self._means.emit(Received(bytes=len(chunk)))
            await staging.write(chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Received:
    """A body that arrived, before its proof."""

    staging: Staging
    framed: bool
    evidence: Evidence


async def _prove(received: _Received) -> Fetched:
    """Seal outside the gate: the host has done its part."""
    try:
        sealed = await received.staging.seal(framed=received.framed)
    except BaseException:
        await received.staging.discard()
        raise
    if isinstance(sealed, Flaw):
        raise AttemptFailed(str(sealed), evidence=received.evidence)
    return Fetched(staged=sealed, evidence=received.evidence)


def retrying_event(what: str, retry: Retry) -> Retrying:
    """Say in an event what is about to be retried."""
    return Retrying(
        what=what,
        reason=retry.failure.reason,
        attempt=retry.attempt,
        wait_s=retry.wait_s,
        http_status=retry.failure.evidence.http_status,
        correlation_id=retry.failure.evidence.correlation_id,
    )


def evidence_of(answer: Answer, number: int = 1) -> Evidence:
    """Keep of an answer what support asks for."""
    return Evidence(
        http_status=answer.http_status,
        error_code=answer.error_code,
        correlation_id=answer.correlation_id,
        attempts=number,
    )


def _is_known(task: Task, failure: AttemptFailed) -> bool:
    """Whether an answer failed a recording as an earlier run's did; silence is the host's."""
    is_answer = failure.evidence.http_status is not None and not failure.is_throttle
    return is_answer and failure.reason == task.failed_for


def tell_gate(ticket: Ticket, failure: AttemptFailed) -> None:
    """Report a failed attempt to the gate; while the host is down it is not the request's fault."""
    if failure.reason == Reason.THROTTLED:
        ticket.throttled(failure.retry_after_s)
    elif failure.reason not in NOT_THE_HOSTS:
        ticket.failed(failure.reason, is_repeated=failure.evidence.attempts > 1)
        failure.is_throttle = failure.is_throttle or ticket.is_hosts_fault
