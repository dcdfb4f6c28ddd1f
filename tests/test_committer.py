"""The committer with a real store and a real ledger."""

import asyncio
import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.committer import Committer
from bulkaudio.errors import LedgerError, StorageError
from bulkaudio.events import Event, Noted, Settled
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Direction, Evidence, Outcome, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.policy import Reason
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.base import Published, Staged
from bulkaudio.stores.local import LocalStore
from tests.audio import wav_of

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
EVIDENCE = Evidence(http_status=200, attempts=2)
LAYOUT = Layout.parse(DEFAULT_LAYOUT)


class Archive:
    """A store, a ledger, and what was reported about them."""

    def __init__(self, root: Path, store: LocalStore, ledger: Ledger) -> None:
        self.root = root
        self.store = store
        self.ledger = ledger
        self.events: list[Event] = []
        self.saved_when_reported: list[int] = []

    def committer(self, *, batch: int = 64, linger_s: float = 2.0) -> Committer:
        """Make a committer of this archive."""
        return Committer(
            self.store,
            self.ledger,
            run_id="run-1",
            emit=self.events.append,
            batch=batch,
            linger_s=linger_s,
        )

    async def stage(self, id_: str) -> Staged:
        """Stage the recording of a conversation."""
        recording = Recording(conversation_id=id_, direction=Direction.COMBINED)
        staging = await self.store.stage(recording)
        await staging.write(wav_of(id_))
        staged = await staging.seal(framed=True)
        assert isinstance(staged, Staged)
        return staged

    def reported(self) -> list[Outcome]:
        """Outcomes in the order they were reported."""
        return [event.outcome for event in self.events if isinstance(event, Settled)]

    async def saved(self) -> list[str]:
        """Ids the ledger says are saved; each is looked at, whole and unchanged."""
        rows = await self.ledger.saved_after(0, 1000)
        for row in rows:
            assert row.path is not None
            body = (self.root / row.path).read_bytes()
            assert hashlib.sha256(body).hexdigest() == row.sha256
            assert body == wav_of(row.recording.conversation_id)
        return [row.recording.conversation_id for row in rows]

    def temporaries(self) -> list[str]:
        """Names in the temporary folder."""
        return sorted(path.name for path in (self.root / ".bulkaudio" / "tmp").iterdir())


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    """Open a new archive whose ledger knows CA0 to CA99."""
    root = tmp_path / "archive"
    store = await LocalStore.open(root, layout=LAYOUT)
    ledger = await Ledger.open(root / ".bulkaudio" / "ledger.db", is_new_allowed=True)
    ids = tuple(Conversation(id=f"CA{n}") for n in range(100))
    await ledger.plan(Batch(conversations=ids), (Direction.COMBINED,), NOW)
    yield Archive(root, store, ledger)
    await store.aclose()
    await ledger.aclose()


def failed(id_: str) -> Outcome:
    """Make an outcome without a file."""
    recording = Recording(conversation_id=id_, direction=Direction.COMBINED)
    return Outcome(recording=recording, status=Status.FAILED, reason=Reason.TRUNCATED)


async def test_everything_handed_over_is_settled_in_order(archive: Archive) -> None:
    """Saved ones with their file and evidence, others as they are; nothing temporary stays."""
    committer = archive.committer()
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        for n in range(4):
            await committer.submit(await archive.stage(f"CA{n}"), EVIDENCE)
            await committer.settle(failed(f"CA5{n}"))
        await committer.drain()
    outcomes = archive.reported()
    assert [o.recording.conversation_id for o in outcomes] == [
        f"CA{prefix}{n}" for n in range(4) for prefix in ("", "5")
    ]
    assert outcomes[0].status is Status.SAVED
    assert outcomes[0].path == Path("combined/CA0.wav")
    assert outcomes[0].evidence == EVIDENCE
    assert await archive.saved() == ["CA0", "CA1", "CA2", "CA3"]
    assert archive.temporaries() == []


async def test_a_batch_closes_when_full_and_an_incomplete_one_when_old(archive: Archive) -> None:
    """Three of three go at once; a single one goes after lingering, without a drain."""
    committer = archive.committer(batch=3, linger_s=0.2)
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        began = asyncio.get_running_loop().time()
        for n in range(4):
            await committer.settle(failed(f"CA{n}"))
        while len(archive.reported()) < 4:
            await asyncio.sleep(0.005)
            if len(archive.reported()) < 3:
                assert asyncio.get_running_loop().time() - began < 0.19
        assert asyncio.get_running_loop().time() - began >= 0.2
        await committer.drain()


async def test_nothing_is_reported_before_it_is_in_the_ledger(archive: Archive) -> None:
    """When `Settled` is emitted, a reader of the ledger finds the row and the file its name."""
    order: list[str] = []

    class Watched:
        """Passes on to the ledger."""

        async def settle(
            self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime
        ) -> None:
            """Look for the file first."""
            assert await asyncio.to_thread((archive.root / "combined" / "CA1.wav").exists)
            await archive.ledger.settle(outcomes, run_id, now)
            order.append("ledger")

    committer = archive.committer()
    committer.ledger = Watched()
    committer.emit = lambda _: order.append("reported")
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        await committer.submit(await archive.stage("CA1"), EVIDENCE)
        await committer.drain()
    assert order == ["ledger", "reported"]


async def test_a_consumer_that_is_slow_holds_the_flow_back(archive: Archive) -> None:
    """Two batches wait at most; whoever submits more waits with them."""
    may_go = asyncio.Event()
    delivered: list[str] = []

    async def deliver(outcome: Outcome) -> None:
        await may_go.wait()
        delivered.append(outcome.recording.conversation_id)

    committer = archive.committer(batch=2, linger_s=0.01)
    committer.deliver = deliver
    accepted = 0

    async def produce() -> None:
        nonlocal accepted
        for n in range(12):
            await committer.settle(failed(f"CA{n}"))
            accepted += 1
        await committer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        group.create_task(produce())
        await asyncio.sleep(0.1)
        assert accepted == 2 + 2 * 2
        may_go.set()
    assert delivered == [f"CA{n}" for n in range(12)]


async def test_a_conflict_is_a_failure_and_not_the_end(archive: Archive) -> None:
    """The foreign file stays, the row says why, the temporary file goes."""
    final = archive.root / "combined" / "CA1.wav"
    final.parent.mkdir()
    final.write_bytes(b"somebody else's")
    committer = archive.committer()
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        await committer.submit(await archive.stage("CA1"), EVIDENCE)
        await committer.submit(await archive.stage("CA2"), EVIDENCE)
        await committer.drain()
    conflict, saved = archive.reported()
    assert (conflict.status, conflict.reason) == (Status.FAILED, Reason.CONFLICT)
    assert (conflict.path, conflict.evidence) == (None, EVIDENCE)
    assert saved.status is Status.SAVED
    assert final.read_bytes() == b"somebody else's"
    assert archive.temporaries() == []


async def test_what_is_durable_is_committed_before_a_fault_ends_the_run(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording that could not be synced stays open; the others are saved and reported."""
    fsync = os.fsync

    def fail_one(fd: int) -> None:
        if "CA1." in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail_one)
    committer = archive.committer()
    running = asyncio.create_task(committer.run())
    for n in range(3):
        await committer.submit(await archive.stage(f"CA{n}"), EVIDENCE)
    with pytest.raises(StorageError, match="no space"):
        await committer.drain()
    with pytest.raises(StorageError, match="no space"):
        await running
    with pytest.raises(StorageError, match="no space"):
        await committer.settle(failed("CA9"))
    assert await archive.saved() == ["CA0", "CA2"]
    assert [o.recording.conversation_id for o in archive.reported()] == ["CA0", "CA2"]
    row = (await archive.ledger.rows_after(1, 1))[0]
    assert (row.recording.conversation_id, row.status) == ("CA1", Status.OPEN)


async def test_whoever_waits_to_hand_over_learns_that_it_is_over(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker held back by a full queue does not hang when committing ends."""
    committer = archive.committer(batch=1)

    async def fail(*_: object) -> None:
        await asyncio.sleep(0.05)
        raise LedgerError("the disk is gone")

    monkeypatch.setattr(archive.ledger, "settle", fail)
    running = asyncio.create_task(committer.run())
    handing = [asyncio.create_task(committer.settle(failed(f"CA{n}"))) for n in range(6)]
    results = await asyncio.wait_for(asyncio.gather(*handing, return_exceptions=True), 5)
    assert [type(result) for result in results[-2:]] == [LedgerError, LedgerError]
    with pytest.raises(LedgerError):
        await running


async def test_a_ledger_that_fails_leaves_no_doubt_about_what_is_published(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files without a row are none of the run's saved ones: it says how many the next one finds."""

    async def fail(*_: object) -> None:
        raise LedgerError("the disk is full")

    committer = archive.committer()
    running = asyncio.create_task(committer.run())
    for n in range(2):
        await committer.submit(await archive.stage(f"CA{n}"), EVIDENCE)
    await committer.settle(failed("CA9"))
    with monkeypatch.context() as patch:
        patch.setattr(archive.ledger, "settle", fail)
        with pytest.raises(LedgerError):
            await committer.drain()
    with pytest.raises(LedgerError):
        await running
    assert archive.reported() == []
    (note,) = [event for event in archive.events if isinstance(event, Noted)]
    assert "not counted as saved: 2." in note.text
    await archive.store.recover(archive.ledger)
    assert await archive.saved() == ["CA0", "CA1"]


async def test_draining_nothing_ends_at_once(archive: Archive) -> None:
    """An empty run does not linger."""
    committer = archive.committer(linger_s=60)
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        await asyncio.wait_for(committer.drain(), 1)


async def run_until_cancelled(committer: Committer, staged: Sequence[Staged], steps: int) -> None:
    """Cancel the committer after so many turns of the loop."""
    running = asyncio.create_task(committer.run())
    for each in staged:
        await committer.submit(each, EVIDENCE)
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()


@pytest.mark.parametrize("steps", range(14))
async def test_cancelled_at_any_await_a_batch_is_whole_or_untouched(
    archive: Archive, steps: int
) -> None:
    """Cancellation passes, after the batch in progress; ledger, disk and reports agree."""
    committer = archive.committer(batch=2, linger_s=0)
    staged = [await archive.stage(f"CA{n}") for n in range(4)]
    await run_until_cancelled(committer, staged, steps)
    saved = await archive.saved()
    assert saved == [o.recording.conversation_id for o in archive.reported()]
    folder = archive.root / "combined"
    published = sorted(p.stem for p in folder.iterdir()) if folder.exists() else []
    assert published == sorted(saved)
    assert len(saved) % 2 == 0
    assert len(archive.temporaries()) == 4 - len(saved)


async def test_cancelled_in_the_middle_of_publishing_it_is_still_reported(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose names are given goes into the ledger, and then the cancellation passes."""
    publish = archive.store.publish
    reached = asyncio.Event()

    async def slow(batch: Sequence[Staged]) -> Sequence[Published]:
        reached.set()
        published = await publish(batch)
        await asyncio.sleep(0.05)
        return published

    monkeypatch.setattr(archive.store, "publish", slow)
    committer = archive.committer(batch=1)
    running = asyncio.create_task(committer.run())
    await committer.submit(await archive.stage("CA1"), EVIDENCE)
    await reached.wait()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0.005)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await archive.saved() == ["CA1"]
    assert len(archive.reported()) == 1
    with pytest.raises(StorageError, match="ending"):
        await committer.settle(failed("CA2"))
    await committer.drain()


CHILD = """
import asyncio, sys
from pathlib import Path
from bulkaudio.committer import Committer
from bulkaudio.events import Settled
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Evidence, Recording
from bulkaudio.naming import Layout
from bulkaudio.stores.local import LocalStore
from tests.audio import wav_of

async def main():
    root = Path(sys.argv[1])
    store = await LocalStore.open(root, layout=Layout.parse("{direction}/{id}.wav"))
    ledger = await Ledger.open(root / ".bulkaudio" / "ledger.db", is_new_allowed=False)
    await store.recover(ledger)
    def report(event):
        print(event.outcome.recording.conversation_id, flush=True)
    committer = Committer(store, ledger, run_id="r", emit=report, batch=4, linger_s=0.001)
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        ids = [t.recording for t in (await ledger.backlog(list(Direction), NOW, after=0,
               limit=10**6))[0].todo]
        for recording in ids:
            staging = await store.stage(recording)
            await staging.write(wav_of(recording.conversation_id))
            await committer.submit(await staging.seal(framed=True), Evidence(attempts=1))
        await committer.drain()

from datetime import datetime, UTC
NOW = datetime.now(UTC)
asyncio.run(main())
"""


async def test_killed_at_any_moment_nothing_reported_is_lost(tmp_path: Path) -> None:
    """Over several kills: reported means saved, saved means whole, and nothing is half there."""
    root = tmp_path / "archive"
    state = await LocalStore.prepare(root)
    ledger = await Ledger.open(state / "ledger.db", is_new_allowed=True)
    ids = tuple(Conversation(id=f"CA{n}") for n in range(300))
    await ledger.plan(Batch(conversations=ids), (Direction.COMBINED,), NOW)
    await ledger.aclose()
    reported: set[str] = set()

    def run_and_kill(lines: int) -> None:
        command = [sys.executable, "-c", CHILD, str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(lines):
                reported.add(child.stdout.readline().strip())
            child.send_signal(signal.SIGKILL)
            # A last line may be cut in two.
            rest = child.stdout.read()
            reported.update(rest[: rest.rfind("\n") + 1].split())

    for lines in (1, 7, 30):
        await asyncio.to_thread(run_and_kill, lines)
    store = await LocalStore.open(root, layout=LAYOUT)
    ledger = await Ledger.open(state / "ledger.db", is_new_allowed=False)
    await store.recover(ledger)
    archive = Archive(root, store, ledger)
    saved = set(await archive.saved())
    assert len(reported) >= 38
    assert reported <= saved
    assert {path.stem for path in (root / "combined").iterdir()} == saved
    assert archive.temporaries() == []
    await store.aclose()
    await ledger.aclose()


async def test_a_flush_waits_for_what_was_handed_over_before(archive: Archive) -> None:
    """And says so when that will never be in the ledger."""
    committer = archive.committer(linger_s=0.2)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(committer.run())
        await committer.flush()
        recording = Recording(conversation_id="CA1", direction=Direction.COMBINED)
        await committer.settle(Outcome(recording=recording, status=Status.ABSENT))
        await committer.flush()
        assert [type(event) for event in archive.events] == [Settled]
        await committer.settle(Outcome(recording=recording, status=Status.ABSENT))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(StorageError, match="nothing more"):
            await committer.flush()
