"""The bytes of a simulated recording: the track, and the WAV around it."""

import struct
from hashlib import blake2b

from bulkaudio.model import Direction
from bulkaudio.simulator.calls import LEAD_SAMPLES, Call, Form
from bulkaudio.simulator.speech import (
    RATE_HZ,
    Voices,
    fingerprint,
    mulaw_voices,
    pcm_voices,
    to_pcm16,
)

_PCM_FORMAT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
_MULAW_FORMAT = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 7, 1, RATE_HZ, RATE_HZ, 1, 8, 0)
_LIST = b"LIST" + struct.pack("<I", 21) + b"INFOISFT" + struct.pack("<I", 9) + b"simulator" + b"\0"
"""Odd in length on purpose: the pad byte belongs to no chunk."""


def render(call: Call, direction: Direction, *, is_redacted: bool) -> bytes:
    """Return the whole file, the same bytes every time."""
    is_mulaw = call.form is Form.MULAW
    voices = mulaw_voices() if is_mulaw else pcm_voices()
    sound = _track(call, direction, voices, is_redacted=is_redacted)
    if is_mulaw:
        chunks = _MULAW_FORMAT + struct.pack("<4sII", b"fact", 4, call.samples)
    else:
        chunks = (_LIST if call.form is Form.LISTED else b"") + _PCM_FORMAT
    pad = b"\0" * (len(sound) % 2)
    match call.form:
        case Form.STREAMED_ZERO:
            whole = data = 0
        case Form.STREAMED_MAX:
            whole = data = 0xFFFFFFFF
        case _:
            data = len(sound)
            whole = 4 + len(chunks) + 8 + data + len(pad)
    riff = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
    return b"".join((riff, chunks, struct.pack("<4sI", b"data", data), sound, pad))


def _track(call: Call, direction: Direction, voices: Voices, *, is_redacted: bool) -> bytearray:
    """
    Lay the phrases of the wanted side over line noise.

    Nobody talks over the other, so that the combined track needs no mixing.
    """
    width = voices.width
    digest = blake2b(f"{call.id}/{direction}".encode(), digest_size=LEAD_SAMPLES // 2).digest()
    lead = fingerprint(digest)
    first = int.from_bytes(digest[:2], "little") % RATE_HZ * width
    size = call.samples * width
    noise = voices.noise * ((first + size) // len(voices.noise) + 1)
    sound = bytearray(noise[first : first + size])
    sound[: LEAD_SAMPLES * width] = lead if width == 1 else to_pcm16(lead)
    for line in call.lines:
        if direction not in {Direction.COMBINED, line.phrase.speaker}:
            continue
        is_hidden = is_redacted and line.phrase.is_private
        source = voices.tone if is_hidden else voices.phrases[line.phrase.name]
        start, end = line.start * width, (line.start + line.length) * width
        sound[start:end] = source[: end - start]
    return sound
