"""
Sending answers, whole or broken. Broken ones really break: sockets are reset, bodies end early.

The only place of the simulator that touches transports.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

from aiohttp import web

from bulkaudio.simulator.faults import Fault

PIECE_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_UNFRAMED_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{}Connection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    An answer to be sent.

    Attributes:
        is_chunked: In HTTP chunks, without a length.
        is_framed: False: neither length nor chunks; the end of the connection is the end.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    is_chunked: bool = False
    is_framed: bool = True


async def send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send it all, undamaged."""
    if not reply.is_framed:
        return await _send_unframed(request, reply)
    headers = {"Content-Type": reply.content_type, **reply.headers}
    if not reply.is_chunked:
        return web.Response(status=reply.status, body=reply.body, headers=headers)
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    for start in range(0, len(reply.body), PIECE_BYTES):
        await response.write(reply.body[start : start + PIECE_BYTES])
    return response


async def send_broken(
    request: web.BaseRequest, reply: Reply, fault: Fault, *, pause_s: float
) -> web.StreamResponse:
    """Send what `fault` leaves of it."""
    match fault:
        case Fault.RESET:
            return _reset(request)
        case Fault.HANG:
            await asyncio.sleep(pause_s)
            return await send(request, reply)
        case Fault.DRIP:
            return await _drip(request, reply, pause_s)
        case _:
            return await _cut(request, reply, fault)


async def _cut(request: web.BaseRequest, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Send half of the body, then break the connection in the way that was asked for."""
    response = web.StreamResponse(
        status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers}
    )
    if fault is Fault.CUT_CHUNKS or (reply.is_chunked and fault is Fault.RESET_BODY):
        response.enable_chunked_encoding()
    else:
        response.content_length = len(reply.body)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        await response.write(reply.body[: len(reply.body) // 2])
    if fault is Fault.RESET_BODY:
        # A reset overtakes bytes that have not left yet; a moment lets them through.
        await asyncio.sleep(0.01)
        _reset(request)
    elif request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.BaseRequest, reply: Reply, pause_s: float) -> web.StreamResponse:
    response = web.StreamResponse(
        status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers}
    )
    response.content_length = len(reply.body)
    await response.prepare(request)
    first = reply.body[:10]
    for at in range(len(first)):
        await response.write(first[at : at + 1])
        await asyncio.sleep(pause_s / 10)
    await response.write(reply.body[len(first) :])
    return response


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection so that the peer sees a reset, not an end."""
    if request.transport is not None:
        peer = request.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
    return web.Response(status=500)


async def _send_unframed(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """
    Write past aiohttp, which would frame any answer.

    Closing lets what is buffered leave first; the response that is returned finds a closed
    connection and goes nowhere.
    """
    if request.transport is not None:
        headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = _UNFRAMED_HEAD.format(reply.content_type, headers).encode("ascii")
        request.transport.write(head + reply.body)
        request.transport.close()
    return web.Response(status=500)
