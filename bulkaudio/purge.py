"""
Erasing recordings for good: audio, metadata and everything the ledger knows but a tombstone.

In this order, some conversations at a time: the intention goes into the ledger, then into the
register beside it; then files are removed and their folders synced; then the ledger forgets. A
killed erasure is finished by whatever opens the archive next, and nothing of it is ever fetched
meanwhile. At the end the ledger's file is written anew, and copies of older ledgers are removed:
they know what this one has forgotten.
"""

import asyncio
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from bulkaudio.errors import LedgerError, UsageError
from bulkaudio.ledger.dossiers import Dossier
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.faults import is_full
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.tombs import ORDER_PIN
from bulkaudio.model import Direction, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.stores.erasing import (
    Eraser,
    Removal,
    Removed,
    ledger_copies,
    make_room,
    remove_ledger_copies,
)
from bulkaudio.stores.reading import LocalReader
from bulkaudio.tombstones import Order, cleaned_entry, note, purged_entries

PER_BATCH = 200
TIGHT_BYTES = 1_000_000
"""A disk with less than this may have no room to write down what is to be erased."""

NAMED = 1000
"""A report names so many of a kind, and counts the others."""

MAY_BE_KEPT = frozenset({Status.SAVED, Status.OPEN, Status.DEFERRED, Status.FAILED})
"""Statuses of recordings that a metadata file is kept for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far erasing got: conversations looked at, and recordings erased or to be erased."""

    conversations: int
    recordings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    What is to be erased of the conversations that were collected.

    Attributes:
        directions: Empty: all of it, and whatever direction is asked for later. Of those that are
            named, also what was never asked for is never fetched.
        is_acting: False only looks.
    """

    order: Order
    directions: tuple[Direction, ...] = ()
    is_acting: bool = False

    def doom(self, dossier: Dossier) -> Doom | None:
        """Say what is to go of one conversation; None when it is gone already."""
        rows = tuple(
            row
            for row in dossier.rows
            if row.status is not Status.PURGED
            and (not self.directions or row.recording.direction in self.directions)
        )
        is_whole = not self.directions
        known = {row.recording.direction for row in dossier.rows}
        barred = () if dossier.is_buried else tuple(d for d in self.directions if d not in known)
        if not rows and not barred and (dossier.is_buried or not is_whole):
            return None
        starts = (row.recording.started_at for row in dossier.rows)
        return Doom(
            conversation_id=dossier.conversation_id,
            rows=rows,
            is_whole=is_whole,
            is_known=not dossier.is_unknown,
            barred=barred,
            started_at=next((start for start in starts if start is not None), None),
        )


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What was erased, or would be.

    Attributes:
        conversations: Of which anything is erased, unknown ones not counted.
        recordings: Saved ones among what is erased; `bytes` is their size by the ledger.
        tombstones: All recordings that are erased: also those that had no audio, or none yet.
        metadata: Files.
        unknown: The archive never heard of these; what was named of them will never be fetched.
            `unknown_count` is of all.
        already: Erased before, as far as it was asked for.
        held: The first of those that a hold forbids to erase, with its reason.
        removed: What was found on the disk: also files that had been set aside as damaged.
        ledger_copies: Names of copies of older ledgers, which go, too.
    """

    conversations: int = 0
    recordings: int = 0
    bytes: int = 0
    tombstones: int = 0
    metadata: int = 0
    unknown: list[str] = field(default_factory=list)
    unknown_count: int = 0
    already: int = 0
    held: list[tuple[str, str]] = field(default_factory=list)
    held_count: int = 0
    removed: Removed = field(default_factory=Removed)
    ledger_copies: Sequence[str] = ()

    def take(self, dossier: Dossier, doom: Doom) -> None:
        """Count what goes of one conversation."""
        if dossier.is_unknown:
            self.unknown_count += 1
            if len(self.unknown) < NAMED:
                self.unknown.append(dossier.conversation_id)
            return
        self.conversations += 1
        self.tombstones += len(doom.directions)
        saved = [row for row in doom.rows if row.status is Status.SAVED]
        self.recordings += len(saved)
        self.bytes += sum(row.bytes or 0 for row in saved)

    def leave(self, dossier: Dossier, reason: str) -> None:
        """Count one that is held."""
        self.held_count += 1
        if len(self.held) < NAMED:
            self.held.append((dossier.conversation_id, reason))


Watch = Callable[[Progress], None]
Witness = Callable[[Sequence[Doom]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """
    Who follows an erasure.

    Attributes:
        witness: Told of conversations when nothing of them is left, or would be; in a thread, and
            waited for.
        watch: Called on the loop; must return at once.
    """

    witness: Witness = lambda _: None
    watch: Watch = lambda _: None


async def purge(ledger: Ledger, store: LocalReader, wish: Wish, observer: Observer) -> Report:
    """
    Erase what `Ledger.erasures` has collected, in constant memory, but nothing that is held.

    Raises:
        LedgerError, StorageError: The rest is erased by whatever opens the archive next.
    """
    report, position, seen = Report(), 0, 0
    while page := await ledger.erasures.dossiers(position, PER_BATCH):
        position, seen = page[-1].number, seen + len(page)
        dooms = _sort(page, wish, report)
        if wish.is_acting and dooms:
            report.removed.add(await _erase(ledger, store, dooms, wish.order))
            report.metadata = report.removed.metadata
        else:
            report.metadata += len(await store.has_sidecar(_bare(page, dooms)))
        await asyncio.to_thread(observer.witness, dooms)
        observer.watch(Progress(conversations=seen, recordings=report.recordings))
    if report.conversations or report.unknown_count:
        report.ledger_copies = await store.within(ledger_copies)
        if wish.is_acting:
            with _told_of_traces(ledger.path):
                await _clean(ledger, store)
    return report


async def finish(ledger: Ledger, store: LocalReader) -> None:
    """Finish what a killed erasure has begun; nothing is asked a second time."""
    text = (await ledger.pins()).get(ORDER_PIN)
    if text is None:
        return
    order = Order.from_json(text)
    while dooms := await ledger.erasures.pending(PER_BATCH):
        bare = await ledger.erasures.erased([doom.conversation_id for doom in dooms])
        await _remove(ledger, store, (dooms, bare), order)
    await _clean(ledger, store)


async def _erase(
    ledger: Ledger, store: LocalReader, dooms: Sequence[Doom], order: Order
) -> Removed:
    """
    Erase a batch.

    The intention comes first, and on a full disk there may be no room for it. Fewer at a time need
    less, and what the first of them leave is room for the others.
    """
    if await store.free_bytes() < TIGHT_BYTES:
        await store.within(make_room)
    try:
        bare = await ledger.erasures.begin(dooms, order.to_json(), datetime.now(UTC))
    except LedgerError as error:
        if not is_full(error):
            raise
        if len(dooms) == 1:
            raise _no_room(store.root) from error
        half, removed = len(dooms) // 2, Removed()
        for part in (dooms[:half], dooms[half:]):
            removed.add(await _erase(ledger, store, part, order))
        return removed
    return await _remove(ledger, store, (dooms, bare), order)


def _no_room(root: Path) -> LedgerError:
    return LedgerError(
        f"the disk of {root} is so full that not even what is to be erased can be written down",
        fix=f"free a megabyte there (df -h {shlex.quote(str(root))}), such as a log or a report, and "
        "run again: what is erased then makes room for the rest",
    )


@contextmanager
def _told_of_traces(ledger: Path) -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        if not is_full(error):
            raise
        raise LedgerError(
            "the recordings are erased; to write the ledger anew without their traces, its disk or "
            "the system's temporary folder has not room enough",
            fix=f"free twice the size of {ledger} on either, and run again: it is finished then",
        ) from error


def _sort(page: Sequence[Dossier], wish: Wish, report: Report) -> Sequence[Doom]:
    dooms = []
    for dossier in page:
        doom = wish.doom(dossier)
        if dossier.hold is not None and doom is not None:
            report.leave(dossier, dossier.hold)
        elif doom is None:
            report.already += 1
        else:
            report.take(dossier, doom)
            dooms.append(doom)
    return dooms


def _bare(page: Sequence[Dossier], dooms: Sequence[Doom]) -> Sequence[str]:
    """Name conversations of which no audio would be left."""
    gone = {row.rowid for doom in dooms for row in doom.rows}
    doomed = {doom.conversation_id for doom in dooms}
    return [
        dossier.conversation_id
        for dossier in page
        if dossier.conversation_id in doomed
        and not any(row.status in MAY_BE_KEPT and row.rowid not in gone for row in dossier.rows)
    ]


async def _remove(
    ledger: Ledger,
    store: LocalReader,
    what: tuple[Sequence[Doom], frozenset[str]],
    order: Order,
) -> Removed:
    dooms, bare = what
    await note(store, purged_entries(dooms, order))
    batch = [_removal(doom, store.layout, is_bare=doom.conversation_id in bare) for doom in dooms]
    removed = await store.within(lambda folders: Eraser(folders).erase(batch))
    await ledger.erasures.finish(dooms, datetime.now(UTC))
    return removed


async def _clean(ledger: Ledger, store: LocalReader) -> None:
    await store.within(remove_ledger_copies)
    await ledger.erasures.rewrite()
    # Should the ledger be lost from here on, what is moved aside of it knows nothing any more.
    await note(store, [cleaned_entry()])
    await ledger.erasures.end()


def _removal(doom: Doom, layout: Layout, *, is_bare: bool) -> Removal:
    directions = frozenset(Direction if doom.is_whole else doom.directions)
    known = [row.path for row in doom.rows if row.path is not None]
    starts = (doom.started_at, *(row.recording.started_at for row in doom.rows))
    start = next((each for each in starts if each is not None), None)
    named = [_named(doom.conversation_id, each, start, layout) for each in sorted(directions)]
    return Removal(
        conversation_id=doom.conversation_id,
        directions=directions,
        paths=(*known, *(path for path in named if path is not None)),
        has_metadata_too=is_bare,
    )


def _named(
    conversation_id: str, direction: Direction, started_at: datetime | None, layout: Layout
) -> PurePosixPath | None:
    """Say where the layout puts a recording, whether or not the ledger knows a file there."""
    recording = Recording(
        conversation_id=conversation_id, direction=direction, started_at=started_at
    )
    try:
        return layout.path(recording)
    except UsageError:
        return None
