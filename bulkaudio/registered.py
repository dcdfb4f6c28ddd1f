"""
Ledger and register held to each other: whoever loses one later learns erasures and holds from the other.

Nothing else notices that the register was lost or cut, for the ledger decides from day to day, or
that the ledger was put back from before some erasure. The ledger remembers the size of a register that told
everything, so that an opening mostly need not read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.registered import WHOLE, Difference
from bulkaudio.ledger.rows import text_of
from bulkaudio.ledger.tombs import GROWN, HELD_PIN, ORDER_PIN, REGISTER_PIN
from bulkaudio.quantities import plural
from bulkaudio.stores import register
from bulkaudio.stores.archive import ArchiveReader
from bulkaudio.stores.register import REGISTER_FILE, Entry
from bulkaudio.tombstones import (
    PAGE,
    PURGED,
    RELEASED,
    Order,
    burial_of,
    cleaned_entry,
    held_entries,
    hold_of,
    is_told,
    kind_of,
    order_after,
    pages,
    purged_entries,
    released_entries,
)

TOLD_ANEW = "told anew by the ledger, which does not know why"
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """
    How a ledger and its register differ.

    Attributes:
        spoilt: Lines that no ledger could learn from.
        order: The last one that is told; None: every ledger has forgotten what was erased.
    """

    difference: Difference = field(default_factory=Difference)
    spoilt: int = 0
    order: Order | None = None

    def words(self) -> Sequence[str]:
        """Say what was lost; nothing where nothing was. An erasure that goes on is no loss."""
        d, found = self.difference, []
        if what := _named((d.erased, "erased"), (d.held, "held"), (d.released, "released")):
            found.append(f"{REGISTER_FILE} lacks {what} that the ledger knows")
        if what := _named((d.unknown_erased, "erased"), (d.unknown_held, "held")):
            found.append(f"the ledger lacks {what} that {REGISTER_FILE} tells")
        if self.spoilt:
            found.append(f"{plural(self.spoilt, 'line')} of {REGISTER_FILE} cannot be read")
        return found


def _named(*counts: tuple[int, str]) -> str:
    named = [plural(count, f"{what} conversation") for count, what in counts if count]
    return " and ".join([", ".join(named[:-1]), *named[-1:]] if named[1:] else named)


def is_short(pins: Mapping[str, str], size: int, *, is_needed: bool) -> bool:
    """
    Whether a register is smaller than when it told everything, or is not there; reads nothing.

    Args:
        size: In bytes.
        is_needed: The ledger knows of something that it has to tell.
    """
    whole = pins.get(REGISTER_PIN, "").removesuffix(GROWN)
    return (is_needed and not size) or (whole.isdecimal() and size < int(whole))


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
    difference = await ledger.registered.compare()
    return Lack(difference=difference, spoilt=spoilt, order=order)


async def complete(ledger: Ledger, store: ArchiveReader, *, is_thorough: bool = False) -> Lack:
    """
    Let each know what the other does, and return what was lacking; under the archive's lock.

    Args:
        is_thorough: Read it also where it is as large as when it told everything.
    """
    pins, size = await ledger.pins(), await store.within(register.size)
    if not is_thorough and pins.get(REGISTER_PIN) == str(size):
        return Lack()
    lack = await lacking(ledger, store)
    await _learn(ledger, store, lack.difference)
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
            await told.take_held([hold_of(entry) for entry in entries])
        case "released":
            await told.take_released([entry[RELEASED] for entry in entries])
        case _:
            pass


def _keys(entry: Entry) -> Sequence[tuple[str, str]]:
    """Name what a line calls erased."""
    sides = [(entry[PURGED], side) for side in entry["recordings"]]
    return [*sides, (entry[PURGED], WHOLE)] if entry["is_whole"] else sides


async def _learn(ledger: Ledger, store: ArchiveReader, difference: Difference) -> None:
    """Take over what only the register tells: this ledger was put back from before it."""
    last = ""
    while holds := await ledger.registered.unknown_holds(last, PAGE):
        last = holds[-1].conversation_id
        await ledger.holds.add(holds)
    if difference.unknown_erased:
        async for page in pages(store, is_lenient=True):
            told = [each for each in page if kind_of(each) == PURGED and is_told(each)]
            await ledger.erasures.accept([burial_of(each) for each in told])


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
    last = ""
    while holds := await ledger.registered.unreleased(last, PAGE):
        last = holds[-1].conversation_id
        order = Order(who=UNKNOWN, at=datetime.now(UTC), reason=TOLD_ANEW)
        await _append(store, released_entries([each.conversation_id for each in holds], order))


async def _close(ledger: Ledger, store: ArchiveReader, lack: Lack, pinned: str | None) -> None:
    """Let the last order that is told be the one that is being carried out, or none be."""
    left = await ledger.erasures.pending("", 1, with_held=True) if pinned else ()
    order = Order.from_json(pinned) if pinned and left else None
    has_told = bool(lack.difference.erased or lack.difference.pending)
    if order is not None and (order != lack.order or has_told):
        await _append(store, purged_entries(left, order))
    elif order is None and (lack.order is not None or has_told):
        await _append(store, [cleaned_entry()])


async def _append(store: ArchiveReader, lines: Sequence[Entry]) -> None:
    # With a time of their own: what is told twice in the same words is taken for told once.
    now = text_of(datetime.now(UTC))
    own = [{**line, "told_at": now} for line in lines]
    await store.within(lambda folders: register.append(folders, own))
