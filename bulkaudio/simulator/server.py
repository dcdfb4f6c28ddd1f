"""
The simulated PolyAI: two listening ports, one for each family of hosts.

Routing is done by hand, on the raw path: what a client sent is judged as it was sent, and serving
small recordings is several times faster than through an application's router.
"""

import asyncio
import ipaddress
import os
import ssl
import time
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import unquote
from uuid import uuid4

from aiohttp import web

from bulkaudio.errors import UsageError
from bulkaudio.model import Direction
from bulkaudio.simulator import speech
from bulkaudio.simulator.answers import (
    AUDIO,
    CONVERSATIONS,
    Holdings,
    Key,
    Question,
    RefusedError,
    answer,
    subject,
)
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.journal import OTHER, Heard, Journal
from bulkaudio.simulator.listing import Owner
from bulkaudio.simulator.recordings import render
from bulkaudio.simulator.wire import Reply, send, send_broken

CORRELATION = "X-PolyAI-Correlation-Id"
SHUTDOWN_S = 0.2
HTML = b"<html><title>Please wait</title></html>"


@dataclass(kw_only=True, eq=False)
class Simulator:
    """
    A PolyAI on loopback, as an async context manager.

    `calls`, `faults`, `keys`, `latency_s`, `slots` and `rate` may be replaced while it runs.

    Attributes:
        keys: Valid keys; the default is one with PII access and one without.
        latency_s: Before every answer.
        slots: Requests at once; more are answered with a 429.
        rate: Requests a second, with bursts of one second; more are answered with a 429.
        has_cursors: False: the listing pages by offset only.
        ports: Of the recordings host and the conversations host; 0 takes a free one.
        ssl_context: For https; None: http.
    """

    calls: Calls = field(default_factory=Calls)
    faults: Faults = field(default_factory=Faults)
    keys: tuple[Key, ...] = field(default_factory=lambda: (Key(), Key(has_pii_access=False)))
    account: str = "ws-1"
    agent: str = "PROJECT-1"
    latency_s: float = 0.0
    slots: int | None = None
    rate: float | None = None
    has_cursors: bool = True
    host: str = "127.0.0.1"
    ports: tuple[int, int] = (0, 0)
    ssl_context: ssl.SSLContext | None = None
    requests: Journal = field(default_factory=Journal, init=False)
    audio_url: str = field(default="", init=False)
    conversations_url: str = field(default="", init=False)
    _runners: list[web.ServerRunner] = field(default_factory=list, init=False, repr=False)
    _active: int = field(default=0, init=False, repr=False)
    _tokens: float = field(default=0.0, init=False, repr=False)
    _refilled_at: float = field(default=0.0, init=False, repr=False)

    @property
    def key(self) -> str:
        """The first key with PII access."""
        return next(key.value for key in self.keys if key.has_pii_access)

    @property
    def redacted_key(self) -> str:
        """The first key without PII access."""
        return next(key.value for key in self.keys if not key.has_pii_access)

    def expected_bytes(
        self, conversation_id: str, direction: Direction | str, *, redacted: bool = False
    ) -> bytes:
        """
        Return the bytes that a faultless answer has, by a key with PII access.

        Raises:
            LookupError: There is no such recording, or not yet.
        """
        call = self.calls.find(conversation_id)
        if call is None or not call.has_recording:
            raise LookupError(conversation_id)
        return render(call, Direction(direction), is_redacted=redacted)

    async def __aenter__(self) -> Self:
        if not _is_loopback(self.host):
            raise UsageError(
                f"the simulator listens on loopback only, not on {self.host}",
                fix="use 127.0.0.1 or ::1",
            )
        await asyncio.to_thread(speech.pcm_voices)
        try:
            self.audio_url = await self._listen(AUDIO, self.ports[0])
            self.conversations_url = await self._listen(CONVERSATIONS, self.ports[1])
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and end every connection."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _listen(self, name: str, port: int) -> str:
        server = web.Server(partial(self._serve, name), handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, self.host, port, ssl_context=self.ssl_context, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"the simulator cannot listen on {self.host}:{port}: "
                f"{os.strerror(error.errno or 0)}",
                fix="choose another port, or 0 for any free one",
            ) from error
        scheme = "https" if self.ssl_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{runner.addresses[0][1]}"

    async def _serve(self, host: str, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        journal = self.requests
        journal.total += 1
        journal.recent.append(
            Heard(host=host, method=request.method, target=target, headers=request.headers)
        )
        self._active += 1
        journal.peak = max(journal.peak, self._active)
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            path = target.split("?", 1)[0]
            question = Question(
                host=host,
                method=request.method,
                segments=tuple(unquote(segment) for segment in path.split("/")[1:]),
                query=request.query,
                api_key=request.headers.get("x-api-key"),
            )
            return await self._answer(request, question)
        finally:
            self._active -= 1

    async def _answer(self, request: web.BaseRequest, question: Question) -> web.StreamResponse:
        what = subject(question, self.calls)
        attempt = self.requests.counts[what]
        self.requests.counts[what] = attempt + 1
        support_id = request.headers.get(CORRELATION) or uuid4().hex
        fault = None if what is OTHER else self.faults.fault(what, attempt)
        reply = self._reply(question, fault, support_id)
        reply.headers[CORRELATION] = support_id
        if fault is Fault.RESET:
            self.requests.statuses[0] += 1
        else:
            self.requests.statuses[reply.status] += 1
        if fault is None or fault.replaces_answer:
            return await send(request, reply)
        return await send_broken(request, reply, fault, pause_s=self.faults.pause_s)

    def _reply(self, question: Question, fault: Fault | None, support_id: str) -> Reply:
        """Return what a host that suffers from `fault` would answer."""
        if fault is Fault.HTML:
            return Reply(body=HTML, content_type="text/html")
        try:
            self._throttle()
            _fail(fault)
            return answer(question, self._holdings())
        except RefusedError as refused:
            return Reply(
                status=refused.status,
                body=refused.envelope(support_id),
                headers={"Retry-After": self.faults.retry_after} if refused.status == 429 else {},
            )

    def _holdings(self) -> Holdings:
        owner = Owner(account=self.account, agent=self.agent)
        return Holdings(calls=self.calls, owner=owner, keys=self.keys, has_cursors=self.has_cursors)

    def _throttle(self) -> None:
        """Refuse what goes beyond the slots or the rate."""
        if self.slots is not None and self._active > self.slots:
            raise RefusedError(429, "RATE_LIMITED", "too many requests at once")
        if self.rate is None:
            return
        now = time.monotonic()
        most = max(1.0, self.rate)
        self._tokens = min(most, self._tokens + (now - self._refilled_at) * self.rate)
        self._refilled_at = now
        if self._tokens < 1.0:
            raise RefusedError(429, "RATE_LIMITED", "too many requests a second")
        self._tokens -= 1.0


def _fail(fault: Fault | None) -> None:
    if fault is not None and fault.http_status is not None:
        raise RefusedError(fault.http_status, "SIMULATED_FAULT", fault.value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
