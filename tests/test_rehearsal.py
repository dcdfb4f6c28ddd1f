"""A rehearsal says what the ledger's own planning then does; and what a million rows cost."""

import asyncio
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.migrations import MIGRATIONS, migrate
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.model import Batch, Conversation, Direction, Outcome, Plan, Recording, Status
from bulkaudio.simulator import Simulator
from tests.looks import calls, stall_at
from tests.program import ledger_rows

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
IDS = st.sampled_from([f"CA{n}" for n in range(12)])
CONVERSATIONS = st.builds(
    Conversation,
    id=IDS,
    started_at=st.none() | st.just(NOW),
    in_progress=st.booleans(),
)
BATCHES = st.lists(st.lists(CONVERSATIONS, max_size=8), max_size=5)
KNOWN = st.lists(
    st.tuples(
        IDS,
        st.sampled_from(list(Direction)),
        st.sampled_from([Status.SAVED, Status.ABSENT, Status.DEFERRED, Status.FAILED]),
        st.none() | st.just(NOW),
    ),
    max_size=20,
)
SIDES = st.lists(st.sampled_from(list(Direction)), min_size=1, max_size=3, unique=True)


def outcome(known: tuple[str, Direction, Status, datetime | None]) -> Outcome:
    """Make what a run may have left."""
    id_, direction, status, started_at = known
    recording = Recording(conversation_id=id_, direction=direction, started_at=started_at)
    is_saved = status is Status.SAVED
    return Outcome(
        recording=recording,
        status=status,
        path=Path(f"{direction}/{id_}.wav") if is_saved else None,
        bytes=1 if is_saved else None,
        sha256="0" * 64 if is_saved else None,
        reason=None if is_saved else "http_410",
        next_try_at=NOW.replace(hour=9) if status is Status.DEFERRED else None,
    )


def told(plan: Plan) -> tuple[Plan, list[Recording]]:
    """Leave out what differs without meaning: when each was first seen, by microseconds."""
    return replace(plan, todo=()), [task.recording for task in plan.todo]


@settings(max_examples=60)
@given(KNOWN, BATCHES, SIDES)
async def test_a_rehearsal_is_the_planning_that_follows(
    known: Sequence[tuple[str, Direction, Status, datetime | None]],
    batches: Sequence[Sequence[Conversation]],
    sides: Sequence[Direction],
) -> None:
    """Batch after batch, duplicates within and across them, whatever the ledger holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        ledger = await Ledger.open(path, is_new_allowed=True)
        await ledger.settle([outcome(each) for each in known], "run-1", NOW)
        await ledger.aclose()
        content = path.read_bytes()
        reading = await ReadOnlyLedger.reading(path, is_new_allowed=False)
        foretold = []
        for each in batches:
            rehearsed = await reading.rehearse(Batch(conversations=tuple(each)), sides, NOW)
            plan, sums = rehearsed.plan, rehearsed.sums
            counted = {
                "saved": plan.already,
                "absent": plan.absent,
                "open": len(plan.todo),
                "deferred": plan.deferred - plan.put_off,
                "put_off": plan.put_off,
            }
            for kind, count in counted.items():
                assert count == sum(n for (_, name), n in sums.items() if name == kind)
            foretold.append(told(plan))
        await reading.aclose()
        assert path.read_bytes() == content
        assert [each.name for each in Path(folder).iterdir()] == ["ledger.db"]
        ledger = await Ledger.open(path, is_new_allowed=False)
        await ledger.start_run("run-2", NOW, "{}")
        planned = [
            told(await ledger.plan(Batch(conversations=tuple(each)), sides, NOW))
            for each in batches
        ]
        await ledger.aclose()
    assert foretold == planned


async def test_the_length_of_what_was_left_is_told_once(tmp_path: Path) -> None:
    """By the first that names its call with one, of those that were considered before the source."""
    path, side = tmp_path / "ledger.db", Direction.USER
    ledger = await Ledger.open(path, is_new_allowed=True)
    left = [outcome((id_, side, Status.FAILED, NOW)) for id_ in ("CA1", "CA2")]
    await ledger.settle([*left, outcome(("CA3", side, Status.ABSENT, NOW))], "run-1", NOW)
    await ledger.aclose()
    reading = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    plan, _ = await reading.backlog([side], NOW, after=0, limit=9)
    assert [task.recording.conversation_id for task in plan.todo] == ["CA1", "CA2"]

    async def told(*named: tuple[str, float | None]) -> Sequence[tuple[str, Direction]]:
        calls = tuple(Conversation(id=id_, duration_s=seconds) for id_, seconds in named)
        return (await reading.rehearse(Batch(conversations=calls), [side], NOW)).told

    assert await told(("CA1", None), ("CA3", 9.0), ("CA4", 9.0)) == []
    assert await told(("CA1", 9.0), ("CA4", 9.0), ("CA1", 9.0)) == [("CA1", side)]
    assert await told(("CA1", 9.0), ("CA2", 9.0), ("CA9999", 9.0)) == [("CA2", side)]
    await reading.aclose()


async def test_an_old_ledger_is_brought_up_to_date_in_a_copy(tmp_path: Path) -> None:
    """The file itself stays as it was, whatever version it has."""
    path = tmp_path / "ledger.db"

    def begin() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, path, MIGRATIONS[:1])

    await asyncio.to_thread(begin)
    content = path.read_bytes()
    reading = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    assert await reading.totals() == {}
    await reading.aclose()
    assert path.read_bytes() == content


ROWS = 1_000_000


def fill(path: Path) -> None:
    """Put a million recordings of three years into a ledger, a few of them in trouble."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            """
            WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < ?)
            INSERT INTO recordings (conversation_id, direction, status, path, bytes, sha256,
                audio_seconds, started_at, first_seen_at, attempts, reason)
            SELECT printf('CA%032x', n), 'combined',
                CASE WHEN n % 1000 = 7 THEN 'failed' ELSE 'saved' END, printf('c/%d.wav', n),
                1000, printf('%064x', n), 1.5,
                strftime('%Y-%m-%dT%H:%M:%S', 1700000000 + n * 95, 'unixepoch') || '.000000Z',
                '2026-11-01T00:00:00.000000Z', 1,
                CASE WHEN n % 1000 = 7 THEN 'truncated' END
            FROM n
            """,
            (ROWS,),
        )
        connection.commit()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_million_recordings_are_counted_and_planned_in_bounded_memory(
    tmp_path: Path,
) -> None:
    """Within seconds, in the memory of a few: by day in two zones, and against a file of as many."""
    async with Simulator(calls=calls(2)) as simulator:
        stall = stall_at(tmp_path, simulator)
        ids = [f"CA{n:032x}" for n in range(ROWS // 2, ROWS // 2 + ROWS)]
        csv = stall.csv(ids)
        await stall.run("download", "--csv", stall.csv(["CA1"], "one.csv"), *stall.whose)
        await asyncio.to_thread(fill, stall.archive / ".bulkaudio" / "ledger.db")
        few = ledger_rows(stall.archive)[("CA1", "combined")]
        for zone in ("Europe/London", "Asia/Kolkata"):
            began = time.monotonic()
            ended = await stall.run("gaps", stall.archive, "--tz", zone, "--json")
            assert time.monotonic() - began < 60
            assert ended.summary["totals"]["failed"] == ROWS // 1000 + (few.status == "failed")
            assert ended.summary["totals"]["listed"] == ROWS + 1
            assert ended.peak_rss_kib < 150 * 1024, ended.peak_rss_kib
        ended = await stall.run("gaps", stall.archive, "--direction", "user", "--json")
        assert ended.summary["totals"]["missing"] == ROWS + 1
        assert ended.peak_rss_kib < 150 * 1024, ended.peak_rss_kib
        ended = await stall.run("plan", "--csv", csv, *stall.whose, "--json")
        assert ended.summary["counts"]["conversations"] == ROWS
        assert ended.summary["counts"]["already"] == ROWS // 2 - ROWS // 2000
        assert ended.peak_rss_kib < 150 * 1024, ended.peak_rss_kib
        shutil.rmtree(stall.archive)
