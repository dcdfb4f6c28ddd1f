"""
What the host of an ordeal has, and what goes wrong with each of it: all of it from one seed.

Nothing is stored. A conversation is its index, a recording's bytes are a stretch of one noise, and
its fate is drawn from its name; so that a hundred thousand recordings cost no more than ten.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from random import Random

NOISE = Random("noise").randbytes(12 * 2**20)
WINDOW = timedelta(days=4)
OLD = timedelta(hours=50)
"""Above the age from which on a recording that is missing will not come any more."""


class Fault(StrEnum):
    """What may go wrong with one answer; another attempt, or another run, gets the recording."""

    RESET = "reset before the head"
    RESET_BODY = "reset in the body"
    SHORT_BODY = "shorter than its length"
    CUT_CHUNKS = "chunks without an end"
    CUT_UNFRAMED = "cut, with neither length nor chunks"
    STALL = "silence in the body, then a reset"
    HANG = "silence before the head, then the end"
    DRIP = "byte by byte at first"
    GARBAGE = "no HTTP"
    HTML = "HTML under a 200"
    EMPTY = "nothing under a 200"
    NO_CONTENT = "204"
    MISLABELLED = "the right bytes as text/plain"
    AWAY = "redirect to a signed address elsewhere"
    BUSY = "503 with Retry-After"
    NOT_YET = "404, no recording yet"
    HTTP_408 = "408"
    HTTP_429 = "429 with Retry-After"
    HTTP_500 = "500"
    HTTP_502 = "502"
    HTTP_503 = "503"
    HTTP_504 = "504"


class Fate(StrEnum):
    """What is wrong with a recording for good."""

    GONE = "410"
    UNKNOWN = "404, unknown conversation"
    FORBIDDEN = "403"
    PACKED = "gzip under a 200"
    ROUND = "redirect to itself"
    NEVER = "404, no recording, and too old for one"


ENDS = {
    Fate.GONE: ("failed", "http_410"),
    Fate.UNKNOWN: ("failed", "unknown_conversation"),
    Fate.FORBIDDEN: ("failed", "forbidden"),
    Fate.PACKED: ("failed", "encoding"),
    Fate.ROUND: ("failed", "redirect"),
    Fate.NEVER: ("absent", "no_recording"),
}
"""Status and reason in the ledger."""

_BROKEN = (Fault.RESET, Fault.RESET_BODY, Fault.SHORT_BODY, Fault.CUT_CHUNKS, Fault.CUT_UNFRAMED)
_ERRORS = (Fault.HTTP_500, Fault.HTTP_502, Fault.HTTP_503, Fault.HTTP_504, Fault.HTTP_408)
_ODD = (Fault.DRIP, Fault.GARBAGE, Fault.MISLABELLED, Fault.AWAY, Fault.NOT_YET, Fault.EMPTY)
USUAL = _BROKEN * 4 + _ERRORS * 2 + _ODD * 2 + (Fault.HTML, Fault.NO_CONTENT, Fault.STALL)
SLOW = (Fault.HTTP_429, Fault.BUSY, Fault.HANG)
"""Each of them holds up the whole host or a slot for a second, so they are rarer."""

FOR_PAGES = (Fault.RESET, Fault.SHORT_BODY, Fault.CUT_CHUNKS, Fault.HTTP_500, Fault.HTTP_503)


@dataclass(frozen=True, slots=True)
class Name:
    """One recording, as the program asks for it."""

    id: str
    direction: str

    @property
    def path(self) -> str:
        """Where the usual layout puts it."""
        return f"{self.direction}/{self.id}.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """
    Conversations, oldest first, spread evenly over the four days before `until`.

    Attributes:
        share: Of recordings and pages that something goes wrong with.
        doomed: Of recordings that never come.
        largest_bytes: Of one recording in two hundred; most are a thousandth of that.
        dated: The program knows the starts, so that what is old and missing is settled.
    """

    seed: int
    conversations: int
    directions: tuple[str, ...]
    share: float = 0.1
    doomed: float = 0.004
    largest_bytes: int = 6 * 2**20
    dated: bool = True
    until: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    )

    @property
    def since(self) -> datetime:
        """When the first one may have begun."""
        return self.until - WINDOW

    def ids(self) -> Iterator[str]:
        """Return every conversation's id, oldest first."""
        return map(self.id_of, range(self.conversations))

    def names(self) -> Iterator[Name]:
        """Return every recording."""
        return (Name(id_, side) for id_ in self.ids() for side in self.directions)

    def id_of(self, index: int) -> str:
        """Return the id of the conversation with this index, which can be read from it."""
        return f"CA{self._digest(f'id {index}', 10)}-{index}"

    def index_of(self, id_: str) -> int | None:
        """Return the index of a conversation; None when there is no such one."""
        tail = id_.rpartition("-")[2]
        is_ours = tail.isascii() and tail.isdigit() and int(tail) < self.conversations
        return int(tail) if is_ours and self.id_of(int(tail)) == id_ else None

    def started_at(self, index: int) -> datetime:
        """Return when a conversation began."""
        return self.since + WINDOW * ((index + 0.5) / self.conversations)

    def body(self, name: Name) -> bytes:
        """Return the whole file, the same bytes every time, and no other recording's."""
        rng = self._draw("body", name)
        kind = rng.random()
        largest = self.largest_bytes
        most = largest if kind < 0.005 else largest // 8 if kind < 0.03 else largest // 200
        size = rng.randrange(most // 20, most) // 2 * 2
        at = rng.randrange(len(NOISE) - size)
        lead = blake2b(name.path.encode(), digest_size=32).digest()
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
        data = struct.pack("<4sI", b"data", 32 + size) + lead + NOISE[at : at + size]
        return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data

    def fate(self, name: Name) -> Fate | None:
        """Return what is wrong with a recording for good."""
        rng = self._draw("fate", name)
        if rng.random() >= self.doomed:
            return None
        fate = rng.choice(tuple(Fate))
        index = self.index_of(name.id)
        is_settled = self.dated and index is not None and self._is_old(index)
        return Fate.GONE if fate is Fate.NEVER and not is_settled else fate

    def plan(self, name: Name) -> tuple[Fault, ...]:
        """Return what goes wrong with a recording's first answers, in order."""
        rng = self._draw("plan", name)
        if rng.random() >= self.share:
            return ()
        index = self.index_of(name.id)
        is_final = self.dated and index is not None and self._is_old(index)
        kinds = tuple(each for each in USUAL if each is not Fault.NOT_YET or not is_final)
        faults = [rng.choice(SLOW if rng.random() < 0.03 else kinds)]
        while len(faults) < 3 and rng.random() < 0.25:
            faults.append(rng.choice(kinds))
        return tuple(faults)

    def page_plan(self, first: int) -> tuple[Fault, ...]:
        """Return what goes wrong with the page that begins at this conversation."""
        rng = Random(f"{self.seed} page {first}")
        return (rng.choice(FOR_PAGES),) if rng.random() < self.share else ()

    def _is_old(self, index: int) -> bool:
        return self.until - self.started_at(index) > OLD

    def _draw(self, what: str, name: Name) -> Random:
        return Random(f"{self.seed} {what} {name.id} {name.direction}")

    def _digest(self, text: str, octets: int) -> str:
        return blake2b(f"{self.seed} {text}".encode(), digest_size=octets).hexdigest()
