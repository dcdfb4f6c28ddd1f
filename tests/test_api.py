"""The Python interface: what programs import, and what they may rely on."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import bulkaudio
from bulkaudio.choices import download_request
from bulkaudio.conduct import _ending
from bulkaudio.events import Planned
from bulkaudio.model import Direction, Plan, Recording, Task
from bulkaudio.observe.tally import Tally
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stopper import Stopper
from tests.program import expected, wavs, write_csv

BOTH = ["user", "agent"]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Serve calls, enough to be in the middle of."""
    calls = Calls(count=150, speech_s=(0.05, 0.2), chat_share=0.0, opt_out_share=0.0)
    async with Simulator(calls=calls) as simulator:
        yield simulator


def client(simulator: Simulator, *, key: str | None = None) -> bulkaudio.Client:
    """Return a client of the simulator."""
    return bulkaudio.Client(
        region="us",
        agent=simulator.agent,
        api_key=key or simulator.key,
        audio_url=simulator.audio_url,
        conversations_url=simulator.conversations_url,
    )


def descriptors() -> set[str]:
    """Return what this process holds open, sockets of the simulator left aside."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names, not what they were
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        except OSError:
            continue
    return {target for target in found if target.startswith("/")}


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be imported, is told by dir, and an unknown one is not."""
    for name in bulkaudio.__all__:
        assert getattr(bulkaudio, name) is not None
    assert dir(bulkaudio) == sorted(bulkaudio.__all__)
    with pytest.raises(AttributeError, match="downlaod"):
        bulkaudio.downlaod  # noqa: B018


def test_import_is_free() -> None:
    """`import bulkaudio` loads neither aiohttp nor sqlite3, nor asyncio, and starts nothing."""
    script = (
        "import bulkaudio, sys, threading\n"
        "heavy = {'aiohttp', 'sqlite3', 'rich', 'cyclopts', 'asyncio'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


async def test_blocking_download_refuses_to_block_a_loop(tmp_path: Path) -> None:
    """Inside a running loop it says what to use instead, and touches nothing."""
    with pytest.raises(bulkaudio.UsageError, match="running event loop") as caught:
        bulkaudio.download(csv=tmp_path / "x.csv", region="us", agent="a", out=tmp_path / "out")
    assert "Archive.open" in str(caught.value.fix)
    assert not (tmp_path / "out").exists()


async def test_blocking_download_in_a_thread(simulator: Simulator, tmp_path: Path) -> None:
    """It makes a whole run in a thread without a loop, and a summary of it."""
    ids = simulator.calls.ids()[:5]

    def work() -> bulkaudio.Summary:
        return bulkaudio.download(
            csv=write_csv(tmp_path / "ids.csv", ids),
            out=tmp_path / "archive",
            region="us",
            agent=simulator.agent,
            api_key=simulator.key,
            audio_url=simulator.audio_url,
            directions=BOTH,
        )

    summary = await asyncio.to_thread(work)
    assert (summary.status, summary.counts.saved, summary.exit_code) == ("complete", 10, 0)
    assert wavs(tmp_path / "archive") == expected(simulator, ids, BOTH)


async def test_early_break_leaves_nothing_behind(simulator: Simulator, tmp_path: Path) -> None:
    """After leaving the loop early no task and no file is open, and a later run completes."""
    ids = simulator.calls.ids()
    tasks, files = len(asyncio.all_tasks()), descriptors()
    async with bulkaudio.Archive.open(tmp_path) as archive, client(simulator) as connected:
        outcomes = archive.download(
            connected, bulkaudio.from_ids(ids), directions=BOTH, concurrency=2
        )
        async for outcome in outcomes:
            assert outcome.status is bulkaudio.Status.SAVED
            break
    assert outcomes.summary.status == "interrupted"
    assert outcomes.summary.counts.open > 0
    await asyncio.sleep(0.05)
    own = [task for task in asyncio.all_tasks() if "aiohttp" not in repr(task.get_coro())]
    assert len(own) <= tasks
    assert descriptors() <= files
    early = simulator.requests.total

    async with bulkaudio.Archive.open(tmp_path) as archive, client(simulator) as connected:
        outcomes = archive.download(connected, bulkaudio.from_ids(ids), directions=BOTH)
        rest = [outcome async for outcome in outcomes]
        counts = outcomes.summary.counts
    assert counts.saved == len(rest)
    assert counts.already >= 1
    assert counts.already + counts.saved == 2 * len(ids)
    assert simulator.requests.total - early == len(rest)
    kept = {k: v for k, v in wavs(tmp_path).items() if not k.startswith("home")}
    assert kept == expected(simulator, ids, BOTH)


async def test_slow_consumer_gets_everything(simulator: Simulator, tmp_path: Path) -> None:
    """Whoever reads slower than the run is waited for, and misses nothing."""
    ids = simulator.calls.ids()
    got = []
    async with bulkaudio.Archive.open(tmp_path) as archive, client(simulator) as connected:
        async for outcome in archive.download(connected, bulkaudio.from_ids(ids), directions=BOTH):
            await asyncio.sleep(0.005)
            assert outcome.path is not None
            assert outcome.path.is_file(), "an outcome comes when its file is safe"
            got.append((outcome.recording.conversation_id, outcome.recording.direction.value))
    assert sorted(got) == sorted((id_, side) for id_ in ids for side in BOTH)


async def test_error_comes_after_the_outcomes_before_it(
    simulator: Simulator, tmp_path: Path
) -> None:
    """A key refused in the middle is raised from the loop, after what was saved until then."""
    ids = simulator.calls.ids()
    got = []
    async with bulkaudio.Archive.open(tmp_path) as archive, client(simulator) as connected:
        outcomes = archive.download(
            connected, bulkaudio.from_ids(ids), directions=BOTH, concurrency=2
        )
        keys = simulator.keys
        with pytest.raises(bulkaudio.KeyRefusedError):  # noqa: PT012 - the loop is what raises
            async for outcome in outcomes:
                got.append(outcome)
                simulator.keys = ()
        assert outcomes.summary.status == "failed"
        assert outcomes.summary.exit_code == 4
        assert outcomes.summary.counts.saved == len(got)
        assert [outcome async for outcome in outcomes] == []
    simulator.keys = keys
    assert 0 < len(got) < 2 * len(ids)
    assert {outcome.status for outcome in got} == {bulkaudio.Status.SAVED}


async def test_unread_outcomes_have_no_summary(simulator: Simulator, tmp_path: Path) -> None:
    """Before the end a summary is refused with the reason."""
    async with bulkaudio.Archive.open(tmp_path) as archive, client(simulator) as connected:
        outcomes = archive.download(connected, bulkaudio.from_ids([]))
        with pytest.raises(bulkaudio.UsageError, match="not ended"):
            _ = outcomes.summary
        assert [outcome async for outcome in outcomes] == []
        assert outcomes.summary.counts.recordings == 0


async def test_two_programs_never_share_an_archive(tmp_path: Path) -> None:
    """The second opener is told that it is busy, and the first goes on."""
    async with bulkaudio.Archive.open(tmp_path):
        with pytest.raises(bulkaudio.ArchiveBusyError):
            async with bulkaudio.Archive.open(tmp_path):
                pass


async def test_one_run_of_an_archive_at_a_time(simulator: Simulator, tmp_path: Path) -> None:
    """A second run in the same process is refused, and the first goes on."""
    ids = simulator.calls.ids()
    async with bulkaudio.Archive.open(tmp_path / "archive") as archive, client(simulator) as polyai:
        first = archive.download(polyai, bulkaudio.from_ids(ids))
        outcomes = [await anext(first)]
        with pytest.raises(bulkaudio.UsageError, match="going on"):
            await anext(archive.download(polyai, bulkaudio.from_ids(ids)))
        outcomes += [outcome async for outcome in first]

    assert len(outcomes) == len(ids)


async def test_closing_ends_a_wait_in_another_task(simulator: Simulator, tmp_path: Path) -> None:
    """Whoever waits for an outcome learns that there will be none."""
    simulator.latency_s = 5.0
    async with bulkaudio.Archive.open(tmp_path / "archive") as archive, client(simulator) as polyai:
        outcomes = archive.download(polyai, bulkaudio.from_ids(simulator.calls.ids()))
        async with asyncio.timeout(4), asyncio.TaskGroup() as group:
            waiting = group.create_task(anext(outcomes, None))
            await asyncio.sleep(0.3)
            await outcomes.aclose()
        assert waiting.result() is None


def test_a_first_run_that_lacks_something_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not so much as a folder."""
    with pytest.raises(bulkaudio.UsageError, match="--region"):
        bulkaudio.download(out=tmp_path / "archive", since="yesterday")
    with pytest.raises(bulkaudio.UsageError, match="--account"):
        bulkaudio.download(out=tmp_path / "archive", region="us", agent="a", since="yesterday")
    with pytest.raises(bulkaudio.UsageError, match="--since"):
        bulkaudio.download(out=tmp_path / "archive", region="us", agent="a", account="w")

    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"direction": "all"}, "directions"),
        ({"redact": True}, "redacted"),
        ({"max_duration": 60.0}, "max_duration_s"),
        ({"channel": "VOICE"}, "channels"),
        ({"colour": "red"}, "csv, since"),
    ],
)
def test_unknown_arguments_are_refused(wrong: dict[str, Any], words: str, tmp_path: Path) -> None:
    """A word that is mistyped is named with the nearest one, and nothing is touched."""
    with pytest.raises(bulkaudio.UsageError, match=next(iter(wrong))) as caught:
        bulkaudio.download(csv=tmp_path / "calls.csv", out=tmp_path / "archive", **wrong)
    assert words in str(caught.value.fix)
    assert not (tmp_path / "archive").exists()


async def test_unknown_arguments_are_refused_where_outcomes_are_streamed(
    simulator: Simulator, tmp_path: Path
) -> None:
    """By the client, and by the run before its first outcome is asked for."""
    wrong: dict[str, Any] = {"redact": True}
    with pytest.raises(bulkaudio.UsageError, match="'redact'"):
        bulkaudio.Client(region="us", agent="a", api_key="k", **wrong)
    async with bulkaudio.Archive.open(tmp_path / "archive") as archive, client(simulator) as polyai:
        with pytest.raises(bulkaudio.UsageError, match="'redact'") as caught:
            archive.download(polyai, bulkaudio.from_ids(["CA1"]), **wrong)
        assert caught.value.fix == "did you mean redacted?"
        with pytest.raises(bulkaudio.UsageError, match="'limit'"):
            archive.download(polyai, bulkaudio.from_ids(["CA1"]), limit=3)  # type: ignore[call-arg]


WRONG_VALUES: dict[str, dict[str, Any]] = {
    "concurrency": {"concurrency": -1},
    "concurrency 1001": {"concurrency": 1001},
    "concurrency 0": {"concurrency": 0},
    "concurrency True": {"concurrency": True},
    "concurrency word": {"concurrency": "many"},
    "max_rate": {"max_rate": -1},
    "max_rate nan": {"max_rate": float("nan")},
    "attempts": {"attempts": "3"},
    "attempts 0": {"attempts": 0},
    "give_up_after_s": {"give_up_after_s": -1},
    "give_up_after_s word": {"give_up_after_s": "soon"},
    "max_recordings": {"max_recordings": 0},
    "max_bytes": {"max_bytes": "1G"},
    "max_bytes fraction": {"max_bytes": 0.5},
    "max_duration_s": {"max_duration_s": float("inf")},
    "min_free_bytes": {"min_free_bytes": -1},
    "redacted": {"redacted": "no"},
    "metadata": {"metadata": "some"},
    "directions": {"directions": "left"},
    "directions 5": {"directions": 5},
}
"""What neither front end of the Python interface takes, by the argument that it is about."""

WRONG_FOR_DOWNLOAD: dict[str, dict[str, Any]] = {
    "limit": {"limit": -28},
    "limit 0": {"limit": 0},
    "since": {"csv": "calls.csv", "since": "yesterday"},
    "channels": {"csv": "calls.csv", "channels": ["VOICE"]},
    "id_column": {"id_column": "x"},
    "env": {"env": "prod"},
    "tz": {"tz": "Nowhere/X"},
    "tz 5": {"tz": 5},
    "api_key": {"api_key": None},
    "api_key_file": {"api_key_file": 5},
    "ca_bundle": {"ca_bundle": 5},
    "account": {"account": 5},
    "region": {"region": ""},
    "layout": {"layout": 5},
    "recordings elsewhere": {"out": "ftp://bucket/calls"},
    "out empty": {"out": ""},
    "csv": {"csv": 5},
    "lookback_s": {"lookback_s": "-2h"},
    "channels 5": {"channels": 5},
    "a channel": {"channels": [5]},
    "variant": {"variant": 5},
    "since 5": {"since": 5},
    "since in the future": {"since": "2999-01-01"},
    "until": {"since": "2026-01-02", "until": "2026-01-01"},
}


@pytest.mark.parametrize("case", [*WRONG_VALUES, *WRONG_FOR_DOWNLOAD])
def test_wrong_values_are_refused(case: str, tmp_path: Path) -> None:
    """By name, with what is right instead, and before anything is touched."""
    wrong = (WRONG_VALUES | WRONG_FOR_DOWNLOAD)[case]
    choices: dict[str, Any] = {"out": tmp_path / "archive", "region": "us", "agent": "a"} | wrong
    name = "time zone" if case == "tz" else case.removeprefix("a ").split()[0]
    with pytest.raises(bulkaudio.UsageError, match=name) as caught:
        bulkaudio.download(**choices)
    assert caught.value.fix
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("case", WRONG_VALUES)
async def test_wrong_values_are_refused_where_outcomes_are_streamed(
    case: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Before the run begins."""
    async with bulkaudio.Archive.open(tmp_path / "archive") as archive, client(simulator) as polyai:
        with pytest.raises(bulkaudio.UsageError, match=case.split(maxsplit=1)[0]):
            archive.download(polyai, bulkaudio.from_ids(["CA1"]), **WRONG_VALUES[case])


def test_a_key_that_is_none_is_not_looked_up_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is how a missing variable looks; the usual places may hold another account's key."""
    monkeypatch.setenv("POLYAI_API_KEY", "of-another-account")
    wrong: dict[str, Any] = {"api_key": None}
    with pytest.raises(bulkaudio.UsageError, match="api_key"):
        bulkaudio.Client(region="us", agent="a", **wrong)


def test_words_of_the_command_line_are_taken(tmp_path: Path) -> None:
    """Sizes, durations, auto, and None for what is not given."""
    request = download_request(
        tmp_path,
        None,
        date(2026, 1, 1),
        {
            "concurrency": "auto",
            "min_free_bytes": "1GB",
            "max_bytes": "2GiB",
            "give_up_after_s": "2h",
            "max_duration_s": "90m",
            "lookback_s": "72h",
            "attempts": None,
            "env": None,
            "channels": "VOICE",
            "directions": ["agent"],
        },
    )
    assert (request.pace.concurrency, request.pace.attempts) == (None, 5)
    assert (request.pace.give_up_after_s, request.listing.lookback_s) == (7200.0, 259200.0)
    assert (request.place.min_free_bytes, request.budgets.max_bytes) == (10**9, 2 * 2**30)
    assert (request.budgets.max_duration_s, request.directions) == (5400.0, (Direction.AGENT,))
    assert (request.listing.channels, request.filters) == (("VOICE",), frozenset({"channels"}))
    assert request.listing.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_run_that_leaves_recordings_open_is_not_complete() -> None:
    """Whatever the reason: unless it was stopped or ended by an error, which say so themselves."""
    tally = Tally()
    task = Task(
        recording=Recording(conversation_id="CA1", direction=Direction.COMBINED),
        first_seen_at=datetime.now(UTC),
    )
    plan = Plan(conversations=1, todo=(task,), already=0, absent=0, deferred=0, duplicates=0)
    tally(Planned(plan=plan))
    assert _ending(None, Stopper(), tally) == ("partial", 3)
