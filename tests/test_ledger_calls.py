"""The ledger walked call by call."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.ledger.calls import Call
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Direction

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
async def test_pages_hold_whole_calls(limit: int, tmp_path: Path) -> None:
    """However many rows a page has, and whichever run added a direction: no call is torn apart."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        calls = tuple(Conversation(id=f"CA{n}", started_at=NOW) for n in range(7))
        await ledger.plan(Batch(conversations=calls), [Direction.USER], NOW)
        await ledger.start_run("later", NOW, "{}")
        await ledger.plan(Batch(conversations=calls[::2]), list(Direction), NOW)
        found: list[Call] = []
        position = ""
        while page := await ledger.calls_after(position, limit):
            found += page
            position = page[-1][0].recording.conversation_id
    finally:
        await ledger.aclose()
    assert [call[0].recording.conversation_id for call in found] == [call.id for call in calls]
    assert [len(call) for call in found] == [3, 1, 3, 1, 3, 1, 3]


async def test_last_runs_are_newest_first(tmp_path: Path) -> None:
    """So many of them, also one that has not ended."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        for number in range(5):
            await ledger.start_run(f"run-{number}", NOW + timedelta(number), "{}")
        runs = await ledger.last_runs(3)
    finally:
        await ledger.aclose()
    assert [run.run_id for run in runs] == ["run-4", "run-3", "run-2"]
    assert {run.finished_at for run in runs} == {None}
