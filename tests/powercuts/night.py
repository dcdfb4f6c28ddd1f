"""
One run over the script's calls: the real store, committer and ledger, without a network.

The recorder drives it under the disk that remembers, and the oracle to its end on what is left.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.committer import Committer, Settles
from bulkaudio.events import Event, Settled
from bulkaudio.identity import Identity
from bulkaudio.model import Evidence, Outcome, Recording, Status, Task
from bulkaudio.run import unsettled
from bulkaudio.stores.base import Staged
from tests.powercuts import script

Tell = Callable[..., None]
"""Says what was acknowledged: a word, and its details by name."""

IDENTITY = Identity(region="uk", account="account", agent="PROJECT-1")


@dataclass(slots=True, kw_only=True)
class Night:
    """
    A run in progress.

    Attributes:
        ledger: What the committer settles with; the archive's own, unless it is to die in it.
        edition: Of the metadata files it writes.
        batch: Recordings to a transaction.
        is_patient: Waits until a batch is acknowledged before it stages the next. Otherwise the
            syncs of one batch bring much of the other to the disk, and hide what is missing.
    """

    archive: OpenArchive
    ledger: Settles
    tell: Tell
    edition: int
    batch: int = 4
    is_patient: bool = True
    fetched: list[script.Key] = field(default_factory=list)
    _settled: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, pages: int) -> None:
        """Do what is left of the backlog, and of the first pages."""
        ledger = self.archive.ledger
        run_id = f"run {self.edition}"
        await ledger.start_run(run_id, datetime.now(UTC), "{}")
        self.tell("run", run_id=run_id)
        committer = Committer(
            self.archive.store,
            self.ledger,
            run_id=run_id,
            emit=self._report,
            batch=self.batch,
            linger_s=0.005,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(committer.run())
            async for plan in unsettled(ledger, script.DIRECTIONS)():
                await self._do(committer, plan.todo)
            listing = await script.listing_of(ledger)
            if listing is not None:
                for number in range(listing[1], pages):
                    await self._do(committer, await self._list(listing[0], number))
            await committer.drain()
        await ledger.finish_run(run_id, datetime.now(UTC), "{}")

    async def _list(self, listing_id: int, number: int) -> Sequence[Task]:
        """Take a page as a listing does: metadata first, then ids and bookmark together."""
        ids = [call.id for call in script.page(number)]
        await self.archive.store.write_sidecars({i: script.sidecar(i, self.edition) for i in ids})
        self.tell("sidecars", ids=ids, edition=self.edition)
        batch = script.batch(number, listing_id)
        plan = await self.archive.ledger.plan(batch, script.DIRECTIONS, datetime.now(UTC))
        self.tell("page", number=number)
        return plan.todo

    async def _do(self, committer: Committer, tasks: Sequence[Task]) -> None:
        for start in range(0, len(tasks), self.batch):
            items = [await self._fetch(task.recording) for task in tasks[start:][: self.batch]]
            wanted = self._settled + len(items)
            for item in items:
                if isinstance(item, Outcome):
                    await committer.settle(item)
                else:
                    await committer.submit(item, Evidence(http_status=200, attempts=1))
            while self.is_patient and self._settled < wanted:
                self._changed.clear()
                await self._changed.wait()

    async def _fetch(self, recording: Recording) -> Staged | Outcome:
        key = (recording.conversation_id, recording.direction.value)
        self.fetched.append(key)
        if script.is_absent(key):
            return Outcome(recording=recording, status=Status.ABSENT, reason="no_recording")
        staging = await self.archive.store.stage(recording)
        await staging.write(script.audio(key))
        staged = await staging.seal(framed=True)
        assert isinstance(staged, Staged)
        return staged

    def _report(self, event: Event) -> None:
        if isinstance(event, Settled):
            recording, status = event.outcome.recording, event.outcome.status.value
            key = (recording.conversation_id, recording.direction.value)
            self.tell("settled", key=key, status=status)
            self._settled += 1
            self._changed.set()


@asynccontextmanager
async def night(root: Path, tell: Tell, edition: int) -> AsyncIterator[Night]:
    """Open the archive as a run does, its recovery included, and say what that acknowledged."""
    async with open_archive(root, layout=script.LAYOUT) as archive:
        position = 0
        while page := await archive.ledger.saved_after(position, 100):
            for row in page:
                key = (row.recording.conversation_id, row.recording.direction.value)
                tell("settled", key=key, status="saved")
            position = page[-1].rowid
        await archive.bind(IDENTITY)
        tell("bound", identity=IDENTITY.asked())
        yield Night(archive=archive, ledger=archive.ledger, tell=tell, edition=edition)
