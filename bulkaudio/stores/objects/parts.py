"""
The manifest's parts: what the ledger knows, told beside the recordings in lines of JSON.

Rules of this file: bytes in, values out; nothing is requested. A part begins with a head that names
the SHA-256 of the part before it, so that one that is missing or changed is noticed. A generation
replaces those before it, so that what was erased is nowhere: it counts once its mark is there.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Self

from bulkaudio.quantities import plural
from bulkaudio.stores.disk import STATE_FOLDER

SCHEMA = "bulkaudio.manifest/1"

MANIFEST_FOLDER = PurePosixPath(STATE_FOLDER, "manifest")

_PART = re.compile(r"([0-9]{4,9})-([0-9]{8,12})\.jsonl")
_MARK = re.compile(r"([0-9]{4,9})\.whole")

Entry = Mapping[str, Any]
"""One line: an object of JSON with one key, which says what it is."""

Place = tuple[int, int]
"""Generation and number of a part; both count from 1."""


class PartError(ValueError):
    """These bytes are no part of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """
    The first line of a part.

    Attributes:
        previous: SHA-256 of the part before it; None at the beginning.
        writer: Who wrote it, for people.
        register: So many lines of the register had been copied then; None: it is not told.
    """

    generation: int
    number: int
    previous: str | None
    writer: str
    written_at: datetime
    register: int | None = None

    @property
    def place(self) -> Place:
        """Where in the chain it stands."""
        return self.generation, self.number


def part_path(place: Place) -> PurePosixPath:
    """Name a part, relative to the archive."""
    generation, number = place
    return MANIFEST_FOLDER / f"{generation:04d}-{number:08d}.jsonl"


def mark_path(generation: int) -> PurePosixPath:
    """Name what says that a generation tells everything."""
    return MANIFEST_FOLDER / f"{generation:04d}.whole"


def missing_mark(generation: int) -> str:
    """Say that it is gone."""
    return f"{mark_path(generation).name} is missing"


def encode(head: Head, entries: Sequence[Entry]) -> bytes:
    """Write a part."""
    first: dict[str, object] = {
        "schema": SCHEMA,
        "generation": head.generation,
        "number": head.number,
        "previous": head.previous,
        "writer": head.writer,
        "written_at": head.written_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    if head.register is not None:
        first["register"] = head.register
    lines = [json.dumps(each, separators=(",", ":")) for each in (first, *entries)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def decode(body: bytes) -> tuple[Head, list[Entry]]:
    """Read what `encode` wrote; raises `PartError`."""
    lines = body.split(b"\n")
    if lines.pop() or not lines:
        raise PartError("it does not end with a line")
    try:
        first, *entries = [json.loads(line) for line in lines]
        return _head(first), [_object(each) for each in entries]
    except PartError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PartError(f"it cannot be read ({type(error).__name__})") from error


def _head(first: Mapping[str, Any]) -> Head:
    if first.get("schema") != SCHEMA:
        raise PartError(f"its schema is not {SCHEMA}")
    return Head(
        generation=_count(first["generation"]),
        number=_count(first["number"]),
        previous=_hash(first["previous"]),
        writer=str(first["writer"]),
        written_at=datetime.fromisoformat(first["written_at"]),
        register=_lines(first.get("register")),
    )


def _object(entry: object) -> Entry:
    if not isinstance(entry, dict):
        raise PartError("it has a line that is no object")
    return entry


def _count(value: object) -> int:
    if type(value) is not int or value < 1:
        raise PartError("its head has no place in a chain")
    return value


def _lines(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _hash(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise PartError("its head names no part before it")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """
    Which parts there are, by their names.

    Attributes:
        places: In order.
        marks: Generations that are marked as telling everything; the first always does.
    """

    places: tuple[Place, ...]
    marks: frozenset[int]

    @classmethod
    def of(cls, paths: Iterable[PurePosixPath]) -> Self:
        """Sort the names below the manifest's folder; others are not ours."""
        places, marks = [], {1}
        for path in paths:
            if path.parent != MANIFEST_FOLDER:
                continue
            if found := _PART.fullmatch(path.name):
                place = int(found[1]), int(found[2])
                if part_path(place) == path:
                    places.append(place)
            elif found := _MARK.fullmatch(path.name):
                marks.add(int(found[1]))
        return cls(places=tuple(sorted(places)), marks=frozenset(marks))

    @property
    def newest(self) -> Place | None:
        """The last part of all."""
        return self.places[-1] if self.places else None

    @property
    def told(self) -> tuple[Place, ...]:
        """The parts of the newest generation that tells everything."""
        whole = self.unmarked or self._marked
        return tuple(place for place in self.places if place[0] == whole)

    @property
    def unmarked(self) -> int | None:
        """
        The generation that tells everything, and whose mark is gone; None: there is none.

        Older ones are cleared away only once it is marked: where nothing but the last part is left of
        the newest marked one, one after it was marked, too.
        """
        if self._marked is None or not self._is_cleared(self._marked):
            return None
        newer = {generation for generation, _ in self.places if generation > self._marked}
        return min((each for each in newer if not self._is_cleared(each)), default=None)

    @property
    def _marked(self) -> int | None:
        """The newest generation of which there are parts and a mark."""
        return max((each for each, _ in self.places if each in self.marks), default=None)

    def _is_cleared(self, generation: int) -> bool:
        numbers = [number for each, number in self.places if each == generation]
        return len(numbers) == 1 and numbers != [1]

    def outdated(self, generation: int) -> tuple[Place, ...]:
        """
        Name parts of earlier generations, but for the last of each.

        That one holds nothing but its head and keeps a writer that was away from going on there.
        """
        older = [place for place in self.places if place[0] < generation]
        last = {place[0]: place for place in older}
        return tuple(place for place in older if place != last[place[0]])


@dataclass(slots=True)
class Chain:
    """
    Holds parts to each other while they are read in order.

    Attributes:
        faults: What is missing or was changed, for people.
        last: SHA-256 of the last part.
        newest: What the last part that can be read says of itself.
    """

    faults: list[str] = field(default_factory=list)
    last: str | None = None
    newest: Head | None = None
    _expected: int = 1

    def take(self, place: Place, body: bytes) -> Sequence[Entry]:
        """
        Return what a part tells.

        Behind a gap the ends of listings are left out: rows that belong to them may be missing, and
        what was listed is not listed again.
        """
        name = part_path(place).name
        missing = place[1] - self._expected
        if missing:
            self.faults.append(f"{plural(missing, 'part')} missing before {name}")
        try:
            head, entries = decode(body)
        except PartError as error:
            self.faults.append(f"{name} is damaged: {error}")
            head, entries = None, []
        self.newest = head or self.newest
        if head is not None and head.place != place:
            self.faults.append(f"{name} was written as {part_path(head.place).name}")
        elif head is not None and not missing and place[1] > 1 and head.previous != self.last:
            self.faults.append(f"the part before {name} is not the one that was written")
        self._expected, self.last = place[1] + 1, sha256(body).hexdigest()
        return [each for each in entries if not (self.faults and "listing" in each)]
