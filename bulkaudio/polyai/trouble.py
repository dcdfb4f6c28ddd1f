"""
Where on its way a request failed, for whoever has to mend it.

A run only has to know whether to try again; a person wants to know what to look at: the name, the
connection, the certificate, the proxy or the answer.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum

import aiohttp

from bulkaudio.naming import printable
from bulkaudio.polyai.translate import REDIRECTED


class Stage(StrEnum):
    """What a request has to get past, in order."""

    NAME = "name"
    PROXY = "proxy"
    CONNECTION = "connection"
    TLS = "tls"
    ANSWER = "answer"


_STAGES: tuple[tuple[type[BaseException], Stage], ...] = (
    (aiohttp.ClientConnectorDNSError, Stage.NAME),
    (aiohttp.ClientProxyConnectionError, Stage.PROXY),
    (aiohttp.ClientHttpProxyError, Stage.PROXY),
    (aiohttp.ClientSSLError, Stage.TLS),
    (ssl.SSLError, Stage.TLS),
    (aiohttp.ClientConnectorError, Stage.CONNECTION),
    (aiohttp.ConnectionTimeoutError, Stage.CONNECTION),
)
"""The narrower kind comes first."""


def stage_of(failure: BaseException) -> Stage:
    """Say what a failure of `Session.get` did not get past."""
    if redirected_to(failure) is not None:
        # The host itself has answered, with where to go.
        return Stage.ANSWER
    if _proxy_note(failure) is not None:
        return Stage.PROXY
    for error in _causes(failure):
        for kind, stage in _STAGES:
            if isinstance(error, kind):
                return stage
    return Stage.ANSWER


def redirected_to(failure: BaseException) -> str | None:
    """Name the host that a redirect led to, where that is the one that failed."""
    notes = (note for note in _notes(failure) if note.startswith(REDIRECTED))
    return next((printable(note.removeprefix(REDIRECTED), 200) for note in notes), None)


def words_of(failure: BaseException) -> str | None:
    """Return the system's own words about a failure, or the proxy's; None where there are none."""
    refusal = _proxy_note(failure)
    if refusal is not None:
        return f"it answers {printable(refusal, 80)}".rstrip()
    for error in _causes(failure):
        if isinstance(error, ssl.SSLError):
            return printable((error.reason or "").replace("_", " ").lower(), 80) or None
        if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
            return printable(os.strerror(error.errno), 80).lower()
    return None


def _proxy_note(failure: BaseException) -> str | None:
    """What a proxy said: an error that holds the request's headers is no cause, but a note."""
    begin = f"{aiohttp.ClientHttpProxyError.__name__}: "
    notes = (note for note in _notes(failure) if note.startswith(begin))
    return next((note.removeprefix(begin) for note in notes), None)


def _notes(failure: BaseException) -> tuple[str, ...]:
    return tuple(getattr(failure, "__notes__", ()))


def _causes(failure: BaseException) -> Iterator[BaseException]:
    error: BaseException | None = failure.__cause__
    while error is not None:
        # aiohttp keeps the system's error as an attribute, and says less itself.
        inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
        if isinstance(inner, BaseException):
            yield from (error, inner) if not isinstance(inner, ssl.SSLError) else (inner, error)
        else:
            yield error
        error = error.__cause__


def addresses_of(name: str, port: int) -> tuple[str, ...]:
    """
    Look a name up as requests do; blocks.

    Raises:
        OSError: There is no such name, or nobody who knows.
    """
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))
