"""WAV bytes for tests: the same for the same (conversation, direction), and for no other."""

import hashlib
import struct

RATE_HZ = 8000


def pcm_wav(seconds: float, seed: str = "") -> bytes:
    """Return 16-bit mono PCM at 8 kHz: noise that `seed` determines."""
    samples = hashlib.shake_256(seed.encode()).digest(2 * round(seconds * RATE_HZ))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


def wav_of(conversation_id: str, direction: str = "combined", seconds: float = 0.05) -> bytes:
    """Return the recording that a test's PolyAI holds for this conversation and direction."""
    return pcm_wav(seconds, f"{conversation_id}/{direction}")
