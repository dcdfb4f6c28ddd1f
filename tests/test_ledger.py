"""The ledger against real files: planning, settling, listings, faults, and a model of it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.listings import covered_until
from bulkaudio.ledger.migrations import APPLICATION_ID, MIGRATIONS, migrate, version_of
from bulkaudio.ledger.planning import Seen
from bulkaudio.ledger.rows import Total, text_of
from bulkaudio.model import (
    Audio,
    Batch,
    Bookmark,
    Conversation,
    Direction,
    Evidence,
    Outcome,
    Recording,
    Status,
)
from bulkaudio.policy import Reason

NOW = datetime(2026, 11, 22, 6, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
COMBINED = (Direction.COMBINED,)
AUDIO = Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=16000, seconds=1.0)


def recording(id_: str, direction: Direction = Direction.COMBINED) -> Recording:
    """Name a recording without a date."""
    return Recording(conversation_id=id_, direction=direction)


def saved(id_: str, direction: Direction = Direction.COMBINED) -> Outcome:
    """Make the outcome of a recording that was kept."""
    return Outcome(
        recording=recording(id_, direction),
        status=Status.SAVED,
        path=Path(f"{direction}/{id_}.wav"),
        evidence=Evidence(http_status=200, attempts=1),
        bytes=16044,
        sha256="ab" * 32,
        audio=AUDIO,
    )


def batch(*ids: str, bookmark: Bookmark | None = None) -> Batch:
    """Make a batch of conversations without dates."""
    return Batch(conversations=tuple(Conversation(id=i) for i in ids), bookmark=bookmark)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Place a ledger in a new archive."""
    folder = tmp_path / "archive" / ".bulkaudio"
    folder.mkdir(parents=True)
    return folder / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    """Open a new ledger and close it after the test."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    yield ledger
    await ledger.aclose()


async def test_a_new_recording_is_to_do_and_a_saved_one_is_not(ledger: Ledger) -> None:
    """What is unknown is planned; what was settled is counted by how it ended."""
    first = await ledger.plan(batch("a", "b", "c"), COMBINED, NOW)
    assert [t.recording.conversation_id for t in first.todo] == ["a", "b", "c"]
    assert first.conversations == 3
    assert first.todo[0].first_seen_at == NOW

    absent = Outcome(recording=recording("b"), status=Status.ABSENT, reason=Reason.NO_RECORDING)
    await ledger.settle([saved("a"), absent], "run-1", NOW)
    await ledger.start_run("run-2", NOW, "{}")
    again = await ledger.plan(batch("a", "b", "c", "d"), COMBINED, NOW + HOUR)
    assert [t.recording.conversation_id for t in again.todo] == ["c", "d"]
    assert (again.already, again.absent, again.deferred, again.duplicates) == (1, 1, 0, 0)
    assert again.todo[0].first_seen_at == NOW, "first sight is kept"


async def test_duplicates_within_a_run_are_counted_and_not_planned_again(ledger: Ledger) -> None:
    """One recording is considered once a run, within a batch, across batches and directions."""
    both = (Direction.USER, Direction.AGENT)
    plan = await ledger.plan(batch("a", "a"), both, NOW)
    assert (len(plan.todo), plan.duplicates, plan.conversations) == (2, 2, 1)
    plan = await ledger.plan(batch("a"), (*both, Direction.COMBINED), NOW)
    assert [t.recording.direction for t in plan.todo] == [Direction.COMBINED]
    assert (plan.duplicates, plan.conversations) == (2, 0)


async def test_a_call_in_progress_waits_for_a_later_run(ledger: Ledger) -> None:
    """It is deferred, and planned once it has ended."""
    calling = Conversation(id="a", started_at=NOW, in_progress=True)
    plan = await ledger.plan(Batch(conversations=(calling,)), COMBINED, NOW)
    assert (plan.deferred, plan.todo) == (1, ())
    assert (await ledger.backlog(COMBINED, NOW, after=0, limit=9))[0].todo == ()

    await ledger.start_run("run-2", NOW, "{}")
    plan = await ledger.plan(Batch(conversations=(calling,)), COMBINED, NOW)
    assert plan.deferred == 1
    await ledger.start_run("run-3", NOW, "{}")
    plan = await ledger.plan(batch("a"), COMBINED, NOW)
    assert plan.todo[0].recording.started_at == NOW


async def test_an_open_recording_found_in_progress_becomes_deferred(ledger: Ledger) -> None:
    """What another run left open is deferred when the listing says the call goes on."""
    await ledger.plan(batch("a"), COMBINED, NOW)
    await ledger.start_run("run-2", NOW, "{}")
    calling = Conversation(id="a", in_progress=True)
    assert (await ledger.plan(Batch(conversations=(calling,)), COMBINED, NOW)).deferred == 1
    [row] = await ledger.rows_after(0, 10)
    assert (row.status, row.reason) == (Status.DEFERRED, Reason.IN_PROGRESS)


async def test_a_deferred_recording_is_due_at_its_time(ledger: Ledger) -> None:
    """Before `next_try_at` it is counted as deferred, from then on it is planned."""
    later = Outcome(recording=recording("a"), status=Status.DEFERRED, next_try_at=NOW + HOUR)
    await ledger.settle([later], "run-1", NOW)
    for time, expected in ((NOW, 0), (NOW + HOUR, 1)):
        await ledger.start_run(f"run {time}", time, "{}")
        plan = await ledger.plan(batch("a"), COMBINED, time)
        assert (len(plan.todo), plan.deferred) == (expected, 1 - expected)
        await ledger.start_run(f"backlog {time}", time, "{}")
        assert len((await ledger.backlog(COMBINED, time, after=0, limit=9))[0].todo) == expected


async def test_a_date_is_kept_once_it_is_known_and_never_changed(ledger: Ledger) -> None:
    """The first date stands, because the path of a dated layout is made from it."""
    await ledger.plan(batch("a"), COMBINED, NOW)
    for hours in (1, 2):
        await ledger.start_run(f"run {hours}", NOW, "{}")
        dated = Conversation(id="a", started_at=NOW - hours * HOUR)
        plan = await ledger.plan(Batch(conversations=(dated,)), COMBINED, NOW)
        assert plan.todo[0].recording.started_at == NOW - HOUR


async def test_the_backlog_comes_in_pages_and_counts_as_considered(ledger: Ledger) -> None:
    """Each unsettled recording comes once, failed ones too; the source does not bring it again."""
    await ledger.plan(batch(*"abcdef"), COMBINED, NOW)
    failed = Outcome(recording=recording("b"), status=Status.FAILED, reason=Reason.TRUNCATED)
    await ledger.settle([saved("a"), failed], "run-1", NOW)
    await ledger.start_run("run-2", NOW, "{}")
    pages, position = [], 0
    while True:
        plan, position = await ledger.backlog(COMBINED, NOW, after=position, limit=2)
        if not plan.todo:
            break
        pages.append([task.recording.conversation_id for task in plan.todo])
    assert pages == [["b", "c"], ["d", "e"], ["f"]]
    assert (await ledger.plan(batch(*"abcdef"), COMBINED, NOW)).duplicates == 5


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9])
async def test_a_conversation_of_the_backlog_is_counted_once(ledger: Ledger, limit: int) -> None:
    """Wherever a page ends between its directions."""
    calls = Batch(conversations=tuple(Conversation(id=f"CA{n}", started_at=NOW) for n in range(3)))
    await ledger.plan(calls, tuple(Direction), NOW)
    await ledger.start_run("run-2", NOW, "{}")
    position, counted, taken = 0, 0, 0
    while True:
        page, position = await ledger.backlog(tuple(Direction), NOW, after=position, limit=limit)
        if not page.todo:
            break
        counted, taken = counted + page.conversations, taken + len(page.todo)
    assert (counted, taken) == (3, 9)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 7])
async def test_a_page_of_the_backlog_ends_with_a_conversation(ledger: Ledger, limit: int) -> None:
    """A run that stops behind a page has counted as many conversations as it has recordings of."""
    calls = Batch(conversations=tuple(Conversation(id=f"CA{n}", started_at=NOW) for n in range(4)))
    await ledger.plan(calls, tuple(Direction), NOW)
    await ledger.start_run("run-2", NOW, "{}")
    position, taken = 0, 0
    while taken < 12:
        page, position = await ledger.backlog(tuple(Direction), NOW, after=position, limit=limit)
        assert len(page.todo) == 3 * page.conversations >= limit or taken + len(page.todo) == 12
        taken += len(page.todo)


async def test_the_backlog_of_some_statuses_leaves_the_others_alone(ledger: Ledger) -> None:
    """What it did not take may still come from the source."""
    await ledger.plan(batch(*"abc"), COMBINED, NOW)
    failed = Outcome(recording=recording("a"), status=Status.FAILED, reason="http_500")
    deferred = Outcome(recording=recording("b"), status=Status.DEFERRED, reason=Reason.NOT_READY)
    await ledger.settle([failed, deferred], "run-1", NOW)

    await ledger.start_run("run-2", NOW, "{}")
    late, _ = await ledger.backlog(COMBINED, NOW, after=0, limit=9, statuses=(Status.DEFERRED,))
    assert [task.recording.conversation_id for task in late.todo] == ["b"]
    assert len((await ledger.plan(batch(*"abc"), COMBINED, NOW)).todo) == 2


async def test_a_task_knows_why_it_failed_before(ledger: Ledger) -> None:
    """From the backlog and from a source alike; what is open or deferred has not failed."""
    await ledger.plan(batch(*"abc"), COMBINED, NOW)
    failed = Outcome(recording=recording("a"), status=Status.FAILED, reason="http_500")
    deferred = Outcome(recording=recording("b"), status=Status.DEFERRED, reason=Reason.NOT_READY)
    await ledger.settle([failed, deferred], "run-1", NOW)

    await ledger.start_run("run-2", NOW, "{}")
    backlog, _ = await ledger.backlog(COMBINED, NOW, after=0, limit=9)
    await ledger.start_run("run-3", NOW, "{}")
    source = await ledger.plan(batch(*"abc"), COMBINED, NOW)

    for plan in (backlog, source):
        assert [task.failed_for for task in plan.todo] == ["http_500", None, None]


async def test_attempts_accumulate_and_saved_is_never_degraded(ledger: Ledger) -> None:
    """Attempts add up over runs; a late failure leaves a saved row as it is."""
    evidence = Evidence(http_status=503, error_code="BUSY", correlation_id="support-1", attempts=5)
    failed = Outcome(
        recording=recording("a"), status=Status.FAILED, reason="http_503", evidence=evidence
    )
    await ledger.settle([failed], "run-1", NOW)
    [row] = await ledger.rows_after(0, 10)
    assert (row.http_status, row.error_code, row.correlation_id) == (503, "BUSY", "support-1")
    assert (row.reason, row.attempts, row.run_id) == ("http_503", 5, "run-1")

    await ledger.settle([saved("a")], "run-2", NOW + HOUR)
    await ledger.settle([failed], "run-3", NOW + 2 * HOUR)
    [row] = await ledger.saved_after(0, 10)
    assert (row.attempts, row.reason, row.error_code, row.run_id) == (6, None, None, "run-2")
    assert (row.saved_at, row.sha256, row.codec) == (NOW + HOUR, "ab" * 32, "pcm")
    assert row.path is not None
    assert row.path.as_posix() == "combined/a.wav"


async def test_of_two_files_of_a_recording_the_first_path_is_taken_up(ledger: Ledger) -> None:
    """Whichever is found first; the other is handed back with its size."""
    first, second = (replace(saved("a"), path=Path(f"{n}/a.wav"), bytes=n) for n in (1, 2))
    assert await ledger.take_up([second, saved("b")], NOW) == []
    assert await ledger.take_up([first], NOW) == [second]
    assert await ledger.take_up([second], NOW) == [second]
    rows = await ledger.saved_after(0, 9)
    assert {(r.recording.conversation_id, str(r.path), r.bytes) for r in rows} == {
        ("a", "1/a.wav", 1),
        ("b", "combined/b.wav", 16044),
    }


async def test_reopen_takes_a_saved_recording_back(ledger: Ledger) -> None:
    """A damaged recording is open again, with its history, and due at once."""
    await ledger.settle([saved("a"), saved("b")], "run-1", NOW)
    await ledger.reopen([recording("a")], Reason.DAMAGED)
    assert [row.recording for row in await ledger.saved_after(0, 10)] == [recording("b")]
    plan = await ledger.plan(batch("a", "b"), COMBINED, NOW)
    assert ([t.recording for t in plan.todo], plan.already) == ([recording("a")], 1)
    row = await ledger.oldest_open()
    assert row is not None
    assert (row.reason, row.path, row.attempts) == (Reason.DAMAGED, None, 1)


async def test_totals_sum_by_direction_and_status(ledger: Ledger) -> None:
    """Counts, bytes and seconds come by direction and status."""
    await ledger.plan(batch("c"), (Direction.USER,), NOW)
    await ledger.settle([saved("a"), saved("b")], "run-1", NOW)
    assert await ledger.totals() == {
        (Direction.COMBINED, Status.SAVED): Total(count=2, bytes=32088, seconds=2.0),
        (Direction.USER, Status.OPEN): Total(count=1, bytes=0, seconds=0.0),
    }


async def test_what_was_asked_for_is_kept_with_each_recording(ledger: Ledger) -> None:
    """The archive's redaction choice goes into each row; without one nothing is claimed."""
    await ledger.pin({"redacted": "unasked"})
    await ledger.settle([saved("a")], "run-1", NOW)
    await ledger.pin({"redacted": "false"})
    await ledger.settle([saved("b")], "run-1", NOW)
    await ledger.pin({"redacted": "true", "region": "uk"})
    await ledger.settle([saved("c")], "run-1", NOW)
    rows = await ledger.saved_after(0, 10)
    assert [row.redaction_requested for row in rows] == [None, False, True]
    assert await ledger.pins() == {"redacted": "true", "region": "uk"}


async def test_an_outcome_that_cannot_be_kept_is_a_bug(ledger: Ledger) -> None:
    """Neither `already` nor a saved recording without a hash gets into the ledger."""
    with pytest.raises(ValueError, match="nothing to settle"):
        await ledger.settle(
            [Outcome(recording=recording("a"), status=Status.ALREADY)], "run-1", NOW
        )
    with pytest.raises(ValueError, match="without path"):
        await ledger.settle([Outcome(recording=recording("a"), status=Status.SAVED)], "r", NOW)
    assert await ledger.rows_after(0, 10) == []


async def test_a_listing_resumes_where_its_last_page_was_kept(path: Path) -> None:
    """Cursor and page are kept together, over a restart, until the documented end."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    listing = await ledger.start_listing("live", NOW - HOUR, NOW)
    mark = Bookmark(listing_id=listing.listing_id, cursor="page-2")
    await ledger.plan(batch("a", bookmark=mark), COMBINED, NOW)
    await ledger.aclose()

    ledger = await Ledger.open(path, is_new_allowed=False)
    resumed = await ledger.unfinished_listing("live")
    assert resumed is not None
    assert (resumed.cursor, resumed.since, resumed.until) == ("page-2", NOW - HOUR, NOW)
    assert await ledger.unfinished_listing("sandbox") is None
    assert await ledger.high_water("live") is None
    await ledger.settle([saved("a")], "run-1", NOW)
    end = Bookmark(listing_id=listing.listing_id, is_last=True)
    await ledger.plan(batch(bookmark=end), COMBINED, NOW)
    assert await ledger.unfinished_listing("live") is None
    assert await ledger.high_water("live") == NOW
    await ledger.aclose()


async def test_the_high_water_mark_waits_for_what_is_not_settled(ledger: Ledger) -> None:
    """An open or deferred call holds it at its start; a failed one does not."""
    listing = await ledger.start_listing("live", NOW - 9 * HOUR, NOW)
    calls = tuple(
        Conversation(id=i, started_at=NOW - h * HOUR) for i, h in (("a", 4), ("b", 3), ("c", 2))
    )
    end = Bookmark(listing_id=listing.listing_id, is_last=True)
    await ledger.plan(Batch(conversations=calls, bookmark=end), COMBINED, NOW)
    assert await ledger.high_water("live") == NOW - 4 * HOUR
    failed = Outcome(recording=recording("a"), status=Status.FAILED)
    later = Outcome(recording=recording("b"), status=Status.DEFERRED, next_try_at=NOW + HOUR)
    await ledger.settle([failed, later, saved("c")], "run-1", NOW)
    assert await ledger.high_water("live") == NOW - 3 * HOUR
    await ledger.settle([saved("b")], "run-1", NOW)
    assert await ledger.high_water("live") == NOW


async def test_what_another_direction_left_open_does_not_hold_the_mark(ledger: Ledger) -> None:
    """A night never takes it up, so it would list from there for ever."""
    await ledger.start_run("run-1", NOW, "{}")
    begun = await ledger.start_listing("live", NOW - HOUR, NOW)
    old = Batch(conversations=(Conversation(id="a", started_at=NOW - 99 * HOUR),))
    await ledger.plan(old, [Direction.AGENT], NOW)
    end = Bookmark(listing_id=begun.listing_id, is_last=True)
    await ledger.plan(Batch(conversations=(), bookmark=end), COMBINED, NOW)

    assert await ledger.high_water("live", COMBINED) == NOW
    assert await ledger.high_water("live", [Direction.AGENT]) == NOW - 99 * HOUR


async def test_a_wider_listing_supersedes_an_unfinished_one(ledger: Ledger) -> None:
    """What a new listing will see needs no resuming; what it will not see does."""
    await ledger.start_listing("live", NOW - 2 * HOUR, NOW - HOUR)
    outside = await ledger.start_listing("live", NOW - 9 * HOUR, NOW - 8 * HOUR)
    wider = await ledger.start_listing("live", NOW - 3 * HOUR, NOW)
    assert await ledger.unfinished_listing("live") == outside
    await ledger.plan(
        batch(bookmark=Bookmark(listing_id=outside.listing_id, is_last=True)), COMBINED, NOW
    )
    assert await ledger.unfinished_listing("live") == wider


@pytest.mark.parametrize(
    ("windows", "end"),
    [
        ([], None),
        ([(0, 5)], 5),
        ([(0, 5), (4, 8)], 8),
        ([(0, 5), (7, 8)], 5),
        ([(0, 5), (7, 8), (5, 9)], 9),
        ([(5, 9), (0, 2)], 9),
        ([(5, 9), (None, 12)], 12),
    ],
)
def test_a_gap_between_windows_holds_the_mark(
    windows: list[tuple[int | None, int]], end: int | None
) -> None:
    """A window that leaves a gap does not move it; one that reaches back over the gap does."""
    times = [(None if s is None else NOW + s * HOUR, NOW + u * HOUR) for s, u in windows]
    assert covered_until(times) == (None if end is None else NOW + end * HOUR)


async def test_runs_are_remembered(ledger: Ledger) -> None:
    """A run that was killed is told from one that came to its end."""
    assert await ledger.was_clean()
    assert await ledger.last_run() is None
    await ledger.start_run("run-1", NOW, '{"agent":"x"}')
    assert not await ledger.was_clean()
    await ledger.finish_run("run-1", NOW + HOUR, '{"saved":1}')
    assert await ledger.was_clean()
    last = await ledger.last_run()
    assert last is not None
    assert (last.run_id, last.scope, last.summary) == ("run-1", '{"agent":"x"}', '{"saved":1}')


async def test_unsaved_names_what_is_known_and_not_saved(ledger: Ledger) -> None:
    """It fills in the start that the ledger knows, and leaves out strangers and saved ones."""
    known = Conversation(id="b", started_at=NOW)
    await ledger.plan(Batch(conversations=(Conversation(id="a"), known)), COMBINED, NOW)
    await ledger.settle([saved("a")], "run-1", NOW)
    [found] = await ledger.unsaved([recording(i) for i in "abc"])
    assert (found.conversation_id, found.started_at) == ("b", NOW)


async def test_unknown_files_are_those_without_a_saved_row(ledger: Ledger) -> None:
    """Names are compared with saved rows, and forgotten afterwards."""
    await ledger.plan(batch("open"), COMBINED, NOW)
    await ledger.settle([saved("a"), saved("b")], "run-1", NOW)
    await ledger.note_files(["combined/a.wav", "combined/open.wav"])
    await ledger.note_files(["stray.txt"])
    assert await ledger.unknown_files(1) == (2, ["combined/open.wav"])
    assert await ledger.unknown_files(1) == (0, [])


async def test_the_file_is_private_whatever_the_umask(path: Path) -> None:
    """Ledger and WAL are readable by their owner alone."""
    before = os.umask(0)
    try:
        ledger = await Ledger.open(path, is_new_allowed=True)
        await ledger.plan(batch("a"), COMBINED, NOW)
        modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}
        await ledger.aclose()
    finally:
        os.umask(before)
    assert modes["ledger.db"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_closing_lets_posted_work_end_and_may_be_repeated(path: Path) -> None:
    """Everything asked for before is kept; everything after is refused."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    async with asyncio.TaskGroup() as group:
        plans = [group.create_task(ledger.plan(batch(i), COMBINED, NOW)) for i in "abc"]
        await asyncio.sleep(0)
        group.create_task(ledger.aclose())
        group.create_task(ledger.aclose())
    assert all(len(plan.result().todo) == 1 for plan in plans)
    await ledger.aclose()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.pins()


async def test_a_cancelled_or_failing_call_does_not_end_the_thread(ledger: Ledger) -> None:
    """Whoever comes next is served, and no transaction stays open."""
    cancelled = asyncio.create_task(ledger.plan(batch("a"), COMBINED, NOW))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(ZeroDivisionError):
        await ledger._database.change(lambda _: 1 // 0)
    assert len((await ledger.plan(batch("b"), COMBINED, NOW)).todo) == 1


def make_junk(path: Path) -> None:
    """Put a file there that was never a database."""
    path.write_bytes(b"not a database " * 500)


def make_foreign(path: Path) -> None:
    """Put another program's database there."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title)")
        other.commit()


def make_newer(path: Path) -> None:
    """Put the ledger of a later version there."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recordings (id)")
        other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        other.execute("PRAGMA user_version = 999")
        other.commit()


def make_folder(path: Path) -> None:
    """Put a folder there."""
    path.mkdir()


def make_link(path: Path) -> None:
    """Put a symbolic link there, to a file that another user would like to have written."""
    target = path.with_name("elsewhere")
    target.touch()
    path.symlink_to(target)


@pytest.mark.parametrize("is_new_allowed", [True, False])
@pytest.mark.parametrize("plant", [make_junk, make_foreign, make_newer, make_folder, make_link])
async def test_what_is_no_ledger_is_refused_and_left_alone(
    path: Path, plant: Callable[[Path], None], *, is_new_allowed: bool
) -> None:
    """It is neither used nor replaced, and the error names `rebuild`."""
    plant(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError, match="rebuild") as caught:
        await Ledger.open(path, is_new_allowed=is_new_allowed)
    assert str(path.parent.parent) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_ledger_missing_beside_recordings_is_not_begun_anew(path: Path) -> None:
    """Neither a missing nor an emptied file becomes a new ledger there."""
    with pytest.raises(LedgerError, match="rebuild") as caught:
        await Ledger.open(path, is_new_allowed=False)
    assert caught.value.exit_code == 6
    assert not path.exists()
    path.touch()
    with pytest.raises(LedgerError, match="rebuild"):
        await Ledger.open(path, is_new_allowed=False)
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.aclose()


async def test_flipped_pages_are_detected(path: Path) -> None:
    """Bytes that rotted are named as damage, and the file is left for a person to look at."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.plan(batch(*(f"CA{n:032x}" for n in range(300))), COMBINED, NOW)
    await ledger.aclose()
    whole = bytearray(path.read_bytes())
    for offset in range(4096 * 8, 4096 * 9):
        whole[offset] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(LedgerError, match="damaged"):
        await Ledger.open(path, is_new_allowed=True)
    assert path.read_bytes() == whole


async def test_a_ledger_deleted_while_in_use_is_noticed(path: Path, ledger: Ledger) -> None:
    """Commits into an unlinked file would be lost, so none is reported as kept."""
    await ledger.settle([saved("a")], "run-1", NOW)
    path.rename(path.with_name("stolen"))
    for _ in range(2):
        with pytest.raises(LedgerError, match="removed or replaced"):
            await ledger.settle([saved("b")], "run-1", NOW)


async def test_a_wal_deleted_while_in_use_is_noticed(path: Path, ledger: Ledger) -> None:
    """The same holds for the file that the latest commits are in."""
    await ledger.settle([saved("a")], "run-1", NOW)
    path.with_name("ledger.db-wal").unlink()
    with pytest.raises(LedgerError, match="removed or replaced"):
        await ledger.settle([saved("b")], "run-1", NOW)


async def test_another_program_on_the_ledger_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second opener is told that the file is locked."""
    monkeypatch.setattr("bulkaudio.ledger.database.BUSY_S", 0.05)
    ledger = await Ledger.open(path, is_new_allowed=True)
    try:
        with pytest.raises(LedgerError, match="another program"):
            await Ledger.open(path, is_new_allowed=True)
        await ledger.settle([saved("a")], "run-1", NOW)
    finally:
        await ledger.aclose()


CHILD = """
import asyncio, sys
from datetime import datetime, UTC
from pathlib import Path
from tests.test_ledger import saved
from bulkaudio.ledger.ledger import Ledger

async def main():
    ledger = await Ledger.open(Path(sys.argv[1]), is_new_allowed=True)
    for n in range(10**6):
        await ledger.settle([saved(f"a{n}"), saved(f"b{n}")], "run-1", datetime.now(UTC))
        print(n, flush=True)

asyncio.run(main())
"""


async def test_what_was_settled_survives_a_kill_and_a_cut_wal(path: Path) -> None:
    """After SIGKILL every acknowledged batch is there, whole; a torn tail is dropped."""

    def run_and_kill() -> int:
        command = [sys.executable, "-c", CHILD, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            acknowledged = [int(child.stdout.readline()) for _ in range(20)]
            child.send_signal(signal.SIGKILL)
        return acknowledged[-1]

    last = await asyncio.to_thread(run_and_kill)
    wal = path.with_name("ledger.db-wal")
    with wal.open("ab") as torn:
        torn.write(os.urandom(5000))
    ledger = await Ledger.open(path, is_new_allowed=False)
    ids = {row.recording.conversation_id for row in await ledger.saved_after(0, 10**6)}
    await ledger.aclose()
    assert {f"a{n}" for n in range(last + 1)} <= ids
    assert {i[1:] for i in ids if i[0] == "a"} == {i[1:] for i in ids if i[0] == "b"}


async def test_an_old_ledger_is_copied_before_it_is_migrated(path: Path) -> None:
    """The copy is private and whole; a step that fails leaves the version it found."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.settle([saved("a")], "run-1", NOW)
    await ledger.aclose()

    def add_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE recordings ADD COLUMN extra TEXT")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE recordings")
        raise sqlite3.OperationalError("no")

    def check() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="no"):
                migrate(connection, path, (*MIGRATIONS, add_column, fail))
            assert version_of(connection) == len(MIGRATIONS) + 1
            assert connection.execute("SELECT extra FROM recordings").fetchall() == [(None,)]
        [copy] = path.parent.glob("*.bak")
        assert copy.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(copy)) as connection:
            assert version_of(connection) == len(MIGRATIONS)
            assert connection.execute("SELECT conversation_id FROM recordings").fetchall() == [
                ("a",)
            ]

    await asyncio.to_thread(check)


async def test_a_full_disk_is_said_so_and_nothing_is_half_kept(ledger: Ledger) -> None:
    """A transaction that does not fit is rolled back, and the run can end in order."""
    await ledger._database.read(lambda connection: connection.execute("PRAGMA max_page_count = 20"))
    with pytest.raises(LedgerError, match="disk is full"):
        await ledger.plan(batch(*(f"CA{n:032x}" for n in range(2000))), COMBINED, NOW)
    assert await ledger.rows_after(0, 10) == []
    await ledger.settle([saved("a")], "run-1", NOW)


@pytest.mark.slow
async def test_planning_settled_recordings_again_is_set_based(ledger: Ledger) -> None:
    """Twenty thousand known ids need a handful of statements and write nothing."""
    ids = [f"CA{n:032x}" for n in range(20_000)]
    await ledger.plan(batch(*ids), COMBINED, NOW)
    await ledger.settle([saved(i) for i in ids], "run-1", NOW)
    await ledger.start_run("run-2", NOW, "{}")
    statements: list[str] = []
    changes = await ledger._database.read(lambda connection: connection.total_changes)
    await ledger._database.read(lambda c: c.set_trace_callback(statements.append))
    assert (await ledger.plan(batch(*ids), COMBINED, NOW)).already == 20_000
    await ledger._database.read(lambda c: c.set_trace_callback(None))
    assert len(statements) < 30
    assert await ledger._database.read(lambda c: c.total_changes) == changes


def test_seen_is_exact() -> None:
    """Each number is new once, far apart or close together."""
    seen = Seen()
    numbers = [0, 1, 7, 8, 10_000_000, 9_999_999]
    assert all(seen.add(n) for n in numbers)
    assert not any(seen.add(n) for n in numbers)
    assert len(seen._bits) < 4_000_000


def test_times_sort_as_their_texts() -> None:
    """Texts have one width and one zone; a naive time is refused."""
    whole = NOW.replace(microsecond=0)
    assert text_of(whole) == "2026-11-22T06:00:00.000000Z"
    assert text_of(whole) < text_of(NOW) < text_of(whole + timedelta(seconds=1))
    with pytest.raises(ValueError, match="naive"):
        text_of(datetime(2026, 1, 1))  # noqa: DTZ001


IDS = st.sampled_from(["a", "A", "b", "CA1", "x.y-z_"])
KEPT = {Status.SAVED, Status.PURGED}
UNSAVED = st.sampled_from([Status.ABSENT, Status.DEFERRED, Status.FAILED, Status.OPEN])


class LedgerMachine(RuleBasedStateMachine):
    """The ledger does what a dictionary would, restarts included."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.runner = asyncio.Runner()
        self.model: dict[str, Status] = {}
        self.attempts: dict[str, int] = {}
        self.seen: set[str] = set()
        self.runs = 0
        self.open(is_new_allowed=True)

    def open(self, *, is_new_allowed: bool) -> None:
        """Open the ledger and begin a run."""
        self.ledger = self.runner.run(Ledger.open(self.path, is_new_allowed=is_new_allowed))
        self.begin()

    def teardown(self) -> None:
        """Leave nothing open."""
        self.runner.run(self.ledger.aclose())
        self.runner.close()
        self.folder.cleanup()

    @rule()
    def begin(self) -> None:
        """Begin another run."""
        self.runs += 1
        self.seen = set()
        self.runner.run(self.ledger.start_run(f"run-{self.runs}", NOW, "{}"))

    @rule()
    def restart(self) -> None:
        """Close and open."""
        self.runner.run(self.ledger.aclose())
        self.open(is_new_allowed=False)

    @rule(ids=st.lists(IDS, max_size=6))
    def plan(self, ids: list[str]) -> None:
        """Plan a batch and compare every figure."""
        fresh = [i for i in dict.fromkeys(ids) if i not in self.seen]
        self.seen.update(fresh)
        for i in fresh:
            self.model.setdefault(i, Status.OPEN)
        plan = self.runner.run(self.ledger.plan(batch(*ids), COMBINED, NOW))
        settled = {Status.ABSENT, *KEPT}
        todo = [i for i in fresh if self.model[i] not in settled]
        assert [t.recording.conversation_id for t in plan.todo] == todo
        assert plan.already == sum(self.model[i] in KEPT for i in fresh)
        assert plan.absent == sum(self.model[i] is Status.ABSENT for i in fresh)
        assert plan.duplicates == len(ids) - len(fresh)
        assert plan.conversations == len(fresh)

    @rule(limit=st.integers(1, 3))
    def backlog(self, limit: int) -> None:
        """Take a page of what is left."""
        settled = {Status.ABSENT, *KEPT}
        left = {i for i, s in self.model.items() if s not in settled} - self.seen
        plan, _ = self.runner.run(self.ledger.backlog(COMBINED, NOW, after=0, limit=limit))
        ids = [t.recording.conversation_id for t in plan.todo]
        assert len(ids) == min(limit, len(left))
        assert set(ids) <= left
        self.seen.update(ids)

    @rule(id_=IDS)
    def save(self, id_: str) -> None:
        """Settle one as saved."""
        if self.model.get(id_) not in KEPT:
            self.attempts[id_] = self.attempts.get(id_, 0) + 1
            self.model[id_] = Status.SAVED
        self.runner.run(self.ledger.settle([saved(id_)], "run", NOW))

    @rule(id_=IDS, status=UNSAVED)
    def settle(self, id_: str, status: Status) -> None:
        """Settle one as something else."""
        if self.model.get(id_) not in KEPT:
            self.model[id_] = status
            self.attempts[id_] = self.attempts.get(id_, 0) + 2
        outcome = Outcome(recording=recording(id_), status=status, evidence=Evidence(attempts=2))
        self.runner.run(self.ledger.settle([outcome], "run", NOW))

    @rule(id_=IDS)
    def reopen(self, id_: str) -> None:
        """Take one back."""
        if self.model.get(id_, Status.PURGED) is not Status.PURGED:
            self.model[id_] = Status.OPEN
        self.runner.run(self.ledger.reopen([recording(id_)], "damaged"))

    @rule(id_=IDS)
    def purge(self, id_: str) -> None:
        """Erase one that is known: for good."""
        if id_ not in self.model:
            return
        self.model[id_], self.attempts[id_] = Status.PURGED, 0
        self.runner.run(self._erase(id_))

    async def _erase(self, id_: str) -> None:
        erasures = self.ledger.erasures
        [dossier] = await erasures.dossiers_of([id_])
        doom = Doom(conversation_id=id_, rows=dossier.rows, is_whole=False)
        await erasures.begin([doom], "{}", NOW)
        await erasures.finish([doom], NOW)

    @invariant()
    def agrees(self) -> None:
        """Every row is as the model has it."""
        rows = self.runner.run(self.ledger.rows_after(0, 100))
        assert {r.recording.conversation_id: r.status for r in rows} == self.model
        for row in rows:
            assert row.attempts == self.attempts.get(row.recording.conversation_id, 0)


LedgerMachine.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLedgerModel = LedgerMachine.TestCase


async def test_a_call_that_goes_on_is_left_to_the_listing_for_a_day(ledger: Ledger) -> None:
    """Its audio may be served by half before that; no call lasts longer."""
    calling = Conversation(id="a", started_at=NOW, in_progress=True)
    await ledger.plan(Batch(conversations=(calling,)), COMBINED, NOW)
    soon, later = NOW + timedelta(hours=23), NOW + timedelta(hours=25)
    await ledger.start_run("run-2", soon, "{}")
    assert (await ledger.backlog(COMBINED, soon, after=0, limit=9))[0].todo == ()
    await ledger.start_run("run-3", later, "{}")
    plan, _ = await ledger.backlog(COMBINED, later, after=0, limit=9)
    assert [task.recording.conversation_id for task in plan.todo] == ["a"]
