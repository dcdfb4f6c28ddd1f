"""Hosts that say nothing, or next to nothing."""

import asyncio
from pathlib import Path

from tests.faults.answers import (
    Fault,
    answers,
    faults,
    in_chunks,
    sized,
    suffer,
    transient,
    until_close,
    wav_in,
)
from tests.wire import Exchange, Script, WireServer, hangs, http_head

SPEED = 40.0
"""A minute of silence takes a second and a half."""


def drips(head: bytes) -> Script:
    """Send a head, then a byte of the recording every fifth of a second."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(head)
        await exchange.drip(wav_in(exchange), every_s=0.2 / SPEED)
        await exchange.hang()

    return script


async def drips_its_head(exchange: Exchange) -> None:
    """Send a byte of the head every three seconds: none of the silences is long."""
    await exchange.drip(sized(wav_in(exchange)), every_s=3.0 / SPEED)


async def drips_chunks(exchange: Exchange) -> None:
    """Send a chunk of one byte every fifth of a second."""
    await exchange.send(http_head(200, [("Transfer-Encoding", "chunked")]))
    for byte in wav_in(exchange):
        await exchange.send(b"1\r\n%c\r\n" % byte)
        await asyncio.sleep(0.2 / SPEED)
    await exchange.hang()


async def trickles(exchange: Exchange) -> None:
    """Send much at once, and then next to nothing."""
    await exchange.send(http_head(200, [("Content-Length", "100000")]))
    wav = wav_in(exchange)
    await exchange.send(wav[:4] + b"\x98\x86\x01\0" + wav[8:])
    await exchange.drip(bytes(2000), every_s=0.2 / SPEED)
    await exchange.hang()


SILENCE: dict[str, Script] = {
    "before the answer": hangs,
    "in the status line": answers(lambda wav: sized(wav)[:7], hangs),
    "in a header": answers(lambda wav: sized(wav)[:30], hangs),
    "after the head": answers(lambda wav: sized(wav)[:-844], hangs),
    "after the first byte": answers(lambda wav: sized(wav)[:-843], hangs),
    "in the middle": answers(lambda wav: sized(wav)[:-400], hangs),
    "before the last byte": answers(lambda wav: sized(wav)[:-1], hangs),
    "in a chunk": answers(lambda wav: in_chunks(wav)[:-200], hangs),
    "before the last chunk": answers(lambda wav: in_chunks(wav)[:-5], hangs),
    "in the last chunk": answers(lambda wav: in_chunks(wav)[:-2], hangs),
    "without a frame": answers(lambda wav: until_close(wav)[:-400], hangs),
    "without a frame, all there": answers(until_close, hangs),
}
SLOWNESS: dict[str, Fault] = {
    **{name: transient(script, "timeout", speed=SPEED) for name, script in SILENCE.items()},
    "a head by the byte": transient(drips_its_head, "timeout", speed=SPEED),
    "a body by the byte": transient(
        drips(http_head(200, [("Content-Length", "844")])), "stalled", speed=SPEED
    ),
    "a body by the byte, without a frame": transient(
        drips(http_head(200, [("Connection", "close")])), "stalled", speed=SPEED
    ),
    "chunks of a byte": transient(drips_chunks, "stalled", speed=SPEED),
    "a trickle after a start": transient(trickles, "stalled", speed=SPEED),
}


@faults(SLOWNESS, quick=["in the middle", "a body by the byte"])
async def test_a_transfer_that_never_ends_is_ended(fault: Fault, tmp_path: Path) -> None:
    """Every kind of silence has its time-out, and a minimum flow ends what is not quite silent."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)
