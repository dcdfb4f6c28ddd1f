"""
Whether what is told beside the recordings is whole, and this ledger's own. Everything here blocks.

While the ledger is there is the time to notice that it is not: all of it can still be told anew.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from bulkaudio.errors import ArchiveBusyError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.stores import register
from bulkaudio.stores.address import words_for
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.history import part_of, sha256_of, shelf_of
from bulkaudio.stores.objects.marks import Mark, Standing
from bulkaudio.stores.objects.parts import (
    Chain,
    Head,
    PartError,
    Place,
    Shelf,
    decode,
    missing_mark,
    part_path,
)
from bulkaudio.stores.objects.register_copy import Reading, segments, size_of


def look_over(bucket: Bucket, mark: Mark, root: Path) -> tuple[str, ...]:
    """
    Say by the names of the parts, and by the last one, what is missing.

    Raises:
        ArchiveBusyError: Somebody else has written here since this state folder was last used.
    """
    shelf, mark = own(bucket, mark, root)
    there = set(shelf.told)
    generation, last = shelf.told[-1] if shelf.told else (0, 0)
    wanted = [(generation, number) for number in range(1, last + 1)]
    gaps = [f"{part_path(place).name} is missing" for place in wanted if place not in there]
    head, size = _last_head(bucket, shelf), size_of(segments(bucket))
    return (*gaps, *_end(shelf, mark), *_register(shelf, head, size, root))


def read_over(bucket: Bucket, mark: Mark, root: Path) -> tuple[str, ...]:
    """
    Read every part and the copy of the register, and say what is missing or was changed.

    Raises:
        ArchiveBusyError: As `look_over`.
    """
    shelf, mark = own(bucket, mark, root)
    chain, reading = Chain(), Reading.over(bucket)
    for place in shelf.told:
        chain.take(place, part_of(bucket, place))
    shortage = reading.faults or _register(shelf, chain.newest, reading.size, root)
    return (*chain.faults, *_end(shelf, mark), *shortage)


def overtaken(url: ObjectUrl, root: Path, place: Place) -> ArchiveBusyError:
    """Say that a part is somebody else's, and how one goes on."""
    return ArchiveBusyError(
        f"another run writes to {url}, or has since this state folder "
        f"({root}) was last used: {part_path(place)} is not its own",
        fix="let that run end, and use one state folder for an archive; if the other one is "
        f"gone for good, run bulkaudio rebuild {words_for(root, Elsewhere(url=url))} --force",
    )


def own(bucket: Bucket, mark: Mark, root: Path) -> tuple[Shelf, Mark]:
    """
    List the parts; return also the mark behind the one that a killed writer did not come to note.

    Raises:
        ArchiveBusyError: As `look_over`.
    """
    shelf = shelf_of(bucket)
    newest = shelf.newest
    found = None if newest is None else sha256_of(bucket, newest)
    if newest is not None and mark.is_overtaken(newest, found):
        raise overtaken(bucket.url, root, newest)
    if newest is not None and newest == mark.next_place and found is not None:
        mark = mark.after(found)
    return shelf, mark


def _register(shelf: Shelf, head: Head | None, size: int | None, root: Path) -> Iterator[str]:
    """
    Say whether the copy of the register lacks lines that it had when the last part was written.

    Args:
        head: Of that part; None: it cannot be read.
        size: Of the copy in bytes; None: there is none.
    """
    if shelf.told and size is None:
        yield "the copy of the register is missing"
    elif head is not None and head.place in shelf.told[-1:]:
        folders = Folders(root)
        try:
            lines = islice(register.following(folders, 0), head.register or 0)
            wanted = sum(len(register.line_of(entry)) for entry, _ in lines)
        finally:
            folders.close()
        if (size or 0) < wanted:
            yield "the copy of the register is shorter than it was"


def _last_head(bucket: Bucket, shelf: Shelf) -> Head | None:
    with suppress(PartError):
        return decode(part_of(bucket, shelf.told[-1]))[0] if shelf.told else None
    return None


def lacks_its_mark(shelf: Shelf, mark: Mark) -> bool:
    """Whether a generation that tells everything is not marked so any more."""
    return mark.standing is Standing.WHOLE and mark.generation not in shelf.marks


def _end(shelf: Shelf, mark: Mark) -> Iterator[str]:
    """Say what is missing behind the last part; of a generation that is whole nothing may be."""
    if lacks_its_mark(shelf, mark):
        yield missing_mark(mark.generation)
    elif mark.number and mark.standing is Standing.WHOLE and mark.place not in shelf.told[-1:]:
        yield f"{part_path(mark.place).name}, the last one, is missing"
