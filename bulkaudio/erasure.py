"""What is wanted of an erasure and what became of it: values, and what is decided about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from bulkaudio.errors import UsageError
from bulkaudio.events import ErasureFinished
from bulkaudio.ledger.dossiers import Dossier
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.model import Direction, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.stores.erasing import Removal, Removed
from bulkaudio.tombstones import Order

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
        is_rest: Nothing was collected: what a killed erasure has left is wanted.
    """

    order: Order
    directions: tuple[Direction, ...] = ()
    is_acting: bool = False
    is_rest: bool = False

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

    def repeat(self, dossier: Dossier) -> Doom:
        """Say what of one that is gone already was to go."""
        rows = tuple(
            row
            for row in dossier.rows
            if not self.directions or row.recording.direction in self.directions
        )
        return Doom(
            conversation_id=dossier.conversation_id, rows=rows, is_whole=not self.directions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What of a report was another's order, which had been interrupted."""

    order: Order
    conversations: int
    recordings: int
    bytes: int
    metadata: int


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
        already: Erased before, as far as it was asked for; `came_back` is what of them was there again.
        held: The first of those that a hold forbids to erase, with its reason.
        removed: What was found on the disk: also files that had been set aside as damaged.
        ledger_copies: Names of copies of older ledgers, which go, too.
        pages: Names of pages about the archive in its folder, which go as well: they tell of calls.
        resumed: The share of an interrupted erasure in all of this; None: there was none to finish.
        interruption: What is half erased afterwards.
    """

    conversations: int = 0
    recordings: int = 0
    bytes: int = 0
    tombstones: int = 0
    metadata: int = 0
    unknown: list[str] = field(default_factory=list)
    unknown_count: int = 0
    already: int = 0
    came_back: Removed = field(default_factory=Removed)
    held: list[tuple[str, str]] = field(default_factory=list)
    held_count: int = 0
    removed: Removed = field(default_factory=Removed)
    ledger_copies: Sequence[str] = ()
    pages: Sequence[str] = ()
    resumed: Resumed | None = None
    interruption: Interruption | None = None

    def take(self, dossier: Dossier, doom: Doom) -> None:
        """Count what goes of one conversation."""
        if dossier.is_unknown:
            self.unknown_count += 1
            if len(self.unknown) < NAMED:
                self.unknown.append(dossier.conversation_id)
            return
        self.count(doom)

    def count(self, doom: Doom) -> None:
        """Count what goes of a known one."""
        self.conversations += 1
        self.tombstones += len(doom.directions)
        # What was saved has its place still, also where it is called erased already.
        saved = [row for row in doom.rows if row.path is not None]
        self.recordings += len(saved)
        self.bytes += sum(row.bytes or 0 for row in saved)

    def leave(self, conversation_id: str, reason: str) -> None:
        """Count one that is held."""
        self.held_count += 1
        if len(self.held) < NAMED:
            self.held.append((conversation_id, reason))


Watch = Callable[[Progress], None]
Witness = Callable[[Sequence[Doom]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """
    Who follows an erasure.

    Attributes:
        witness: Told of conversations when nothing of them is left, or would be; in a thread, and
            waited for.
        resumed: The same of what an interrupted erasure had begun.
        watch: Called on the loop; must return at once.
    """

    witness: Witness = lambda _: None
    resumed: Witness = lambda _: None
    watch: Watch = lambda _: None


def sort(
    page: Sequence[Dossier], wish: Wish, report: Report
) -> tuple[Sequence[Doom], Sequence[Doom]]:
    """
    Say what is to go of these conversations, and count them all.

    Returns:
        Also what was erased before, of which files may have come back; nothing of it is in the ledger.
    """
    dooms, gone = [], []
    for dossier in page:
        doom = wish.doom(dossier)
        if dossier.hold is not None and (doom is not None or dossier.is_half_erased):
            report.leave(dossier.conversation_id, dossier.hold)
        elif doom is None:
            report.already += 1
            if dossier.hold is None and not dossier.is_half_erased:
                gone.append(wish.repeat(dossier))
        else:
            report.take(dossier, doom)
            dooms.append(doom)
    return dooms, gone


def bare_of(page: Sequence[Dossier], dooms: Sequence[Doom]) -> Sequence[str]:
    """Name conversations of which no audio would be left."""
    gone = {row.rowid for doom in dooms for row in doom.rows}
    doomed = {doom.conversation_id for doom in dooms}
    return [
        dossier.conversation_id
        for dossier in page
        if dossier.conversation_id in doomed
        and not any(row.status in MAY_BE_KEPT and row.rowid not in gone for row in dossier.rows)
    ]


def removal(doom: Doom, layout: Layout, *, is_bare: bool) -> Removal:
    """Say which files of a conversation go."""
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


def finished(report: Report, ids: Sequence[str]) -> ErasureFinished | None:
    """Say, for whoever watches, what of an interrupted erasure was brought to its end."""
    resumed = report.resumed
    if resumed is None:
        return None
    return ErasureFinished(
        conversations=resumed.conversations,
        recordings=resumed.recordings,
        bytes=resumed.bytes,
        metadata_files=resumed.metadata,
        ids=tuple(ids),
        held=0 if report.interruption is None else report.interruption.held,
        who=resumed.order.who,
        ordered_at=resumed.order.at,
        reason=resumed.order.reason,
    )
