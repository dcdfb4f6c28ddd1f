"""
Every saved recording against what the ledger says of it, and every name against the ledger.

Looking changes nothing. `quarantine` moves damage out of the way and opens its recording again, so
that the next run fetches it: it deletes nothing and replaces nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from threading import Event
from typing import TypeVar

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.model import Audio, Recording, Status
from bulkaudio.policy import Reason
from bulkaudio.registered import lacking
from bulkaudio.returned import Returned, Search
from bulkaudio.stores.archive import ArchiveReader, ArchiveStore
from bulkaudio.stores.inspection import Inspection, Sight
from bulkaudio.stores.pages import pages

T = TypeVar("T")

READERS = 3
"""Files read at once: enough to keep a disk busy, few enough to leave it to others too."""

ROWS_PER_PAGE = 200

FINDINGS_KEPT = 10_000
"""A report holds no more of each kind, so that a lost disk does not fill the memory too."""

UNKNOWN_NAMED = 1000


class Damage(StrEnum):
    """What is wrong with a saved recording."""

    MISSING = "missing"
    NOT_A_FILE = "not_a_file"
    UNREADABLE = "unreadable"
    SIZE = "size"
    CONTENT = "content"
    """The size is right and the bytes are others."""
    PROOF = "proof"
    """The bytes are those that were saved, and they are no whole WAV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One saved recording that is not as the ledger says.

    Attributes:
        path: Relative to the archive.
        detail: For people: what was expected and what is there.
    """

    recording: Recording
    path: PurePosixPath
    damage: Damage
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far verifying got: of `of` saved recordings, `checked` were looked at."""

    checked: int
    of: int
    bytes: int
    damaged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    What verifying found.

    Attributes:
        checked: Saved recordings looked at.
        bytes: Read of them.
        damaged: Those that are there and not as they should be.
        missing: Those that are not there at all, also since an earlier repair that fetched nothing.
        unknown: The first names that no saved recording has; `unknown_count` is of all.
        is_truncated: There is more damage, or there are more files that came back, than the report
            holds: repair, then verify again.
        pages: Reports about the archive in its folder; they are not unknown.
        interruption: An erasure that was killed: its files are neither checked nor unknown.
        told_faults: What is wrong with what the ledger has told beside itself and the recordings.
        returned: The first files of erased recordings that are there again; neither unknown nor
            damage. `returned_count` is of all.
    """

    checked: int
    bytes: int
    damaged: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    unknown: tuple[str, ...]
    unknown_count: int
    is_truncated: bool = False
    pages: tuple[str, ...] = ()
    interruption: Interruption | None = None
    told_faults: tuple[str, ...] = ()
    returned: tuple[Returned, ...] = ()
    returned_count: int = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is to be repaired."""
        return self.damaged + self.missing

    @property
    def is_clean(self) -> bool:
        """Whether every saved recording is there and unchanged; strangers are no damage."""
        return not self.findings


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What the readers have found so far."""

    of: int
    on_progress: Callable[[Progress], None]
    checked: int = 0
    bytes: int = 0
    damaged: list[Finding] = field(default_factory=list)
    missing: list[Finding] = field(default_factory=list)
    damage_count: int = 0

    def add(self, row: LedgerRow, found: Inspection) -> None:
        """Count one recording."""
        self.checked += 1
        self.bytes += found.bytes
        finding = judge(row, found)
        if finding is not None:
            self.keep(finding)
        self.on_progress(
            Progress(checked=self.checked, of=self.of, bytes=self.bytes, damaged=self.damage_count)
        )

    def keep(self, finding: Finding) -> None:
        """Count a finding, and keep it while there is room."""
        self.damage_count += 1
        kept = self.missing if finding.damage is Damage.MISSING else self.damaged
        if len(kept) < FINDINGS_KEPT:
            kept.append(finding)


def judge(row: LedgerRow, found: Inspection) -> Finding | None:
    """Compare what the ledger says with what was found; None when they agree."""
    damage: Damage | None = None
    detail = found.detail or ""
    if found.sight is not Sight.FILE:
        damage = Damage(found.sight.value)
    elif found.bytes != row.bytes:
        damage, detail = Damage.SIZE, f"{found.bytes} bytes instead of {row.bytes}"
    elif found.sha256 != row.sha256:
        damage, detail = Damage.CONTENT, f"SHA-256 {found.sha256} instead of {row.sha256}"
    elif not isinstance(found.proof, Audio):
        damage, detail = Damage.PROOF, found.proof.value
    if damage is None:
        return None
    path = row.path or PurePosixPath()
    return Finding(recording=row.recording, path=path, damage=damage, detail=detail)


def ignore(_: Progress) -> None:
    """Watch nothing."""


async def verify(
    ledger: Ledger,
    store: ArchiveReader,
    *,
    told_faults: Sequence[str] | None = None,
    on_progress: Callable[[Progress], None] = ignore,
) -> Report:
    """
    Read every saved recording, in constant memory.

    Args:
        told_faults: What was found wrong with what the ledger has told; None: it is looked for here.
        on_progress: Called on the loop after each recording; must return at once.

    Raises:
        LedgerError: The ledger itself is damaged.
        StorageError: The archive cannot be read by this user, or on this machine.
        ArchiveBusyError: Another state folder has taken this archive over.
    """
    await ledger.check()
    # First: a ledger that another one has overtaken would take thousands of recordings for strange.
    if told_faults is None:
        lost = await lacking(ledger, store)
        told_faults = (*await store.audit(await ledger.journal.last_mark()), *lost.words())
    totals = await ledger.totals()
    of = sum(total.count for (_, status), total in totals.items() if status is Status.SAVED)
    tally = _Tally(of=of, on_progress=on_progress)
    await _read_all(ledger, store, tally)
    await _recall_lost(ledger, store, tally)
    own, search = await store.within(pages), await Search.of(ledger, store)
    async for names in store.names():
        strange = await search.sift([name for name in names if name not in own])
        await ledger.note_files([as_text(name) for name in strange])
    await search.look_beside()
    unknown_count, unknown = await ledger.unknown_files(UNKNOWN_NAMED)
    return Report(
        checked=tally.checked,
        bytes=tally.bytes,
        damaged=tuple(tally.damaged),
        missing=tuple(tally.missing),
        unknown=tuple(unknown),
        unknown_count=unknown_count,
        is_truncated=tally.damage_count > len(tally.damaged) + len(tally.missing)
        or search.count > len(search.found),
        pages=tuple(own),
        interruption=await ledger.erasures.interruption(),
        told_faults=tuple(told_faults),
        returned=tuple(search.found),
        returned_count=search.count,
    )


async def quarantine(
    ledger: Ledger, store: ArchiveStore, findings: Sequence[Finding]
) -> Sequence[PurePosixPath]:
    """
    Move damaged files to ``.bulkaudio/damaged`` and open their recordings again.

    First the file, then the row: killed in between, the next verifying finds the file missing and
    opens the row. The other way round, the next run would meet the damaged file as a stranger's.

    Returns:
        Where the files are now, relative to the archive.
    """
    moved = []
    for finding in findings:
        if finding.damage is not Damage.MISSING:
            moved.append(await store.set_aside(finding.path, finding.recording))
        await ledger.reopen([finding.recording], Reason.DAMAGED)
    return moved


async def _read_all(ledger: Ledger, store: ArchiveReader, tally: _Tally) -> None:
    position = 0
    while page := await ledger.saved_after(position, ROWS_PER_PAGE):
        position = page[-1].rowid
        await read_page(page, path_of, store, tally.add)


async def _recall_lost(ledger: Ledger, store: ArchiveReader, tally: _Tally) -> None:
    """
    Find what an earlier repair moved aside and could not fetch again.

    Its row is open, as that of a recording which was never here, and where runs are fed from
    files none may ever come back to it.
    """
    position = 0
    while page := await ledger.rows_after(position, ROWS_PER_PAGE, (Status.OPEN,)):
        position = page[-1].rowid
        for row in page:
            if row.reason == Reason.DAMAGED:
                tally.keep(
                    Finding(
                        recording=row.recording,
                        path=store.layout.path(row.recording),
                        damage=Damage.MISSING,
                        detail="found damaged or missing before, and not fetched again yet",
                    )
                )


def path_of(row: LedgerRow) -> PurePosixPath:
    """Where a saved recording should be, relative to the archive."""
    return row.path or PurePosixPath()


async def read_page(
    items: Sequence[T],
    path_of: Callable[[T], PurePosixPath],
    store: ArchiveReader,
    take: Callable[[T, Inspection], None],
) -> None:
    """Inspect the file of each item, some side by side, and hand over what was found."""
    waiting, stop = deque(items), Event()

    async def read() -> None:
        while waiting:
            item = waiting.popleft()
            take(item, await store.inspect(path_of(item), stop.is_set))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(read(), name=f"reader {number}")
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    finally:
        # A thread is not cancelled with its coroutine, and a file may be gigabytes.
        stop.set()


def as_text(name: str) -> str:
    """Escape the bytes of a name that are no UTF-8: no recording of ours has any."""
    return name.encode("utf-8", "backslashreplace").decode()
