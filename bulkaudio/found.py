"""What is found again when a ledger is made anew: files that are whole, and what is wrong with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath

from bulkaudio.errors import UsageError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.restoring import Sighting
from bulkaudio.ledger.tombs import ORDER_PIN
from bulkaudio.model import FOUND_AGAIN, Audio, Direction, Outcome, Recording
from bulkaudio.naming import Layout, printable
from bulkaudio.policy import Reason
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.archive import ArchiveStore
from bulkaudio.stores.inspection import Inspection, Sight
from bulkaudio.stores.pages import pages
from bulkaudio.tombstones import Order, Restored, restore
from bulkaudio.verify import FINDINGS_KEPT, UNKNOWN_NAMED, Damage, Finding, as_text, read_page

LOST_PER_PAGE = 500


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
            ledger could still be read, or had told it elsewhere.
        is_listed: That old ledger had told of a listing that came to its end.
        faults: What was wrong with what was told elsewhere.
        is_register_whole: All the same, every erasure and every hold is known.
        teller: Who told it there last, and when; None: nobody says, or it is not elsewhere.
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
    is_listed: bool = False
    faults: tuple[str, ...] = ()
    is_register_whole: bool = True
    teller: tuple[str, datetime] | None = None

    @property
    def is_clean(self) -> bool:
        """Whether everything that has a recording's name was taken up."""
        return not self.damaged_count


@dataclass(slots=True, kw_only=True)
class Survey:
    """What the readers have found so far; outcomes are kept for one page of names at a time."""

    on_progress: Callable[[Progress], None]
    is_forced: bool
    layout: Layout = field(default_factory=lambda: Layout.parse(DEFAULT_LAYOUT))
    is_listed: bool = False
    faults: tuple[str, ...] = ()
    is_register_whole: bool = True
    teller: tuple[str, datetime] | None = None
    order: str = field(default_factory=lambda: Order.mine(f"{FOUND_AGAIN}rebuild").to_json())
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
    suspects: list[Finding] = field(default_factory=list)

    async def walk(self, store: ArchiveStore, ledger: Ledger) -> None:
        """Look at every file of the archive, and bring the whole ones to the ledger."""
        told = await ledger.last_rowid()
        self.restored = await restore(ledger, store, is_lenient=self.is_forced)
        self.is_register_whole = self.is_register_whole and not self.restored.lost
        order = self.restored.order
        if order is not None:
            # The erasure that was killed is to be finished as it was ordered.
            self.order = order.to_json()
        # The register may know of an erasure whose end the manifest was not told.
        is_begun = told and await ledger.erasures.pending("", 1)
        if is_begun or order is not None:
            # Ledgers know of it still.
            await ledger.pin({ORDER_PIN: self.order})
        own = await store.within(pages)
        async for listed in store.listed():
            names = [each for each in await self._unfamiliar(listed, ledger) if each not in own]
            ours = [(PurePosixPath(name), recording) for name, recording in self._sort(names)]
            await read_page(ours, lambda each: each[0], store, self._take)
            await self._judge(ledger, is_all_known=bool(told) and not self.faults)
            if self.restored.tombstones:
                await self._condemn(ledger)
            surplus = await ledger.take_up(self.outcomes, datetime.now(UTC))
            if told:
                taken = [each for each in self.outcomes if each not in surplus]
                await ledger.restoring.found(taken)
            self.outcomes.clear()
            for outcome in surplus:
                self.adopted -= 1
                self.bytes -= outcome.bytes or 0
                self._leave_alone(str(outcome.path))
        if self.restored.tombstones:
            # Behind: of a call that has lost one side, the others have to be known to be kept.
            await self._disturb(store, ledger)
        if told:
            await self._give_up_lost(ledger, told)
            self.adopted, self.bytes = await ledger.restoring.saved()
        self.has_metadata = await store.has_metadata()
        self.is_listed = bool(await ledger.finished_listings())
        if self.stray_wav is not None and not self.adopted and not self.damaged_count:
            raise UsageError(
                f"no file in the archive has a name of the layout {self.layout.template}, "
                f"such as {printable(self.stray_wav)!r}",
                fix="give the --layout that the archive was made with",
            )

    async def _unfamiliar(
        self, listed: Sequence[tuple[str, int | None]], ledger: Ledger
    ) -> Sequence[str]:
        """Name what the ledger does not know already, as it is there: only that is read."""
        there = [
            Sighting(name=name, recording=recording, size=size)
            for name, size in listed
            if size is not None
            and (recording := self.layout.recording_of(PurePosixPath(name))) is not None
        ]
        if not there:
            return [name for name, _ in listed]
        kept, others = await ledger.restoring.familiar(there)
        self.directions.update(each.recording.direction for each in there)
        sizes = dict(listed)
        for name, row in others:
            detail = f"{sizes[name]} bytes instead of {row.bytes}"
            self._find(
                Finding(
                    recording=row.recording,
                    path=PurePosixPath(name),
                    damage=Damage.SIZE,
                    detail=detail,
                )
            )
        known = kept.union(name for name, _ in others)
        self.on_progress(
            Progress(adopted=self.adopted, bytes=self.bytes, damaged=self.damaged_count)
        )
        return [name for name, _ in listed if name not in known]

    async def _give_up_lost(self, ledger: Ledger, told: int) -> None:
        """Open again what was told as saved and is not there as it was."""
        after = 0
        while rows := await ledger.restoring.lost(after, told, LOST_PER_PAGE):
            after = rows[-1].rowid
            found = {finding.path for finding in self.damaged}
            for row in rows:
                path = row.path or PurePosixPath()
                if path not in found:
                    self._find(
                        Finding(
                            recording=row.recording,
                            path=path,
                            damage=Damage.MISSING,
                            detail="it was saved, and is not there any more",
                        )
                    )
            await ledger.reopen([row.recording for row in rows], Reason.DAMAGED)

    async def _judge(self, ledger: Ledger, *, is_all_known: bool) -> None:
        """Call damage what may have been a recording; what nobody was told of never was one."""
        suspects = list(self.suspects)
        self.suspects.clear()
        known = None
        if suspects and is_all_known:
            # Saved ones have been compared already.
            unsaved = await ledger.unsaved([each.recording for each in suspects])
            known = {(each.conversation_id, each.direction) for each in unsaved}
        for each in suspects:
            name = each.recording.conversation_id, each.recording.direction
            if known is None or name in known:
                self._find(each)
            else:
                self._leave_alone(str(each.path))

    def _find(self, finding: Finding) -> None:
        self.damaged_count += 1
        if len(self.damaged) < FINDINGS_KEPT:
            self.damaged.append(finding)

    async def _disturb(self, store: ArchiveStore, ledger: Ledger) -> None:
        """Find what an erasure that was killed has left beside the recordings."""
        async for page in store.remains():
            bare = await ledger.erasures.bare([each for each, found in page if found is None])
            await ledger.erasures.disturb(sorted(bare), self.order)
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
            is_listed=self.is_listed,
            faults=self.faults,
            is_register_whole=self.is_register_whole,
            teller=self.teller,
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
        outcome = found.saved(recording, path)
        if outcome is not None:
            self._adopt(outcome, found.bytes)
        else:
            self._leave(path, recording, found)
        self.on_progress(
            Progress(
                adopted=self.adopted,
                bytes=self.bytes,
                damaged=self.damaged_count + len(self.suspects),
            )
        )

    def _adopt(self, outcome: Outcome, size_bytes: int) -> None:
        self.adopted += 1
        self.bytes += size_bytes
        self.outcomes.append(outcome)

    def _leave(self, path: PurePosixPath, recording: Recording, found: Inspection) -> None:
        is_file = found.sight is Sight.FILE
        damage = Damage.PROOF if is_file else Damage(found.sight.value)
        flaw = "" if isinstance(found.proof, Audio) else found.proof.value
        detail = flaw if is_file else found.detail or ""
        self.suspects.append(Finding(recording=recording, path=path, damage=damage, detail=detail))
