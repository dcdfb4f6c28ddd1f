"""The run's side of a cluster, with workers that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.budget import Budget
from bulkaudio.cluster.crew import MOST_CRASHES, ClusterCrew, ShardLost
from bulkaudio.cluster.parcels import Counts, Fault, Report
from bulkaudio.cluster.shards import Shard
from bulkaudio.committer import Committer
from bulkaudio.crew import Job
from bulkaudio.errors import ClusterError, HostUnavailableError, KeyRefusedError
from bulkaudio.events import Event, Noted, Relayed, SidecarSettled
from bulkaudio.model import Direction, Outcome, Recording, Status, Task
from bulkaudio.naming import Layout
from bulkaudio.policy import Reason
from bulkaudio.settings import DEFAULT_LAYOUT, Budgets
from bulkaudio.sidecars import SidecarTask
from bulkaudio.stopper import Stopper
from bulkaudio.stores.local import LocalStore

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def tasks(count: int) -> list[Job]:
    """Make recordings to fetch."""
    return [
        Task(
            recording=Recording(conversation_id=f"CA{n}", direction=Direction.COMBINED),
            first_seen_at=NOW,
        )
        for n in range(count)
    ]


def saved(item: Task) -> Outcome:
    """Say that a recording was saved."""
    path = Path(f"combined/{item.recording.conversation_id}.wav")
    return Outcome(
        recording=item.recording, status=Status.SAVED, path=path, bytes=10, sha256="0" * 64
    )


def done(shard: Shard, *, worker: str = "w", most: int | None = None) -> Report:
    """Report of a worker that saved everything, or the first few."""
    items = shard.items[:most]
    return Report(
        attempt=shard.name,
        worker=worker,
        bench="bench",
        outcomes=tuple(saved(item) for item in items if isinstance(item, Task)),
        sidecars=tuple((i.conversation_id, None) for i in items if isinstance(i, SidecarTask)),
        counts=Counts(http={200: len(items)}),
    )


@dataclass
class FakeDesk:
    """Workers that answer by a function."""

    answer: Callable[[Shard], Report]
    workers: int = 2
    sent: list[Shard] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    under_way: int = 0
    peak: int = 0
    delay_s: float = 0.0

    async def send(self, shard: Shard) -> Report:
        """Answer."""
        self.sent.append(shard)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(self.delay_s)
            return self.answer(shard)
        finally:
            self.under_way -= 1

    async def struck_out(self, report: Report, shard: Shard) -> None:
        """Take note."""
        del report
        self.struck.append(shard.name)


@dataclass
class FakeLedger:
    """Remembers what is settled."""

    outcomes: list[Outcome] = field(default_factory=list)

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """Keep."""
        del run_id, now
        self.outcomes.extend(outcomes)


@dataclass
class Bench:
    """A crew with everything around it."""

    crew: ClusterCrew
    desk: FakeDesk
    ledger: FakeLedger
    stopper: Stopper
    events: list[Event]

    async def work(self, jobs: Sequence[Job]) -> None:
        """Let the crew work until everything is done."""
        queue: asyncio.Queue[Job] = asyncio.Queue()
        for job in (*jobs, *[None] * self.crew.size):
            queue.put_nowait(job)
        committer = self.crew.committer
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(committer.run())
            try:
                async with asyncio.TaskGroup() as hands:
                    for _ in range(self.crew.size):
                        hands.create_task(self.crew.work(queue))
            finally:
                await committer.drain()
                await committing

    @property
    def names(self) -> list[str]:
        """What is settled, by conversation."""
        return [outcome.recording.conversation_id for outcome in self.ledger.outcomes]


@asynccontextmanager
async def bench(
    tmp_path: Path, answer: Callable[[Shard], Report], *, budgets: Budgets | None = None
) -> AsyncIterator[Bench]:
    """Put a crew together."""
    events: list[Event] = []
    ledger, stopper, desk = FakeLedger(), Stopper(), FakeDesk(answer)
    (tmp_path / "archive").mkdir()
    store = await LocalStore.open(tmp_path / "archive", layout=Layout.parse(DEFAULT_LAYOUT))
    committer = Committer(store, ledger, run_id="r", emit=events.append, linger_s=0.01)
    crew = ClusterCrew(
        desk,
        committer,
        budget=Budget(limits=budgets or Budgets()),
        stopper=stopper,
        emit=events.append,
        run_id="r",
        size=8,
    )
    try:
        yield Bench(crew, desk, ledger, stopper, events)
    finally:
        await store.aclose()


async def test_everything_is_sent_once_and_settled_once(tmp_path: Path) -> None:
    """And the workers' lists are struck out after that."""
    async with bench(tmp_path, done) as b:
        b.desk.delay_s = 0.01
        await b.work(tasks(700))
        assert sorted(b.names) == sorted(f"CA{n}" for n in range(700))
        assert sorted(b.desk.struck) == sorted(shard.name for shard in b.desk.sent)
        assert 2 <= b.desk.peak <= 6
        relayed = [event for event in b.events if isinstance(event, Relayed)]
        assert sum(event.http[200] for event in relayed) == 700


async def test_what_a_report_does_not_name_is_sent_again(tmp_path: Path) -> None:
    """Under another name, and without what is done."""
    first = True

    def half(shard: Shard) -> Report:
        nonlocal first
        report = done(shard, most=10 if first else None)
        first = False
        return report

    async with bench(tmp_path, half) as b:
        await b.work([*tasks(20), SidecarTask(conversation_id="CA1")])
        assert sorted(b.names) == sorted(f"CA{n}" for n in range(20))
        assert [len(shard.items) for shard in b.desk.sent] == [21, 11]
        assert sum(isinstance(event, SidecarSettled) for event in b.events) == 1


async def test_a_worker_that_never_does_anything_ends_the_run(tmp_path: Path) -> None:
    """Not for ever again and again."""
    async with bench(tmp_path, lambda shard: done(shard, most=0)) as b:
        with pytest.raises(ExceptionGroup) as caught:
            await b.work(tasks(5))
        assert caught.group_contains(ClusterError)


async def test_a_recording_that_crashes_workers_is_singled_out(tmp_path: Path) -> None:
    """All others are saved, and it is called failed, not the run."""

    def crash(shard: Shard) -> Report:
        if any(key[0] == "CA17" for key in sorted(shard.keys())):
            raise ShardLost("it died")
        return done(shard)

    async with bench(tmp_path, crash) as b:
        await b.work(tasks(64))
        outcomes = {each.recording.conversation_id: each for each in b.ledger.outcomes}
        assert len(b.ledger.outcomes) == 64
        bad = outcomes.pop("CA17")
        assert (bad.status, bad.reason) == (Status.FAILED, Reason.CRASHED)
        assert {each.status for each in outcomes.values()} == {Status.SAVED}


async def test_workers_that_crash_over_everything_are_not_the_recordings_fault(
    tmp_path: Path,
) -> None:
    """The run ends, and nearly everything stays open."""

    def crash(_: Shard) -> Report:
        raise ShardLost("it died")

    async with bench(tmp_path, crash) as b:
        with pytest.raises(ExceptionGroup) as caught:
            await b.work(tasks(64))
        assert caught.group_contains(ClusterError)
        assert len(b.ledger.outcomes) <= 2 * MOST_CRASHES


async def test_a_fault_ends_the_run_after_what_was_saved_is_settled(tmp_path: Path) -> None:
    """With the class that decides the exit code."""

    def refused(shard: Shard) -> Report:
        report = done(shard, most=3)
        return Report(
            attempt="x",
            worker="w",
            bench=None,
            outcomes=report.outcomes,
            fault=Fault.of(KeyRefusedError("PolyAI refused the key")),
        )

    async with bench(tmp_path, refused) as b:
        with pytest.raises(ExceptionGroup) as caught:
            await b.work(tasks(10))
        assert caught.group_contains(KeyRefusedError)
        assert len(b.names) == 3


async def test_a_stop_settles_what_comes_back_and_sends_nothing_more(tmp_path: Path) -> None:
    """What is not in the reports stays open."""
    async with bench(tmp_path, lambda shard: done(shard, most=4)) as b:

        def stopped(shard: Shard) -> Report:
            b.stopper.stop("SIGTERM", 143)
            return done(shard, most=4)

        b.desk.answer = stopped
        await b.work(tasks(500))
        assert 4 <= len(b.names) <= 24
        assert len(b.desk.sent) <= 6


async def test_the_limit_on_recordings_is_kept_exactly(tmp_path: Path) -> None:
    """Across shards, and although half of what was reserved was not saved at first."""
    async with bench(tmp_path, done, budgets=Budgets(max_recordings=100)) as b:
        await b.work(tasks(500))
        assert len(b.names) == 100
        assert b.stopper.reason == "--max-recordings 100"


async def test_the_limit_on_bytes_is_kept_about(tmp_path: Path) -> None:
    """The first is sent alone: nobody knows yet what one weighs."""
    async with bench(tmp_path, done, budgets=Budgets(max_bytes=305)) as b:
        await b.work(tasks(500))
        assert len(b.desk.sent[0].items) == 1
        assert 31 <= len(b.names) <= 33


async def test_notes_are_told_once(tmp_path: Path) -> None:
    """However many workers have them."""

    def noting(shard: Shard) -> Report:
        report = done(shard)
        return Report(
            attempt=report.attempt,
            worker="w",
            bench=None,
            outcomes=report.outcomes,
            notes=(("Unusual.", True),),
        )

    async with bench(tmp_path, noting) as b:
        await b.work(tasks(200))
        assert [e for e in b.events if isinstance(e, Noted)] == [
            Noted(text="Unusual.", is_routine=True)
        ]


async def test_only_what_all_workers_heard_last_is_the_hosts_word(tmp_path: Path) -> None:
    """One that was told to come back much later may have asked for something special."""
    fault = Fault.of(HostUnavailableError("it asks to wait"))
    async with bench(tmp_path, done) as b:
        assert b.crew.put_off() is None
        b.crew._put_off.update({"a": fault, "b": None})
        assert b.crew.put_off() is None
        b.crew._put_off.update({"a": fault, "b": fault})
        assert isinstance(b.crew.put_off(), HostUnavailableError)


async def test_cancelled_while_it_waits_it_gives_its_reservations_back(tmp_path: Path) -> None:
    """What hangs when the grace is over must not count as under way."""
    async with bench(tmp_path, done) as b:
        b.desk.delay_s = 60.0
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await b.work(tasks(50))
        assert b.crew.budget.under_way == 0
