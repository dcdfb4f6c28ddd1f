"""
What the register beside the ledger says of erased and held conversations, and back.

The ledger decides from day to day; the register is what a ledger that is made anew learns it from.
"""

import asyncio
import getpass
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path

from bulkaudio.events import Emit, Noted
from bulkaudio.ledger.burying import Burial
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.holds import Hold
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import SpoiltValueError, instant_of, text_of, text_or_none, time_of
from bulkaudio.model import Direction
from bulkaudio.naming import is_conversation_id
from bulkaudio.stores import register
from bulkaudio.stores.address import argument_of
from bulkaudio.stores.archive import ArchiveReader, ArchiveStore
from bulkaudio.stores.register import Entry

PAGE = 500

FORGOTTEN_PIN = "forgotten"
"""When a ledger was made anew without what had told of erasures and holds; empty: a run has said so."""

NOT_OURS = (AttributeError, LookupError, TypeError, ValueError, SpoiltValueError)
"""What reading a line raises that bulkaudio did not write."""

PURGED, HELD, RELEASED = "purged", "held", "released"
CLEANED = "cleaned"
"""Every ledger has forgotten what was purged before this line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who wants something erased, since when, and why if that was said."""

    who: str
    at: datetime
    reason: str | None = None

    def to_json(self) -> str:
        """Write it for the ledger."""
        return json.dumps({"who": self.who, "at": text_of(self.at), "reason": self.reason})

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """Read what `to_json` wrote."""
        kept = json.loads(text)
        return cls(who=kept["who"], at=instant_of(kept["at"]), reason=kept["reason"])

    @classmethod
    def mine(cls, reason: str | None = None) -> "Order":
        """Make one of whoever runs this process."""
        return cls(who=user_name(), at=datetime.now(UTC), reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """
    How much a new ledger learnt from the register: conversations erased, and held.

    Attributes:
        order: The last one of which an older ledger may know something; None: there is none.
        lost: Lines that nobody can read, and that were left out.
    """

    tombstones: int = 0
    holds: int = 0
    order: Order | None = None
    lost: int = 0


@asynccontextmanager
async def reminding(ledger: Ledger, root: Path, emit: Emit) -> AsyncIterator[None]:
    """
    Say of what a rebuild has forgotten that it may come back, until one run that said so has ended.

    Whoever reads a run's log may not be who made the ledger anew, and was told then.
    """
    at = (await ledger.pins()).get(FORGOTTEN_PIN)
    if at:
        archive = await asyncio.to_thread(argument_of, root)
        text = (
            f"When the ledger was made anew on {at[:10]}, what had told of erasures and holds was lost: "
            "what was erased before that may be fetched again. Erase and hold it again, from the "
            f"receipts: bulkaudio purge {archive} --ids FILE --yes, and bulkaudio hold {archive} add "
            "--ids FILE."
        )
        emit(Noted(text=text, is_grave=True))
    yield
    if at:
        await ledger.pin({FORGOTTEN_PIN: ""})


def user_name() -> str:
    """Name who runs this process, also where the system knows no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def purged_entries(dooms: Sequence[Doom], order: Order) -> Sequence[Entry]:
    """Say of each conversation what of it is to be gone for good."""
    at = text_of(order.at)
    return [
        {
            PURGED: doom.conversation_id,
            "is_whole": doom.is_whole,
            "recordings": {
                row.recording.direction.value: [
                    text_or_none(row.recording.started_at),
                    text_of(row.first_seen_at),
                ]
                for row in doom.rows
            }
            | {side.value: [text_or_none(doom.started_at), at] for side in doom.barred},
            "at": at,
            "who": order.who,
            "reason": order.reason,
        }
        for doom in dooms
    ]


def held_entries(holds: Sequence[Hold]) -> Sequence[Entry]:
    """Say what is held from now on."""
    return [
        {HELD: h.conversation_id, "at": text_of(h.held_at), "who": h.who, "reason": h.reason}
        for h in holds
    ]


def released_entries(conversation_ids: Sequence[str], order: Order) -> Sequence[Entry]:
    """Say what is held no longer."""
    return [
        {RELEASED: each, "at": text_of(order.at), "who": order.who, "reason": order.reason}
        for each in conversation_ids
    ]


def cleaned_entry() -> Entry:
    """Say that no ledger knows any more what was purged so far."""
    return {CLEANED: text_of(datetime.now(UTC))}


async def note(store: ArchiveStore, entries: Sequence[Entry]) -> None:
    """Put entries into the register; durable when this returns."""
    await store.note(entries)


async def restore(ledger: Ledger, store: ArchiveStore, *, is_lenient: bool) -> Restored:
    """
    Bring a new ledger everything that the register says; in constant memory.

    Raises:
        StorageError: The register is damaged, and nobody wants to go on without what is lost.
    """
    order, lost = None, 0
    async for page in pages(store, is_lenient=is_lenient):
        for kind, entries in groupby(page, kind_of):
            told = list(entries)
            spoilt = 0
            try:
                await _restore(ledger, kind, told)
            except NOT_OURS as error:
                if not is_lenient:
                    raise register.damaged(
                        store.root, f"it has a line that bulkaudio did not write ({error!r})"
                    ) from error
                spoilt = await _restore_singly(ledger, kind, told)
            lost += spoilt
            if not spoilt:
                order = order_after(order, kind, told)
    return Restored(
        tombstones=await ledger.erasures.count(),
        holds=await _count_holds(ledger),
        order=order,
        lost=lost,
    )


async def _restore_singly(ledger: Ledger, kind: str, entries: Sequence[Entry]) -> int:
    """Restore all but what cannot be; return how many that are."""
    lost = 0
    for entry in entries:
        try:
            await _restore(ledger, kind, [entry])
        except NOT_OURS:
            lost += 1
    return lost


async def _restore(ledger: Ledger, kind: str, entries: Sequence[Entry]) -> None:
    match kind:
        case "purged":
            await ledger.erasures.bury([burial_of(entry) for entry in entries])
        case "held":
            await ledger.holds.add([hold_of(entry) for entry in entries])
        case "released":
            await ledger.holds.remove([str(entry[RELEASED]) for entry in entries])
        case "cleaned":
            pass
        case _:
            raise ValueError("a line of no kind")


async def pages(store: ArchiveReader, *, is_lenient: bool) -> AsyncIterator[Sequence[Entry]]:
    """Yield the register's lines in order, some at a time; see `bulkaudio.stores.register.read`."""
    lines = await store.within(lambda folders: register.read(folders, is_lenient=is_lenient))
    while page := await store.within(lambda _: list(islice(lines, PAGE))):
        yield page


def kind_of(entry: Entry) -> str:
    """Say which of the four words above a line has; none where it is no line of ours."""
    if CLEANED in entry:
        return CLEANED
    for kind in (PURGED, HELD, RELEASED):
        if kind in entry and is_conversation_id(str(entry[kind])):
            return kind
    return ""


def is_told(entry: Entry) -> bool:
    """Whether a new ledger can learn something from a line."""
    try:
        match kind_of(entry):
            case "purged":
                burial_of(entry)
            case "held":
                hold_of(entry)
            case "":
                return False
            case _:
                pass
    except NOT_OURS:
        return False
    return True


def burial_of(entry: Entry) -> Burial:
    """Read a line of an erasure; raises one of `NOT_OURS`."""
    return Burial(
        conversation_id=entry[PURGED],
        is_whole=bool(entry["is_whole"]),
        at=instant_of(entry["at"]),
        rows=tuple(
            (Direction(direction), time_of(started_at), instant_of(first_seen_at))
            for direction, (started_at, first_seen_at) in entry["recordings"].items()
        ),
    )


def order_after(order: Order | None, kind: str, entries: Sequence[Entry]) -> Order | None:
    """Say which order is the last that an older ledger may know of, after some lines of one kind."""
    match kind:
        case "purged":
            return _order(entries[-1])
        case "cleaned":
            return None
        case _:
            return order


def _order(entry: Entry) -> Order:
    reason = entry.get("reason")
    return Order(
        who=str(entry.get("who") or user_name()),
        at=instant_of(entry["at"]),
        reason=reason if reason is None else str(reason),
    )


def hold_of(entry: Entry) -> Hold:
    """Read a line of a hold; raises one of `NOT_OURS`."""
    return Hold(
        conversation_id=entry[HELD],
        held_at=instant_of(entry["at"]),
        who=str(entry["who"]),
        reason=entry["reason"],
    )


async def _count_holds(ledger: Ledger) -> int:
    count, last = 0, ""
    while page := await ledger.holds.after(last, PAGE):
        count, last = count + len(page), page[-1].conversation_id
    return count
