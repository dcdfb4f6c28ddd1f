"""
The simulated calls: who rang when, what was said, and what became of the recording.

Nothing is stored. Every call is made from the seed and its index, and a conversation id leads
back to its index, so that ten million calls cost no more memory than ten.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from random import Random

from bulkaudio.simulator.speech import DIALOGUES, RATE_HZ, Phrase, mulaw_voices

LEAD_SAMPLES = 64
"""Each track starts with so many samples of fingerprint before anybody speaks."""

OPENS = timedelta(hours=8)
CLOSES = timedelta(hours=20)


class Form(StrEnum):
    """How a recording's WAV is built; no client may rely on any one of them."""

    PCM = "pcm"
    CHUNKED = "chunked"
    MULAW = "mulaw"
    LISTED = "listed"
    """A LIST chunk stands before the format."""
    STREAMED_ZERO = "streamed_zero"
    STREAMED_MAX = "streamed_max"

    @property
    def is_chunked(self) -> bool:
        """Whether the body is sent in HTTP chunks, without a Content-Length."""
        return self in {Form.CHUNKED, Form.STREAMED_ZERO, Form.STREAMED_MAX}


_FORMS = (Form.PCM,) * 12 + (Form.CHUNKED,) * 2 + (Form.MULAW,) * 2 + (Form.LISTED,) * 2
FORMS = (*_FORMS, Form.STREAMED_ZERO, Form.STREAMED_MAX)
"""Drawn from evenly: one recording in twenty has each of the streamed forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A phrase within a call, in samples; shorter than its sample when the recording ends."""

    phrase: Phrase
    start: int
    length: int
    whole: int

    @property
    def text(self) -> str:
        """What is heard of it."""
        if self.length == self.whole:
            return self.phrase.text
        words = self.phrase.text.split()
        return " ".join([*words[: len(words) * self.length // self.whole], "…"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One conversation as the simulator would show it now.

    Attributes:
        samples: Length of its recording.
        talk: Seed of what is said.
        has_recording: False for chats, callers who opted out, and what is not ready yet.
        is_listed: False for a conversation that the listing will show late.
        is_framed: False: the body is sent with neither length nor chunks.
    """

    index: int
    id: str
    started_at: datetime
    samples: int
    talk: int
    channel: str
    variant_id: str
    from_number: str
    to_number: str
    form: Form
    in_progress: bool
    has_recording: bool
    is_listed: bool
    is_framed: bool

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is said. Needs the samples; all else about a call is known without them."""
        return tuple(_talk(Random(self.talk), self.samples))  # noqa: S311 - speech, no secret

    @property
    def duration_s(self) -> float:
        """Length of the call."""
        return self.samples / RATE_HZ


@dataclass(slots=True, kw_only=True)
class Calls:
    """
    `count` calls in business hours of ``[since, until)``, oldest first.

    Attributes:
        speech_s: Shortest and longest recording. Short ones make large load tests cheap.
        chat_share: Of written conversations (``WEBCHAT``), which have no recording.
        opt_out_share: Of callers whose recording was discarded.
        in_progress: So many of the newest calls are still going on.
        not_ready: So many of the newest finished calls have no recording yet.
        late: So many calls, spread over the whole time, are not listed yet.
        is_varied: False makes every recording plain PCM with a length.
        unframed_share: Of recordings sent with neither length nor chunks.
    """

    count: int = 200
    seed: int = 1
    since: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    until: datetime = datetime(2026, 1, 7, tzinfo=UTC)
    speech_s: tuple[float, float] = (2.0, 8.0)
    chat_share: float = 0.03
    opt_out_share: float = 0.02
    in_progress: int = 0
    not_ready: int = 0
    late: int = 0
    is_varied: bool = True
    unframed_share: float = 0.0
    _is_caught_up: bool = field(default=False, init=False)
    _open: tuple[tuple[datetime, timedelta], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.since < self.until:
            raise ValueError("since must be before until")
        if not LEAD_SAMPLES / RATE_HZ * 2 <= self.speech_s[0] <= self.speech_s[1]:
            raise ValueError("speech_s must be (shortest, longest), at least 0.016 seconds")
        self._open = tuple(_business_hours(self.since, self.until))

    def ids(self) -> list[str]:
        """Return the ids of every listed conversation, oldest first; chats among them."""
        return [call.id for call in self.all() if call.is_listed]

    def recorded_ids(self) -> list[str]:
        """Return the ids of the listed conversations that have a recording now."""
        return [call.id for call in self.all() if call.is_listed and call.has_recording]

    def all(self) -> Iterator[Call]:
        """Make every call in turn, unlisted ones too."""
        return map(self.at, range(self.count))

    def catch_up(self) -> None:
        """Let time pass: all calls end, all recordings are ready, late calls are listed."""
        self._is_caught_up = True

    def find(self, conversation_id: str) -> Call | None:
        """Return the call of that id."""
        index = self._index(conversation_id)
        return None if index is None else self.at(index)

    def knows(self, conversation_id: str) -> bool:
        """Tell whether there is a call of that id, without making it."""
        return self._index(conversation_id) is not None

    def first_from(self, time: datetime) -> int:
        """Return the index of the first call that starts at `time` or later."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self._draw(middle)[1] < time:
                low = middle + 1
            else:
                high = middle
        return low

    def at(self, index: int) -> Call:
        """Make the call of that index."""
        rng, started_at = self._draw(index)
        samples = int(rng.uniform(*self.speech_s) * RATE_HZ)
        is_chat = rng.random() < self.chat_share
        opted_out = rng.random() < self.opt_out_share
        is_framed = rng.random() >= self.unframed_share
        form = rng.choice(FORMS) if self.is_varied else Form.PCM
        age = 0 if self._is_caught_up else self.count - index
        is_new = 0 < age <= self.in_progress + self.not_ready
        return Call(
            index=index,
            id=self._id(index),
            started_at=started_at,
            samples=samples,
            talk=rng.getrandbits(64),
            channel="WEBCHAT" if is_chat else "VOICE-SIP",
            variant_id=f"VARIANT-{rng.randrange(2)}",
            from_number=f"+4420794{rng.randrange(10**5):05}",
            to_number=f"+4480015{rng.randrange(8):05}",
            form=form if is_framed else Form.PCM,
            in_progress=0 < age <= self.in_progress,
            has_recording=not (is_chat or opted_out or is_new),
            is_listed=not age or not self._is_late(index),
            is_framed=is_framed,
        )

    def _draw(self, index: int) -> tuple[Random, datetime]:
        """Start a call's random numbers; the first one places it within its share of the time."""
        rng = Random(f"{self.seed}/{index}")  # noqa: S311 - speech, no secret
        total = sum((length for _, length in self._open), timedelta())
        started_at = self._after(total * ((index + rng.random()) / self.count))
        return rng, started_at.replace(microsecond=started_at.microsecond // 1000 * 1000)

    def _after(self, left: timedelta) -> datetime:
        """Return the moment by which the centre has been open for so long."""
        for opens, length in self._open:
            if left < length:
                return opens + left
            left -= length
        return self._open[-1][0] + self._open[-1][1] - timedelta(milliseconds=1)

    def _is_late(self, index: int) -> bool:
        stride = self.count // self.late if self.late else 0
        return bool(stride) and index % stride == stride // 2 and index // stride < self.late

    def _id(self, index: int) -> str:
        tail = self._hash(f"tail/{index}", 12)
        mask = self._hash(f"mask/{tail}", 4)
        return f"CA{index ^ int(mask, 16):08x}{tail}"

    def _index(self, conversation_id: str) -> int | None:
        try:
            head, tail = int(conversation_id[2:10], 16), conversation_id[10:]
        except ValueError:
            return None
        index = head ^ int(self._hash(f"mask/{tail}", 4), 16)
        is_ours = index < self.count and self._id(index) == conversation_id
        return index if is_ours else None

    def _hash(self, text: str, octets: int) -> str:
        return blake2b(f"{self.seed}/{text}".encode(), digest_size=octets).hexdigest()


def _business_hours(since: datetime, until: datetime) -> list[tuple[datetime, timedelta]]:
    """Cut the opening hours (UTC) out of a window; all of it when it holds none."""
    found = []
    day = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        opens, closes = max(since, day + OPENS), min(until, day + CLOSES)
        if opens < closes:
            found.append((opens, closes - opens))
        day += timedelta(days=1)
    return found or [(since, until - since)]


def _talk(rng: Random, samples: int) -> Iterator[Line]:
    """Let agent and caller take turns, with pauses, until the recording is full."""
    sounds = mulaw_voices().phrases
    dialogue = rng.choice(DIALOGUES)
    at = LEAD_SAMPLES + rng.randrange(400)
    turn = 0
    while at < samples:
        phrase = dialogue[turn % len(dialogue)]
        whole = len(sounds[phrase.name])
        yield Line(phrase=phrase, start=at, length=min(whole, samples - at), whole=whole)
        at += whole + rng.randrange(RATE_HZ // 8, RATE_HZ // 2)
        turn += 1
