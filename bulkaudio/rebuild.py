"""
A lost or damaged ledger made anew from the files that are kept, without a download.

A file is taken up when its path is one that the layout makes and its bytes are a whole WAV. What
no file can tell is lost: whose recordings they are, what failed, how far a listing had come. A WAV
with streamed sizes does not say how long it is, so that one cut by the disk since passes here. What
was erased and what is held, the register beside the ledger tells.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from bulkaudio.archive import LEDGER_FILE, check_pins, is_archive
from bulkaudio.errors import LedgerError, UsageError
from bulkaudio.ledger import anew
from bulkaudio.ledger.faults import is_damage
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.tombs import HELD_PIN, ORDER_PIN
from bulkaudio.model import Audio, Direction, Outcome, Recording, Status
from bulkaudio.naming import Layout, printable
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.archive import ArchiveStore
from bulkaudio.stores.inspection import Inspection, Sight
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.lock import ArchiveLock
from bulkaudio.stores.pages import pages
from bulkaudio.tombstones import Order, Restored, restore
from bulkaudio.verify import FINDINGS_KEPT, UNKNOWN_NAMED, Damage, Finding, as_text, read_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far rebuilding got; how much there is, nobody knows before."""

    adopted: int
    bytes: int
    damaged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    What rebuilding found and did.

    Attributes:
        adopted: Recordings that the new ledger calls saved.
        bytes: Of them.
        damaged: The first of those that stay where they are and are not in the ledger;
            `damaged_count` is of all.
        unknown: The first names that the layout does not make, or that a second file of a recording
            has; `unknown_count` is of all.
        set_aside: Where the old ledger's files are now, relative to the archive.
        restored: What of earlier erasures and holds the new ledger learnt.
        condemned: Files of erased recordings: the next run, or `purge`, erases them.
        directions: Those that any file has: what the nights took, but for what was never saved.
        has_metadata: There is a folder of metadata, which tells that it was asked for.
        remembered: What the archive knows of itself: more than its layout only when the old
            ledger could still be read.
    """

    adopted: int
    bytes: int
    damaged: tuple[Finding, ...]
    damaged_count: int
    unknown: tuple[str, ...]
    unknown_count: int
    set_aside: tuple[PurePosixPath, ...]
    restored: Restored
    condemned: int
    directions: tuple[Direction, ...]
    has_metadata: bool
    remembered: Mapping[str, str]

    @property
    def is_clean(self) -> bool:
        """Whether everything that has a recording's name was taken up."""
        return not self.damaged_count


def ignore(_: Progress) -> None:
    """Watch nothing."""


async def rebuild(
    root: Path,
    *,
    layout: str | None = None,
    is_forced: bool = False,
    on_progress: Callable[[Progress], None] = ignore,
) -> Report:
    """
    Make the archive's ledger anew, in constant memory; the old one is moved aside at the end.

    Args:
        layout: That the archive was made with; else the old ledger's, if it can be read.
        is_forced: Replace also a ledger that is whole, or that cannot be read for now.
        on_progress: Called on the loop after each file; must return at once.

    Raises:
        UsageError: The ledger is whole, the layout fits no file, or there is no archive.
        ArchiveBusyError: Another run holds it.
        StorageError, LedgerError: This machine cannot read the files or keep a ledger.
    """
    chosen = Layout.parse(layout) if layout is not None else None
    if await LocalStore.is_empty(root) and not await asyncio.to_thread(is_archive, root):
        raise UsageError(
            f"{root} is not an archive of bulkaudio",
            fix="name the folder that was given as --out",
        )
    state = await LocalStore.prepare(root)
    path = state / LEDGER_FILE
    async with ArchiveLock(state / "lock"):
        pins = await _pins_of(path, is_forced=is_forced)
        effective = chosen or Layout.parse(pins.get("layout", DEFAULT_LAYOUT))
        pins = {**pins, "layout": effective.template}
        survey = _Survey(layout=effective, on_progress=on_progress, is_forced=is_forced)
        async with _draft(anew.draft_of(path)) as draft:
            await _fill(draft, pins, root, survey)
            aside = await _to_its_end(partial(anew.put_in_place, draft, path))
    return survey.report([PurePosixPath(each.relative_to(root)) for each in aside], pins)


async def _pins_of(path: Path, *, is_forced: bool) -> Mapping[str, str]:
    """
    Return what a ledger that can still be read remembers; nothing when it is lost or damaged.

    Raises:
        UsageError: It is whole and has saved recordings, and nobody forces us.
        LedgerError: It cannot be read for now, which is no reason to replace it.
    """
    try:
        ledger = await Ledger.open(path, is_new_allowed=False)
    except LedgerError as error:
        if is_damage(error) or is_forced:
            return {}
        raise
    try:
        await ledger.check()
        await ledger.check_values()
        pins, has_saved = await ledger.pins(), await ledger.has_saved()
        # What an erasure had begun, the register knows; here it would be taken for done.
        for name in (ORDER_PIN, HELD_PIN):
            pins.pop(name, None)
        check_pins(pins, path)
    except LedgerError as error:
        if is_damage(error) or is_forced:
            return {}
        raise
    finally:
        await ledger.aclose()
    if has_saved and not is_forced:
        raise UsageError(
            f"the ledger {path} is whole and knows saved recordings: a new one would forget what "
            "failed, what was deferred and how far the listing had come",
            fix="use verify to compare files and ledger, or --force to make it anew all the same",
        )
    return pins


@asynccontextmanager
async def _draft(draft: Path) -> AsyncIterator[Path]:
    await asyncio.to_thread(anew.discard, draft)
    try:
        yield draft
    except BaseException:
        await _to_its_end(partial(anew.discard, draft))
        raise


async def _fill(draft: Path, pins: Mapping[str, str], root: Path, survey: "_Survey") -> None:
    ledger = await Ledger.open(draft, is_new_allowed=True)
    try:
        await ledger.pin(pins)
        store = await LocalStore.open(root, layout=survey.layout)
        try:
            await survey.walk(store, ledger)
        finally:
            await store.aclose()
    finally:
        await ledger.aclose()


async def _to_its_end(work: Callable[[], Sequence[Path] | None]) -> Sequence[Path]:
    """Run blocking work that must have ended before the lock is given back."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running) or ()
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


@dataclass(slots=True, kw_only=True)
class _Survey:
    """What the readers have found so far; outcomes are kept for one page of names at a time."""

    layout: Layout
    on_progress: Callable[[Progress], None]
    is_forced: bool
    order: str = field(default_factory=lambda: Order.mine("found again by rebuild").to_json())
    restored: Restored = field(default_factory=Restored)
    condemned: int = 0
    adopted: int = 0
    bytes: int = 0
    damaged: list[Finding] = field(default_factory=list)
    damaged_count: int = 0
    unknown: list[str] = field(default_factory=list)
    unknown_count: int = 0
    stray_wav: str | None = None
    directions: set[Direction] = field(default_factory=set)
    has_metadata: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    async def walk(self, store: ArchiveStore, ledger: Ledger) -> None:
        """Look at every file of the archive, and bring the whole ones to the ledger."""
        self.restored = await restore(ledger, store, is_lenient=self.is_forced)
        if self.restored.tombstones:
            await self._disturb(store, ledger)
        if not self.restored.is_clean:
            # The erasure that was killed is to be finished: ledgers know of it still.
            await ledger.pin({ORDER_PIN: self.order})
        own = await store.within(pages)
        async for every in store.names():
            names = [name for name in every if name not in own]
            ours = [(PurePosixPath(name), recording) for name, recording in self._sort(names)]
            await read_page(ours, lambda each: each[0], store, self._take)
            if self.restored.tombstones:
                await self._condemn(ledger)
            surplus = await ledger.take_up(self.outcomes, datetime.now(UTC))
            self.outcomes.clear()
            for outcome in surplus:
                self.adopted -= 1
                self.bytes -= outcome.bytes or 0
                self._leave_alone(str(outcome.path))
        self.has_metadata = await store.has_metadata()
        if self.stray_wav is not None and not self.adopted and not self.damaged_count:
            raise UsageError(
                f"no file in the archive has a name of the layout {self.layout.template}, "
                f"such as {printable(self.stray_wav)!r}",
                fix="give the --layout that the archive was made with",
            )

    async def _disturb(self, store: ArchiveStore, ledger: Ledger) -> None:
        """Find what an erasure that was killed has left beside the recordings."""
        async for page in store.remains():
            erased = await ledger.erasures.erased([each for each, _ in page])
            await ledger.erasures.disturb(list(erased), self.order)
            aside = [outcome for _, outcome in page if outcome is not None]
            self.condemned += len(await ledger.erasures.condemn(aside, self.order))

    async def _condemn(self, ledger: Ledger) -> None:
        """Take no file up that was to be erased: it is finished off by the next run."""
        doomed = await ledger.erasures.condemn(self.outcomes, self.order)
        self.condemned += len(doomed)
        self.adopted -= len(doomed)
        self.bytes -= sum(outcome.bytes or 0 for outcome in doomed)
        self.outcomes[:] = [each for each in self.outcomes if each not in doomed]

    def report(self, set_aside: Sequence[PurePosixPath], pins: Mapping[str, str]) -> Report:
        """Say it all."""
        return Report(
            adopted=self.adopted,
            bytes=self.bytes,
            damaged=tuple(sorted(self.damaged, key=lambda finding: finding.path)),
            damaged_count=self.damaged_count,
            unknown=tuple(sorted(self.unknown)),
            unknown_count=self.unknown_count,
            set_aside=tuple(set_aside),
            restored=self.restored,
            condemned=self.condemned,
            directions=tuple(each for each in Direction if each in self.directions),
            has_metadata=self.has_metadata,
            remembered=pins,
        )

    def _sort(self, names: Sequence[str]) -> Sequence[tuple[str, Recording]]:
        ours = []
        for name in names:
            recording = self.layout.recording_of(PurePosixPath(name))
            if recording is not None:
                ours.append((name, recording))
                self.directions.add(recording.direction)
                continue
            self._leave_alone(name)
            if name.endswith(".wav"):
                self.stray_wav = self.stray_wav or name
        return ours

    def _leave_alone(self, name: str) -> None:
        self.unknown_count += 1
        if len(self.unknown) < UNKNOWN_NAMED:
            self.unknown.append(as_text(name))

    def _take(self, each: tuple[PurePosixPath, Recording], found: Inspection) -> None:
        path, recording = each
        if found.sight is Sight.MISSING:
            # Removed since it was listed: neither kept nor damaged.
            return
        if found.sight is Sight.FILE and isinstance(found.proof, Audio):
            self._adopt(path, recording, found, found.proof)
        else:
            self._leave(path, recording, found)
        self.on_progress(
            Progress(adopted=self.adopted, bytes=self.bytes, damaged=self.damaged_count)
        )

    def _adopt(
        self, path: PurePosixPath, recording: Recording, found: Inspection, audio: Audio
    ) -> None:
        self.adopted += 1
        self.bytes += found.bytes
        self.outcomes.append(
            Outcome(
                recording=recording,
                status=Status.SAVED,
                path=Path(path),
                bytes=found.bytes,
                sha256=found.sha256,
                audio=audio,
            )
        )

    def _leave(self, path: PurePosixPath, recording: Recording, found: Inspection) -> None:
        self.damaged_count += 1
        if len(self.damaged) >= FINDINGS_KEPT:
            return
        is_file = found.sight is Sight.FILE
        damage = Damage.PROOF if is_file else Damage(found.sight.value)
        flaw = "" if isinstance(found.proof, Audio) else found.proof.value
        detail = flaw if is_file else found.detail or ""
        self.damaged.append(Finding(recording=recording, path=path, damage=damage, detail=detail))
