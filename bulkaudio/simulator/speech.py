"""
What the two parties of a simulated call can say, as text and as 8 kHz telephone speech.

The samples are synthetic voices (`tests/make_samples.py`), one mu-law WAV a phrase. Everything is
made from them by table lookups and slices over whole byte strings: a Python loop over samples
would make the simulator, not the client, the bottleneck of a load test.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random

RATE_HZ = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """
    Something one party says.

    Attributes:
        name: Of the sample file, ``<speaker>-<name>.wav``.
        is_private: Names or digits: redaction replaces it.
    """

    speaker: str
    name: str
    text: str
    is_private: bool = False

    @property
    def file_name(self) -> str:
        """Name of the sample's file."""
        return f"{self.speaker}-{self.name}.wav"


def _phrases() -> dict[str, Phrase]:
    agent = {
        "hello": "Hello, how can I help?",
        "ask-name": "May I take your name?",
        "ask-number": "And your account number?",
        "thanks": "Thank you.",
        "moment": "One moment, please.",
        "found": "I have found it.",
        "confirm": "Is that correct?",
        "booked": "That is booked for you.",
        "paid": "Your payment went through.",
        "tomorrow": "It arrives tomorrow.",
        "else": "Anything else today?",
        "goodbye": "Goodbye, take care.",
    }
    caller = {
        "table": "I'd like to book a table.",
        "bill": "I have a question about my bill.",
        "parcel": "Where is my parcel?",
        "maria": "It's Maria Jones.",
        "tom": "My name is Tom Baker.",
        "four-two": "Four two seven one.",
        "nine-five": "Nine five zero eight.",
        "yes": "Yes, that's right.",
        "great": "Great, thank you.",
        "no": "No, that's all.",
        "sorry": "Sorry, say that again?",
        "bye": "Bye.",
    }
    private = {"maria", "tom", "four-two", "nine-five"}
    said = [Phrase(speaker="agent", name=n, text=t) for n, t in agent.items()]
    said += [
        Phrase(speaker="user", name=n, text=t, is_private=n in private) for n, t in caller.items()
    ]
    return {phrase.name: phrase for phrase in said}


PHRASES = _phrases()

DIALOGUES = tuple(
    tuple(PHRASES[name] for name in line.split())
    for line in (
        "hello table ask-name maria thanks yes booked great else no goodbye bye",
        "hello bill ask-number four-two moment sorry ask-number four-two paid great goodbye bye",
        "hello parcel ask-number nine-five confirm yes found great tomorrow great else no goodbye",
        "hello parcel ask-name tom thanks yes moment great found great tomorrow bye",
        "hello bill ask-name tom ask-number nine-five confirm yes paid great else no goodbye bye",
        "hello table ask-name tom confirm yes ask-number four-two booked great else no goodbye bye",
    )
)
"""Agent and caller in turn; a longer call starts its dialogue again."""


def _linear(code: int) -> int:
    """Decode one mu-law octet as G.711 has it."""
    inverted = ~code & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


_PCM = [_linear(code).to_bytes(2, "little", signed=True) for code in range(256)]
_LOW = bytes(pair[0] for pair in _PCM)
_HIGH = bytes(pair[1] for pair in _PCM)


def to_pcm16(mulaw: bytes) -> bytes:
    """Decode mu-law to little-endian 16-bit PCM."""
    samples = bytearray(2 * len(mulaw))
    samples[0::2] = mulaw.translate(_LOW)
    samples[1::2] = mulaw.translate(_HIGH)
    return bytes(samples)


_HISS = bytes((0xFF, 0x7F, 0xFE, 0x7E)[octet & 3] for octet in range(256))
_DIGITS = bytes(0xFF - (octet & 0x0F) for octet in range(256))


def hiss(octets: bytes) -> bytes:
    """Turn random octets into the faint noise of an open telephone line, in mu-law."""
    return octets.translate(_HISS)


def fingerprint(digest: bytes) -> bytes:
    """
    Turn a digest into faint noise, in mu-law, two samples an octet, without losing a bit.

    Starting a track with it makes every recording's bytes its own: a client that mixed two up, or
    saved one under another's name, is found out.
    """
    noise = bytearray(2 * len(digest))
    noise[0::2] = digest.translate(_DIGITS)
    noise[1::2] = bytes(octet >> 4 for octet in digest).translate(_DIGITS)
    return bytes(noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """
    All sound there is, in one codec.

    Attributes:
        width: Octets a sample.
        noise: Some seconds of line noise.
        tone: What stands in for redacted speech, as long as the longest phrase.
        phrases: Speech by phrase name.
    """

    width: int
    noise: bytes
    tone: bytes
    phrases: dict[str, bytes]


@cache
def mulaw_voices() -> Voices:
    """Read the samples; the first call reads files, so not on the event loop."""
    folder = resources.files(__package__) / "samples"
    phrases = {}
    for phrase in PHRASES.values():
        wav = (folder / phrase.file_name).read_bytes()
        at = wav.index(b"data") + 8
        phrases[phrase.name] = wav[at : at + int.from_bytes(wav[at - 4 : at], "little")]
    longest = max(map(len, phrases.values()))
    cycle = bytes((0xFF, 0xD8, 0xD0, 0xD8, 0x7F, 0x58, 0x50, 0x58))
    return Voices(
        width=1,
        noise=hiss(Random(RATE_HZ).randbytes(8 * RATE_HZ)),  # noqa: S311 - noise, no secret
        tone=cycle * (longest // len(cycle) + 1),
        phrases=phrases,
    )


@cache
def pcm_voices() -> Voices:
    """Return the same sound as 16-bit PCM."""
    source = mulaw_voices()
    return Voices(
        width=2,
        noise=to_pcm16(source.noise),
        tone=to_pcm16(source.tone),
        phrases={name: to_pcm16(sound) for name, sound in source.phrases.items()},
    )
