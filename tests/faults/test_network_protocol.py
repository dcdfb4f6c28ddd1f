"""Answers that are no proper HTTP: contradictory lengths, garbage, heads without an end."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.answers import Fault, answers, faults, sized, some, suffer, transient, wav_in
from tests.oracle import trial_on
from tests.plans import Plans, subject, whole
from tests.wire import Exchange, Script, WireServer, hangs, http_head, says_raw


def with_head(*headers: tuple[str, str], status: str = "200 OK") -> Script:
    """Answer with the recording behind this head."""
    return answers(lambda wav: http_head(status, headers) + wav, Exchange.close)


LENGTH = ("Content-Length", "844")
CHUNKED = ("Transfer-Encoding", "chunked")


def chunks(text: bytes) -> Script:
    """Answer with this instead of chunks."""
    return says_raw(http_head(200, [CHUNKED]) + text)


CONTRADICTIONS = {
    "two lengths": with_head(LENGTH, ("Content-Length", "843")),
    "two lengths in one": with_head(("Content-Length", "844, 843")),
    "negative length": with_head(("Content-Length", "-1")),
    "length with a plus": with_head(("Content-Length", "+844")),
    "length in words": with_head(("Content-Length", "many")),
    "length in hex": with_head(("Content-Length", "0x34c")),
    "fractional length": with_head(("Content-Length", "844.0")),
    "length with other digits": with_head(("Content-Length", "Ù¨Ù¤Ù¤")),
    "length and chunks": with_head(LENGTH, CHUNKED),
    "unknown transfer coding": with_head(("Transfer-Encoding", "chunked, chunked")),
    "chunk size in words": chunks(b"zz\r\nRIFF\r\n0\r\n\r\n"),
    "negative chunk size": chunks(b"-5\r\nRIFF\r\n0\r\n\r\n"),
    "chunk without its line end": chunks(b"4\r\nRIFFxx0\r\n\r\n"),
}
GARBAGE = {
    "another protocol": says_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "tls to a plain request": says_raw(b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"),
    "binary": says_raw(bytes(range(256)) + b"\r\n\r\n"),
    "status in words": with_head(LENGTH, status="OK"),
    "status of four digits": with_head(LENGTH, status="2000 OK"),
    "header without a colon": answers(lambda wav: b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n" + wav),
    "control character in a name": with_head(("X-\x01", "1"), LENGTH),
    "zero byte in a value": with_head(("X-Null", "a\x00b"), LENGTH),
    "bare body": answers(lambda wav: wav + b"\r\n\r\n", Exchange.close),
}
HUGE = {
    "header of 1 MB": with_head(("X-Huge", "x" * 10**6), LENGTH),
    "name of 1 MB": with_head(("X" * 10**6, "1"), LENGTH),
    "status line of 1 MB": with_head(LENGTH, status="200 " + "x" * 10**6),
    "100,000 headers": with_head(*((f"X-{n}", "1") for n in range(100_000)), LENGTH),
}


async def endless_header(exchange: Exchange) -> None:
    """Send one header that never ends."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while True:
        await exchange.send(b"x" * 65536)


async def endless_headers(exchange: Exchange) -> None:
    """Send headers without an end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-More: 1\r\n" * 4096)


async def endless_interim(exchange: Exchange) -> None:
    """Never come to the point."""
    while True:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1024)


ENDLESS: dict[str, Script] = {
    "header": endless_header,
    "headers": endless_headers,
}

PROTOCOL = {
    name: transient(script, "protocol", attempts=5)
    for name, script in {
        **CONTRADICTIONS,
        **GARBAGE,
        **HUGE,
        **{f"endless {what}": script for what, script in ENDLESS.items()},
    }.items()
}


@faults(
    PROTOCOL,
    quick=["two lengths", "negative length", "header of 1 MB", "endless headers"],
)
async def test_what_is_no_http_is_asked_for_once_more(fault: Fault, tmp_path: Path) -> None:
    """Five attempts are allowed, two are made, and memory stays what it is."""
    async with WireServer() as server:
        ended = await suffer(fault, server, tmp_path)
    assert ended.peak_rss_kib < 100 * 1024


INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102 and 103": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "one hundred of them": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


@pytest.mark.parametrize("interim", some(INTERIM, "102 and 103"))
async def test_interim_answers_are_passed_over(interim: bytes, tmp_path: Path) -> None:
    """The answer is the one that follows, to the same request."""
    async with WireServer(answers(lambda wav: interim + sized(wav))) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2", speed=10.0)
        ended = await trial.download(*trial.csv("CA1", "CA2"))
        assert (ended.code, len(server.heads)) == (0, 2), ended.stderr
        await trial.healed(*trial.csv("CA1", "CA2"))


@pytest.mark.slow
async def test_interim_answers_without_an_end_are_a_timeout(tmp_path: Path) -> None:
    """A minute and a half for a head, however busy the host is with not sending it."""
    async with WireServer() as server:
        ended = await suffer(transient(endless_interim, "timeout", speed=60.0), server, tmp_path)
    assert ended.peak_rss_kib < 100 * 1024


EXTRA: dict[str, Script] = {
    "a byte too many": answers(lambda wav: sized(wav) + b"\0"),
    "a second recording": answers(lambda wav: sized(wav) + wav),
    "bytes behind the last chunk": answers(
        lambda wav: http_head(200, [CHUNKED]) + b"34c\r\n" + wav + b"\r\n0\r\n\r\nmore"
    ),
    "a length that is a byte short": with_head(("Content-Length", "843")),
    "a length of the header": with_head(("Content-Length", "44")),
}


@faults(
    {name: transient(script, "protocol", attempts=5) for name, script in EXTRA.items()},
    quick=["a length that is a byte short"],
)
async def test_more_bytes_than_announced_are_a_protocol_error(fault: Fault, tmp_path: Path) -> None:
    """Whichever of the two is wrong, neither is believed."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


async def smuggles(exchange: Exchange) -> None:
    """Answer rightly, and the next request as well before it is made, wrongly."""
    wrong = bytearray(wav_in(exchange))
    wrong[100:200] = bytes(100)
    await exchange.send(sized(wav_in(exchange)) + sized(bytes(wrong)))


async def adds_later(exchange: Exchange) -> None:
    """Answer rightly, and once go on when the connection is idle, or busy with the next request."""
    await exchange.send(sized(wav_in(exchange)))
    if subject(exchange.head.target)[0] == "CA1":
        await asyncio.sleep(0.02)
        await exchange.send(wav_in(exchange))


@pytest.mark.parametrize("script", [smuggles, adds_later])
async def test_what_nobody_asked_for_reaches_no_recording(script: Script, tmp_path: Path) -> None:
    """An answer that comes before its request is not taken for that of the next one."""
    ids = [f"CA{number}" for number in range(5)]
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=10.0)
        words = (*trial.csv(*ids), "--concurrency", "1")
        ended = await trial.download(*words)
        assert ended.code == 0, ended.stderr
        assert max(trial.asked().values()) <= 2
        server.scripts = (whole,)
        await trial.healed(*words)


LENGTHS = ("5000000000", "9" * 18, "9" * 19, "9" * 25)


@pytest.mark.parametrize("length", some({each: each for each in LENGTHS}, LENGTHS[0]))
async def test_a_length_beyond_all_limits_costs_nothing(length: str, tmp_path: Path) -> None:
    """It is refused by its head; or, when no number is that long, never believed."""
    script = answers(lambda wav: http_head(200, [("Content-Length", length)]) + wav, hangs)
    plans = Plans({"CA1": (script,)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2", speed=60.0)
        words = (*trial.csv("CA1", "CA2"), "--attempts", "2")
        ended = await trial.download(*words)
        status, reason = trial.statuses()["combined/CA1"]
        assert (ended.code, status) == (3, "failed")
        assert reason in {"too_large", "protocol"}
        assert plans.asked["CA1"] == (1 if reason == "too_large" else 2)
        assert trial.saved() == {"combined/CA2.wav"}
        server.scripts = (whole,)
        await trial.healed(*words)
