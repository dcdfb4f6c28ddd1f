"""
The one HTTP session of a run.

Rules of this file: one attempt is one attempt (trying again is `bulkaudio.retry`'s); the key goes
into the headers of requests to the configured origin, built anew for every hop, and nowhere else;
aiohttp follows nothing, decodes nothing, remembers no cookie and asks the environment for nothing.
"""

import asyncio
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from itertools import count
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.connector import AddrInfoType
from yarl import URL

from bulkaudio.clocks import ahead, skew_words
from bulkaudio.errors import BulkAudioError, KeyRefusedError
from bulkaudio.model import Evidence
from bulkaudio.polyai.hosts import Host, Hosts
from bulkaudio.polyai.redirects import STATUSES, Refused, is_home, next_hop
from bulkaudio.polyai.request import Request, url_of
from bulkaudio.polyai.response import CORRELATION_HEADER, Response, Sent, receive
from bulkaudio.polyai.throughput import TransferLimits
from bulkaudio.polyai.translate import (
    WIRE_ERRORS,
    BodyTooLarge,
    PermanentFailure,
    RedirectRefused,
    Target,
    sending_failure,
)
from bulkaudio.polyai.transport import (
    GuardedResolver,
    WitnessedResponse,
    checked_proxy,
    trusting_context,
)
from bulkaudio.settings import Connection, Secret
from bulkaudio.version import __version__

__all__ = [
    "BodyTooLarge",
    "Host",
    "PermanentFailure",
    "RedirectRefused",
    "Request",
    "Response",
    "Session",
    "TransferLimits",
]

READ_BUFFERS_BYTES = 4 * 1024 * 1024
"""
Shared by the answers under way: aiohttp holds up to twice as much, and what is read from it goes
through two more pairs of hands. Large buffers cost the processor less, and 64 large ones too much.
"""

LEAST_READ_BUFFER_BYTES, MOST_READ_BUFFER_BYTES = 64 * 1024, 256 * 1024

SMALL_RECEIVE_BUFFER_BYTES = 64 * 1024
"""Of the system, under a ceiling on bandwidth: what it holds has crossed the line already, and it
would take megabytes of every body at full speed."""

SPARE_CONNECTIONS = 4
"""Beyond the slots, so that the gate is the only queue: listing shares the session."""

REREAD_PAUSES_S = (0.0, 0.3, 0.7)
"""Before each look at a refused key's source; a second look only when it could not be read."""

_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")

_carried: ContextVar[Secret | None] = ContextVar("carried", default=None)
"""The key that this task's last request went out with."""


class _Headers(dict[str, str]):
    """Headers that do not show what they hold: crash reporters write down every variable."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


class Session:
    """
    Requests to PolyAI, over one pool of connections; an asynchronous context manager.

    Args:
        slots: Most requests at once.

    Raises:
        UsageError: On construction, for a region, URL or proxy that cannot be used; on entering,
            for a CA bundle.
        KeyRefusedError: On construction, for a key that no header can carry.
    """

    def __init__(
        self, connection: Connection, *, slots: int, limits: TransferLimits | None = None
    ) -> None:
        self.connection = connection
        self.hosts = Hosts.of(connection)
        self._limits = limits or TransferLimits()
        self._slots = slots
        self._proxy = checked_proxy(connection.proxy)
        self._keys = {
            Host.AUDIO: connection.api_key,
            Host.LISTING: connection.conversations_key or connection.api_key,
        }
        for key in self._keys.values():
            if not _is_usable(key.value):
                raise KeyRefusedError(
                    f"the key from {key.source} is empty or holds spaces, line ends or letters "
                    "that no key has",
                    fix="copy it again, as one line",
                )
        self._origins = {host: URL(self.hosts.url(host), encoded=True) for host in Host}
        self._http: aiohttp.ClientSession | None = None
        self._under_way = 0
        self._has_small_buffers = False
        self._renewing = asyncio.Lock()
        self._skews: dict[Host, timedelta] = {}
        # Random once: asking the system for each request's would let another thread go first.
        self._id_prefix, self._id_numbers = secrets.token_hex(12), count(1)

    def __repr__(self) -> str:
        return f"<Session {self.hosts.name(Host.AUDIO)} {self.hosts.name(Host.LISTING)}>"

    async def __aenter__(self) -> Self:
        context = await asyncio.to_thread(trusting_context, self.connection.ca_bundle)
        names = {url.raw_host or "" for url in self._origins.values()}
        if self._proxy:
            names.add(URL(self._proxy).raw_host or "")
        limits = self._limits
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context,
                limit=self._slots + SPARE_CONNECTIONS,
                resolver=GuardedResolver(names),
                socket_factory=self._socket,
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect_s, sock_read=limits.read_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            response_class=WitnessedResponse,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @asynccontextmanager
    async def get(self, request: Request) -> AsyncIterator[Response]:
        """
        Send one request and hold its connection for the body of the ``async with``.

        Raises:
            AttemptFailed: For what another attempt may not meet.
            PermanentFailure: For what it will meet again.
            BulkAudioError: For what concerns the whole run: a certificate, this machine.
        """
        carried = self._keys[request.host].value
        _carried.set(carried)
        sent: Sent | None = None
        self._under_way += 1
        try:
            sent = await self._send(request, carried)
            if sent.raw.status == 401 and not request.is_anonymous:
                await self._renew_key(request.host, carried)
            response = await receive(sent, self._limits)
            answer = response.answer
            self._skews[request.host] = ahead(answer.received_at, answer.date)
            yield response
        finally:
            self._under_way -= 1
            if sent is not None and not sent.raw.content.at_eof():
                # Reading the rest of a body that nobody wants can take for ever.
                sent.raw.close()

    def keep_buffers_small(self) -> None:
        """Take little from connections before it is asked for, from the next connection on."""
        self._has_small_buffers = True

    def reread_key(self, host: Host) -> bool:
        """
        Whether there is another key by now than the one this task's last request carried.

        A refused key is read again from its source, once for all who were refused with it, before
        the refusal is handed out; here it is only compared, without waiting for anything.
        """
        carried = _carried.get()
        return carried is not None and carried != self._keys[host].value

    def key_source(self, host: Host) -> str:
        """Name where the key comes from, for people."""
        return self._keys[host].source

    def clock_notes(self) -> list[str]:
        """Say which hosts' time is another than this machine's, by their last answers."""
        named = {self.hosts.name(host): skew for host, skew in self._skews.items() if skew}
        return [skew_words(name, skew) for name, skew in named.items()]

    async def _renew_key(self, host: Host, refused: Secret) -> None:
        async with self._renewing:
            key = self._keys[host]
            if key.reread is None or key.value != refused:
                return
            for pause_s in REREAD_PAUSES_S:
                await asyncio.sleep(pause_s)
                try:
                    value = await asyncio.to_thread(key.reread)
                except (BulkAudioError, OSError):
                    # Perhaps it is being written just now. If not, the refusal that is under way
                    # already names the source.
                    continue
                if _is_usable(value):
                    self._keys[host] = replace(key, value=value)
                    return

    async def _send(self, request: Request, key: Secret) -> Sent:
        """Send, and follow redirects by hand; every hop's headers are built from nothing."""
        origin = self._origins[request.host]
        url = url_of(self.hosts.url(request.host), request)
        own_id = f"{self._id_prefix}{next(self._id_numbers) & 0xFFFF_FFFF:08x}"
        started_at = asyncio.get_running_loop().time()
        visited: list[URL] = []
        while True:
            headers = _headers_of(request)
            target = Target(
                host=url.raw_authority,
                is_home=is_home(url, origin),
                evidence=Evidence(correlation_id=own_id),
            )
            if target.is_home and not request.is_anonymous:
                headers["x-api-key"] = key.reveal()
            if target.is_home:
                headers[CORRELATION_HEADER] = own_id
            raw = await self._get(url, headers, target)
            if raw.status not in STATUSES:
                first_byte_s = asyncio.get_running_loop().time() - started_at
                # The one that was sent, which may have been rotated meanwhile, comes first.
                keys = (key, *(each.value for each in self._keys.values()))
                return Sent(raw=raw, correlation_id=own_id, first_byte_s=first_byte_s, keys=keys)
            raw.close()
            visited.append(url)
            try:
                url = next_hop(visited, raw.headers.get("Location"), origin)
            except Refused as refused:
                evidence = replace(target.evidence, http_status=raw.status)
                raise RedirectRefused(str(refused), evidence=evidence) from refused

    def _socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        if self._has_small_buffers:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_RECEIVE_BUFFER_BYTES)
        return made

    def _read_buffer_bytes(self) -> int:
        if self._has_small_buffers:
            return LEAST_READ_BUFFER_BYTES
        share = READ_BUFFERS_BYTES // max(1, self._under_way)
        return min(MOST_READ_BUFFER_BYTES, max(LEAST_READ_BUFFER_BYTES, share))

    async def _get(self, url: URL, headers: _Headers, target: Target) -> aiohttp.ClientResponse:
        if self._http is None:
            raise RuntimeError("the session is not open")
        try:
            async with asyncio.timeout(self._limits.head_s):
                return await self._http.get(
                    url,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy,
                    read_bufsize=self._read_buffer_bytes(),
                )
        except WIRE_ERRORS as error:
            failure = sending_failure(error, target)
        # Out here the failure has no context: aiohttp's errors hold the headers, and so the key.
        raise failure


def _headers_of(request: Request) -> _Headers:
    headers = _Headers(
        {
            "Accept": request.accept,
            "Accept-Encoding": "identity",
            "User-Agent": f"bulkaudio/{__version__}",
        }
    )
    if request.first_bytes is not None:
        headers["Range"] = f"bytes=0-{request.first_bytes - 1}"
    return headers


def _is_usable(key: Secret) -> bool:
    return _HEADER_SAFE.fullmatch(key.reveal()) is not None
