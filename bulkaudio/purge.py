"""
Erasing recordings for good: audio, metadata and everything the ledger knows but a tombstone.

In this order, some conversations at a time: the intention goes into the ledger, then into the
register beside it; then files are removed and their folders synced; then the ledger forgets. At the
end the ledger's file is written anew, and copies of older ledgers are removed, and pages about the
archive: they know what this ledger has forgotten.

Nothing of a killed erasure is ever fetched. Every look at the archive tells of it; the next run, or
the next erasure, finishes it and says so. What was put under a hold since is left as it is.
"""

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from bulkaudio.erasure import (
    NAMED,
    Observer,
    Progress,
    Report,
    Resumed,
    Wish,
    Witness,
    bare_of,
    removal,
    sort,
)
from bulkaudio.errors import LedgerError
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.faults import is_full
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.tombs import HELD_PIN, ORDER_PIN
from bulkaudio.stores.archive import ArchiveReader, ArchiveStore
from bulkaudio.stores.erasing import (
    Removed,
    ledger_copies,
    make_room,
    remove_ledger_copies,
)
from bulkaudio.stores.pages import pages, remove_pages
from bulkaudio.tombstones import Order, cleaned_entry, note, purged_entries

PER_BATCH = 200
TIGHT_BYTES = 1_000_000
"""A disk with less than this may have no room to write down what is to be erased."""


async def purge(ledger: Ledger, store: ArchiveReader, wish: Wish, observer: Observer) -> Report:
    """
    Erase what `Ledger.erasures` has collected, in constant memory, but nothing that is held.

    Before, what an earlier erasure had begun is brought to its end. Who only looks changes nothing.

    Raises:
        LedgerError, StorageError: The rest of it is found by whatever looks at the archive next.
    """
    report, position, seen = Report(), 0, 0
    if wish.is_acting or wish.is_rest:
        await _resume(ledger, store, report, wish=wish, observer=observer)
    while page := await ledger.erasures.dossiers(position, PER_BATCH):
        position, seen = page[-1].number, seen + len(page)
        dooms, gone = sort(page, wish, report)
        if wish.is_acting and dooms:
            report.removed.add(await _erase(ledger, acting(store), dooms, wish.order))
            report.metadata = report.removed.metadata
        elif not wish.is_acting:
            report.metadata += len(await store.has_sidecar(bare_of(page, dooms)))
        if wish.is_acting and gone:
            batch = [removal(doom, store.layout, is_bare=doom.is_whole) for doom in gone]
            report.came_back.add(await acting(store).erase(batch))
        await asyncio.to_thread(observer.witness, dooms)
        observer.watch(Progress(conversations=seen, recordings=report.recordings))
    if report.conversations or report.unknown_count or report.resumed is not None:
        report.ledger_copies = await store.within(ledger_copies)
        report.pages = await store.within(pages)
        if wish.is_acting:
            with _told_of_traces(ledger.path):
                await _clean(ledger, acting(store))
    report.interruption = await ledger.erasures.interruption()
    return report


def acting(store: ArchiveReader) -> ArchiveStore:
    """Return a store that can erase: whoever acts has opened one, under the archive's lock."""
    return cast("ArchiveStore", store)


async def finish(ledger: Ledger, store: ArchiveStore, witness: Witness) -> Report | None:
    """
    Finish what a killed erasure has begun; None when there was nothing to do about it.

    Args:
        witness: See `Observer`.
    """
    report = Report()
    wish = Wish(order=Order.mine(), is_acting=True, is_rest=True)
    await _resume(ledger, store, report, wish=wish, observer=Observer(resumed=witness))
    if report.resumed is None:
        return None
    with _told_of_traces(ledger.path):
        await _clean(ledger, store)
    report.interruption = await ledger.erasures.interruption()
    return report


async def _resume(
    ledger: Ledger, store: ArchiveReader, report: Report, *, wish: Wish, observer: Observer
) -> None:
    """Erase, or only count, what a killed erasure had written down; nothing is asked a second time."""
    pins = await ledger.pins()
    text, after, count = pins.get(ORDER_PIN, pins.get(HELD_PIN)), "", 0
    if text is None:
        return
    if wish.is_acting and await store.free_bytes() < TIGHT_BYTES:
        await store.within(make_room)
    order = Order.from_json(text)
    while dooms := await ledger.erasures.pending(after, PER_BATCH):
        after, count = dooms[-1].conversation_id, count + len(dooms)
        bare = await ledger.erasures.erased([doom.conversation_id for doom in dooms])
        for doom in dooms:
            report.count(doom)
        if wish.is_acting:
            report.removed.add(await _remove(ledger, acting(store), (dooms, bare), order))
            report.metadata = report.removed.metadata
        else:
            report.metadata += len(await store.has_sidecar(sorted(bare)))
        await asyncio.to_thread(observer.resumed, dooms)
        observer.watch(Progress(conversations=count, recordings=report.recordings))
    if wish.is_rest:
        for conversation_id, reason in await ledger.erasures.half_erased(NAMED):
            report.leave(conversation_id, reason)
    if count or ORDER_PIN in pins:
        report.resumed = Resumed(
            order=order,
            conversations=report.conversations,
            recordings=report.recordings,
            bytes=report.bytes,
            metadata=report.metadata,
        )


async def _erase(
    ledger: Ledger, store: ArchiveStore, dooms: Sequence[Doom], order: Order
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


async def _remove(
    ledger: Ledger,
    store: ArchiveStore,
    what: tuple[Sequence[Doom], frozenset[str]],
    order: Order,
) -> Removed:
    dooms, bare = what
    await note(store, purged_entries(dooms, order))
    batch = [removal(doom, store.layout, is_bare=doom.conversation_id in bare) for doom in dooms]
    removed = await store.erase(batch)
    await ledger.erasures.finish(dooms, datetime.now(UTC))
    return removed


async def _clean(ledger: Ledger, store: ArchiveStore) -> None:
    await store.within(remove_pages)
    await store.within(remove_ledger_copies)
    await ledger.erasures.rewrite()
    await store.share_ledger_anew()
    left = await ledger.erasures.interruption()
    if left is None or not left.conversations:
        # Should the ledger be lost from here on, what is moved aside of it knows nothing any more.
        await note(store, [cleaned_entry()])
    await ledger.erasures.end()
