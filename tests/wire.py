"""
A server that says exactly the bytes it is told to, and remembers exactly the bytes it was asked.

A `Script` answers one request. It may send anything, stop anywhere, and end the connection in any
way that a socket can. A script that returns with the connection open keeps it alive.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """
    A request's head, byte for byte.

    Attributes:
        raw: From the request line to the empty line.
        connection: On which connection it came, counted from 1.
    """

    raw: bytes
    connection: int

    @property
    def request_line(self) -> str:
        """``GET /path?query HTTP/1.1``."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return self.request_line.split(" ")[1]

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values in the order sent, names as spelled."""
        lines = self.raw.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return tuple((name, value.strip()) for name, _, value in pairs)

    def header(self, name: str) -> str | None:
        """Return the only header of that name; None when there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class Exchange:
    """One request being answered."""

    def __init__(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self._reader = reader
        self._writer = writer

    async def body(self) -> bytes:
        """Read the request's body, as long as its head says."""
        return await self._reader.readexactly(int(self.head.header("Content-Length") or 0))

    async def send(self, data: bytes) -> None:
        """Put bytes on the wire."""
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes, *, every_s: float, size: int = 1) -> None:
        """Send `size` bytes at a time with a pause after each."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(every_s)

    async def hang(self) -> None:
        """Say nothing until the server ends."""
        await asyncio.Event().wait()

    async def tunnel(self, host: str, port: int) -> None:
        """Pass bytes both ways, as a proxy does after CONNECT."""
        reader, writer = await asyncio.open_connection(host, port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(self._reader, writer))
            group.create_task(_copy(reader, self._writer))

    async def close(self) -> None:
        """End politely: what was sent arrives, then close_notify where there is TLS, and FIN."""
        self._writer.close()

    async def drop(self) -> None:
        """End without close_notify: what was sent arrives, then FIN."""
        await self.flush()
        self._writer.transport.abort()

    async def reset(self) -> None:
        """End with RST, after what was sent has arrived."""
        await self.flush()
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._writer.transport.abort()

    async def flush(self) -> None:
        """Let the client read everything first: RST overtakes bytes that are not read yet."""
        await self._writer.drain()
        await asyncio.sleep(0.05)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


Script = Callable[[Exchange], Awaitable[None]]


def http_head(status: int | str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Spell a response's head; `status` may carry its own reason phrase."""
    phrase = status if isinstance(status, str) else f"{status} Whatever"
    lines = [f"HTTP/1.1 {phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "surrogateescape")


def chunked(*pieces: bytes) -> bytes:
    """Frame pieces as HTTP chunks, the last chunk included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def says(status: int, body: bytes = b"", **headers: str) -> Script:
    """Answer whole and correctly framed; ``content_type="x"`` becomes ``Content-Type: x``."""
    named = [(name.replace("_", "-").title(), value) for name, value in headers.items()]

    async def script(exchange: Exchange) -> None:
        length = ("Content-Length", str(len(body)))
        await exchange.send(http_head(status, [length, *named]) + body)

    return script


def says_json(status: int, value: object, **headers: str) -> Script:
    """Answer with JSON."""
    return says(status, json.dumps(value).encode(), content_type="application/json", **headers)


def says_raw(data: bytes, *, end: Callable[[Exchange], Awaitable[None]] = Exchange.close) -> Script:
    """Answer with these very bytes, then end the connection in the given way."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        await end(exchange)

    return script


async def resets(exchange: Exchange) -> None:
    """Reset the connection without a word."""
    await exchange.reset()


async def closes(exchange: Exchange) -> None:
    """Close the connection without a word."""
    await exchange.close()


async def hangs(exchange: Exchange) -> None:
    """Say nothing for ever."""
    await exchange.hang()


class Counting(socket.socket):
    """
    A listener on loopback that counts what it takes, whatever becomes of a handshake then.

    Args:
        port: 0: any.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.accepted = 0
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.bind(("127.0.0.1", port))

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection."""
        taken = super().accept()
        self.accepted += 1
        return taken


class WireServer:
    """
    A server on loopback; use as async context manager in the test's loop, or see `in_thread`.

    Args:
        scripts: For the first request, the second, …; the last one answers all that follow.
        tls: None speaks plain HTTP.
        greet: Called for each connection before its first request is read.
        listener: Where it listens; None: on any port of loopback.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        greet: Script | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.heads: list[Head] = []
        self.connections = 0
        self.port = 0
        self._arrival = asyncio.Condition()
        self.scripts: tuple[Script, ...] = scripts or (hangs,)
        self._tls = tls
        self._greet = greet
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._errors: list[BaseException] = []

    def url(self, host: str = "127.0.0.1") -> str:
        """Return the base URL; only with TLS does the name matter to anybody."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def targets(self) -> list[str]:
        """Path and query of every request, in order."""
        return [head.target for head in self.heads]

    async def __aenter__(self) -> Self:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": 0}
        if self._listener is not None:
            where = {"sock": self._listener}
        self._server = await asyncio.start_server(self._serve, **where, ssl=self._tls)
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
        tasks = dict(self._open)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)
        if error is None and self._errors:
            raise self._errors[0]

    async def wait_for_requests(self, count: int) -> None:
        """Return when so many requests have arrived."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.heads) >= count)

    async def drop_connections(self) -> None:
        """End every open connection, as a server that restarts does."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        try:
            await self._converse(reader, writer, self.connections)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass  # The client went away, which is its good right.
        except Exception as error:  # noqa: BLE001  a script's own failure is raised by __aexit__
            self._errors.append(error)
        finally:
            del self._open[task]
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        if self._greet is not None:
            await self._greet(Exchange(Head(raw=b"", connection=number), reader, writer))
        while not writer.is_closing():
            raw = await reader.readuntil(b"\r\n\r\n")
            head = Head(raw=raw[:-2], connection=number)
            script = self.scripts[min(len(self.heads), len(self.scripts) - 1)]
            self.heads.append(head)
            async with self._arrival:
                self._arrival.notify_all()
            await script(Exchange(head, reader, writer))


@contextmanager
def in_thread(server: WireServer) -> Iterator[WireServer]:
    """Run a server on a loop of its own, for tests that block or fork."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over: asyncio.Event = asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="wire")
    thread.start()
    try:
        assert ready.wait(5)
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)
        loop.close()


class Certificates:
    """A private authority and what it can issue."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_bundle(self, folder: Path) -> Path:
        """Write the authority's certificate as a PEM file."""
        path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return path

    def context(
        self, *names: str, expired: bool = False, days: float | None = None
    ) -> ssl.SSLContext:
        """
        Return a server's context with a certificate for these names (default 127.0.0.1).

        Args:
            days: How much longer it holds.
        """
        days = -1 if expired else days
        end = None if days is None else datetime.now(UTC) + timedelta(days=days)
        start = datetime.now(UTC) - timedelta(days=30)
        leaf = self._ca.issue_cert(*(names or ("127.0.0.1",)), not_before=start, not_after=end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


def self_signed_context() -> ssl.SSLContext:
    """Return a server's context whose certificate nobody but itself vouches for."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ca.private_key_pem.tempfile() as key, ca.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context
