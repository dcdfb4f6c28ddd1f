"""Reading a manifest from its beginning, for a ledger that is made anew. Everything here blocks."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from bulkaudio.stores import register
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.marks import Mark, Standing
from bulkaudio.stores.objects.parts import (
    MANIFEST_FOLDER,
    Chain,
    Entry,
    Place,
    Shelf,
    part_path,
)

REGISTER = "register"
LINES_PER_LOOK = 1000


@dataclass(slots=True)
class History:
    """
    One reading of an archive's manifest.

    Register entries go to the register of the state folder, as far as that lacks them; `entries`
    yields the others.
    """

    bucket: Bucket
    folders: Folders
    chain: Chain = field(default_factory=Chain)
    _shelf: Shelf = field(init=False)
    _had_register: bool = field(init=False)

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Yield what the manifest tells, a part at a time."""
        self._shelf = shelf_of(self.bucket)
        known = _digests(self.folders)
        self._had_register = bool(known)
        for place in self._shelf.told:
            entries = self.chain.take(place, self._body(place))
            told = [each[REGISTER] for each in entries if REGISTER in each]
            missing = [line for line in told if _digest(line) not in known]
            if missing:
                register.append(self.folders, missing)
            yield [each for each in entries if REGISTER not in each]

    def mark(self) -> Mark:
        """Say where to go on from, once everything is read."""
        newest = self._shelf.newest
        if newest is None:
            return Mark()
        is_whole = not self.chain.faults and newest in self._shelf.told[-1:]
        _, end = register.read_from(self.folders, 0, 1 << 62)
        return Mark(
            generation=newest[0],
            number=newest[1],
            sha256=sha256(self._body(newest)).hexdigest(),
            # Lines that the manifest does not know yet may be anywhere among those.
            register_bytes=0 if self._had_register else end,
            standing=Standing.WHOLE if is_whole else Standing.SPOILT,
        )

    def _body(self, place: Place) -> bytes:
        return b"".join(self.bucket.read(self.bucket.url.key(part_path(place))))


def shelf_of(bucket: Bucket) -> Shelf:
    """List the parts that there are."""
    url = bucket.url
    return Shelf.of(
        path
        for page in bucket.names(url.key(MANIFEST_FOLDER))
        for found in page
        if (path := url.path(found.key)) is not None
    )


def _digests(folders: Folders) -> set[bytes]:
    found: set[bytes] = set()
    at = 0
    while True:
        lines, at = register.read_from(folders, at, LINES_PER_LOOK)
        found.update(map(_digest, lines))
        if len(lines) < LINES_PER_LOOK:
            return found


def _digest(line: Entry) -> bytes:
    return sha256(json.dumps(line, sort_keys=True).encode()).digest()[:16]
