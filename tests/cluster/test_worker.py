"""A worker's side of a cluster, with a run that is played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bulkaudio.archive import open_archive
from bulkaudio.cluster import work
from bulkaudio.cluster.attempt import Attempt
from bulkaudio.cluster.counting import Count
from bulkaudio.cluster.parcels import Orders, Report, Whose
from bulkaudio.cluster.room import TOLD, Room
from bulkaudio.cluster.shards import Shard
from bulkaudio.cluster.shares import LOOK_S, Notice, Pause, Share, Whole
from bulkaudio.errors import KeyRefusedError, StorageError, UsageError
from bulkaudio.events import GateMoved
from bulkaudio.identity import Identity
from bulkaudio.model import Direction, Metadata, Recording, Status, Task
from bulkaudio.settings import DEFAULT_LAYOUT, Pace
from bulkaudio.sidecars import SidecarTask
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.version import __version__

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ME, OTHER = "tls://me:1", "tls://other:1"


def orders(simulator: Simulator, archive: Path, **more: object) -> Orders:
    """Make orders for a run against a simulator."""
    whose = Whose(
        region="uk",
        agent=simulator.agent,
        account=None,
        audio_url=simulator.audio_url,
        conversations_url=simulator.conversations_url,
        ca_bundle=None,
    )
    plain: dict[str, object] = {
        "run_id": "r",
        "version": __version__,
        "archive": archive,
        "layout": DEFAULT_LAYOUT,
        "whose": whose,
        "redacted": None,
        "metadata": Metadata.BASIC,
        "pace": Pace(),
        "grace_s": 2.0,
    }
    return Orders(**(plain | more))  # type: ignore[arg-type]


@dataclass
class PlayedLine:
    """A run that says something at once, and again when the test wants."""

    say: Callable[[Room], None]
    rooms: list[Room] = field(default_factory=list)

    async def keep(self, room: Room, attempt: str, count: Count) -> None:
        """Say it, and stay on the line."""
        del attempt, count
        self.rooms.append(room)
        self.say(room)
        await asyncio.Event().wait()


def go_ahead(room: Room) -> None:
    """Give the worker all there is."""
    notice = Notice(shares=Whole().divided([ME]))
    room.heed(notice, ME, 0.0)


@asynccontextmanager
async def workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int = 40
) -> AsyncIterator[tuple[Simulator, Path]]:
    """Have a PolyAI and an archive that a run holds."""
    calls = Calls(count=count, speech_s=(0.1, 0.2), chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        monkeypatch.setenv("POLYAI_API_KEY", simulator.key)
        async with open_archive(tmp_path / "archive") as archive:
            await archive.bind(Identity(region="uk", agent=simulator.agent))
            yield simulator, archive.root


def shard_of(simulator: Simulator, *, sidecars: bool = False) -> Shard:
    """Make a shard of all recordings there are."""
    ids = simulator.calls.recorded_ids()
    tasks = [
        Task(
            recording=Recording(conversation_id=i, direction=Direction.COMBINED), first_seen_at=NOW
        )
        for i in ids
    ]
    more = [SidecarTask(conversation_id=i) for i in ids] if sidecars else []
    return Shard(name="r-000001", items=(*tasks, *more))


async def attempt(room: Room, shard: Shard, line: PlayedLine | None = None) -> Report:
    """Let a worker do a shard."""
    async with asyncio.timeout(20.0):
        return await Attempt(room, shard, worker=ME).work(line or PlayedLine(go_ahead))


async def test_a_shard_is_fetched_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings and metadata; what is told is what the server was asked."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        room = await Room.open(orders(simulator, archive))
        shard = shard_of(simulator, sidecars=True)
        report = await attempt(room, shard)
        assert report.fault is None
        saved = {each.recording.conversation_id for each in report.outcomes}
        assert saved == set(simulator.calls.recorded_ids())
        assert {each.status for each in report.outcomes} == {Status.SAVED}
        assert len(report.sidecars) == len(saved)
        assert report.counts.http == dict(simulator.requests.statuses)
        assert report.counts.received_bytes == sum(each.bytes or 0 for each in report.outcomes)
        for each in report.outcomes:
            assert each.path is not None
            content = (archive / each.path).read_bytes()
            assert content == simulator.expected_bytes(each.recording.conversation_id, "combined")
        await room.aclose()
        await room.aclose()


async def test_the_last_word_of_an_attempt_tells_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report waits on the worker until the run has it, and may be lost with it."""
    said: list[dict[str, Any]] = []
    notice = Notice(shares=Whole().divided([ME])).plain()

    class Told:
        def __init__(self, _name: str, *, client: object) -> None:
            del client

        async def get(self, **_: float) -> object:
            return notice

        async def wait(self) -> None:
            await asyncio.Event().wait()

    for name in ("Variable", "Event"):
        monkeypatch.setattr(work, name, Told)
    monkeypatch.setattr(work, "get_client", lambda: None)
    worker: Any = SimpleNamespace(address=ME, log_event=lambda _topic, each: said.append(each))
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        here = orders(simulator, archive)
        room = await Room.open(here)
        line = work.DaskLine(worker=worker, orders=here)
        report = await Attempt(room, shard_of(simulator), worker=ME).work(line)
        assert report.counts.http == dict(simulator.requests.statuses)
        assert said[0]["http"] == []
        assert dict(said[-1]["http"]) == report.counts.http
        assert said[-1]["counted"][0] == report.counts.received_bytes > 0
        await room.aclose()


async def test_done_again_a_shard_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another worker, from what the first has written down."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        first = await Room.open(orders(simulator, archive))
        one = await attempt(first, shard_of(simulator))
        asked = simulator.requests.total
        second = await Room.open(orders(simulator, archive))
        other = await attempt(second, shard_of(simulator))
        assert simulator.requests.total == asked
        assert {each.sha256 for each in other.outcomes} == {each.sha256 for each in one.outcomes}
        assert other.counts.http == {}
        await first.aclose()
        await second.aclose()


async def test_nothing_is_asked_before_the_run_has_named_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the first moment after that: the others have to hear of it, too."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        room = await Room.open(orders(simulator, archive, pace=Pace(max_rate=1000.0)))
        shares = Whole(max_rate=1000.0).divided([ME, OTHER])

        def named(room: Room) -> None:
            room.heed(Notice(shares={OTHER: Share()}), ME, 0.0)

        line = PlayedLine(named)
        async with asyncio.TaskGroup() as group:
            going = group.create_task(attempt(room, shard_of(simulator), line))
            await asyncio.sleep(0.3)
            assert not room.is_named
            room.heed(Notice(shares=shares), ME, 10.0)
            await asyncio.sleep(0.2)
            assert room.is_named
            assert simulator.requests.total == 0
            room.heed(Notice(shares=shares), ME, 10.0 + 2 * LOOK_S)
            await going
        assert simulator.requests.total > 0
        room.lose_touch()
        assert not room.is_named
        await room.aclose()


async def test_a_stop_ends_an_attempt_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs is given up before the run itself would give up waiting for the report."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        simulator.latency_s = 30.0
        room = await Room.open(orders(simulator, archive))
        async with asyncio.TaskGroup() as group:
            going = group.create_task(attempt(room, shard_of(simulator)))
            await asyncio.sleep(0.3)
            room.stop("the run is stopping")
            report = await asyncio.wait_for(going, 3.0)
        assert report.outcomes == ()
        assert report.fault is None
        await room.aclose()


async def test_what_ends_the_run_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised, Dask would have it done again by every other worker."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        monkeypatch.setenv("POLYAI_API_KEY", "another")
        room = await Room.open(orders(simulator, archive))
        report = await attempt(room, shard_of(simulator))
        assert report.fault is not None
        assert isinstance(report.fault.error(), KeyRefusedError)
        assert simulator.requests.total <= 8
        await room.aclose()


async def test_what_a_worker_lacks_is_said_before_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key, proxy, folder."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        plain = orders(simulator, archive)
        with pytest.raises(StorageError, match="does not see"):
            await Room.open(orders(simulator, tmp_path / "nowhere"))
        needs = replace(plain, whose=replace(plain.whose, needs_own_proxy=True))
        with pytest.raises(UsageError, match="BULKAUDIO_PROXY"):
            await Room.open(needs)
        monkeypatch.setenv("BULKAUDIO_PROXY", "http://me:secret@127.0.0.1:3128")
        room = await Room.open(needs)
        assert room.session.connection.proxy == "http://me:secret@127.0.0.1:3128"
        await room.aclose()
        monkeypatch.delenv("POLYAI_API_KEY")
        with pytest.raises(KeyRefusedError):
            await Room.open(plain)


async def test_a_pause_of_another_worker_closes_the_gate_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before this worker came is over; its own pauses it tells, others' it does not."""
    async with workshop(tmp_path, monkeypatch) as (simulator, archive):
        room = await Room.open(orders(simulator, archive))

        def hear(*numbers: int, by: str = OTHER) -> str:
            pauses = tuple(
                Pause(number=n, seconds=5.0, reason="throttled", heard_by=by) for n in numbers
            )
            room.watch.reason = ""
            room.heed(Notice(shares=Whole().divided([ME]), pauses=pauses), ME, 0.0)
            return room.watch.reason

        assert hear(1, 2) == ""
        assert hear(1, 2, 3, by=ME) == ""
        assert hear(2, 3, 4) == TOLD
        assert room.watch.take_pauses() == []
        room.watch(GateMoved(host="h", slots=3, closed_s=2.0, reason="the host asked to wait"))
        assert room.watch.take_pauses() == [(2.0, "the host asked to wait")]
        assert room.watch.take_pauses() == []
        await room.aclose()
