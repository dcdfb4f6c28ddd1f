"""Recordings of every form: kept byte for byte when they are whole, and only then."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.audio import RATE_HZ, pcm_wav, wav_of
from tests.faults.answers import (
    OTHER,
    End,
    Fault,
    faults,
    sized,
    some,
    suffer,
    transient,
    until_close,
)
from tests.oracle import trial_on
from tests.plans import STREAMED, Plans, listed_wav, mulaw_wav, resized, riff
from tests.wire import Exchange, Script, WireServer, chunked, http_head, says_raw

WAV = wav_of("a form")
FORMAT, AUDIO = WAV[20:36], WAV[44:]
PCM = ((b"fmt ", FORMAT), (b"data", AUDIO))


def in_pieces(wav: bytes) -> bytes:
    """Frame by chunks that split the header."""
    return http_head(200, [("Transfer-Encoding", "chunked")]) + chunked(
        *(piece for piece in (wav[:1], wav[1:13], wav[13:50], wav[50:]) if piece)
    )


FRAMES: Mapping[str, tuple[Callable[[bytes], bytes], End | None]] = {
    "length": (sized, None),
    "chunks": (in_pieces, None),
    "none": (until_close, Exchange.close),
    "none, reset": (until_close, Exchange.reset),
}
FRAMED = ("length", "chunks")


def framed(wav: bytes, frame: str) -> Script:
    """Answer with these bytes in one of the frames."""
    make, end = FRAMES[frame]
    if end is not None:
        return says_raw(make(wav), end=end)

    async def script(exchange: Exchange) -> None:
        await exchange.send(make(wav))

    return script


def form(tag: int, channels: int, rate: int, bits: int, *, extra: bytes = b"") -> bytes:
    """Spell a format chunk."""
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + extra


def extensible(tag: int) -> bytes:
    """Spell an extensible format."""
    tail = bytes.fromhex("000000001000800000aa00389b71")
    return form(0xFFFE, 1, RATE_HZ, 16, extra=struct.pack("<HHIH", 22, 16, 4, tag) + tail)


def sizes(riff_size: int | None = None, data_size: int | None = None) -> bytes:
    """Return the plain recording with other sizes in its headers."""
    wav = bytearray(WAV)
    if riff_size is not None:
        wav[4:8] = struct.pack("<I", riff_size)
    if data_size is not None:
        wav[40:44] = struct.pack("<I", data_size)
    return bytes(wav)


def rf64(name: bytes = b"RF64", *, audio: bytes = AUDIO, stated: int | None = None) -> bytes:
    """Spell a recording with 64-bit sizes."""
    data_size = len(audio) if stated is None else stated
    riff_size = 4 + 8 + 28 + 8 + 16 + 8 + data_size
    ds64 = struct.pack("<QQQI", riff_size, data_size, data_size // 2, 0)
    return (
        name
        + struct.pack("<I", STREAMED)
        + b"WAVEds64"
        + struct.pack("<I", 28)
        + ds64
        + b"fmt "
        + struct.pack("<I", 16)
        + FORMAT
        + b"data"
        + struct.pack("<I", STREAMED)
        + audio
    )


def unpadded(*chunks: tuple[bytes, bytes]) -> bytes:
    """Spell a RIFF file by a writer that leaves pad bytes out."""
    body = b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    A recording's bytes.

    Attributes:
        needs_frame: Its sizes do not say where it ends, so the transfer has to.
    """

    wav: bytes
    needs_frame: bool = False


BIG = STREAMED - 7
KEPT: dict[str, Form] = {
    "pcm": Form(wav=WAV),
    "8 bits": Form(wav=riff((b"fmt ", form(1, 1, RATE_HZ, 8)), (b"data", AUDIO[:399]))),
    "24 bits, stereo": Form(wav=riff((b"fmt ", form(1, 2, 48000, 24)), (b"data", AUDIO[:600]))),
    "float": Form(wav=riff((b"fmt ", form(3, 1, RATE_HZ, 32)), (b"data", AUDIO))),
    "a-law": Form(wav=riff((b"fmt ", form(6, 1, RATE_HZ, 8)), (b"data", AUDIO))),
    "μ-law": Form(wav=mulaw_wav("m")),
    "extensible pcm": Form(wav=riff((b"fmt ", extensible(1)), (b"data", AUDIO))),
    "extensible μ-law": Form(wav=riff((b"fmt ", extensible(7)), (b"data", AUDIO))),
    "unknown codec": Form(wav=riff((b"fmt ", form(0x0161, 1, RATE_HZ, 16)), (b"data", AUDIO))),
    "LIST first": Form(wav=listed_wav("l")),
    "LIST last": Form(wav=riff(*PCM, (b"LIST", b"INFOISFT\x04\0\0\0test"))),
    "JUNK first": Form(wav=riff((b"JUNK", bytes(28)), *PCM)),
    "bext first": Form(wav=riff((b"bext", bytes(602)), *PCM)),
    "odd chunk, padded": Form(wav=riff((b"LIST", b"INFOx"), *PCM)),
    "odd chunk, not padded": Form(wav=unpadded((b"LIST", b"INFOx"), *PCM)),
    "odd data, padded": Form(wav=riff((b"fmt ", FORMAT), (b"data", AUDIO[:399]))),
    "odd data, not padded": Form(wav=unpadded((b"fmt ", FORMAT), (b"data", AUDIO[:399]))),
    "a thousand chunks": Form(wav=riff(*((b"note", b"ab"),) * 1000, *PCM)),
    "RF64": Form(wav=rf64()),
    "BW64": Form(wav=rf64(b"BW64")),
    "no audio, and says so": Form(wav=riff((b"fmt ", FORMAT), (b"data", b""))),
    "RIFF size short by one": Form(wav=sizes(riff_size=len(WAV) - 9)),
    "RIFF size short by many": Form(wav=sizes(riff_size=100)),
    "RIFF size that counts its header": Form(wav=sizes(riff_size=len(WAV)), needs_frame=True),
    "RIFF size long": Form(wav=sizes(riff_size=len(WAV) + 1000), needs_frame=True),
    "RIFF size of 4 GB": Form(wav=sizes(riff_size=BIG), needs_frame=True),
    "RIFF size 0": Form(wav=sizes(riff_size=0), needs_frame=True),
    "RIFF size 0xFFFFFFFF": Form(wav=sizes(riff_size=STREAMED), needs_frame=True),
    "data size 0": Form(wav=sizes(data_size=0), needs_frame=True),
    "data size 0xFFFFFFFF": Form(wav=sizes(data_size=STREAMED), needs_frame=True),
    "both sizes 0": Form(wav=resized(WAV, 0), needs_frame=True),
    "both sizes 0xFFFFFFFF": Form(wav=resized(WAV, STREAMED), needs_frame=True),
    "bytes behind the data": Form(wav=WAV + b"trailing bytes"),
    "zeros behind the data": Form(wav=WAV + bytes(1000)),
}


def frames_of(name: str) -> tuple[str, ...]:
    """Name the frames in which a form is kept; all of them for one, two by turns for the others."""
    if KEPT[name].needs_frame:
        return FRAMED
    if name == "pcm":
        return tuple(FRAMES)
    return by_turns(list(KEPT).index(name))


def by_turns(number: int) -> tuple[str, str]:
    """Name a frame that has an end and one that has none."""
    return ("length", "none, reset") if number % 2 else ("chunks", "none")


@pytest.mark.parametrize(
    ("kept", "frame"),
    some(
        {
            f"{name}, {frame}": (each, frame)
            for name, each in KEPT.items()
            for frame in frames_of(name)
        },
        *("μ-law, none, reset", "RF64, none", "both sizes 0, length", "RIFF size long, length"),
    ),
)
async def test_a_whole_recording_is_kept_byte_for_byte(
    kept: Form, frame: str, tmp_path: Path
) -> None:
    """One request, no byte changed, whatever the form; what is odd about its sizes is noted."""
    wav = kept.wav
    plans = Plans({"CA1": (framed(wav, frame),)})
    async with WireServer(plans) as server:
        plain = trial_on(server, tmp_path / "work", "CA1", OTHER, speed=10.0)
        trial = replace(plain, truth={**plain.truth, "combined/CA1.wav": wav})
        ended = await trial.download(*trial.csv("CA1", OTHER))
        assert ended.code == 0, ended.stderr
        assert plans.asked == {"CA1": 1, OTHER: 1}
        if kept.needs_frame:
            (note,) = ended.summary["notes"]
            assert "kept as they are" in note
        await trial.healed(*trial.csv("CA1", OTHER))


TRUNCATED: dict[str, bytes] = {
    "header alone": WAV[:44],
    "header of a stream alone": resized(WAV, STREAMED)[:44],
    "header of a stream with zeros alone": resized(WAV, 0)[:44],
    "12 bytes": WAV[:12],
    "11 bytes": WAV[:11],
    "one byte": WAV[:1],
    "no data chunk": riff((b"fmt ", FORMAT))[:-4],
    "half a chunk's head": WAV[:40],
    "half a format": WAV[:30],
    "one byte short": WAV[:-1],
    "half of it": WAV[:400],
    "data size above the bytes by one": sizes(data_size=len(AUDIO) + 1),
    "data size of 4 GB": sizes(data_size=BIG),
    "data size of 2 GB": sizes(riff_size=2**31, data_size=2**31),
    "both sizes above the bytes": resized(WAV, len(WAV) + 1000),
    "RF64 of 2^63": rf64(stated=2**63),
    "RF64 short": rf64()[:-10],
    "trailing chunk cut": riff(*PCM, (b"LIST", bytes(100)))[:-50],
    "leading chunk past the end": riff((b"LIST", b"INFO"), *PCM).replace(
        b"LIST\x04\0\0\0", b"LIST\xff\xff\xff\x7f"
    ),
}
NOT_AUDIO: dict[str, bytes] = {
    "RIFX": b"RIFX" + WAV[4:],
    "AVI": WAV[:8] + b"AVI " + WAV[12:],
    "lower case": WAV.replace(b"WAVE", b"wave"),
    "garbage behind the head": WAV[:12] + bytes(800),
    "only JUNK": riff((b"JUNK", bytes(800))),
    "shifted by a byte": b"\0" + WAV,
    "byte order mark": b"\xef\xbb\xbf" + WAV,
}
FLAWED = {**dict.fromkeys(TRUNCATED, "truncated"), **dict.fromkeys(NOT_AUDIO, "not_audio")}
BYTES = {**TRUNCATED, **NOT_AUDIO}
QUICK_FLAWED = [
    "header alone, chunks",
    "data size above the bytes by one, length",
    "AVI, chunks",
]


@faults(
    {
        f"{name}, {frame}": transient(framed(BYTES[name], frame), reason)
        for number, (name, reason) in enumerate(FLAWED.items())
        for frame in by_turns(number)
    },
    quick=QUICK_FLAWED,
)
async def test_what_is_no_whole_recording_is_never_stored(fault: Fault, tmp_path: Path) -> None:
    """However well it was framed: its own headers say that something is missing or wrong."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


@faults(
    {
        f"{name}, {frame}": transient(framed(each.wav, frame), "truncated")
        for name, each in KEPT.items()
        if each.needs_frame
        for frame in ("none", "none, reset")
    },
    quick=["both sizes 0xFFFFFFFF, none", "RIFF size long, none, reset"],
)
async def test_streamed_sizes_are_not_believed_without_a_frame(
    fault: Fault, tmp_path: Path
) -> None:
    """Nothing says where such a recording ends, so what arrived may be any part of it."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


@pytest.mark.slow
async def test_a_recording_of_many_megabytes_is_kept_in_flat_memory(tmp_path: Path) -> None:
    """Twenty megabytes for each of three, and no more memory than for as many kilobytes."""
    wav = pcm_wav(1250.0, "long")
    ids = ("CA1", "CA2", "CA3")

    async def script(exchange: Exchange) -> None:
        await exchange.send(sized(wav))

    async with WireServer(script) as server:
        plain = trial_on(server, tmp_path / "work", *ids)
        trial = replace(plain, truth={f"combined/{id_}.wav": wav for id_ in ids})
        ended = await trial.download(*trial.csv(*ids))
        assert ended.code == 0, ended.stderr
        assert ended.peak_rss_kib < 90 * 1024
        await trial.healed(*trial.csv(*ids))
