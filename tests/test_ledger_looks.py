"""What is asked of a ledger by those who only look: never a change, and no answer from a spoilt one."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from bulkaudio.errors import ArchiveBusyError, LedgerError
from bulkaudio.events import Event
from bulkaudio.gate import Gate, GateOptions
from bulkaudio.ledger.census import NEVER_ASKED, Page, never_asked
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.readonly import ReadOnlyDatabase, ReadOnlyLedger
from bulkaudio.model import Conversation, Direction, Outcome, Recording, Status
from bulkaudio.windows import day_of

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
SIDES = (Direction.COMBINED, Direction.USER)


def absent(id_: str, direction: Direction, started_at: datetime | None = NOW) -> Outcome:
    """Make what a run leaves of a call without a recording."""
    recording = Recording(conversation_id=id_, direction=direction, started_at=started_at)
    return Outcome(recording=recording, status=Status.ABSENT, reason="no_recording")


async def made(folder: Path, *outcomes: Outcome) -> Path:
    """Leave a ledger with one run that has ended, and these recordings in it."""
    path = folder / "ledger.db"
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.start_run("run-1", NOW, "{}")
    await ledger.settle(outcomes, "run-1", NOW)
    await ledger.finish_run("run-1", NOW, '{"exit_code":0}')
    await ledger.aclose()
    return path


def page(directions: Sequence[Direction]) -> Page:
    """Return a page that holds everything."""
    return Page(after=0, upto=1_000, directions=tuple(directions))


async def test_counts_tell_sides_that_nobody_asked_for(tmp_path: Path) -> None:
    """By conversation, and the undated ones too."""
    path = await made(
        tmp_path,
        absent("CA1", Direction.COMBINED),
        absent("CA1", Direction.USER),
        absent("CA2", Direction.COMBINED, None),
    )
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    assert await ledger.last_rowid() == 3
    assert await ledger.undated(SIDES) == 1
    assert await ledger.directions() == list(SIDES)
    assert await ledger.finished_listings() == []
    assert await ledger.summaries(5) == ['{"exit_code":0}']
    (run,) = await ledger.last_runs(5)
    assert run.run_id == "run-1"
    lacking = await ledger.never_asked(page(SIDES))
    assert [(each.example, each.direction, each.reason) for each in lacking] == [
        ("CA2", Direction.USER, NEVER_ASKED)
    ]
    (both, one) = await ledger.calls_after("", 10)
    assert ([row.recording.direction for row in both], len(one)) == (list(SIDES), 1)
    assert await ledger.calls_after("CA2", 10) == []
    await ledger.aclose()


async def test_a_listing_is_told_what_the_ledger_lacks_once(tmp_path: Path) -> None:
    """Also where pages of a listing name the same call twice."""
    path = await made(tmp_path, absent("CA1", Direction.COMBINED))
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    named = [Conversation(id=id_, started_at=NOW) for id_ in ("CA1", "CA9")]
    first = await ledger.unknown(named, SIDES)
    assert [(call.id, side, is_known) for call, side, is_known in first] == [
        ("CA1", Direction.USER, True),
        ("CA9", Direction.COMBINED, False),
        ("CA9", Direction.USER, False),
    ]
    assert await ledger.unknown(named, SIDES) == []
    await ledger.aclose()


async def test_what_is_not_there_is_empty_or_lost(tmp_path: Path) -> None:
    """Empty before the first run, lost beside recordings; nothing is made of it."""
    path = tmp_path / "ledger.db"
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=True)
    assert await ledger.totals() == {}
    await ledger.aclose()
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        await ReadOnlyLedger.reading(path, is_new_allowed=False)
    assert list(tmp_path.glob("ledger*")) == []


LEAVE_A_LOG = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("UPDATE recordings SET reason = 'from the log'")
os._exit(0)
"""


def with_log(path: Path) -> None:
    """Leave a log beside the ledger, as a kill does: its process ends without a word to SQLite."""
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, path], check=True)
    assert path.with_name("ledger.db-wal").stat().st_size > 0


async def test_a_log_that_a_kill_left_is_read_and_stays(tmp_path: Path) -> None:
    """What stands in the log alone is seen; ledger and log keep every byte."""
    path = await made(tmp_path, absent("CA1", Direction.COMBINED))
    await asyncio.to_thread(with_log, path)
    before = {each.name: each.read_bytes() for each in tmp_path.glob("ledger.db*")}
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    (row,) = await ledger.rows_after(0, 10)
    assert row.reason == "from the log"
    await ledger.aclose()
    after = {each.name: each.read_bytes() for each in tmp_path.glob("ledger.db*")}
    assert after["ledger.db"] == before["ledger.db"]
    assert after["ledger.db-wal"] == before["ledger.db-wal"]


@pytest.mark.parametrize("has_log", [False, True])
async def test_somebody_elses_database_is_not_read(tmp_path: Path, *, has_log: bool) -> None:
    """With and without a log, and nothing is left open or behind."""
    path = tmp_path / "ledger.db"

    def make() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE recordings (reason TEXT)")
            connection.execute("INSERT INTO recordings VALUES (NULL)")
        if has_log:
            with_log(path)

    await asyncio.to_thread(make)
    opened = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(LedgerError):
        await ReadOnlyLedger.reading(path, is_new_allowed=False)
    assert set(Path("/proc/self/fd").iterdir()) <= opened


async def test_a_change_meanwhile_is_told(tmp_path: Path) -> None:
    """A run that came between makes no answer out of two states."""
    path = await made(tmp_path, absent("CA1", Direction.COMBINED))
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(ArchiveBusyError, match="meanwhile"):
        await ledger.totals()
    await ledger.aclose()


async def test_looking_never_writes(tmp_path: Path) -> None:
    """Whoever asks it to has made a mistake."""
    path = await made(tmp_path)
    database = await ReadOnlyDatabase.open(path, is_new_allowed=False)
    with pytest.raises(AssertionError, match="for reading"):
        await database.change(lambda connection: connection.execute("DELETE FROM runs"))
    await database.aclose()


def test_days_at_either_end_of_the_calendar_have_names() -> None:
    """Where the next day, or the zone's own time, is none that Python knows."""
    last, first = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    assert day_of(last, timezone(timedelta(hours=14))) == last.date()
    assert day_of(first, timezone(-timedelta(hours=12))) == first.date()


async def test_two_hosts_come_under_one_ceiling() -> None:
    """What one of them receives is taken from the other's share."""
    events: list[Event] = []

    def gate(host: str) -> Gate:
        clock = asyncio.get_running_loop().time
        return Gate(host, GateOptions(), emit=events.append, clock=clock)

    recordings, listing = gate("recordings"), gate("listing")
    listing.share_bandwidth(recordings)
    assert listing.bandwidth is recordings.bandwidth


def test_a_row_that_has_the_side_is_not_looked_up_by_its_name(tmp_path: Path) -> None:
    """Names lie in no order: of a ledger larger than memory, each look would be one at the disk."""
    calls = [absent(f"CA{number}", Direction.COMBINED) for number in range(400)]
    path = asyncio.run(made(tmp_path, *calls))

    def steps(direction: Direction) -> float:
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1

        with closing(sqlite3.connect(path)) as connection:
            connection.set_progress_handler(count, 1)
            never_asked(connection, page([direction]))
        return counted / len(calls)

    assert steps(Direction.COMBINED) < 10
    assert steps(Direction.USER) > 30
