"""The recordings that are served, and whether a tool has them all."""

import filecmp
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random

RATE_HZ = 8000
BYTES_PER_S = 2 * RATE_HZ
HEADER_BYTES = 44
ONE = "one"
"""Name of the file that stands for all, where only their number matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """
    Recordings of one length: 8 kHz, 16 bit, mono.

    Attributes:
        folder: Holds them as ``ID.wav``.
        is_distinct: Each has bytes of its own; else one file is served for all.
    """

    folder: Path
    count: int
    seconds: float
    is_distinct: bool = True

    @property
    def ids(self) -> Sequence[str]:
        """The conversations, in the order in which they are asked for."""
        return [id_of(number) for number in range(self.count)]

    @property
    def file_bytes(self) -> int:
        """Size of each."""
        return HEADER_BYTES + round(self.seconds * BYTES_PER_S)

    @property
    def total_bytes(self) -> int:
        """Size of all."""
        return self.count * self.file_bytes

    def write(self) -> None:
        """Make the files."""
        self.folder.mkdir(parents=True)
        for name in self.ids if self.is_distinct else [ONE]:
            (self.folder / f"{name}.wav").write_bytes(wav(name, self.seconds))

    def served(self, id_: str) -> Path:
        """Return the file that is served for a conversation."""
        return self.folder / f"{id_ if self.is_distinct else ONE}.wav"

    def fault(self, saved: Sequence[Path], *, by_bytes: bool) -> str | None:
        """Say what is wrong with what a tool saved, given in the order of the ids."""
        wrong = sum(
            not self._is_same(id_, path, by_bytes=by_bytes)
            for id_, path in zip(self.ids, saved, strict=True)
        )
        return f"saved {self.count - wrong:,} of {self.count:,}" if wrong else None

    def _is_same(self, id_: str, path: Path, *, by_bytes: bool) -> bool:
        try:
            if path.stat().st_size != self.file_bytes:
                return False
        except FileNotFoundError:
            return False
        return not by_bytes or filecmp.cmp(path, self.served(id_), shallow=False)


def id_of(number: int) -> str:
    """Return an id of the form that PolyAI gives, in no order: an index likes what is sorted."""
    return f"CA{blake2b(number.to_bytes(8), digest_size=16).hexdigest()}"


def wav(seed: str, seconds: float) -> bytes:
    """Return noise that `seed` determines; `tests.audio` makes the same more slowly."""
    samples = Random(seed).randbytes(round(seconds * BYTES_PER_S))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, BYTES_PER_S, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples))
    size = 4 + len(form) + len(data) + len(samples)
    return b"".join((struct.pack("<4sI4s", b"RIFF", size, b"WAVE"), form, data, samples))
