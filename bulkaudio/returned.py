"""
Files of erased recordings that are there again: out of a bucket's versions, a backup, by another tool.

Nobody fetched them, and no run meets them: only whoever looks at every name can tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Outcome, Recording, Status
from bulkaudio.stores import register
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
        outcome: Of a recording, with the same path; None: it is metadata.
    """

    path: PurePosixPath
    conversation_id: str
    outcome: Outcome | None = None


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
        is_needed = await store.within(register.exists)
        return cls(ledger=ledger, store=store, is_needed=is_needed)

    async def sift(self, names: Sequence[str]) -> Sequence[str]:
        """Return those names that are no erased recording's."""
        if not self.is_needed:
            return names
        parsed = {name: self.store.layout.recording_of(PurePosixPath(name)) for name in names}
        ours = [each for each in parsed.values() if each is not None]
        erased = await self.ledger.erasures.buried(ours)
        others = []
        for name, recording in parsed.items():
            if recording is not None and _key(recording) in erased:
                self._keep(_recording(recording, Path(name)))
            else:
                others.append(name)
        return others

    async def look_beside(self) -> None:
        """Look through metadata, and through what was set aside as damaged."""
        if not self.is_needed:
            return
        async for page in self.store.remains():
            bare = await self.ledger.erasures.bare([each for each, outcome in page if not outcome])
            aside = [outcome for _, outcome in page if outcome is not None]
            erased = await self.ledger.erasures.buried([each.recording for each in aside])
            for conversation_id, outcome in page:
                if outcome is None and conversation_id in bare:
                    path = sidecar_path(conversation_id)
                    self._keep(Returned(path=path, conversation_id=conversation_id))
                elif outcome is not None and _key(outcome.recording) in erased:
                    self._keep(_recording(outcome.recording, outcome.path or Path()))

    def _keep(self, returned: Returned) -> None:
        self.count += 1
        if len(self.found) < KEPT:
            self.found.append(returned)


async def condemn(ledger: Ledger, found: Sequence[Returned]) -> None:
    """Note that they are to be erased, as what a killed erasure has left is."""
    order = Order.mine("found again by verify").to_json()
    outcomes = [each.outcome for each in found if each.outcome is not None]
    await ledger.erasures.condemn(outcomes, order)
    owners = [each.conversation_id for each in found if each.outcome is None]
    await ledger.erasures.disturb(owners, order)


def _recording(recording: Recording, path: Path) -> Returned:
    return Returned(
        path=PurePosixPath(path),
        conversation_id=recording.conversation_id,
        outcome=Outcome(recording=recording, status=Status.FAILED, path=path),
    )


def _key(recording: Recording) -> tuple[str, str]:
    return recording.conversation_id, recording.direction
