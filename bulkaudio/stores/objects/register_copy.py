"""
A copy of the register beside the recordings, of its own: what was erased must outlive the manifest.

The manifest tells the register's lines as well, among millions of others, and a part of it that is
lost would take the erasures along that it told. Here they are alone, in segments that are cut at the
first line end behind each MiB: only the last one is ever written again, so that erasing a million
conversations does not write all of them a thousand times. Everything here blocks.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Self

from bulkaudio.errors import BucketAuthError
from bulkaudio.steps import Step, reach
from bulkaudio.stores import register
from bulkaudio.stores.disk import STATE_FOLDER, Folders
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.objects import SHA256
from bulkaudio.stores.objects.things import Found

REGISTER_FOLDER = PurePosixPath(STATE_FOLDER, "register")
SEGMENT_BYTES = 1024 * 1024

_SEGMENT = re.compile(r"([0-9]{8,12})\.jsonl")


def segment_path(number: int) -> PurePosixPath:
    """Name a segment, relative to the archive; they count from 1."""
    return REGISTER_FOLDER / f"{number:08d}.jsonl"


@dataclass(slots=True)
class RegisterCopy:
    """
    Keeps the copy of one archive; under its lock, and after nobody else was found to write there.

    First `learn`, then `open`, and from then on `keep_up`.

    Attributes:
        lines: Of the register, as far as they are copied.
        has_learnt: The copy knew what the register did not.
    """

    bucket: Bucket
    folders: Folders
    lines: int = field(default=0, init=False)
    has_learnt: bool = field(default=False, init=False)
    _number: int = field(default=1, init=False)
    _at: int = field(default=0, init=False)
    """Where the last segment begins in the register."""
    _lines_before: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)
    """Of that segment, as it is in the bucket."""
    _is_copied: bool = field(default=False, init=False)
    """Nothing was lacking when it was looked at."""

    def learn(self) -> None:
        """Bring the register what only the copy knows."""
        there = segments(self.bucket)
        self._is_copied = self._is_whole(there)
        if there and not self._is_copied:
            before = register.size(self.folders)
            take_in(self.bucket, self.folders, digests(self.folders))
            self.has_learnt = register.size(self.folders) != before

    def open(self, *, is_anew: bool = False) -> None:
        """
        Bring the copy what only the register knows.

        Args:
            is_anew: The register has not only grown since `learn`.
        """
        if self._is_copied and not is_anew:
            self.keep_up()
            return
        self._number, self._at, self._lines_before = 1, 0, 0
        there = segments(self.bucket)
        for number, text in self._cut():
            if self._is_lacking(number, text, there):
                self._write(number, text)
            self._size = len(text)
        surplus = [found.key for number, found in there.items() if number > self._number]
        if surplus and is_anew:
            # All of them were taken in, and would be at each start.
            with suppress(BucketAuthError):
                self.bucket.delete(surplus)

    def keep_up(self) -> None:
        """Copy what is new in the register; durable when this returns."""
        for number, text in self._cut():
            if len(text) != self._size:
                self._write(number, text)

    def _is_whole(self, there: Mapping[int, Found]) -> bool:
        for number, text in self._cut():
            if self._is_lacking(number, text, there):
                return False
            self._size = len(text)
        return max(there) <= self._number

    def _write(self, number: int, text: bytes) -> None:
        reach(Step.REGISTER_COPY)
        key = self.bucket.url.key(segment_path(number))
        self.bucket.replace(key, text, facts={SHA256: hashlib.sha256(text).hexdigest()})
        self._size = len(text)

    def _cut(self) -> Iterator[tuple[int, bytes]]:
        """Yield the segments from the last one on, and remember where it begins."""
        while True:
            text, count, end = bytearray(), 0, self._at
            for entry, after in register.following(self.folders, self._at):
                text += register.line_of(entry)
                count, end = count + 1, after
                if len(text) >= SEGMENT_BYTES:
                    break
            self.lines = self._lines_before + count
            yield self._number, bytes(text)
            if len(text) < SEGMENT_BYTES:
                return
            self._number, self._at, self._size = self._number + 1, end, 0
            self._lines_before += count

    def _is_lacking(self, number: int, text: bytes, there: Mapping[int, Found]) -> bool:
        # The first one also when it is empty: it says that nothing was ever erased.
        if not text and number > 1:
            return False
        found = there.get(number)
        if found is None or found.size != len(text):
            return True
        seen = self.bucket.head(found.key)
        return seen is None or seen.facts.get(SHA256) != hashlib.sha256(text).hexdigest()


@dataclass(slots=True)
class Reading:
    """
    One reading of a copy.

    Attributes:
        faults: What is missing or cannot be read, for people.
        size: Of all segments in bytes, if only of no line; None: there is no copy at all.
    """

    bucket: Bucket
    faults: list[str] = field(default_factory=list)
    lines: int = 0
    size: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a copy at all."""
        return self.size is not None

    @classmethod
    def over(cls, bucket: Bucket) -> Self:
        """Read it to its end, and keep nothing of it."""
        reading = cls(bucket)
        for _ in reading.pages():
            pass
        return reading

    def pages(self) -> Iterator[Sequence[register.Entry]]:
        """Yield its lines in order, a segment at a time."""
        there = segments(self.bucket)
        self.size = size_of(there)
        for number in range(1, max(there, default=0) + 1):
            name = segment_path(number).name
            if number not in there:
                self.faults.append(f"segment {name} of the register is missing")
                continue
            entries = [
                register.entry_of(each)
                for each in b"".join(self.bucket.read(there[number].key)).splitlines(keepends=True)
            ]
            if None in entries:
                self.faults.append(f"segment {name} of the register is damaged")
            found = [each for each in entries if each is not None]
            self.lines += len(found)
            yield found


def take_in(bucket: Bucket, folders: Folders, known: set[bytes]) -> None:
    """Bring the register of a state folder what only the copy knows; for `known` see `add`."""
    for page in Reading(bucket).pages():
        add(folders, page, known)


def add(folders: Folders, entries: Sequence[register.Entry], known: set[bytes]) -> None:
    """Append what a register lacks; `known` are the `digests` of what it has, and stay so."""
    missing = {_digest(each): each for each in entries}
    lines = [each for digest, each in missing.items() if digest not in known]
    if lines:
        register.append(folders, lines)
        known.update(missing)


def digests(folders: Folders) -> set[bytes]:
    """Know the lines of a register again."""
    return {_digest(entry) for entry, _ in register.following(folders, 0)}


def _digest(line: register.Entry) -> bytes:
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).digest()[:16]


def size_of(there: Mapping[int, Found]) -> int | None:
    """Add up segments, in bytes; None where there are none."""
    return sum(each.size for each in there.values()) if there else None


def segments(bucket: Bucket) -> Mapping[int, Found]:
    """List what there is of a copy, by number."""
    found = {}
    for page in bucket.names(bucket.url.key(REGISTER_FOLDER)):
        for each in page:
            if named := _SEGMENT.fullmatch(each.key.rpartition("/")[2]):
                found[int(named[1])] = each
    return found
