"""
The register held to the ledger: whoever loses the ledger later learns erasures and holds from it.

Nothing else notices that its file was lost or cut, for the ledger decides from day to day, and so
it must be written anew while that is there. The ledger remembers the size of a register that told
everything, so that an opening mostly need not read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.registered import WHOLE
from bulkaudio.ledger.rows import text_of
from bulkaudio.ledger.tombs import HELD_PIN, ORDER_PIN, REGISTER_PIN
from bulkaudio.quantities import plural
from bulkaudio.stores import register
from bulkaudio.stores.archive import ArchiveReader
from bulkaudio.stores.register import REGISTER_FILE, Entry
from bulkaudio.tombstones import (
    HELD,
    PAGE,
    PURGED,
    RELEASED,
    Order,
    cleaned_entry,
    held_entries,
    is_told,
    kind_of,
    order_after,
    pages,
    purged_entries,
)

TOLD_ANEW = "told anew by the ledger, which does not know why"
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """
    How much of what the ledger knows a register does not tell.

    Attributes:
        erased, held: Conversations.
        pending: Those that are being erased; an erasure that was killed had not come to tell of them.
        spoilt: Lines that no ledger could learn from.
        order: The last one that is told; None: every ledger has forgotten what was erased.
    """

    erased: int = 0
    pending: int = 0
    held: int = 0
    spoilt: int = 0
    order: Order | None = None

    def words(self) -> Sequence[str]:
        """Say what was lost; nothing where nothing was."""
        found = []
        counts = ((self.erased, "erased conversation"), (self.held, "held conversation"))
        if what := " and ".join(plural(count, noun) for count, noun in counts if count):
            found.append(f"{REGISTER_FILE} lacks {what} that the ledger knows")
        if self.spoilt:
            found.append(f"{plural(self.spoilt, 'line')} of {REGISTER_FILE} cannot be read")
        return found


def is_short(pins: Mapping[str, str], size: int, *, is_needed: bool) -> bool:
    """
    Whether a register is smaller than when it told everything, or is not there; reads nothing.

    Args:
        size: In bytes.
        is_needed: The ledger knows of something that it has to tell.
    """
    whole = pins.get(REGISTER_PIN, "")
    return size < int(whole) if whole.isdecimal() else is_needed and not size


async def lacking(ledger: Ledger, store: ArchiveReader) -> Lack:
    """Read all of the register, in constant memory, and say what of the ledger it does not tell."""
    await ledger.registered.begin()
    spoilt, order = 0, None
    async for page in pages(store, is_lenient=True):
        told = [entry for entry in page if is_told(entry)]
        spoilt += len(page) - len(told)
        for kind, entries in groupby(told, kind_of):
            some = list(entries)
            await _take(ledger, kind, some)
            order = order_after(order, kind, some)
    erased, pending, held = await ledger.registered.untold()
    return Lack(erased=erased, pending=pending, held=held, spoilt=spoilt, order=order)


async def complete(ledger: Ledger, store: ArchiveReader, *, is_thorough: bool = False) -> Lack:
    """
    Let the register tell everything, and return what it had lacked; under the archive's lock.

    Args:
        is_thorough: Read it also where it is as large as when it told everything.
    """
    pins, size = await ledger.pins(), await store.within(register.size)
    if not is_thorough and pins.get(REGISTER_PIN) == str(size):
        return Lack()
    lack = await lacking(ledger, store)
    await _tell(ledger, store)
    await _close(ledger, store, lack, pins.get(ORDER_PIN, pins.get(HELD_PIN)))
    if lack.spoilt:
        # Behind: what they may have told is told now.
        await store.within(lambda folders: register.sift(folders, is_told))
    size = await store.within(register.size)
    if pins.get(REGISTER_PIN) != str(size):
        await ledger.pin({REGISTER_PIN: str(size)})
    return lack


async def _take(ledger: Ledger, kind: str, entries: Sequence[Entry]) -> None:
    told = ledger.registered
    match kind:
        case "purged":
            await told.take_purged([key for entry in entries for key in _keys(entry)])
        case "held":
            await told.take_held([entry[HELD] for entry in entries])
        case "released":
            await told.take_released([entry[RELEASED] for entry in entries])
        case _:
            pass


def _keys(entry: Entry) -> Sequence[tuple[str, str]]:
    """Name what a line calls erased."""
    sides = [(entry[PURGED], side) for side in entry["recordings"]]
    return [*sides, (entry[PURGED], WHOLE)] if entry["is_whole"] else sides


async def _tell(ledger: Ledger, store: ArchiveReader) -> None:
    """Append what is lacking, as far as the ledger knows it."""
    after = 0
    while dooms := await ledger.registered.untold_dooms(after, PAGE):
        after, lines = dooms[-1][0], list[Entry]()
        for _, erased_at, doom in dooms:
            order = Order(who=UNKNOWN, at=erased_at or datetime.now(UTC), reason=TOLD_ANEW)
            lines += purged_entries([doom], order)
        await _append(store, lines)
    last = ""
    while holds := await ledger.registered.untold_holds(last, PAGE):
        last = holds[-1].conversation_id
        await _append(store, held_entries(holds))


async def _close(ledger: Ledger, store: ArchiveReader, lack: Lack, pinned: str | None) -> None:
    """Let the last order that is told be the one that is being carried out, or none be."""
    left = await ledger.registered.pending() if pinned else ()
    order = Order.from_json(pinned) if pinned and left else None
    if order is not None and (order != lack.order or lack.erased or lack.pending):
        await _append(store, purged_entries(left, order))
    elif order is None and (lack.order is not None or lack.erased or lack.pending):
        await _append(store, [cleaned_entry()])


async def _append(store: ArchiveReader, lines: Sequence[Entry]) -> None:
    # With a time of their own: what is told twice in the same words is taken for told once.
    now = text_of(datetime.now(UTC))
    own = [{**line, "told_at": now} for line in lines]
    await store.within(lambda folders: register.append(folders, own))
