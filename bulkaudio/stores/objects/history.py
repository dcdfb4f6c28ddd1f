"""Reading a manifest from its beginning, for a ledger that is made anew. Everything here blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath

from bulkaudio.errors import StorageError
from bulkaudio.stores import register
from bulkaudio.stores.disk import STATE_FOLDER, Folders
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.marks import Mark, Standing
from bulkaudio.stores.objects.parts import (
    MANIFEST_FOLDER,
    Chain,
    Entry,
    Place,
    Shelf,
    missing_mark,
    part_path,
)
from bulkaudio.stores.objects.register_copy import Reading, add, digests, take_in

REGISTER, CLOSED = "register", "closed"


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
    _copy: Reading = field(init=False)
    _had_register: bool = field(init=False)

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Yield what the manifest tells, a part at a time."""
        self._shelf = shelf_of(self.bucket)
        known = digests(self.folders)
        self._had_register = bool(known)
        self._copy = Reading.over(self.bucket)
        if not self._copy.faults:
            take_in(self.bucket, self.folders, known)
        self.chain.faults += _untold(self._shelf, has_copy=self._copy.is_there)
        if (unmarked := self._shelf.unmarked) is not None:
            self.chain.faults.append(missing_mark(unmarked))
        for place in self._shelf.told:
            entries = self.chain.take(place, part_of(self.bucket, place))
            add(self.folders, [each[REGISTER] for each in entries if REGISTER in each], known)
            yield [each for each in entries if REGISTER not in each and CLOSED not in each]
        if self._copy.faults:
            # Behind: the last word on a conversation counts, and the copy lacks some before its own.
            take_in(self.bucket, self.folders, known)

    @property
    def is_register_whole(self) -> bool:
        """Whether everything is known that was ever erased or held; after `entries`."""
        if self._shelf.told and not self.chain.faults:
            return True
        newest, copy = self.chain.newest, self._copy
        if newest is None or newest.register is None:
            # A copy that was put back from before some erasure looks as whole as the last one.
            return False
        return copy.is_there and not copy.faults and copy.lines >= newest.register

    @property
    def faults(self) -> tuple[str, ...]:
        """What is missing or was changed, for people; after `entries`."""
        return (*self.chain.faults, *self._copy.faults) if self.chain.faults else ()

    @property
    def teller(self) -> tuple[str, datetime] | None:
        """Who told the last part that can be read, and when; after `entries`."""
        newest = self.chain.newest
        return None if newest is None else (newest.writer, newest.written_at)

    def damaged(self) -> StorageError:
        """Say what is wrong, and how one goes on."""
        place = self.bucket.url.key(PurePosixPath(STATE_FOLDER))
        faults = self.faults
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        first = faults[0] if faults else "nothing is told there"
        return StorageError(
            f"what was erased and what is held is told beside the recordings, below {place}/, and that "
            f"is not whole: {first}{more}",
            fix="bring back the newest there is, from the bucket's versions or a backup, or go on without by rebuild "
            "--force: what is not known then as erased may be fetched again; of recordings that "
            "another tool has copied there, nothing was ever told, and --force is right",
        )

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
            sha256=sha256_of(self.bucket, newest),
            # Lines that the manifest does not know yet may be anywhere among those.
            register_bytes=0 if self._had_register else end,
            standing=Standing.WHOLE if is_whole else Standing.SPOILT,
        )


def _untold(shelf: Shelf, *, has_copy: bool) -> Sequence[str]:
    """Say what is wrong where no generation counts, for people."""
    newest = shelf.newest
    if shelf.told:
        return ()
    if newest is None:
        return ("no part of the manifest is there",) if has_copy else ()
    if len(shelf.places) > 1:
        return (missing_mark(newest[0]),)
    return (f"of the manifest only {part_path(newest).name} is there",)


def shelf_of(bucket: Bucket) -> Shelf:
    """List the parts that there are."""
    url = bucket.url
    return Shelf.of(
        path
        for page in bucket.names(url.key(MANIFEST_FOLDER))
        for found in page
        if (path := url.path(found.key)) is not None
    )


def newer_than(bucket: Bucket, place: Place) -> Place | None:
    """Return the last part behind one, if there is any; one request where there is none."""
    folder, after = bucket.url.key(MANIFEST_FOLDER), bucket.url.key(part_path(place))
    paths = (
        bucket.url.path(each.key) for page in bucket.names(folder, after=after) for each in page
    )
    newest = Shelf.of(path for path in paths if path is not None).newest
    return newest if newest is not None and newest > place else None


def part_of(bucket: Bucket, place: Place) -> bytes:
    """Read a part."""
    return b"".join(bucket.read(bucket.url.key(part_path(place))))


def sha256_of(bucket: Bucket, place: Place) -> str:
    """Hash a part."""
    return sha256(part_of(bucket, place)).hexdigest()
