"""An answer: its head reduced to what decides, its body as a stream that cannot hang or swell."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import aiohttp

from bulkaudio.bandwidth import Bandwidth
from bulkaudio.model import Evidence
from bulkaudio.naming import printable
from bulkaudio.policy import Answer, Reason
from bulkaudio.polyai.envelope import MAX_ENVELOPE_BYTES, Envelope, correlation_id, read_envelope
from bulkaudio.polyai.throughput import Throughput, TransferLimits
from bulkaudio.polyai.translate import WIRE_ERRORS, BodyTooLarge, reading_failure
from bulkaudio.polyai.transport import WitnessedResponse
from bulkaudio.retry import AttemptFailed
from bulkaudio.settings import Secret

CORRELATION_HEADER = "X-PolyAI-Correlation-Id"
ENVELOPE_S = 10.0
"""An error's body is not waited for longer: the status has already said the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    One answer, while its connection is held.

    Attributes:
        error_message: PolyAI's own words about an error, fit for a terminal.
        content_length: None when absent, nonsense, or overruled by chunks.
        framed: The transfer says itself where it ends, by a length or by chunks.
        first_byte_s: From the request to the head of the answer.
    """

    answer: Answer
    error_message: str | None
    content_type: str | None
    content_length: int | None
    framed: bool
    first_byte_s: float
    _sent: "Sent"
    _limits: TransferLimits

    @property
    def evidence(self) -> Evidence:
        """What support asks for."""
        return Evidence(
            http_status=self.answer.http_status,
            error_code=self.answer.error_code,
            correlation_id=self.answer.correlation_id,
        )

    def chunks(self, bandwidth: Bandwidth | None = None) -> AsyncIterator[bytes]:
        """
        Return the body's bytes as they come, undecoded, and no faster than `bandwidth` allows.

        Raises:
            AttemptFailed: When it breaks off, stalls or falls silent.
            BodyTooLarge: Before more than the limit was handed out.
        """
        return _Body(self, self._sent.raw.content, self._limits, bandwidth)

    def header(self, name: str) -> str | None:
        """Return a header, fit for a terminal; None without it, or where the key stands in it."""
        value = self._sent.quotable(self._sent.raw.headers.get(name))
        return None if value is None else printable(value, 200)

    @property
    def certificate_until(self) -> datetime | None:
        """When the certificate ends that the answer came under; None without TLS."""
        raw = self._sent.raw
        certificate = raw.certificate if isinstance(raw, WitnessedResponse) else {}
        end = certificate.get("notAfter")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if end else None


class _Body:
    """
    The iterator behind `Response.chunks`.

    A class, because an asynchronous generator that its reader leaves early stays open until the
    loop finds the time to close it.
    """

    def __init__(
        self,
        response: Response,
        content: aiohttp.StreamReader,
        limits: TransferLimits,
        bandwidth: Bandwidth | None,
    ) -> None:
        self._response = response
        self._bandwidth = bandwidth if bandwidth is not None and bandwidth.has_ceilings else None
        self._content = content
        self._limits = limits
        self._throughput = Throughput(limits)
        self._total = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._refuse_above_limit(self._response.content_length or 0)
        chunk, waited_s = await self._read()
        if not chunk:
            raise StopAsyncIteration
        if self._throughput.has_stalled(waited_s, len(chunk)):
            raise AttemptFailed(Reason.STALLED, evidence=self._response.evidence)
        self._total += len(chunk)
        self._refuse_above_limit(self._total)
        if self._bandwidth is not None:
            # Not in `_read`: what is waited for here is not the host's slowness.
            await self._bandwidth.take(len(chunk))
        return chunk

    async def _read(self) -> tuple[bytes, float]:
        clock = asyncio.get_running_loop().time
        started_at = clock()
        try:
            chunk = await self._content.readany()
        except WIRE_ERRORS as error:
            failure = reading_failure(error, self._response.evidence)
        else:
            return chunk, clock() - started_at
        raise failure

    def _refuse_above_limit(self, size_bytes: int) -> None:
        limit = self._limits.max_body_bytes
        if size_bytes > limit:
            raise BodyTooLarge(f"more than {limit} bytes", evidence=self._response.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """
    A request that was answered.

    Attributes:
        correlation_id: Which the request carried.
        keys: That no part of the answer may bring back: a gateway's error can echo our headers, and
            one gateway may stand before both hosts.
    """

    raw: aiohttp.ClientResponse
    correlation_id: str
    first_byte_s: float
    keys: tuple[Secret, ...]

    def quotable(self, text: str | None) -> str | None:
        """Return a text of the answer, unless a key stands in it."""
        is_safe = text is not None and not any(key.reveal() in text for key in self.keys)
        return text if is_safe else None


async def receive(sent: Sent, limits: TransferLimits) -> Response:
    """Read an answer's head, and of anything but success the beginning of the body."""
    raw = sent.raw
    envelope = Envelope()
    if raw.status == 408:
        # The server has given this connection up: no use in waiting for what it explains.
        raw.close()
    elif raw.status >= 400:
        envelope = read_envelope(raw.status, await _beginning(raw.content))
    is_chunked = "chunked" in raw.headers.get("Transfer-Encoding", "").lower()
    length = None if is_chunked else _length(raw.headers.get("Content-Length"))
    their_id = sent.quotable(correlation_id(raw.headers.get(CORRELATION_HEADER)))
    return Response(
        answer=Answer(
            http_status=raw.status,
            error_code=sent.quotable(envelope.code),
            content_encoding=raw.headers.get("Content-Encoding"),
            correlation_id=their_id
            or sent.quotable(envelope.correlation_id)
            or sent.correlation_id,
            retry_after=raw.headers.get("Retry-After"),
            date=raw.headers.get("Date"),
            received_at=datetime.now(UTC),
        ),
        error_message=sent.quotable(envelope.message),
        content_type=sent.quotable(raw.headers.get("Content-Type")),
        content_length=length,
        framed=is_chunked or length is not None,
        first_byte_s=sent.first_byte_s,
        _sent=sent,
        _limits=limits,
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(ENVELOPE_S):
            while len(body) < MAX_ENVELOPE_BYTES and (chunk := await content.readany()):
                body += chunk
    except WIRE_ERRORS:
        # An error that breaks off is still that error.
        pass
    return bytes(body[:MAX_ENVELOPE_BYTES])


def _length(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 20
    return int(text or "") if is_number else None
