"""The WAV proof against a model of its own: build a file of known faults, and say what it is."""

import struct
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.model import Audio
from bulkaudio.wav import Flaw, prove

STREAMED = 0xFFFF_FFFF
READS_AT_MOST = 2 * 1024 + 8
BYTES_AT_MOST = 40
FORM = struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """
    A file with one data chunk, and what its writer did wrong.

    Attributes:
        audio: The samples that are really there.
        data_excess: So many more samples are announced than there are; None: streamed.
        riff_excess: So many more bytes are announced than there are; None: streamed.
    """

    before: tuple[bytes, ...]
    after: tuple[bytes, ...]
    audio: bytes
    data_excess: int | None
    riff_excess: int | None
    zero: bool

    @property
    def data(self) -> bytes:
        """Spell it."""
        unknown = 0 if self.zero else STREAMED
        size = unknown if self.data_excess is None else len(self.audio) + self.data_excess
        pad = b"\0" * (len(self.audio) % 2) if self.data_excess == 0 else b""
        body = b"WAVE" + b"".join(self.before)
        body += b"data" + struct.pack("<I", size) + self.audio + pad + b"".join(self.after)
        stated = unknown if self.riff_excess is None else len(body) + self.riff_excess
        return b"RIFF" + struct.pack("<I", stated) + body

    def verdict(self, *, framed: bool) -> tuple[int, tuple[str, ...]] | Flaw:
        """Say what it is, by the rules alone."""
        if self.data_excess:
            return Flaw.TRUNCATED
        is_streamed = self.data_excess is None or self.riff_excess is None
        is_short_of_more = self.riff_excess is not None and self.riff_excess > 0
        if not framed and (is_streamed or is_short_of_more):
            return Flaw.TRUNCATED
        if self.data_excess is None and is_short_of_more:
            return Flaw.TRUNCATED
        if is_streamed:
            return len(self.audio), ("streamed sizes",)
        if not self.riff_excess:
            return len(self.audio), ()
        word = "long" if is_short_of_more else "short"
        return len(self.audio), (f"RIFF size {word} by {abs(self.riff_excess)}",)


def chunk(name: bytes, body: bytes) -> bytes:
    """Spell a chunk."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


EXTRAS = st.lists(
    st.builds(chunk, st.sampled_from([b"LIST", b"fact", b"bext", b"junk"]), st.binary(max_size=9)),
    max_size=3,
).map(tuple)


@st.composite
def built(draw: st.DrawFn, *, exact: bool = False) -> Built:
    """Draw a file; chunks stand behind the audio only where it says how long it is."""
    excess = st.just(0) if exact else st.none() | st.sampled_from([0, 0, 0, 1, 2, 77])
    data_excess = draw(excess)
    is_last = data_excess != 0
    riff = st.just(0) if exact else st.none() | st.sampled_from([0, 0, 1, 8, 999])
    before = list(draw(EXTRAS))
    before.insert(draw(st.integers(0, len(before))), chunk(b"fmt ", FORM))
    return Built(
        before=tuple(before),
        after=() if is_last else draw(EXTRAS),
        audio=draw(st.binary(min_size=1, max_size=40)),
        data_excess=data_excess,
        riff_excess=draw(riff),
        zero=draw(st.booleans()),
    )


def judged(data: bytes, *, framed: bool) -> tuple[int, tuple[str, ...]] | Flaw:
    """Prove, and hold the proof to its bounds."""
    reads: list[tuple[int, int]] = []

    def read_at(at: int, size: int) -> bytes:
        reads.append((at, size))
        return data[at : at + size]

    audio = prove(read_at, len(data), framed=framed)
    assert len(reads) <= READS_AT_MOST
    assert all(at >= 0 and 0 <= size <= BYTES_AT_MOST for at, size in reads)
    if isinstance(audio, Audio):
        assert audio.seconds == audio.data_bytes / 16_000 or not audio.data_bytes
        return audio.data_bytes, audio.notes
    return audio


@given(built(), st.booleans())
def test_each_fault_of_a_writer_has_its_verdict(file: Built, framed: bool) -> None:  # noqa: FBT001
    """Sizes exact, streamed, too long, in any order of chunks, framed or not."""
    assert judged(file.data, framed=framed) == file.verdict(framed=framed)


@given(built(exact=True))
def test_no_cut_of_an_exact_file_passes_for_whole(file: Built) -> None:
    """At every byte: only sizes that bear each other out make a recording."""
    whole = file.data
    assert judged(whole, framed=False) == (len(file.audio), ())
    for kept in range(len(whole)):
        expected = Flaw.TRUNCATED if kept else Flaw.NOT_AUDIO
        assert judged(whole[:kept], framed=False) is expected, kept


@given(built(exact=True))
def test_a_framed_cut_costs_no_sample_and_no_started_chunk(file: Built) -> None:
    """What framing forgives is a RIFF size: between two chunks, or in the padding of the last."""
    whole = file.data
    end_of_audio = len(whole) - sum(map(len, file.after)) - len(file.audio) % 2
    ends = {end_of_audio, end_of_audio + len(file.audio) % 2}
    at = end_of_audio + len(file.audio) % 2
    for each in file.after:
        size = struct.unpack_from("<I", each, 4)[0]
        ends |= {at + 8 + size, at + len(each)}
        at += len(each)
    for kept in range(1, len(whole)):
        found = judged(whole[:kept], framed=True)
        if kept in ends:
            assert found == (len(file.audio), (f"RIFF size long by {len(whole) - kept}",))
        else:
            assert found is Flaw.TRUNCATED, kept


@given(
    built(),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=8)), max_size=5),
    st.booleans(),
)
def test_no_damage_raises_or_invents_audio(
    file: Built,
    damage: list[tuple[int, bytes]],
    framed: bool,  # noqa: FBT001
) -> None:
    """Whatever is written over it: an answer, within bounds, of no more than there is."""
    data = bytearray(file.data)
    for at, noise in damage:
        start = at % len(data)
        data[start : start + len(noise)] = noise
    found = prove(lambda at, size: bytes(data[at : at + size]), len(data), framed=framed)
    if isinstance(found, Audio):
        assert 0 <= found.data_bytes <= len(data) - 12
