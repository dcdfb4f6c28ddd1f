"""
The PolyAI of an ordeal: quick, faulty by plan, and strict about what it is asked.

Spoken straight onto the transport: what is measured is the program, not a server's framework. It
answers both APIs and stands in for the storage that signed addresses lead to.
"""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.chaos.holdings import Fate, Fault, Holdings, Name

AGENT = "PROJECT-1"
ACCOUNT = "ws-1"
SILENCE_S = 1.0
PATIENCE = {"Retry-After": "1"}
REFUSALS: Mapping[Fault, tuple[int, str, Mapping[str, str]]] = {
    Fault.BUSY: (503, "BUSY", PATIENCE),
    Fault.NOT_YET: (404, "CONVERSATIONS_RECORDING_NOT_FOUND", {}),
    Fault.HTTP_408: (408, "PLANNED_FAULT", {}),
    Fault.HTTP_429: (429, "RATE_LIMITED", PATIENCE),
    Fault.HTTP_500: (500, "PLANNED_FAULT", {}),
    Fault.HTTP_502: (502, "PLANNED_FAULT", {}),
    Fault.HTTP_503: (503, "PLANNED_FAULT", {}),
    Fault.HTTP_504: (504, "PLANNED_FAULT", {}),
}
"""Faults that are an error of PolyAI's own."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PHRASES = {200: "OK", 204: "No Content", 302: "Found"}


class Host:
    """
    Answers recordings, pages and signed addresses on one port, as an async context manager.

    Attributes:
        keys: What is accepted now.
        asked: Requests by recording.
        committed: What may not be asked for again.
        complaints: What the program should not have done.
        faults, fates: What went wrong, by kind.
    """

    def __init__(self, holdings: Holdings) -> None:
        self.holdings = holdings
        self.keys: frozenset[str] = frozenset()
        self.asked: Counter[Name] = Counter()
        self.pages: Counter[int] = Counter()
        self.committed: set[Name] = set()
        self.complaints: list[str] = []
        self.faults: Counter[Fault] = Counter()
        self.fates: Counter[Fate] = Counter()
        self.refused = 0
        self.total = 0
        self.port = 0
        self.bytes = 0
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def url(self) -> str:
        """Where both APIs are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_url(self) -> str:
        """Where signed addresses lead: the same port under another name is another origin."""
        return f"http://127.0.0.2:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self),
            "0.0.0.0",  # noqa: S104  two loopback names
            0,
            backlog=1024,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._open):
            connection.reset()
        await asyncio.sleep(0)

    def answer(self, connection: "_Connection", head: bytes) -> None:
        """Answer one request."""
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])
        }
        parts = urlsplit(target)
        path, query = parts.path.split("/")[1:], parse_qs(parts.query)
        self.total += 1
        if method != "GET":
            self.complaints.append(f"{method} {target}")
        match path:
            case ["signed", id_, side]:
                if "x-api-key" in headers:
                    self.complaints.append(f"the key was sent to {target}")
                connection.send(200, self._body(Name(id_, side)), "audio/wav")
            case _ if headers.get("x-api-key") not in self.keys:
                self.refused += 1
                if path[-1] == "audio":
                    self._check(Name(path[-2], query["direction"][0]))
                connection.refuse(401, "AUTH_USER_INVALID_TOKEN")
            case ["v1", "agents", agent, "conversations", id_, "audio"] if agent == AGENT:
                self._recording(connection, Name(id_, query["direction"][0]))
            case ["v3", account, agent, "conversations"] if (account, agent) == (ACCOUNT, AGENT):
                first = int(query["cursor"][0][1:]) if "cursor" in query else 0
                self._page(connection, first, int(query["limit"][0]))
            case _:
                self.complaints.append(f"asked for {target}")
                connection.refuse(404, "NO_ROUTE")

    def adopt(self, connection: "_Connection", *, is_open: bool) -> None:
        """Keep track of connections."""
        (self._open.add if is_open else self._open.discard)(connection)

    def _check(self, name: Name) -> None:
        if name in self.committed:
            self.complaints.append(f"{name.path} was saved and is asked for again")
        if (
            self.holdings.index_of(name.id) is None
            or name.direction not in self.holdings.directions
        ):
            self.complaints.append(f"there is no {name.path}")

    def _body(self, name: Name) -> bytes:
        body = self.holdings.body(name)
        self.bytes += len(body)
        return body

    def _recording(self, connection: "_Connection", name: Name) -> None:
        self._check(name)
        attempt = self.asked[name]
        self.asked[name] += 1
        fate = self.holdings.fate(name)
        if fate is not None:
            self.fates[fate] += 1
            self._doom(connection, name, fate)
            return
        plan = self.holdings.plan(name)
        if attempt < len(plan):
            self.faults[plan[attempt]] += 1
            self._fail(connection, name, plan[attempt])
            return
        connection.send(200, self._body(name), "audio/wav")

    def _doom(self, connection: "_Connection", name: Name, fate: Fate) -> None:
        match fate:
            case Fate.GONE:
                connection.refuse(410, "CONVERSATIONS_GONE")
            case Fate.UNKNOWN:
                connection.refuse(404, "CONVERSATIONS_NOT_FOUND")
            case Fate.FORBIDDEN:
                connection.refuse(403, "USER_ACCESS_FORBIDDEN")
            case Fate.NEVER:
                connection.refuse(404, "CONVERSATIONS_RECORDING_NOT_FOUND")
            case Fate.PACKED:
                connection.send(200, b"\x1f\x8b", "audio/wav", {"Content-Encoding": "gzip"})
            case Fate.ROUND:
                here = f"/v1/agents/{AGENT}/conversations/{name.id}/audio"
                query = f"direction={name.direction}"
                connection.send(302, headers={"Location": f"{self.url}{here}?{query}"})

    def _fail(self, connection: "_Connection", name: Name, fault: Fault) -> None:
        match fault:
            case Fault.GARBAGE:
                connection.transport.write(b"\xff\xfe\x00garbage\r\n\r\n")
                connection.transport.close()
            case Fault.HTML:
                connection.send(200, b"<html><title>Please wait</title></html>", "text/html")
            case Fault.EMPTY:
                connection.send(200, b"", "audio/wav")
            case Fault.NO_CONTENT:
                connection.send(204)
            case Fault.MISLABELLED:
                connection.send(200, self._body(name), "text/plain")
            case Fault.AWAY:
                place = f"{self.storage_url}/signed/{name.id}/{name.direction}?signature=1"
                connection.send(302, headers={"Location": place})
            case _ if fault in REFUSALS:
                connection.refuse(*REFUSALS[fault])
            case _:
                connection.cut(fault, self._body(name), "audio/wav")

    def _page(self, connection: "_Connection", first: int, limit: int) -> None:
        attempt = self.pages[first]
        self.pages[first] += 1
        held = self.holdings
        last = min(first + limit, held.conversations)
        body = json.dumps(
            {
                "conversations": [self._record(index) for index in range(first, last)],
                "cursor": f"c{last}" if last < held.conversations else None,
            }
        ).encode()
        plan = held.page_plan(first)
        if attempt >= len(plan):
            connection.send(200, body)
            return
        fault = plan[attempt]
        self.faults[fault] += 1
        if fault in REFUSALS:
            connection.refuse(*REFUSALS[fault])
        else:
            connection.cut(fault, body, "application/json")

    def _record(self, index: int) -> Mapping[str, Any]:
        return {
            "id": self.holdings.id_of(index),
            "started_at": self.holdings.started_at(index).isoformat(),
            "channel": "VOICE-SIP",
            "in_progress": False,
        }


class _Connection(asyncio.Protocol):
    """One client's connection, kept alive; requests come one after the other."""

    transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host = host
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._host.adopt(self, is_open=True)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._host.adopt(self, is_open=False)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received and not self.transport.is_closing():
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._host.answer(self, head)

    def send(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer whole."""
        length = {} if status == 204 else {"Content-Length": str(len(body))}
        self.transport.write(_head(status, content_type, length | dict(headers or {})) + body)

    def refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with the error envelope."""
        body = json.dumps({"error_code": code, "error_id": "e-1", "error_message": "planned"})
        self.send(status, body.encode(), headers=headers)

    def cut(self, fault: Fault, body: bytes, content_type: str) -> None:
        """Send what `fault` leaves of a whole answer."""
        length = {"Content-Length": str(len(body))}
        half = body[: len(body) // 2]
        later = asyncio.get_running_loop().call_later
        match fault:
            case Fault.RESET:
                self.reset()
            case Fault.RESET_BODY:
                self.transport.write(_head(200, content_type, length) + half)
                # A reset overtakes bytes that have not left yet; a moment lets some through.
                later(0.01, self.reset)
            case Fault.SHORT_BODY:
                self.transport.write(_head(200, content_type, length) + half)
                self.transport.close()
            case Fault.CUT_CHUNKS:
                chunked = _head(200, content_type, {"Transfer-Encoding": "chunked"})
                self.transport.write(chunked + b"%x\r\n%b\r\n" % (len(half), half))
                self.transport.close()
            case Fault.CUT_UNFRAMED:
                self.transport.write(_head(200, content_type, {"Connection": "close"}) + half)
                self.transport.close()
            case Fault.STALL:
                self.transport.write(_head(200, content_type, length) + half)
                later(SILENCE_S, self.reset)
            case Fault.HANG:
                later(SILENCE_S, self.transport.close)
            case Fault.DRIP:
                self.transport.write(_head(200, content_type, length))
                for at in range(8):
                    later(0.02 * at, self.transport.write, body[at : at + 1])
                later(0.02 * 8, self.transport.write, body[8:])
            case _:
                raise AssertionError(fault)

    def reset(self) -> None:
        """Break the connection so that the peer sees a reset, not an end."""
        peer: socket.socket | None = self.transport.get_extra_info("socket")
        if peer is not None and not self.transport.is_closing():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


def _head(status: int, content_type: str, headers: Mapping[str, str]) -> bytes:
    named = {"Date": formatdate(usegmt=True), "Content-Type": content_type, **headers}
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Planned')}"]
    return "\r\n".join([*lines, *(f"{n}: {v}" for n, v in named.items()), "", ""]).encode()
