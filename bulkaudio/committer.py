"""
The last step of every recording: published, synced, in the ledger, and only then reported.

Batches share their folder syncs and their transaction, which is what makes thousands of
recordings a second durable. A batch once begun runs to its end, whoever is cancelled: half of it
in the ledger and the rest not would only be work for the next start.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bulkaudio.errors import BulkAudioError, StorageError
from bulkaudio.events import Emit, Noted, Settled
from bulkaudio.model import Evidence, Outcome, Status
from bulkaudio.policy import Reason
from bulkaudio.steps import Step, reach
from bulkaudio.stores.base import Publication, Published, PublishError, Staged, Store


class Settles(Protocol):
    """What committing needs of the ledger."""

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """Keep how recordings ended; durable when this returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A staged recording on its way to the ledger."""

    staged: Staged
    evidence: Evidence


Item = Candidate | Outcome


@dataclass(slots=True)
class Committer:
    """
    Takes what workers have finished and settles it in batches.

    Attributes:
        batch: So many make a batch; as many again may wait behind it.
        linger_s: The first of a batch waits no longer than this for others.
        deliver: Called after `emit`, for consumers that hold the flow back.
    """

    store: Store
    ledger: Settles
    _: KW_ONLY
    run_id: str
    emit: Emit
    batch: int = 64
    linger_s: float = 2.0
    deliver: Callable[[Outcome], Awaitable[None]] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _waiting: deque[Item] = field(default_factory=deque, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _handed: int = field(default=0, init=False)
    _committed: int = field(default=0, init=False)
    _is_draining: bool = field(default=False, init=False)
    _has_ended: bool = field(default=False, init=False)
    _fault: BaseException | None = field(default=None, init=False)

    async def submit(self, staged: Staged, evidence: Evidence) -> None:
        """
        Hand over a staged recording; waits while enough others do.

        Raises:
            BulkAudioError: What ended the committer; the recording stays open.
        """
        await self._put(Candidate(staged=staged, evidence=evidence))

    async def settle(self, outcome: Outcome) -> None:
        """Hand over an outcome that has no file; see `submit`."""
        await self._put(outcome)

    async def flush(self) -> None:
        """Return when everything that was handed over before is in the ledger; see `submit`."""
        mine = self._handed
        while self._committed < mine and not self._has_ended:
            await self._changed.wait()
        if self._committed < mine:
            raise self._refusal()

    async def run(self) -> None:
        """
        Commit until drained; the owner of this task sees what goes wrong.

        Raises:
            StorageError, LedgerError: What can be committed of the batch was.
        """
        try:
            while items := await self._next_batch():
                outcomes = await self._commit_to_the_end(items)
                self._committed += len(items)
                self._tell_all()
                if self.deliver is not None:
                    for outcome in outcomes:
                        await self.deliver(outcome)
        except BaseException as fault:
            self._fault = fault
            raise
        finally:
            self._has_ended = True
            self._tell_all()

    async def drain(self) -> None:
        """
        Commit everything handed over, at once, and end `run`; nothing may be handed over after.

        Raises:
            BulkAudioError: What ended `run` before that.
        """
        self._is_draining = True
        self._tell_all()
        while not self._has_ended:
            await self._changed.wait()
        if self._fault is not None and not isinstance(self._fault, asyncio.CancelledError):
            raise self._fault

    async def _put(self, item: Item) -> None:
        while len(self._waiting) >= 2 * self.batch and not self._has_ended:
            await self._changed.wait()
        if self._has_ended:
            raise self._refusal()
        self._waiting.append(item)
        self._handed += 1
        if len(self._waiting) in {1, self.batch}:
            self._tell_all()

    def _refusal(self) -> BulkAudioError:
        if isinstance(self._fault, BulkAudioError):
            return self._fault
        return StorageError("the run is ending: nothing more is committed")

    def _tell_all(self) -> None:
        """Wake whoever waits for a change; each looks for itself whether it was the one."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _next_batch(self) -> Sequence[Item]:
        """Wait for a batch to fill or to become old; empty when everything is drained."""
        while not self._waiting and not self._is_draining:
            await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.linger_s):
                while len(self._waiting) < self.batch and not self._is_draining:
                    await self._changed.wait()
        items = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
        self._tell_all()
        return items

    async def _commit_to_the_end(self, items: Sequence[Item]) -> Sequence[Outcome]:
        committing = asyncio.create_task(self._commit(items), name="batch")
        cancelled: asyncio.CancelledError | None = None
        while not committing.done():
            try:
                await asyncio.wait({committing})
            except asyncio.CancelledError as request:
                # Taken note of and passed on below: what is left to do is a few syncs.
                cancelled = request
        if cancelled is not None:
            raise cancelled from (None if committing.cancelled() else committing.exception())
        return committing.result()

    async def _commit(self, items: Sequence[Item]) -> Sequence[Outcome]:
        batch = [item.staged for item in items if isinstance(item, Candidate)]
        fault: StorageError | None = None
        published: Sequence[Published] = ()
        try:
            if batch:
                published = await self.store.publish(batch)
        except PublishError as error:
            fault, published = error.cause, error.published
        by_file = {each.staged.temporary: each for each in published}
        outcomes = [
            outcome for item in items if (outcome := _outcome_of(item, by_file)) is not None
        ]
        if outcomes:
            await self._record(outcomes)
            reach(Step.ACKNOWLEDGE)
        for outcome in outcomes:
            self.emit(Settled(outcome=outcome))
        if published:
            await self.store.forget(published)
        if fault is not None:
            raise fault
        return outcomes

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Put outcomes into the ledger; where that fails, say what lies published without a row."""
        try:
            await self.ledger.settle(outcomes, self.run_id, self.clock())
        except BulkAudioError:
            # Their temporary names are kept, so that recovery finds them: who looks at the archive
            # next sees more saved than this run can answer for.
            published = sum(outcome.status is Status.SAVED for outcome in outcomes)
            if published:
                self.emit(Noted(text=_unrecorded_words(published)))
            raise


def _unrecorded_words(published: int) -> str:
    return (
        "Recordings published when the ledger failed, and not counted as saved: "
        f"{published:,}. The next run takes up what is there, without fetching it again."
    )


def _outcome_of(item: Item, by_file: Mapping[Path, Published]) -> Outcome | None:
    """Say how an item ended; None for a recording that could not be published and stays open."""
    if isinstance(item, Outcome):
        return item
    published = by_file.get(item.staged.temporary)
    if published is None:
        return None
    if published.result is Publication.CONFLICT:
        return Outcome(
            recording=item.staged.recording,
            status=Status.FAILED,
            reason=Reason.CONFLICT,
            evidence=item.evidence,
        )
    return Outcome(
        recording=item.staged.recording,
        status=Status.SAVED,
        path=published.path,
        evidence=item.evidence,
        bytes=item.staged.bytes,
        sha256=item.staged.sha256,
        audio=item.staged.audio,
    )
