"""
One recording fetched twice, redacted and not, to learn what the server really sends.

Rules of this file: nothing of the recording is written anywhere; of its bytes only the two ends are
ever held.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bulkaudio.doctor.check import (
    CONFIGURATION,
    HOST,
    KEY,
    Check,
    fail,
    fail_for,
    ok,
    skip,
)
from bulkaudio.doctor.window import Window
from bulkaudio.errors import BulkAudioError
from bulkaudio.model import Audio, Recording
from bulkaudio.policy import Action, Answer, rule
from bulkaudio.polyai.client import PermanentFailure, Request, Response, Session, TransferLimits
from bulkaudio.polyai.recordings import recording_request
from bulkaudio.quantities import format_bytes
from bulkaudio.retry import AttemptFailed
from bulkaudio.wav import Flaw, prove

TAKE_S = 180.0
LIMITS = TransferLimits(connect_s=5.0, head_s=30.0, read_s=20.0, max_body_bytes=1024**3)

RANGE_BYTES = 44
"""The header of the plainest WAV."""

KINDS = ("original", "redacted")

PLACEHOLDERS = {0: "0", 0xFFFF_FFFF: "0xFFFFFFFF"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """
    What one request for a recording brought.

    Attributes:
        framing: How the answer says where it ends: ``length``, ``chunked``, ``none``.
        first_byte_s: From the request to the head of the answer.
        body_s: From there to the end of the body.
        proof: Whether the bytes are a whole WAV; None where there are none.
        riff: What the RIFF header says of its size.
        failure: Why it is not whole.
    """

    answer: Answer | None = None
    content_type: str | None = None
    content_length: int | None = None
    framing: str = ""
    etag: str | None = None
    accept_ranges: str | None = None
    first_byte_s: float = 0.0
    body_s: float = 0.0
    bytes: int = 0
    sha256: str | None = None
    proof: Audio | Flaw | None = None
    riff: str | None = None
    failure: str | None = None
    error: BulkAudioError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether a recording arrived."""
        return self.failure is None and isinstance(self.proof, Audio)

    @property
    def bytes_per_s(self) -> int:
        """How fast the body came; what came at once counts as a millisecond."""
        return round(self.bytes / max(self.body_s, 0.001))

    def document(self) -> dict[str, Any]:
        """Write it for ``--json``."""
        audio = self.proof if isinstance(self.proof, Audio) else None
        return {
            "http_status": self.answer.http_status if self.answer else None,
            "error_code": self.answer.error_code if self.answer else None,
            "correlation_id": self.answer.correlation_id if self.answer else None,
            "content_type": self.content_type,
            "framing": self.framing or None,
            "content_length": self.content_length,
            "etag": self.etag,
            "accept_ranges": self.accept_ranges,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "first_byte_s": round(self.first_byte_s, 3),
            "bytes_per_s": self.bytes_per_s if self.bytes else None,
            "codec": audio.codec if audio else None,
            "sample_rate": audio.sample_rate_hz if audio else None,
            "channels": audio.channels if audio else None,
            "seconds": round(audio.seconds, 3) if audio else None,
            "riff_size": self.riff,
            "notes": list(audio.notes) if audio else [],
            "flaw": str(self.proof) if isinstance(self.proof, Flaw) else None,
            "failure": self.failure,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """
    Both takes of a recording.

    Attributes:
        ranges: How a request for the first bytes alone was answered, in words.
    """

    recording: Recording
    original: Take
    redacted: Take
    ranges: str = ""

    @property
    def differ(self) -> bool | None:
        """Whether they are different bytes; None when one is missing."""
        if not (self.original.is_whole and self.redacted.is_whole):
            return None
        return self.original.sha256 != self.redacted.sha256

    def document(self) -> dict[str, Any]:
        """Write it for ``--json``."""
        return {
            "conversation_id": self.recording.conversation_id,
            "direction": self.recording.direction.value,
            "original": self.original.document(),
            "redacted": self.redacted.document(),
            "ranges": self.ranges or None,
            "differ": self.differ,
        }

    def checks(self) -> Iterator[Check]:
        """Judge both, and the difference."""
        for kind, take in zip(KINDS, (self.original, self.redacted), strict=True):
            yield _take_check(f"probe.{kind}", take)
        yield self._difference()

    def _difference(self) -> Check:
        name = "probe.difference"
        match self.differ:
            case None:
                return skip(name, "needs both")
            case True:
                return ok(name, "they differ: this key has access to personal data (PII)")
            case False:
                return skip(
                    name,
                    "inconclusive, the same bytes: the key has no access to personal data, or this "
                    "call holds none",
                )


async def probe(session: Session, recording: Recording) -> Probe:
    """Fetch a recording twice, one after the other, and its first bytes; never raises for it."""
    agent = session.connection.agent
    original = await take(session, recording_request(agent, recording, redacted=False))
    redacted = await take(session, recording_request(agent, recording, redacted=True))
    ranges = ""
    if original.is_whole:
        part = replace(recording_request(agent, recording, redacted=False), first_bytes=RANGE_BYTES)
        ranges = await _ranges(session, part)
    return Probe(recording=recording, original=original, redacted=redacted, ranges=ranges)


async def take(session: Session, request: Request) -> Take:
    """Send one request and read its answer to the end, keeping nothing of it."""
    window = Window()
    found = Take()
    clock = asyncio.get_running_loop().time
    begun_at = clock()
    try:
        async with asyncio.timeout(TAKE_S), session.get(request) as response:
            found, begun_at = _head(response), clock()
            if response.answer.http_status != 200:
                return found
            async for chunk in response.chunks():
                window.take(chunk)
            proof = prove(window.read_at, window.total_bytes, framed=response.framed)
            found = replace(found, proof=proof)
    except (AttemptFailed, PermanentFailure) as failure:
        found = replace(found, failure=failure.reason)
    except BulkAudioError as error:
        found = replace(found, failure=error.message, error=error)
    except TimeoutError:
        found = replace(found, failure="timeout")
    return replace(
        found,
        body_s=clock() - begun_at,
        bytes=window.total_bytes,
        sha256=window.sha256 if window.total_bytes else None,
        riff=riff_words(window.read_at(0, 12), window.total_bytes),
    )


def riff_words(head: bytes, total_bytes: int) -> str | None:
    """Say what a RIFF header makes of its size; None where it is none."""
    if len(head) < 12 or head[:4] not in {b"RIFF", b"RF64", b"BW64"} or head[8:12] != b"WAVE":
        return None
    form, size = head[:4].decode("ascii"), int.from_bytes(head[4:8], "little")
    if size in PLACEHOLDERS:
        return f"{form}, placeholder {PLACEHOLDERS[size]}"
    excess = size + 8 - total_bytes
    if excess:
        return f"{form}, {'long' if excess > 0 else 'short'} by {abs(excess):,} bytes"
    return f"{form}, exact"


def _head(response: Response) -> Take:
    length = response.content_length
    return Take(
        answer=response.answer,
        content_type=response.header("Content-Type"),
        content_length=length,
        framing="length" if length is not None else "chunked" if response.framed else "none",
        etag=response.header("ETag"),
        accept_ranges=response.header("Accept-Ranges"),
        first_byte_s=response.first_byte_s,
    )


async def _ranges(session: Session, request: Request) -> str:
    try:
        async with asyncio.timeout(TAKE_S), session.get(request) as response:
            status = response.answer.http_status
            if status == 206:
                part = response.header("Content-Range") or "without Content-Range"
                return f"answered: 206, {part}"
            return "ignored: 200, all of it" if status == 200 else f"refused: {status}"
    except (AttemptFailed, PermanentFailure, BulkAudioError, TimeoutError) as failure:
        return f"no answer ({type(failure).__name__})"


WORDS: Mapping[Action, tuple[str, str, int]] = {
    Action.KEY_REFUSED: ("the key was refused", "see the check of the key", KEY),
    Action.FORBIDDEN: (
        "the key may not read this recording",
        "ask PolyAI for a key that may",
        KEY,
    ),
    Action.MISSING: (
        "there is no recording of this call, or not yet",
        "name a call that has one, such as one that was saved",
        CONFIGURATION,
    ),
    Action.FAIL: ("PolyAI does not know this conversation", "check the id", CONFIGURATION),
    Action.WRONG_AGENT: ("PolyAI does not know the agent", "check --agent", CONFIGURATION),
    Action.WRONG_HOST: (
        "something else than PolyAI answers",
        "see the checks above",
        CONFIGURATION,
    ),
}


def _take_check(name: str, take: Take) -> Check:
    if take.error is not None:
        return fail_for(name, take.error)
    if take.failure is not None or take.answer is None:
        return fail(name, f"it did not arrive: {take.failure}", "run this again", HOST)
    if isinstance(take.proof, Audio):
        audio = take.proof
        return ok(
            name,
            f"{format_bytes(take.bytes)}, {audio.seconds:.1f}s of {audio.codec}, "
            f"{audio.sample_rate_hz:,} Hz",
        )
    if take.proof is not None:
        words = "no WAV" if take.proof is Flaw.NOT_AUDIO else "a WAV that was cut short"
        return fail(name, f"what arrived is {words}", "tell PolyAI the support id", HOST)
    answer = take.answer
    again = ("it was not served", "run this again later", HOST)
    action = rule(answer).action
    if answer.http_status not in {401, 403, 404}:
        action = Action.RETRY
    words, fix, code = WORDS.get(action, again)
    status = " ".join(str(part) for part in (answer.http_status, answer.error_code) if part)
    return replace(fail(name, f"{words} ({status})", fix, code), support_id=answer.correlation_id)
