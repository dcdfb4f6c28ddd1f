"""
What stands between a client and its object store, and does what networks and stores do.

A rule looks at each request's head and says how it is treated; None: passed on as it is.
"""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.objects.signing import signed_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    One request's head.

    Attributes:
        number: Counted from 1, over all connections.
        headers: Names in lower case.
    """

    number: int
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answered here; the store never sees the request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """
    Passed on, with something done to it.

    Attributes:
        without: Names of headers that the store does not know, in lower case.
        corrupt: One bit of the body is turned over.
        drop_answer: The store does it, and nobody is told.
        cut_body_at: The connection breaks when so much of the body has gone on.
    """

    without: frozenset[str] = frozenset()
    corrupt: bool = False
    drop_answer: bool = False
    cut_body_at: int | None = None


Treatment = Answer | Pass | None
Rule = Callable[[Asked], Treatment]


def slow_down() -> Answer:
    """Say what S3 says when it is asked too often."""
    body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce</Message></Error>"
    return Answer(status=503, body=body, headers={"Content-Type": "application/xml"})


def refused(code: str = "AccessDenied", status: int = 403) -> Answer:
    """Say no, as S3 does."""
    return Answer(status=status, body=f"<Error><Code>{code}</Code></Error>".encode())


class Between:
    """A running one; `rule` may be changed at any time."""

    def __init__(self, upstream: str | None) -> None:
        self.upstream = upstream
        self.rule: Rule = lambda _: None
        self.asked: list[Asked] = []
        self.endpoint = ""
        self._lock = threading.Lock()

    def note(self, asked: Asked) -> Asked:
        """Remember a request, without its body; returns it with its number."""
        with self._lock:
            numbered = replace(asked, number=len(self.asked) + 1)
            self.asked.append(replace(numbered, body=b""))
        return numbered

    def count(self, method: str, part: str = "") -> int:
        """How often that was asked."""
        return sum(1 for it in self.asked if it.method == method and part in it.target)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    between: Between

    def _serve(self) -> None:
        headers = {name.lower(): text for name, text in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = self.between.note(
            Asked(number=0, method=self.command, target=self.path, headers=headers, body=body)
        )
        treatment = self.between.rule(asked)
        if isinstance(treatment, Answer):
            self._answer(treatment)
        else:
            self._pass(asked, treatment or Pass())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  the library's names

    def _pass(self, asked: Asked, how: Pass) -> None:
        assert self.between.upstream is not None
        body = asked.body
        if how.corrupt and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        host = self.between.upstream.partition("://")[2].partition("/")[0]
        store = http.client.HTTPConnection(host, timeout=120)
        try:
            store.putrequest(asked.method, asked.target, skip_host=True, skip_accept_encoding=True)
            headers = {n: text for n, text in asked.headers.items() if n not in how.without}
            if len(headers) < len(asked.headers):
                headers = signed_again(asked.method, asked.target, headers)
            for name, text in headers.items():
                store.putheader(name, text)
            if how.cut_body_at is not None:
                store.endheaders(body[: how.cut_body_at])
                self.close_connection = True
                return
            store.endheaders(body)
            answer = store.getresponse()
            content = answer.read()
            if how.drop_answer:
                self.close_connection = True
                return
            told = {name: text for name, text in answer.getheaders() if name.lower() not in _HOP}
            self._answer(Answer(status=answer.status, body=content, headers=told))
        finally:
            store.close()

    def _answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        told = {name.lower() for name in answer.headers}
        headers = dict(answer.headers)
        if answer.status != 204 and "content-length" not in told:
            headers["Content-Length"] = str(len(answer.body))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def handle_one_request(self) -> None:
        # A client that went away is what some tests are about.
        with suppress(ConnectionError, http.client.HTTPException, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


_HOP = {"transfer-encoding", "connection", "keep-alive"}


@contextmanager
def between(upstream: str | None, tls: ssl.SSLContext | None = None) -> Iterator[Between]:
    """Run one on a free port of this machine."""
    running = Between(upstream)
    handler = type("Handler", (_Handler,), {"between": running})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    path = "/" + upstream.split("/", 3)[3] if upstream and upstream.count("/") > 2 else ""
    running.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}{path}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
