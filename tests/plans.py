"""What a scripted PolyAI says about each conversation, and the WAVs it says it with."""

import asyncio
import struct
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from tests.audio import RATE_HZ, pcm_wav, wav_of
from tests.wire import Exchange, Script, says

STREAMED = 0xFFFFFFFF


def subject(target: str) -> tuple[str, str]:
    """Return the conversation and the direction that a request for a recording names."""
    parts = urlsplit(target)
    return parts.path.split("/")[-2], parse_qs(parts.query)["direction"][0]


async def whole(exchange: Exchange) -> None:
    """Answer with the recording that `wav_of` makes, as PolyAI does."""
    await says(200, wav_of(*subject(exchange.head.target)), content_type="audio/wav")(exchange)


class Held:
    """Answers some conversations at once, and the others when they are released."""

    def __init__(self, *at_once: str) -> None:
        self._at_once = at_once
        self.released = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if subject(exchange.head.target)[0] not in self._at_once:
            await self.released.wait()
        await whole(exchange)


class Plans:
    """
    A script that answers each conversation by its own plan.

    A plan's first script answers the conversation's first request, its last one all that follow;
    conversations without a plan have a recording.
    """

    def __init__(self, plans: Mapping[str, Sequence[Script]] | None = None) -> None:
        self._plans = plans or {}
        self.asked: Counter[str] = Counter()
        self.times: defaultdict[str, list[float]] = defaultdict(list)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        conversation_id, _ = subject(exchange.head.target)
        plan = self._plans.get(conversation_id, (whole,))
        script = plan[min(self.asked[conversation_id], len(plan) - 1)]
        self.asked[conversation_id] += 1
        self.times[conversation_id].append(asyncio.get_running_loop().time())
        await script(exchange)


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """Spell a RIFF file of these chunks; `size` replaces the one it should state."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    stated = 4 + len(body) if size is None else size
    return b"RIFF" + struct.pack("<I", stated) + b"WAVE" + body


def resized(wav: bytes, stated: int) -> bytes:
    """Return a plain WAV whose RIFF and data chunks both state this size."""
    return wav[:4] + struct.pack("<I", stated) + wav[8:40] + struct.pack("<I", stated) + wav[44:]


def mulaw_wav(seed: str) -> bytes:
    """Return μ-law at 8 kHz, with a ``fact`` chunk and an odd number of bytes."""
    form = struct.pack("<HHIIHHH", 7, 1, RATE_HZ, RATE_HZ, 1, 8, 0)
    samples = pcm_wav(0.05, seed)[44:][:399]
    return riff((b"fmt ", form), (b"fact", struct.pack("<I", 399)), (b"data", samples))


def listed_wav(seed: str) -> bytes:
    """Return PCM with a ``LIST`` chunk before its format."""
    wav = pcm_wav(0.05, seed)
    info = b"INFOISFT" + struct.pack("<I", 4) + b"test"
    return riff((b"LIST", info), (b"fmt ", wav[20:36]), (b"data", wav[44:]))
