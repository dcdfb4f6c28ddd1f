"""
Notes of workers, beside the recordings that they are about: written, read, held to what is there.

A worker has one for each shard, and writes it anew whenever it has kept some more. A shard that is
done again, because a worker died, fetches nothing that is in them, and a run that begins adopts what
those of a killed one name. The counterpart of `bulkaudio.stores.benches`. Everything here blocks.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from bulkaudio.errors import BucketAuthError
from bulkaudio.model import Outcome, Recording
from bulkaudio.stores.objects.faults import ObjectMissingError
from bulkaudio.stores.objects.kept import (
    MOST_BYTES,
    SHARDS_FOLDER,
    Kept,
    NoteError,
    decode,
    encode,
    folder_of,
    is_note,
    note_path,
)
from bulkaudio.stores.objects.objects import Objects
from bulkaudio.stores.objects.things import Found

NOTES_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as it was when it was read."""

    found: Found
    kept: Kept


@dataclass(frozen=True, slots=True)
class Notes:
    """
    The notes of one archive.

    Attributes:
        pool: Its threads do several things side by side; nothing here is called in one of them,
            except `listed`.
    """

    objects: Objects
    pool: ThreadPoolExecutor

    def write(self, shard: str, bench: str, outcomes: Sequence[Outcome]) -> None:
        """Note what a worker has kept of a shard, in place of what it had noted of it."""
        key = self.objects.url.key(note_path(shard, bench))
        self.objects.bucket.replace(key, encode(outcomes), facts={})

    def of_shard(self, shard: str) -> Sequence[Note]:
        """Read what all workers have noted of a shard."""
        pages = self.objects.bucket.names(self.objects.url.key(folder_of(shard)))
        return self.read([found for page in pages for found in page])

    def listed(self) -> Iterator[Sequence[Found]]:
        """Yield all notes there are, some at a time."""
        for page in self.objects.bucket.names(self.objects.url.key(SHARDS_FOLDER)):
            for at in range(0, len(page), NOTES_AT_ONCE):
                yield page[at : at + NOTES_AT_ONCE]

    def read(self, found: Sequence[Found]) -> Sequence[Note]:
        """Read some; what is no note of ours is left alone."""
        notes = self.pool.map(self._read, found)
        return [note for note in notes if note is not None]

    def confirmed(self, told: Sequence[tuple[Recording, Outcome]]) -> Sequence[Outcome]:
        """Hold what is noted to what is there; return what is so."""
        outcomes = self.pool.map(lambda pair: self.objects.still_kept(*pair), told)
        return [outcome for outcome in outcomes if outcome is not None]

    def strike(self, notes: Sequence[Note]) -> None:
        """Remove notes, except those that their worker has written anew since they were read."""
        # Not by date or tag: a listing tells those otherwise than a look does.
        again = self.pool.map(lambda note: self._read(note.found), notes)
        pairs = zip(notes, again, strict=True)
        self._delete([one.found.key for one, now in pairs if now and now.kept == one.kept])

    def strike_out(self, bench: str, shard: str) -> None:
        """Remove a worker's note of a shard."""
        path = note_path(shard, bench)
        if is_note(path):
            self._delete([self.objects.url.key(path)])

    def _read(self, found: Found) -> Note | None:
        path = self.objects.url.path(found.key)
        if path is None or not is_note(path) or found.size > MOST_BYTES:
            return None
        try:
            body = b"".join(self.objects.bucket.read(found.key))
            return Note(found=found, kept=decode(body))
        except (ObjectMissingError, NoteError):
            return None

    def _delete(self, keys: Sequence[str]) -> None:
        # Who may not delete was told so at the start; downloads work all the same.
        with suppress(BucketAuthError):
            self.objects.bucket.delete(keys)
