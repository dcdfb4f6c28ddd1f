"""Answers of 200 that hold no recording, another label, another encoding, or far too much."""

import gzip
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.audio import wav_of
from tests.faults.answers import (
    LASTING,
    OTHER,
    Fault,
    answers,
    download_hooked,
    faults,
    limit_bodies,
    permanent,
    sized,
    some,
    suffer,
    transient,
    until_close,
    wav_in,
)
from tests.oracle import trial_on
from tests.plans import Plans, subject, whole
from tests.wire import Exchange, Script, WireServer, hangs, http_head, says, says_json, says_raw

HTML = b"<!doctype html><title>Sign in</title><p>Sign in"


def labelled(body: bytes) -> Script:
    """Send a body as if it were a recording."""
    return says(200, body, content_type="audio/wav")


def with_status(status: int) -> Script:
    """Send the right bytes with the wrong status."""
    return answers(
        lambda wav: (
            http_head(status, [("Content-Length", "844"), ("Content-Range", "bytes 0-843/844")])
            + wav
        )
    )


NO_AUDIO: dict[str, Script] = {
    "html": says(200, HTML, content_type="text/html"),
    "html as a recording": labelled(HTML),
    "html before a recording": answers(lambda wav: sized(HTML + wav)),
    "json": says_json(200, {"url": "https://storage.example/x"}),
    "json as a recording": labelled(b'{"error_code": "CONVERSATIONS_NOT_FOUND"}'),
    "empty": says(200),
    "empty as a recording": labelled(b""),
    "empty in chunks": says_raw(http_head(200, [("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n"),
    "empty, without a frame": says_raw(until_close(b"")),
    "one byte": labelled(b"X"),
    "zeros": labelled(bytes(844)),
    "mp3": labelled(b"ID3\x04" + bytes(840)),
    "ogg": labelled(b"OggS" + bytes(840)),
    "201": with_status(201),
    "202": says_json(202, {"status": "processing"}),
    "203": with_status(203),
    "204": says_raw(http_head(204)),
    "205": says_raw(http_head(205, [("Content-Length", "0")])),
    "206": with_status(206),
    "304": says_raw(http_head(304)),
}


@faults(
    {
        name: transient(script, "not_audio", asked=3, attempts=5)
        for name, script in NO_AUDIO.items()
    },
    quick=["html", "empty", "206"],
)
async def test_what_is_no_recording_is_never_stored(fault: Fault, tmp_path: Path) -> None:
    """Five attempts are allowed, three are made, and no byte of it stays."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


LABELS = {
    "text/html": True,
    "application/json": True,
    "audio/mpeg": True,
    "nonsense;;;": True,
    "text/html; charset=utf-8": True,
    "audio/wav": False,
    "AUDIO/X-WAV; codec=1": False,
    "application/octet-stream": False,
    "": False,
}


@pytest.mark.parametrize(
    ("label", "is_noted"),
    some({label: (label, is_noted) for label, is_noted in LABELS.items()}, "text/html"),
)
async def test_bytes_decide_and_not_their_label(
    label: str, tmp_path: Path, *, is_noted: bool
) -> None:
    """A recording is kept whatever it is called; a wrong name is noted, once."""

    async def script(exchange: Exchange) -> None:
        await says(200, wav_in(exchange), content_type=label)(exchange)

    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING, OTHER))
        assert (ended.code, len(server.heads)) == (0, 2), ended.stderr
        assert len(ended.summary["notes"]) == (1 if is_noted else 0)
        await trial.healed(*trial.csv(LASTING, OTHER))


def encoded(name: str) -> Script:
    """Send the recording in gzip, whatever the encoding is called."""

    async def script(exchange: Exchange) -> None:
        body = gzip.compress(wav_in(exchange))
        await says(200, body, content_type="audio/wav", content_encoding=name)(exchange)

    return script


BOMB = zlib.compress(bytes(80_000_000), 9)
GZIP_BOMB = gzip.compress(bytes(80_000_000), 9)

ENCODED: dict[str, Script] = {
    **{name: encoded(name) for name in ("gzip", "x-gzip", "deflate", "br", "zstd", "GZIP")},
    "gzip twice": encoded("gzip, gzip"),
    "unknown": encoded("nonsense"),
    "identity and gzip": encoded("identity, gzip"),
    "gzip in name only": answers(
        lambda wav: http_head(200, [("Content-Length", "844"), ("Content-Encoding", "gzip")]) + wav
    ),
    "gzip cut short": answers(
        lambda wav: (
            http_head(200, [("Content-Encoding", "gzip"), ("Connection", "close")])
            + gzip.compress(wav)[:-20]
        ),
        Exchange.close,
    ),
    "80 kB that mean 80 MB": says(200, GZIP_BOMB, content_encoding="gzip"),
    "80 kB of deflate that mean 80 MB": says(200, BOMB, content_encoding="deflate"),
    "bomb in chunks": says_raw(
        http_head(200, [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")])
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GZIP_BOMB), GZIP_BOMB)
    ),
}


@faults(
    {name: permanent(script, "encoding") for name, script in ENCODED.items()},
    quick=["gzip cut short", "80 kB that mean 80 MB"],
)
async def test_an_encoding_that_nobody_asked_for_is_refused_unread(
    fault: Fault, tmp_path: Path
) -> None:
    """One request, nothing stored, nothing unpacked: memory stays what it is."""
    async with WireServer() as server:
        ended = await suffer(fault, server, tmp_path)
    assert ended.peak_rss_kib < 80 * 1024
    assert {head.header("Accept-Encoding") for head in server.heads} == {"identity"}


@pytest.mark.slow
@pytest.mark.parametrize("body", [GZIP_BOMB, BOMB], ids=["gzip", "deflate"])
async def test_an_error_that_unpacks_is_not_unpacked(body: bytes, tmp_path: Path) -> None:
    """Errors are read, too; theirs is as harmless."""
    fault = permanent(says(400, body, content_encoding="gzip"), "http_400")
    async with WireServer() as server:
        ended = await suffer(fault, server, tmp_path)
    assert ended.peak_rss_kib < 80 * 1024


@pytest.mark.slow
async def test_identity_is_no_encoding(tmp_path: Path) -> None:
    """A server may say so."""

    async def script(exchange: Exchange) -> None:
        await says(200, wav_in(exchange), content_encoding="Identity")(exchange)

    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        assert (await trial.download(*trial.csv(LASTING))).code == 0
        await trial.healed(*trial.csv(LASTING))


# Too much.

LIMIT = 1_000_000
PIECE = bytes(65_536)


def endless(head: bytes, first: bytes, piece: bytes) -> Script:
    """Begin as a recording does and never end."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(head + first)
        while True:
            await exchange.send(piece)

    return script


START = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + bytes(16) + b"data\xff\xff\xff\xff"
TOO_LARGE: dict[str, Script] = {
    "endless chunks": endless(
        http_head(200, [("Transfer-Encoding", "chunked")]),
        b"%x\r\n%b\r\n" % (len(START), START),
        b"10000\r\n" + PIECE + b"\r\n",
    ),
    "endless without a frame": endless(http_head(200, [("Connection", "close")]), START, PIECE),
    "a byte above the limit, announced": says_raw(
        http_head(200, [("Content-Length", str(LIMIT + 1))]) + START, end=hangs
    ),
    "a byte above the limit, in chunks": says_raw(
        http_head(200, [("Transfer-Encoding", "chunked")])
        + b"%x\r\n%b\r\n0\r\n\r\n" % (LIMIT + 1, START + bytes(LIMIT + 1 - len(START)))
    ),
    "endless error": endless(http_head(400, [("Connection", "close")]), b"{", PIECE),
}


@pytest.mark.parametrize(
    "name", some({name: name for name in TOO_LARGE}, "endless without a frame")
)
async def test_a_body_above_the_limit_is_left_there(name: str, tmp_path: Path) -> None:
    """Failed at the limit by its one request, with nothing kept of it and flat memory."""
    plans = Plans({LASTING: (TOO_LARGE[name],)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        words = trial.csv(LASTING, OTHER)
        ended = await download_hooked(trial, limit_bodies, (LIMIT,), *words)
        assert ended.code == 3, ended.stderr
        reason = "http_400" if name == "endless error" else "too_large"
        assert trial.statuses()[f"combined/{LASTING}"] == ("failed", reason)
        assert plans.asked == {LASTING: 1, OTHER: 1}
        assert ended.peak_rss_kib < 80 * 1024
        server.scripts = (whole,)
        await trial.healed(*words)


async def test_a_body_of_just_the_limit_is_kept(tmp_path: Path) -> None:
    """The limit is the last size that is allowed."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        ended = await download_hooked(trial, limit_bodies, (844,), *trial.csv(LASTING))
        assert ended.code == 0, ended.stderr
        await trial.healed(*trial.csv(LASTING))


# The same bytes for everybody.

SHARES = ((2, 3), (3, 0), (7, 3), (40, 1))


@pytest.mark.parametrize(
    ("same", "others"),
    some({f"{same} of {same + rest}": (same, rest) for same, rest in SHARES}, "7 of 10"),
)
async def test_the_same_bytes_for_many_calls_are_suspicious(
    same: int, others: int, tmp_path: Path
) -> None:
    """From three on they are told in the summary, with their digest; they are kept all the same."""
    ids = [f"CA{number:02}" for number in range(same + others)]
    tone = wav_of("a tone")

    async def script(exchange: Exchange) -> None:
        is_tone = subject(exchange.head.target)[0] in ids[:same]
        body = tone if is_tone else wav_in(exchange)
        await says(200, body, content_type="audio/wav")(exchange)

    async with WireServer(script) as server:
        plain = trial_on(server, tmp_path / "work", *ids, speed=10.0)
        tones = {f"combined/{id_}.wav": tone for id_ in ids[:same]}
        trial = replace(plain, truth={**plain.truth, **tones})
        ended = await trial.download(*trial.csv(*ids))
        assert ended.code == 0, ended.stderr
        await trial.healed(*trial.csv(*ids))
    found = ended.summary["suspicious"]
    assert [each["conversations"] for each in found] == ([same] if same >= 3 else [])
    for each in found:
        assert each["sha256"] == hashlib.sha256(tone).hexdigest()
        assert each["bytes"] == len(tone)
        assert set(each["examples"]) <= set(ids[:same])
