"""A night's work by hand: the real archive, driven one step at a time."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import currently_in_test_context, event

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.committer import Committer
from bulkaudio.errors import BulkAudioError
from bulkaudio.events import Event, Settled
from bulkaudio.ledger.rows import LedgerRow, ListingRow
from bulkaudio.listings import Errand, Memory, errands
from bulkaudio.model import (
    Batch,
    Bookmark,
    Conversation,
    Evidence,
    Outcome,
    Plan,
    Recording,
    Status,
    Task,
)
from bulkaudio.settings import ListingQuery
from bulkaudio.stores.base import Published, Staged
from tests.audio import wav_of
from tests.properties.crashes import Crash, listener
from tests.properties.world import DIRECTIONS, Call, Key

SCOPE = "live"
MEMORY = Path("/dev/shm")

Break = tuple[int, int | None]
"""At which step something is broken, and by what error; None: by a kill."""


def key_of(recording: Recording) -> Key:
    """Name a recording as the model does."""
    return recording.conversation_id, recording.direction


def name_of(key: Key) -> str:
    """Name a recording as the archive's flat layout does not: for sets and messages."""
    return f"{key[1]}/{key[0]}"


@dataclass
class Hands:
    """Everything a run holds in memory, and loses with its process."""

    errands: list[Errand] = field(default_factory=list)
    listing: ListingRow | None = None
    tasks: list[Task] = field(default_factory=list)
    staged: list[Staged] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


class Night:
    """
    An archive in a temporary folder, opened and closed and killed.

    Attributes:
        acknowledged: What was ever reported as saved, over all processes.
        broken: How many steps were.
        is_exact: Breaks come at the very number they name, or not at all.
    """

    def __init__(self) -> None:
        # A killed process needs no disk to leave its files behind, and its syncs cost nothing here.
        place = MEMORY if MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="bulkaudio-night-", dir=place)
        self._copies = 0
        self._most_steps: dict[str, int] = {}
        self._runner = asyncio.Runner()
        self._context: AbstractAsyncContextManager[OpenArchive] | None = None
        self._archive: OpenArchive | None = None
        self.root = Path(self._folder.name) / "0"
        self.acknowledged: set[str] = set()
        self.hands = Hands()
        self.runs = 0
        self.broken = 0
        self.is_exact = False

    @property
    def archive(self) -> OpenArchive:
        """The open archive."""
        assert self._archive is not None
        return self._archive

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine to its end."""
        return self._runner.run(work)

    def start(self, now: datetime) -> None:
        """Open the archive, recover, and begin a run."""
        self.hands = Hands()
        self.runs += 1

        async def begin() -> None:
            self._context = open_archive(self.root)
            self._archive = await self._context.__aenter__()
            await self.archive.ledger.start_run(f"run-{self.runs}", now, "{}")

        try:
            self.do(begin())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close in order; what was not committed is lost."""
        context, archive = self._context, self._archive
        self._context = self._archive = None
        if context is not None and archive is not None:
            self.do(context.__aexit__(None, None, None))

    def close(self) -> None:
        """Leave nothing behind."""
        self.stop()
        self._runner.close()
        self._folder.cleanup()

    def survives(self, name: str, broken: Break | None, work: Callable[[], None]) -> bool:
        """
        Do one step; when it is broken, lose what is in memory and say so.

        After a kill the archive is what the copy holds, and what was reported is what had been.

        Args:
            name: Of what is done: breaks are spread over as many steps as it has taken before.
        """
        crash = self._crash(name, broken)
        try:
            with listener.expecting(crash):
                work()
        except BulkAudioError:
            if crash.happened_at is None or crash.witnessed is not None:
                raise
        self._most_steps[name] = max(crash.steps, self._most_steps.get(name, 1))
        if crash.happened_at is None:
            return True
        self.broken += 1
        if currently_in_test_context():
            how = "failed" if crash.witnessed is None else "killed"
            event(f"{name}: {how} at {crash.happened_at}")
        self.stop()
        self._bury(crash)
        return False

    def kill(self) -> None:
        """Kill the process between two steps."""
        crash = self._crash("kill", None)
        crash.kill()
        self.stop()
        self._bury(crash)

    def _crash(self, name: str, broken: Break | None) -> Crash:
        self._copies += 1
        at, code = broken or (None, None)
        return Crash(
            at=at if at is None or self.is_exact else at % self._most_steps.get(name, 25),
            code=code,
            archive=self.root,
            copy=Path(self._folder.name) / str(self._copies),
            acknowledged=self.acknowledged,
        )

    def _bury(self, crash: Crash) -> None:
        if crash.witnessed is not None:
            assert crash.witnessed <= crash.saved(), "reported before it was kept"
            self.acknowledged = crash.witnessed
            self.root = crash.copy

    def _emit(self, told: Event) -> None:
        if isinstance(told, Settled) and told.outcome.status is Status.SAVED:
            self.acknowledged.add(name_of(key_of(told.outcome.recording)))

    def memory(self) -> Memory:
        """Ask what the ledger knows of earlier listings."""
        ledger = self.archive.ledger
        return Memory(
            unfinished=self.do(ledger.unfinished_listing(SCOPE)),
            high_water=self.do(ledger.high_water(SCOPE, DIRECTIONS)),
        )

    def choose_windows(self, query: ListingQuery, now: datetime) -> None:
        """Decide what to list, as a run does at its start."""
        self.hands.errands = list(errands(query, self.memory(), now))

    def next_window(self) -> tuple[ListingRow, bool]:
        """Turn to the next window; returns it, and whether it was begun just now."""
        errand = self.hands.errands[0]
        is_new = errand.row is None
        row = errand.row or self.do(
            self.archive.ledger.start_listing(SCOPE, errand.since, errand.until)
        )
        self.hands.listing = row
        return row, is_new

    def take_page(self, calls: Sequence[Call], bookmark: Bookmark, now: datetime) -> Plan:
        """Give the ledger a page of a listing."""
        batch = Batch(
            conversations=tuple(
                Conversation(id=c.id, started_at=c.started_at, in_progress=c.in_progress)
                for c in calls
            ),
            bookmark=bookmark,
        )
        plan: Plan = self.do(self.archive.ledger.plan(batch, DIRECTIONS, now))
        self.hands.tasks.extend(plan.todo)
        if bookmark.is_last:
            self.hands.listing = None
            del self.hands.errands[0]
        return plan

    def take_backlog(self, now: datetime) -> list[Task]:
        """Take all that earlier runs left."""
        taken: list[Task] = []
        position = 0
        while True:
            plan, position = self.do(
                self.archive.ledger.backlog(DIRECTIONS, now, after=position, limit=2)
            )
            if not plan.todo:
                self.hands.tasks.extend(taken)
                return taken
            taken.extend(plan.todo)

    def stage(self, task: Task) -> None:
        """Fetch one recording whole."""

        async def fetch() -> Staged:
            staging = await self.archive.store.stage(task.recording)
            body = wav_of(*key_of(task.recording))
            await staging.write(body[:100])
            await staging.write(body[100:])
            staged = await staging.seal(framed=True)
            assert isinstance(staged, Staged)
            await asyncio.wait({staged.durable})
            return staged

        self.hands.staged.append(self.do(fetch()))

    def commit(self, now: datetime) -> None:
        """Publish and settle everything in hand, through the committer."""
        hands = self.hands

        async def work() -> None:
            committer = Committer(
                self.archive.store,
                self.archive.ledger,
                run_id=f"run-{self.runs}",
                emit=self._emit,
                batch=1000,
                clock=lambda: now,
            )
            running = asyncio.create_task(committer.run())
            for staged in hands.staged:
                await committer.submit(staged, Evidence(http_status=200, attempts=1))
            for outcome in hands.outcomes:
                await committer.settle(outcome)
            try:
                await committer.drain()
            finally:
                await asyncio.wait({running})
                running.exception()

        self.do(work())
        hands.staged, hands.outcomes = [], []

    def publish(self) -> None:
        """Give names to what is staged, and no more: the ledger is told later, or never."""
        hands = self.hands
        hands.published.extend(self.do(self.archive.store.publish(hands.staged)))
        hands.staged = []

    def settle_published(self, now: datetime) -> None:
        """Tell the ledger of what has a name already."""
        hands = self.hands
        outcomes = [
            Outcome(
                recording=each.staged.recording,
                status=Status.SAVED,
                path=each.path,
                bytes=each.staged.bytes,
                sha256=each.staged.sha256,
                audio=each.staged.audio,
            )
            for each in hands.published
        ]
        self.do(self.archive.ledger.settle(outcomes, f"run-{self.runs}", now))
        for outcome in outcomes:
            self._emit(Settled(outcome=outcome))
        self.do(self.archive.store.forget(hands.published))
        hands.published = []

    def rows(self) -> list[LedgerRow]:
        """Read the whole ledger."""
        rows: list[LedgerRow] = self.do(self.archive.ledger.rows_after(0, 10_000))
        return rows

    def files(self) -> dict[str, bytes]:
        """Read everything under a final name."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for direction in DIRECTIONS
            for path in sorted((self.root / direction).glob("*"))
        }

    def temporaries(self) -> list[str]:
        """Names in the temporary folder."""
        return sorted(path.name for path in (self.root / ".bulkaudio" / "tmp").iterdir())
