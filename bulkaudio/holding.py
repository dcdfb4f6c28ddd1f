"""Putting conversations under a legal hold, and taking them out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkaudio.ledger.dossiers import Dossier
from bulkaudio.ledger.holds import Hold
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Status
from bulkaudio.stores.archive import ArchiveStore
from bulkaudio.tombstones import Order, held_entries, note, released_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    What became of one page of conversations.

    Attributes:
        done: Held, or released.
        left: Not held before, so that there was nothing to release; or erased, so that there is
            nothing left to hold.
        unknown: Those of `done` that the archive has not heard of yet.
        half_erased: Those of `done` that came too late for some of it: an erasure had begun with
            them and was interrupted. What is left of them stays.
    """

    done: tuple[str, ...]
    left: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    half_erased: tuple[str, ...] = ()


async def hold(
    ledger: Ledger, store: ArchiveStore, dossiers: Sequence[Dossier], order: Order
) -> Change:
    """Forbid to erase these; durable when this returns."""
    kept = [each for each in dossiers if not is_erased(each)]
    holds = [
        Hold(
            conversation_id=each.conversation_id,
            held_at=order.at,
            who=order.who,
            reason=order.reason,
        )
        for each in kept
    ]
    if holds:
        # The register first: killed in between, it says more than the ledger, which harms nobody.
        await note(store, held_entries(holds))
        await ledger.holds.add(holds)
    return Change(
        done=tuple(each.conversation_id for each in kept),
        left=tuple(each.conversation_id for each in dossiers if is_erased(each)),
        unknown=tuple(each.conversation_id for each in kept if each.is_unknown),
        half_erased=tuple(each.conversation_id for each in kept if each.is_half_erased),
    )


async def release(
    ledger: Ledger, store: ArchiveStore, dossiers: Sequence[Dossier], order: Order
) -> Change:
    """Allow to erase these again; durable when this returns."""
    held = tuple(each.conversation_id for each in dossiers if each.hold is not None)
    if held:
        # The ledger first: killed in between, a ledger made anew still holds them.
        await ledger.holds.remove(held)
        await note(store, released_entries(held, order))
    return Change(
        done=held, left=tuple(each.conversation_id for each in dossiers if each.hold is None)
    )


def is_erased(dossier: Dossier) -> bool:
    """Whether nothing of a conversation is left that could be held."""
    is_gone = bool(dossier.rows) and all(row.status is Status.PURGED for row in dossier.rows)
    return (dossier.is_buried or is_gone) and not dossier.is_half_erased
