"""The WAV proof on the edges of its sizes: one byte more or less, 64-bit, streamed, or missing."""

import struct

import pytest

from bulkaudio.model import Audio
from bulkaudio.wav import Flaw, prove
from tests.test_wav import FMT, GUID_TAIL, STREAMED, chunk, fmt, judge, wav


def rf64(*chunks: bytes, ds64: bytes, size: int = STREAMED) -> bytes:
    """Join chunks behind a ``ds64`` chunk of this body."""
    return wav(chunk(b"ds64", ds64), *chunks, size=size, form=b"RF64")


def found(data: bytes, *, framed: bool = True) -> tuple[int, tuple[str, ...]] | Flaw:
    """Return how much audio there is, and what was noted."""
    audio = judge(data, framed=framed)
    return audio if isinstance(audio, Flaw) else (audio.data_bytes, audio.notes)


@pytest.mark.parametrize(
    ("extra", "riff", "expected"),
    [
        (0, 0, (0, ("no audio",))),
        (0, 1, (0, ("RIFF size long by 1", "no audio"))),
        (0, 2, Flaw.TRUNCATED),
        (1, 0, (0, ("RIFF size short by 1", "no audio"))),
        (2, 0, (2, ("streamed sizes",))),
        (3, 3, (3, ("streamed sizes",))),
    ],
)
def test_silence_needs_sizes_that_agree_to_a_pad_byte(
    extra: int, riff: int, expected: tuple[int, tuple[str, ...]] | Flaw
) -> None:
    """An empty data chunk is a call without a sound up to one byte of padding, else a stream."""
    silent = wav(FMT, chunk(b"data", b""))
    data = wav(FMT, chunk(b"data", b""), size=len(silent) - 8 + riff) + bytes(extra)
    assert found(data) == expected


def test_silence_needs_a_walk_to_the_end() -> None:
    """Behind the last chunk that is looked at there may be anything."""
    junk = chunk(b"JUNK", b"") * 1022
    assert found(wav(FMT, chunk(b"data", b""), junk)) == (0, ("no audio",))
    data = wav(FMT, chunk(b"data", b""), junk, b"\0\0")
    assert found(data) == (len(junk) + 2, ("streamed sizes",))


def test_one_byte_of_a_stream_is_audio() -> None:
    """A stream is cut only when nothing at all followed its header."""
    assert found(wav(FMT, b"data" + bytes(4) + b"\x01", size=0)) == (1, ("streamed sizes",))


def test_a_stream_that_announces_more_is_cut() -> None:
    """A RIFF size beyond the end counts bytes that did not arrive, whatever else was streamed."""
    data = wav(FMT, b"data" + b"\xff" * 4 + bytes(100), size=4000)
    assert found(data) is Flaw.TRUNCATED


def test_a_plain_riff_has_no_64_bit_sizes() -> None:
    """A ``ds64`` chunk counts in RF64 only."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 96, 4, 0, 0))
    data = wav(ds64, FMT, b"data" + b"\xff" * 4 + bytes(10), size=0)
    assert found(data) == (10, ("streamed sizes",))


@pytest.mark.parametrize("tail", [b"d", b"dat", b"data\1\0\0"])
def test_a_chunk_header_that_is_cut_is_cut(tail: bytes) -> None:
    """Less than a chunk's header at the end is the start of what did not arrive."""
    assert found(wav(FMT, tail)) is Flaw.TRUNCATED


@pytest.mark.parametrize("name", [b"JU\x7fK", b"JU\x1fK", b"JU\x80K"])
def test_a_chunk_has_a_name_that_can_be_read(name: bytes) -> None:
    """What stands where a name should be and is none is no WAV, however much is announced."""
    assert found(wav(chunk(name, b"ab"), FMT, chunk(b"data", bytes(10)))) is Flaw.NOT_AUDIO
    assert found(wav(name * 25, size=10_000)) is Flaw.NOT_AUDIO


@pytest.mark.parametrize("name", [b"    ", b"~~~~"])
def test_an_odd_name_is_a_name(name: bytes) -> None:
    """Unknown chunks are passed over."""
    assert found(wav(chunk(name, b"ab"), FMT, chunk(b"data", bytes(10)))) == (10, ())


def test_the_format_may_follow_the_audio_in_a_stream() -> None:
    """The walk goes on until it has both."""
    data = wav(chunk(b"data", bytes(10)), FMT, size=0)
    assert found(data) == (10, ("streamed sizes",))


@pytest.mark.parametrize("stated", [10, 12])
def test_a_chunk_s_own_size_counts_before_ds64(stated: int) -> None:
    """The 64-bit size stands in for one that did not fit, and for no other."""
    ds64 = struct.pack("<QQQI", 4 + 36 + len(FMT) + 18, stated, 0, 0)
    assert found(rf64(FMT, chunk(b"data", bytes(10)), ds64=ds64)) == (10, ())


def test_ds64_sizes_are_not_read_from_other_chunks() -> None:
    """Any other chunk of the same length means nothing."""
    other = chunk(b"JUNK", struct.pack("<QQQI", 7, 7, 7, 7))
    data = b"data" + b"\xff" * 4 + bytes(10)
    ds64 = struct.pack("<QQQI", 4 + 36 + len(other + FMT + data), 10, 0, 0)
    assert found(rf64(other, FMT, data, ds64=ds64)) == (10, ())


def test_the_shortest_ds64_is_enough() -> None:
    """Its first two sizes are all that matters."""
    data = b"data" + b"\xff" * 4 + bytes(10)
    whole = rf64(FMT, data, ds64=struct.pack("<QQ", 4 + 24 + len(FMT + data), 10))
    assert found(whole, framed=False) == (10, ())
    assert found(whole[:-1]) is Flaw.TRUNCATED


@pytest.mark.parametrize("riff", [0, STREAMED, 2**64 - 1])
def test_ds64_sizes_may_be_streamed_too(riff: int) -> None:
    """What a writer never filled in is believed only of a framed transfer."""
    data = rf64(FMT, chunk(b"data", bytes(10)), ds64=struct.pack("<QQ", riff, 10))
    assert found(data) == (10, ("streamed sizes",))
    assert found(data, framed=False) is Flaw.TRUNCATED


def test_the_shortest_format_is_enough() -> None:
    """Fourteen bytes say codec, channels and rate; thirteen do not."""
    form = struct.pack("<HHIIH", 7, 2, 8000, 16000, 2)
    audio = judge(wav(chunk(b"fmt ", form), chunk(b"data", bytes(16_000))), framed=False)
    assert isinstance(audio, Audio)
    assert (audio.codec, audio.channels, audio.seconds) == ("mulaw", 2, 1.0)
    assert found(wav(chunk(b"fmt ", form[:13]), chunk(b"data", bytes(10)))) is Flaw.NOT_AUDIO


def test_only_a_format_that_says_so_is_extensible() -> None:
    """The sub-format counts when both the tag and the rest of its GUID are right."""
    rest = struct.pack("<HHIH", 22, 16, 0, 7)
    for tag, tail, codec in (
        (0xFFFE, rest + GUID_TAIL, "mulaw"),
        (0xFFFE, rest + GUID_TAIL[::-1], "0xfffe"),
        (0xFFFE, b"", "0xfffe"),
        (1, rest + GUID_TAIL, "pcm"),
    ):
        audio = judge(wav(fmt(tag, tail=tail), chunk(b"data", bytes(10))), framed=False)
        assert isinstance(audio, Audio)
        assert audio.codec == codec


def test_a_format_that_shrinks_while_it_is_read_is_cut() -> None:
    """A disk that returns less of it than it had announced does not make the proof raise."""
    data = wav(chunk(b"data", bytes(10)), FMT)
    for end in range(len(data) - 16, len(data) - 2):

        def read_at(at: int, size: int, end: int = end) -> bytes:
            return data[at : min(at + size, end)]

        assert prove(read_at, len(data), framed=True) is Flaw.TRUNCATED


def test_sizes_that_shrink_while_they_are_read_count_as_none() -> None:
    """A disk that returns half of the 64-bit sizes leaves them unknown."""
    data = b"data" + b"\xff" * 4 + bytes(10)
    whole = rf64(FMT, data, ds64=struct.pack("<QQ", 4 + 24 + len(FMT + data), 10))

    def read_at(at: int, size: int) -> bytes:
        return whole[at : at + size][: 8 if at == 20 else size]

    assert prove(read_at, len(whole), framed=False) is Flaw.TRUNCATED
    audio = prove(read_at, len(whole), framed=True)
    assert isinstance(audio, Audio)
    assert (audio.data_bytes, audio.notes) == (10, ("streamed sizes",))
