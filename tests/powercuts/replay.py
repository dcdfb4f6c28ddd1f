"""
What may be on a disk after a power cut: prefixes of its log, and what of their end had arrived.

A disk keeps what it was told before the last flush. Of what came after, all may have arrived,
nothing, or any part in any order: half of it is drawn here, in pieces of 4 KiB.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from tests.powercuts.log import Flush, Record, Write

BLOCK_BYTES = 4096


class Arrived(StrEnum):
    """How much of what was not flushed is on the disk."""

    ALL = "all"
    NONE = "none"
    HALF = "half"


@dataclass(frozen=True, slots=True, order=True)
class State:
    """
    One power cut.

    Attributes:
        records: So many of the log had been told.
        seed: Of the draw, with `Arrived.HALF`.
    """

    records: int
    arrived: Arrived
    seed: int = 0

    def __str__(self) -> str:
        seed = f" (seed {self.seed})" if self.arrived is Arrived.HALF else ""
        return f"record {self.records}, {self.arrived}{seed}"


Piece = tuple[int, bytes]
"""Bytes within one block, at an offset on the disk."""


class Disk:
    """The blocks of a disk that are not zero."""

    def __init__(self, size: int, blocks: dict[int, bytes]) -> None:
        self.size = size
        self.blocks = blocks

    @classmethod
    def read(cls, image: Path) -> "Disk":
        """Read an image, past its holes."""
        blocks: dict[int, bytes] = {}
        with image.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for start, end in _extents(file.fileno(), size):
                for at in range(start - start % BLOCK_BYTES, end, BLOCK_BYTES):
                    block = os.pread(file.fileno(), BLOCK_BYTES, at)
                    if block.strip(b"\0"):
                        blocks[at // BLOCK_BYTES] = block.ljust(BLOCK_BYTES, b"\0")
        return cls(size, blocks)

    def take(self, piece: Piece) -> None:
        """Write a piece."""
        offset, data = piece
        number, within = divmod(offset, BLOCK_BYTES)
        if len(data) < BLOCK_BYTES:
            old = self.blocks.get(number, bytes(BLOCK_BYTES))
            data = old[:within] + data + old[within + len(data) :]
        self.blocks[number] = data

    def with_pieces(self, pieces: Sequence[Piece]) -> "Disk":
        """Return this disk with pieces written to it; itself it stays as it is."""
        copy = Disk(self.size, dict(self.blocks))
        for piece in pieces:
            copy.take(piece)
        return copy

    def write(self, image: Path) -> None:
        """Make an image of it."""
        with image.open("wb") as file:
            file.truncate(self.size)
            for start, run in _runs(sorted(self.blocks)):
                data = b"".join(self.blocks[number] for number in run)
                os.pwrite(file.fileno(), data[: self.size - start], start)


class Replay:
    """A disk on its way through a log; states are asked for in their order."""

    def __init__(self, disk: Disk, records: Sequence[Record]) -> None:
        self._records = records
        self._disk = disk
        self._flushed = 0

    def at(self, state: State) -> Disk:
        """Return the disk as the power cut left it."""
        flushed = flushed_before(self._records, state.records)
        for piece in pieces_of(self._records[self._flushed : flushed]):
            self._disk.take(piece)
        self._flushed = flushed
        return self._disk.with_pieces(arrived(self._records, state))


def flushed_before(records: Sequence[Record], count: int) -> int:
    """Return how many of the first `count` records the last flush among them covers."""
    while count and not isinstance(records[count - 1], Flush):
        count -= 1
    return count


def pieces_of(records: Sequence[Record]) -> Iterator[Piece]:
    """Cut writes where blocks end."""
    for record in records:
        if isinstance(record, Write):
            at = 0
            while at < len(record.data):
                length = BLOCK_BYTES - (record.offset + at) % BLOCK_BYTES
                yield record.offset + at, record.data[at : at + length]
                at += length


def arrived(records: Sequence[Record], state: State) -> list[Piece]:
    """Return what of the unflushed pieces is on the disk."""
    pieces = list(pieces_of(records[flushed_before(records, state.records) : state.records]))
    match state.arrived:
        case Arrived.ALL:
            return pieces
        case Arrived.NONE:
            return []
        case Arrived.HALF:
            draw = Random(f"{state.records}/{state.seed}")
            return [piece for piece in pieces if draw.random() < 0.5]


def choose(records: Sequence[Record], wanted: int, seed: int) -> list[State]:
    """
    Choose different crash states, spread over the whole log.

    Up to half of them are cuts just before a flush with nothing arrived: there most was reported
    and least is on the disk. The rest is shared by prefixes as they are and by draws.
    """
    total = len(records)
    cuts = [n for n in range(total + 1) if n == total or isinstance(records[n], Flush)]
    open_ = {n: n - flushed_before(records, n) for n in range(total + 1)}
    none = [State(n, Arrived.NONE) for n in cuts if open_[n]]
    whole = [State(n, Arrived.ALL) for n in range(total + 1)]
    chosen = spread(none, wanted // 2)
    chosen += spread(whole, (wanted - len(chosen)) // 2)
    drawn: list[State] = []
    while len(chosen) + len(drawn) < wanted and any(count > 1 for count in open_.values()):
        draws = [State(n, Arrived.HALF, seed) for n in open_ if open_[n] > 1]
        drawn += [state for state in draws if _is_part(records, state)]
        seed += 1
    return sorted(chosen + spread(drawn, wanted - len(chosen)))


def spread(states: Sequence[State], count: int) -> list[State]:
    """Take so many of them, or all, evenly."""
    count = min(max(count, 0), len(states))
    return [states[number * len(states) // count] for number in range(count)]


def reported(positions: Sequence[int], records: Sequence[Record], state: State) -> int:
    """Return how many of the reports, by the log's position at each, the power cut came after."""
    end = records[state.records - 1].end if state.records else 0
    return bisect_left(positions, end + 1)


def _is_part(records: Sequence[Record], state: State) -> bool:
    """Whether a draw is neither all nor nothing, which are states of their own."""
    everything = arrived(records, State(state.records, Arrived.ALL))
    return 0 < len(arrived(records, state)) < len(everything)


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Join neighbouring blocks."""
    first = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            run = range(numbers[first], numbers[at - 1] + 1)
            yield run.start * BLOCK_BYTES, run
            first = at
