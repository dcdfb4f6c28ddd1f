"""
Whether bytes are a whole WAV, by what its own headers say.

Rules of this file: it reads headers only, a bounded number of them; it never changes a byte; and
nothing it is given makes it raise. Where nothing framed the transfer, the sizes in here are the
only proof that the end arrived.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from bulkaudio.model import Audio

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, size)``: so many bytes from there, fewer only at the end of the file."""

_STREAMED = frozenset({0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})
"""Sizes that a writer leaves behind when it cannot go back to its header."""

_FORMS = (b"RIFF", b"RF64", b"BW64")
_MAX_CHUNKS = 1024
_CODECS = {1: "pcm", 3: "float", 6: "alaw", 7: "mulaw"}
_EXTENSIBLE = 0xFFFE
_SUBTYPE_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_USUAL_IDS = frozenset({b"data", b"fmt ", b"LIST", b"fact", b"JUNK"})


class Flaw(StrEnum):
    """Why bytes are not kept."""

    NOT_AUDIO = "not_audio"
    TRUNCATED = "truncated"


@dataclass(slots=True, kw_only=True)
class _Survey:
    """
    What a walk over the chunks found.

    Attributes:
        riff_end: Offset at which the file ends by its own account; None: streamed.
        data: Offset and declared size of the audio; size None: 0xFFFFFFFF, to the end.
        end: Where the walk stopped.
        is_cut: A chunk runs past the end of the bytes.
        is_garbled: Something stood where a chunk should begin.
    """

    riff_end: int | None
    has_ds64: bool
    ds64_data: int = 0
    format: bytes | None = None
    data: tuple[int, int | None] | None = None
    end: int = 12
    is_cut: bool = False
    is_garbled: bool = False
    notes: list[str] = field(default_factory=list)


def looks_like_wav(head: bytes) -> bool:
    """Whether a file that starts with `head`, which may be shorter than 12 bytes, can be a WAV."""
    form = head[:4]
    return (
        bool(head)
        and any(known.startswith(form) for known in _FORMS)
        and b"WAVE".startswith(head[8:12])
    )


def prove(read_at: ReadAt, total_bytes: int, *, framed: bool) -> Audio | Flaw:
    """
    Judge `total_bytes` bytes.

    Streamed sizes (0, 0xFFFFFFFF) are believed only when the transfer itself was framed. A RIFF
    size that disagrees with the bytes is noted when every chunk is whole: encoders miscount it.

    Args:
        read_at: Its own errors (a disk's) pass through.
        framed: The transfer's own framing (length or chunks) was complete.
    """
    head = read_at(0, min(12, total_bytes))
    if not looks_like_wav(head):
        return Flaw.NOT_AUDIO
    if len(head) < 12:
        return Flaw.TRUNCATED
    survey = _walk(read_at, total_bytes, head)
    if survey.data is None or survey.format is None:
        return _incomplete(survey, total_bytes)
    start, size = survey.data
    if size is None or (size == 0 and not _is_silent(survey, total_bytes)):
        return _prove_streamed(survey, total_bytes - start, total_bytes, framed=framed)
    if start + size > total_bytes:
        return Flaw.TRUNCATED
    return _prove_sized(survey, size, total_bytes, framed=framed)


def _incomplete(survey: _Survey, total_bytes: int) -> Flaw:
    if survey.is_garbled:
        return Flaw.NOT_AUDIO
    is_short = survey.riff_end is None or survey.riff_end > total_bytes
    return Flaw.TRUNCATED if survey.is_cut or is_short else Flaw.NOT_AUDIO


def _is_silent(survey: _Survey, total_bytes: int) -> bool:
    """Whether a data size of 0 means no audio, because all other sizes bear it out."""
    return (
        survey.riff_end is not None
        and not survey.is_cut
        and not survey.is_garbled
        and abs(total_bytes - survey.riff_end) <= 1
        and abs(total_bytes - survey.end) <= 1
    )


def _prove_streamed(
    survey: _Survey, audio_bytes: int, total_bytes: int, *, framed: bool
) -> Audio | Flaw:
    announces_more = survey.riff_end is not None and survey.riff_end > total_bytes
    if not framed or audio_bytes <= 0 or announces_more:
        return Flaw.TRUNCATED
    return _audio(survey, audio_bytes, "streamed sizes")


def _prove_sized(
    survey: _Survey, audio_bytes: int, total_bytes: int, *, framed: bool
) -> Audio | Flaw:
    if survey.riff_end is None:
        return _audio(survey, audio_bytes, "streamed sizes") if framed else Flaw.TRUNCATED
    excess = survey.riff_end - total_bytes
    if excess > 0 and (survey.is_cut or not framed):
        return Flaw.TRUNCATED
    if excess:
        survey.notes.append(f"RIFF size {'long' if excess > 0 else 'short'} by {abs(excess)}")
    return _audio(survey, audio_bytes, "" if audio_bytes else "no audio")


def _walk(read_at: ReadAt, total_bytes: int, head: bytes) -> _Survey:
    riff_size = int.from_bytes(head[4:8], "little")
    survey = _Survey(
        riff_end=None if riff_size in _STREAMED else riff_size + 8,
        has_ds64=head[:4] != b"RIFF",
    )
    for _ in range(_MAX_CHUNKS):
        if survey.end >= total_bytes or _has_all(survey):
            break
        header = read_at(survey.end, 8)
        if len(header) < 8:
            survey.is_cut = True
            break
        if not all(0x20 <= byte < 0x7F for byte in header[:4]):
            survey.is_garbled = True
            break
        name, size = header[:4], int.from_bytes(header[4:], "little")
        size = _take(survey, read_at, name, size)
        if survey.data is not None and survey.data[1] is None:
            break
        body_end = survey.end + 8 + size
        if body_end > total_bytes:
            survey.is_cut = True
            break
        has_pad = size % 2 == 1 and body_end < total_bytes
        survey.end = body_end + (1 if has_pad and not _lacks_pad(survey, read_at, body_end) else 0)
    return survey


def _has_all(survey: _Survey) -> bool:
    """Whether no chunk is left that matters: a trailing one does while RIFF says it is there."""
    return (
        survey.data is not None
        and survey.format is not None
        and (survey.riff_end is None or survey.end >= survey.riff_end)
    )


def _take(survey: _Survey, read_at: ReadAt, name: bytes, size: int) -> int:
    """Note what the chunk at `survey.end` says, and return its size, resolved by ds64."""
    start = survey.end + 8
    if name == b"data" and survey.data is None:
        if size == 0xFFFF_FFFF and survey.has_ds64 and survey.ds64_data:
            size = survey.ds64_data
        is_open = size in _STREAMED and size != 0
        survey.data = (start, None if is_open else size)
    elif name == b"fmt " and survey.format is None and size >= 14:
        survey.format = read_at(start, min(size, 40))
    elif name == b"ds64" and survey.has_ds64 and size >= 16:
        sizes = read_at(start, 16)
        if len(sizes) == 16:
            riff_size, survey.ds64_data = struct.unpack("<QQ", sizes)
            if survey.riff_end is None and riff_size not in _STREAMED:
                survey.riff_end = riff_size + 8
    return size


def _lacks_pad(survey: _Survey, read_at: ReadAt, body_end: int) -> bool:
    """Whether the next chunk follows an odd one directly: some writers leave the pad byte out."""
    if read_at(body_end, 4) not in _USUAL_IDS:
        return False
    survey.notes.append("pad byte missing")
    return True


def _audio(survey: _Survey, data_bytes: int, note: str) -> Audio | Flaw:
    form = survey.format or b""
    if len(form) < 14:
        return Flaw.TRUNCATED
    tag, channels, rate, byte_rate = struct.unpack_from("<HHII", form)
    if tag == _EXTENSIBLE and form[26:40] == _SUBTYPE_TAIL:
        tag = int.from_bytes(form[24:26], "little")
    return Audio(
        codec=_CODECS.get(tag, f"0x{tag:04x}"),
        sample_rate_hz=rate,
        channels=channels,
        data_bytes=data_bytes,
        seconds=data_bytes / byte_rate if byte_rate else 0.0,
        notes=tuple(n for n in (*survey.notes, note) if n),
    )
