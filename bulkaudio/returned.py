"""
Files of erased recordings that are there again: out of a bucket's versions, a backup, by another tool.

Nobody fetched them, and no run meets them: only whoever looks at every name can tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import FOUND_AGAIN, Outcome, Recording, Status
from bulkaudio.stores.archive import ArchiveReader
from bulkaudio.stores.disk import sidecar_path
from bulkaudio.tombstones import Order

KEPT = 10_000
"""Those that are named; the others are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """
    One such file.

    Attributes:
        path: Relative to the archive.
        recording: That it would be; None: what is found by its conversation alone, which is metadata
            and what was set aside.
    """

    path: PurePosixPath
    conversation_id: str
    recording: Recording | None = None


@dataclass(slots=True, kw_only=True)
class Search:
    """One search, while all names of an archive go by."""

    ledger: Ledger
    store: ArchiveReader
    is_needed: bool
    found: list[Returned] = field(default_factory=list)
    count: int = 0

    @classmethod
    async def of(cls, ledger: Ledger, store: ArchiveReader) -> "Search":
        """Begin; where nothing was ever erased, there is nothing to look for."""
        return cls(ledger=ledger, store=store, is_needed=await ledger.erasures.has_any())

    async def sift(self, names: Sequence[str]) -> Sequence[str]:
        """Return those names that are no erased recording's."""
        if not self.is_needed:
            return names
        parsed = {name: self.store.layout.recording_of(PurePosixPath(name)) for name in names}
        buried = await self.ledger.erasures.buried([each for each in parsed.values() if each])
        others = []
        for name, recording in parsed.items():
            key = None if recording is None else (recording.conversation_id, recording.direction)
            if recording is not None and key in buried.gone:
                self._keep(PurePosixPath(name), recording.conversation_id, recording)
            elif key not in buried.pending:
                others.append(name)
        return others

    async def look_beside(self) -> None:
        """Look through metadata, and through what was set aside as damaged."""
        if not self.is_needed:
            return
        async for page in self.store.remains():
            bare = await self.ledger.erasures.bare([each for each, outcome in page if not outcome])
            aside = [outcome.recording for _, outcome in page if outcome is not None]
            gone = (await self.ledger.erasures.buried(aside)).gone
            for owner, outcome in page:
                if outcome is None and owner in bare:
                    self._keep(sidecar_path(owner), owner)
                elif outcome is not None and (owner, outcome.recording.direction) in gone:
                    self._keep(PurePosixPath(outcome.path or ""), owner)

    def _keep(
        self, path: PurePosixPath, conversation_id: str, recording: Recording | None = None
    ) -> None:
        self.count += 1
        if len(self.found) < KEPT:
            self.found.append(
                Returned(path=path, conversation_id=conversation_id, recording=recording)
            )


async def condemn(ledger: Ledger, found: Sequence[Returned]) -> int:
    """
    Note that they are to be erased, as what a killed erasure has left is.

    Returns:
        How many are going to be: of several files of one recording the first, and what lies beside.
    """
    order = Order.mine(f"{FOUND_AGAIN}verify").to_json()
    firsts = {
        (each.conversation_id, each.recording.direction): (each.recording, each.path)
        for each in reversed(found)
        if each.recording is not None
    }
    beside = [each.conversation_id for each in found if each.recording is None]
    outcomes = [
        Outcome(recording=recording, status=Status.FAILED, path=Path(path))
        for recording, path in firsts.values()
    ]
    await ledger.erasures.condemn(outcomes, order)
    await ledger.erasures.disturb(beside, order)
    return len(outcomes) + len(beside)
