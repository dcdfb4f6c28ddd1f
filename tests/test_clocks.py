"""A machine whose clock is wrong archives what one with the right time does."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.clocks import TOLERANCE, ahead, believed, http_date, skew_words
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Direction, Outcome, Recording, Status
from bulkaudio.policy import MAX_DEFERRAL, Reason
from tests.inside import Inside
from tests.plans import whole
from tests.program import ledger_rows
from tests.wire import Exchange, Script, WireServer, in_thread, says, says_json

HERE = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = timedelta(days=3)


def date(moment: datetime) -> str:
    """Spell a ``Date`` header."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_earlier_clock_is_believed(skew: timedelta) -> None:
    """Never later than either clock by more than the tolerance, and never earlier than both."""
    there = (HERE + skew).replace(microsecond=0)
    known = believed(HERE, date(there))
    assert min(HERE, there) <= known <= min(HERE, there + TOLERANCE)


@pytest.mark.parametrize("text", [None, "", "yesterday", "Sun, 99 Nov 2026 00:00:00 GMT"])
def test_without_a_date_this_machine_is_believed(text: str | None) -> None:
    """A header that is missing or nonsense changes nothing."""
    assert http_date(text) is None
    assert believed(HERE, text) == HERE
    assert ahead(HERE, text) == timedelta()


def test_within_tolerance_is_no_difference() -> None:
    """Whole seconds and slow answers are not worth a word."""
    assert ahead(HERE, date(HERE - TOLERANCE)) == timedelta()
    assert ahead(HERE, date(HERE - TOLERANCE - timedelta(seconds=1))) > TOLERANCE
    assert ahead(HERE, date(HERE + TOLERANCE + timedelta(seconds=1))) < -TOLERANCE
    assert ahead(None, date(HERE)) == timedelta()


def test_words_name_the_side() -> None:
    """Ahead and behind are told apart."""
    assert "3d 0h ahead of api.uk.poly.ai's" in skew_words("api.uk.poly.ai", DAYS)
    assert "3d 0h behind api.uk.poly.ai's" in skew_words("api.uk.poly.ai", -DAYS)


def missing_at(moment: datetime) -> Script:
    """Say that there is no recording, at PolyAI's own time."""
    code = "CONVERSATIONS_RECORDING_NOT_FOUND"
    return says_json(404, {"success": False, "error_code": code}, date=date(moment))


@pytest.mark.parametrize(
    ("there", "age", "status"),
    [
        pytest.param(timedelta(), DAYS, "absent", id="right"),
        pytest.param(-DAYS, DAYS, "deferred", id="ahead"),
        pytest.param(DAYS, DAYS / 3, "deferred", id="behind"),
        pytest.param(DAYS, DAYS, "absent", id="behind, and old all the same"),
    ],
)
def test_missing_recording_is_as_old_as_polyai_says(
    there: timedelta, age: timedelta, status: str, inside: Inside
) -> None:
    """
    A clock that is days off makes no recording absent that may still appear.

    Where it is behind, what is old enough by PolyAI's time is looked at once more.
    """
    now = datetime.now(UTC)
    started_at = (now - age).isoformat()
    csv = inside.folder / "calls.csv"
    csv.write_text(f"conversation_id,started_at\nCA1,{started_at}\n")
    with in_thread(WireServer(missing_at(now + there))) as server:
        inside.reach(server)
        done = inside.download("--csv", csv)
    assert done.code == 0
    assert ledger_rows(inside.archive)["CA1", "combined"].status == status
    notes = [note for note in done.summary["notes"] if "clock" in note]
    assert len(notes) == (1 if there else 0)


def listings(archive: Path) -> list[tuple[str, str]]:
    """Return state and end of every listing."""
    with closing(sqlite3.connect(archive / ".bulkaudio" / "ledger.db")) as connection:
        return connection.execute("SELECT state, until FROM listings ORDER BY id").fetchall()


def test_hours_to_come_do_not_count_as_listed(inside: Inside) -> None:
    """The night after a clock was three days ahead takes the calls of those days."""
    now = datetime.now(UTC)
    there = now - DAYS
    asked: list[str] = []

    async def serve(exchange: Exchange) -> None:
        target = exchange.head.target
        if "/audio" in target:
            await whole(exchange)
            return
        asked.append(target)
        page: dict[str, object] = {"conversations": [], "cursor": None}
        await says(200, json.dumps(page).encode(), date=date(there))(exchange)

    with in_thread(WireServer(serve)) as server:
        inside.reach(server)
        window = ("--account", "ws-1", "--since", (there - DAYS).isoformat())
        done = inside.download(*window)
        assert done.code == 0, done.stderr
        ((state, until),) = listings(inside.archive)
        assert state == "finished"
        assert abs(datetime.fromisoformat(until) - there) < TOLERANCE
        assert inside.download("--account", "ws-1").code == 0
    assert len(asked) == 2


async def test_deferral_of_a_clock_that_was_ahead_is_due(tmp_path: Path) -> None:
    """What was put off by years, from a source and from the backlog alike, is taken now."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        batch = Batch(conversations=(Conversation(id="CA1"), Conversation(id="CA2")))
        await ledger.plan(batch, [Direction.COMBINED], HERE)
        later = {"CA1": HERE + MAX_DEFERRAL, "CA2": HERE + timedelta(days=900)}
        outcomes = [
            Outcome(
                recording=Recording(conversation_id=id_, direction=Direction.COMBINED),
                status=Status.DEFERRED,
                reason=Reason.THROTTLED,
                next_try_at=moment,
            )
            for id_, moment in later.items()
        ]
        await ledger.settle(outcomes, None, HERE)
    finally:
        await ledger.aclose()
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=False)
    try:
        plan, _ = await ledger.backlog([Direction.COMBINED], HERE, after=0, limit=9)
        assert [task.recording.conversation_id for task in plan.todo] == ["CA2"]
    finally:
        await ledger.aclose()
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=False)
    try:
        plan = await ledger.plan(batch, [Direction.COMBINED], HERE)
        assert [task.recording.conversation_id for task in plan.todo] == ["CA2"]
        assert plan.deferred == 1
    finally:
        await ledger.aclose()
