"""The WAV proof: finds what a file holds, believes no size that the bytes do not bear out."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.model import Audio
from bulkaudio.wav import Flaw, looks_like_wav, prove
from tests.audio import pcm_wav

STREAMED = 0xFFFF_FFFF
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
CODECS = {1: "pcm", 3: "float", 6: "alaw", 7: "mulaw", 0x31: "0x0031"}


def judge(data: bytes, *, framed: bool) -> Audio | Flaw:
    """Prove bytes."""
    return prove(lambda at, size: data[at : at + size], len(data), framed=framed)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """Make a chunk, padded to an even length; `size` is what it claims to hold."""
    claimed = len(body) if size is None else size
    return name + struct.pack("<I", claimed) + body + b"\0" * (len(body) % 2)


def wav(*chunks: bytes, size: int | None = None, form: bytes = b"RIFF") -> bytes:
    """Join chunks to a file; `size` is what its head claims."""
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


def fmt(tag: int = 1, *, rate: int = 8000, channels: int = 1, tail: bytes = b"") -> bytes:
    """Make a format chunk of 16-bit samples."""
    width = 2 * channels
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, 16)
    return chunk(b"fmt ", head + tail)


FMT = fmt()
LIST = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A well-formed file with exact sizes, and what it holds."""

    data: bytes
    audio_bytes: int
    codec: str
    channels: int
    rate: int


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Draw a file: any order of chunks, odd sizes, any codec, plain or extensible, RIFF or RF64."""
    tag, channels = draw(st.sampled_from(sorted(CODECS))), draw(st.integers(1, 8))
    rate = draw(st.sampled_from([8000, 16000, 44100]))
    tail = draw(st.sampled_from([b"", b"\0\0", None]))
    if tail is None:
        extensible = struct.pack("<HHI", 22, 16, 0) + struct.pack("<H", tag) + GUID_TAIL
        form = fmt(0xFFFE, rate=rate, channels=channels, tail=extensible)
    else:
        form = fmt(tag, rate=rate, channels=channels, tail=tail)
    samples = draw(st.binary(min_size=1, max_size=40))
    names = st.sampled_from([b"LIST", b"fact", b"JUNK", b"bext", b"id3 "])
    extras = draw(st.lists(st.builds(chunk, names, st.binary(max_size=9)), max_size=3))
    is_rf64 = draw(st.booleans())
    data = chunk(b"data", samples, STREAMED if is_rf64 else None)
    chunks: Sequence[bytes] = draw(st.permutations([form, data, *extras]))
    if is_rf64:
        ds64 = struct.pack("<QQQI", 4 + 36 + sum(map(len, chunks)), len(samples), 0, 0)
        whole = wav(chunk(b"ds64", ds64), *chunks, size=STREAMED, form=b"RF64")
    else:
        whole = wav(*chunks)
    return Example(
        data=whole, audio_bytes=len(samples), codec=CODECS[tag], channels=channels, rate=rate
    )


@given(examples(), st.booleans())
def test_whole_files_are_read_exactly(example: Example, framed: bool) -> None:  # noqa: FBT001
    """Whatever the order of chunks: codec, rate, channels and length are the file's own."""
    audio = judge(example.data, framed=framed)
    assert isinstance(audio, Audio)
    assert audio.data_bytes == example.audio_bytes
    assert (audio.codec, audio.channels, audio.sample_rate_hz) == (
        example.codec,
        example.channels,
        example.rate,
    )
    assert audio.seconds == example.audio_bytes / (example.rate * 2 * example.channels)
    assert audio.notes == ()


@given(examples(), st.data())
def test_every_truncation_is_found(example: Example, data: st.DataObject) -> None:
    """Cut anywhere, a file with exact sizes is no whole one, when only they can tell."""
    kept = data.draw(st.integers(1, len(example.data) - 1))
    assert judge(example.data[:kept], framed=False) is Flaw.TRUNCATED


@given(examples(), st.data())
def test_audio_is_never_cut(example: Example, data: st.DataObject) -> None:
    """Framing forgives a miscounted RIFF size at most, never a missing sample."""
    kept = data.draw(st.integers(1, len(example.data) - 1))
    audio = judge(example.data[:kept], framed=True)
    if audio is not Flaw.TRUNCATED:
        assert isinstance(audio, Audio)
        assert audio.data_bytes == example.audio_bytes
        assert audio.notes


def test_every_cut_of_an_ordinary_recording_is_found() -> None:
    """The plainest file of all, byte by byte, framed or not."""
    whole = pcm_wav(0.02)
    for kept in range(1, len(whole)):
        assert judge(whole[:kept], framed=True) is Flaw.TRUNCATED
        assert judge(whole[:kept], framed=False) is Flaw.TRUNCATED


@given(st.binary(max_size=200), st.booleans())
def test_nothing_raises(noise: bytes, framed: bool) -> None:  # noqa: FBT001
    """Any bytes get an answer."""
    for data in (noise, b"RIFF" + noise, b"RF64\xff\xff\xff\xffWAVE" + noise, wav(FMT, noise)):
        assert isinstance(judge(data, framed=framed), Audio | Flaw)


@given(examples(), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4))
def test_damage_never_raises(example: Example, flips: list[tuple[int, int]]) -> None:
    """Any damage to headers gets an answer, which never claims more audio than there are bytes."""
    data = bytearray(example.data)
    for at, value in flips:
        data[at % len(data)] = value
    audio = judge(bytes(data), framed=True)
    assert isinstance(audio, Flaw) or audio.data_bytes <= len(data)


@pytest.mark.parametrize("size", [0, STREAMED])
@pytest.mark.parametrize("riff", [0, STREAMED, 36])
def test_streamed_sizes_need_framing(size: int, riff: int) -> None:
    """What an encoder could not go back to fill in is believed only of a framed transfer."""
    data = wav(LIST, FMT, b"data" + struct.pack("<I", size) + bytes(1000), size=riff)
    audio = judge(data, framed=True)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.notes) == (1000, ("streamed sizes",))
    assert judge(data, framed=False) is Flaw.TRUNCATED


def test_a_streamed_riff_size_alone_needs_framing_too() -> None:
    """With a whole data chunk, chunks behind it may still be missing."""
    data = wav(FMT, chunk(b"data", bytes(10)), size=0)
    audio = judge(data, framed=True)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.notes) == (10, ("streamed sizes",))
    assert judge(data, framed=False) is Flaw.TRUNCATED


def test_streamed_rf64() -> None:
    """RF64 whose ds64 was never filled in is streamed as well."""
    data = wav(chunk(b"ds64", bytes(28)), FMT, b"data" + b"\xff" * 4 + bytes(10), form=b"RF64")
    audio = judge(data, framed=True)
    assert isinstance(audio, Audio)
    assert audio.data_bytes == 10


@pytest.mark.parametrize("riff", [0, STREAMED])
@pytest.mark.parametrize("size", [0, STREAMED])
def test_a_streamed_header_alone_is_cut(riff: int, size: int) -> None:
    """A stream that ended with its header was cut."""
    data = wav(FMT, b"data" + struct.pack("<I", size), size=riff)
    assert judge(data, framed=True) is Flaw.TRUNCATED


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("tail", [b"", LIST])
def test_a_call_without_a_sound_is_whole(tail: bytes, *, framed: bool) -> None:
    """No audio, by sizes that agree, is a whole recording of nothing."""
    audio = judge(wav(FMT, chunk(b"data", b""), tail), framed=framed)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.seconds, audio.notes) == (0, 0.0, ("no audio",))


def test_a_header_that_announces_audio_is_cut() -> None:
    """An empty data chunk under a RIFF size that counts samples is not the end."""
    assert judge(wav(FMT, chunk(b"data", b""), size=1036), framed=True) is Flaw.TRUNCATED


@pytest.mark.parametrize("framed", [True, False])
def test_a_data_size_beyond_the_end_is_cut(*, framed: bool) -> None:
    """Even the transfer's own framing does not make up for announced samples."""
    data = wav(FMT, chunk(b"data", bytes(100), 101))
    assert judge(data, framed=framed) is Flaw.TRUNCATED


@pytest.mark.parametrize("excess", [1, 8])
def test_a_riff_size_too_long_is_forgiven_when_framed(excess: int) -> None:
    """Encoders that count the header into the RIFF size lose nothing, if the transfer was whole."""
    samples = chunk(b"data", bytes(100))
    data = wav(FMT, samples, size=4 + len(FMT + samples) + excess)
    audio = judge(data, framed=True)
    assert isinstance(audio, Audio)
    assert audio.notes == (f"RIFF size long by {excess}",)
    assert judge(data, framed=False) is Flaw.TRUNCATED


@pytest.mark.parametrize("framed", [True, False])
def test_bytes_behind_the_riff_end_are_noted(*, framed: bool) -> None:
    """A RIFF size too short is forgiven: the data chunk is all there."""
    audio = judge(wav(FMT, chunk(b"data", bytes(100))) + b"extra", framed=framed)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.notes) == (100, ("RIFF size short by 5",))


def test_missing_pad_bytes_are_forgiven() -> None:
    """Writers that do not pad odd chunks are understood, and noted."""
    odd = b"LIST" + struct.pack("<I", 3) + b"abc"
    audio = judge(wav(odd, FMT, chunk(b"data", bytes(100))), framed=False)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.notes) == (100, ("pad byte missing",))


def test_a_trailing_chunk_that_is_cut_is_not_whole() -> None:
    """The bytes are kept whole or not at all, also where the audio is complete."""
    whole = wav(FMT, chunk(b"data", bytes(100)), LIST)
    assert judge(whole[:-3], framed=True) is Flaw.TRUNCATED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><title>Not found</title>",
        b'{"error_message":"no"}',
        b"ID3\x04",
        b"OggS",
        b"RIFF\x24\0\0\0AVI LIST",
        b"RIFX\0\0\0\x24WAVEfmt ",
        wav(),
        wav(FMT),
        wav(chunk(b"data", bytes(100))),
        wav(chunk(b"fmt ", bytes(4)), chunk(b"data", bytes(100))),
        wav(b"\xff" * 100),
    ],
)
def test_what_is_no_wav(data: bytes) -> None:
    """Other formats, and WAVs that say nothing of their samples, are no audio."""
    assert judge(data, framed=True) is Flaw.NOT_AUDIO


def test_heads_are_judged_early() -> None:
    """The first bytes that arrive are enough to refuse an error page, however few they are."""
    head = pcm_wav(0.01)[:12]
    assert all(looks_like_wav(head[:n]) for n in range(1, 13))
    assert looks_like_wav(b"RF64\xff\xff\xff\xffWAVEds64")
    assert not any(
        map(looks_like_wav, (b"", b"<", b"RIFX", b"RIFF\0\0\0\0AVI ", b"RIFF\0\0\0\0W?"))
    )


def test_hostile_files_cost_bounded_work() -> None:
    """Millions of empty chunks are not walked through."""
    reads = 0

    def read_at(at: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return (wav()[:12] if at == 0 else b"JUNK\0\0\0\0")[:size]

    assert isinstance(prove(read_at, 2**32, framed=True), Flaw)
    assert reads < 5000


def test_a_disk_that_returns_less_than_asked_is_survived() -> None:
    """Short reads, as of a file that shrinks meanwhile, get an answer."""
    data, end = pcm_wav(0.01), 0

    def read_at(at: int, size: int) -> bytes:
        return data[at : min(at + size, end)]

    for end in range(len(data)):  # noqa: B007 - read_at sees it
        assert isinstance(prove(read_at, len(data), framed=True), Audio | Flaw)


def test_no_byte_rate_no_length() -> None:
    """A header without a byte rate gives no length, and no division by zero."""
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 0, 0, 16))
    audio = judge(wav(form, chunk(b"data", bytes(100))), framed=False)
    assert isinstance(audio, Audio)
    assert audio.seconds == 0.0
