"""The ledger's part in erasing: it forgets to the last byte, and remembers what must not come back."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.ledger.erasing import Doom
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.tombs import ORDER_PIN
from bulkaudio.model import (
    Audio,
    Batch,
    Conversation,
    Direction,
    Evidence,
    Outcome,
    Recording,
    Status,
)

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
COMBINED = (Direction.COMBINED,)


def saved(id_: str, direction: Direction = Direction.COMBINED) -> Outcome:
    """Return a recording with details that no other has."""
    return Outcome(
        recording=Recording(conversation_id=id_, direction=direction, started_at=NOW),
        status=Status.SAVED,
        path=Path(direction, f"{id_}.wav"),
        bytes=1000,
        sha256=digest(id_),
        audio=Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=956, seconds=0.06),
        evidence=Evidence(http_status=200, correlation_id=f"support-{id_}-id", attempts=1),
    )


def digest(id_: str) -> str:
    """Return what stands for the hash of its audio."""
    return id_.removeprefix("CA").rjust(64, "f")


def batch(*ids: str) -> Batch:
    """Return conversations of one time."""
    return Batch(conversations=tuple(Conversation(id=id_, started_at=NOW) for id_ in ids))


async def bury(ledger: Ledger, ids: Sequence[str]) -> None:
    """Erase conversations as far as the ledger goes."""
    for start in range(0, len(ids), 200):
        some = ids[start : start + 200]
        dooms = [
            Doom(conversation_id=each.conversation_id, rows=each.rows, is_whole=True)
            for each in await ledger.erasures.dossiers_of(some)
        ]
        assert await ledger.erasures.begin(dooms, "{}", NOW) == set(some)
        await ledger.erasures.finish(dooms, NOW)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Return an open ledger."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    yield ledger
    await ledger.aclose()


def traces(folder: Path, ids: Sequence[str]) -> set[str]:
    """Return those whose hash or support id any of the ledger's files knows."""
    content = b"".join(path.read_bytes() for path in folder.glob("ledger.db*"))
    return {
        id_
        for id_ in ids
        if digest(id_).encode() in content or f"support-{id_}-id".encode() in content
    }


async def test_free_pages_and_log_forget_too(ledger: Ledger, tmp_path: Path) -> None:
    """Where SQLite overwrites nothing by itself, rewriting is what removes the last trace."""
    await ledger._database.read(lambda c: c.execute("PRAGMA secure_delete = OFF").fetchone())
    ids = [f"CA{n:032x}" for n in range(3000)]
    await ledger.plan(batch(*ids), COMBINED, NOW)
    await ledger.settle([saved(id_) for id_ in ids], "run-1", NOW)
    await bury(ledger, ids[::2])
    assert traces(tmp_path, ids[::2])
    await ledger.erasures.rewrite()
    await ledger.erasures.end()
    assert traces(tmp_path, ids) == set(ids[1::2])
    assert ORDER_PIN not in await ledger.pins()
    await ledger.check()


async def test_what_runs_told_of_it_is_forgotten(ledger: Ledger) -> None:
    """Why it failed, and the support id; what failed beside it stays as it was told."""
    failed = [
        {"id": id_, "direction": "combined", "reason": "http_500", "http_status": 500,
         "error_code": "E1", "attempts": 5, "correlation_id": f"support-{id_}-id"}
        for id_ in ("CA1", "CA2")
    ]  # fmt: skip
    await ledger.plan(batch("CA1", "CA2"), COMBINED, NOW)
    for number, summary in enumerate(({"failures": failed}, {"failures": []}, {})):
        await ledger.start_run(f"run-{number}", NOW, "{}")
        await ledger.finish_run(f"run-{number}", NOW, json.dumps(summary))
    await ledger.start_run("run-9", NOW, "{}")
    await bury(ledger, ["CA1"])
    for _ in range(2):
        await ledger.erasures.rewrite()
        rows = await ledger._database.read(
            lambda c: c.execute("SELECT summary FROM runs ORDER BY number").fetchall()
        )
        [first, *others] = [row[0] for row in rows]
        gone = dict.fromkeys(("http_status", "error_code", "correlation_id"))
        assert json.loads(first)["failures"] == [failed[0] | {"reason": "purged"} | gone, failed[1]]
        assert others == ['{"failures": []}', "{}", None]


async def test_nothing_brings_an_erased_recording_back(ledger: Ledger) -> None:
    """No outcome, no finding of verify, no trace of a publication, no listing; counts add up."""
    await ledger.plan(batch("CA1", "CA2"), COMBINED, NOW)
    await ledger.settle([saved("CA1"), saved("CA2")], "run-1", NOW)
    await bury(ledger, ["CA1"])
    recording = saved("CA1").recording
    await ledger.settle([saved("CA1")], "run-2", NOW)
    await ledger.settle([Outcome(recording=recording, status=Status.FAILED)], "run-2", NOW)
    await ledger.reopen([recording], "damaged")
    assert await ledger.unsaved([recording]) == []
    [row, _] = await ledger.rows_after(0, 9)
    assert (row.status, row.path, row.sha256, row.attempts) == (Status.PURGED, None, None, 0)
    assert (row.recording.started_at, row.purged_at) == (NOW, NOW)
    await ledger.start_run("run-3", NOW, "{}")
    plan = await ledger.plan(batch("CA1", "CA2"), tuple(Direction), NOW)
    assert (plan.conversations, plan.already, len(plan.todo)) == (2, 4, 2)
    assert {task.recording.conversation_id for task in plan.todo} == {"CA2"}
    assert (await ledger.backlog(tuple(Direction), NOW, after=0, limit=9))[0].todo == ()
    with pytest.raises(ValueError, match="nothing to settle"):
        await ledger.settle([Outcome(recording=recording, status=Status.PURGED)], "run-3", NOW)


async def test_a_call_that_goes_on_and_was_erased_is_not_deferred(ledger: Ledger) -> None:
    """Whatever the listing says of it."""
    await bury(ledger, ["CA1"])
    going_on = Conversation(id="CA1", started_at=NOW, in_progress=True)
    plan = await ledger.plan(Batch(conversations=(going_on,)), COMBINED, NOW)
    assert (plan.already, plan.deferred, plan.todo) == (1, 0, ())
    assert await ledger.high_water("scope") is None


async def test_a_million_erased_are_passed_as_quickly_as_saved_ones(ledger: Ledger) -> None:
    """In sets, without a statement a conversation."""
    ids = [f"CA{n:032x}" for n in range(5000)]
    await ledger.plan(batch(*ids), COMBINED, NOW)
    await ledger.settle([saved(id_) for id_ in ids], "run-1", NOW)
    await bury(ledger, ids)
    await ledger.start_run("run-2", NOW, "{}")
    statements: list[str] = []
    await ledger._database.read(lambda c: c.set_trace_callback(statements.append))
    assert (await ledger.plan(batch(*ids), COMBINED, NOW)).already == 5000
    await ledger._database.read(lambda c: c.set_trace_callback(None))
    assert len(statements) < 20


async def test_age_is_the_conversations(ledger: Ledger) -> None:
    """Its start as any of its recordings knows it, else the first sight of any."""
    old, new = NOW - timedelta(days=40), NOW - timedelta(days=1)
    undated = Batch(conversations=(Conversation(id="CA1"), Conversation(id="CA2")))
    await ledger.plan(undated, COMBINED, new)
    dated = Batch(conversations=(Conversation(id="CA2", started_at=old),))
    await ledger.plan(dated, (Direction.USER,), new)
    await ledger.plan(Batch(conversations=(Conversation(id="CA3"),)), COMBINED, old)
    await ledger.erasures.want_older(NOW - timedelta(days=30), tuple(Direction))
    found = await ledger.erasures.dossiers(0, 9)
    assert [each.conversation_id for each in found] == ["CA2", "CA3"]
    assert [len(each.rows) for each in found] == [2, 1]


async def test_what_is_collected_comes_once_in_pages(ledger: Ledger) -> None:
    """However often it is named."""
    await ledger.erasures.want(["CA2", "CA1", "CA2"])
    await ledger.erasures.want(["CA3", "CA1"])
    pages, position = [], 0
    while page := await ledger.erasures.dossiers(position, 2):
        position = page[-1].number
        pages.append([each.conversation_id for each in page])
    assert pages == [["CA2", "CA1"], ["CA3"]]
