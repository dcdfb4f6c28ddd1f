"""Planning what is known: exact in any order, and set-based where almost everything is saved."""

import asyncio
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.planning import Planner, Seen
from bulkaudio.model import BareConversations, Batch, Conversation, Direction, Outcome, Plan, Status
from bulkaudio.sources.csv_rows import read_batches
from tests.test_ledger import COMBINED, HOUR, NOW, recording, saved

COUNT = 5000
KNOWN = tuple(f"CA{n * 2654435761 % 2**32:032x}" for n in range(COUNT))
"""In the order in which the ledger has them, which is not the index's."""


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Open a ledger in which `KNOWN` are saved, in the course of a new run."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    await ledger.settle([saved(id_) for id_ in KNOWN], "run-1", NOW)
    await ledger.start_run("run-2", NOW, "{}")
    yield ledger
    await ledger.aclose()


def bare(*ids: str) -> Batch:
    """Name conversations of which nothing else is known."""
    return Batch(conversations=BareConversations(ids=ids))


class Calls:
    """Counts what the interpreter calls, in the thread that asks for it."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: Any, event: str, _argument: Any) -> None:
        self.count += event in {"call", "c_call"}


async def plan_all(ledger: Ledger, batches: Sequence[Batch]) -> tuple[Plan, list[str]]:
    """Plan all of it; return the sum of the plans, and the statements that it took."""
    statements: list[str] = []
    total = Plan(conversations=0, todo=(), already=0, absent=0, deferred=0, duplicates=0)
    await ledger._database.read(lambda c: c.set_trace_callback(statements.append))
    for batch in batches:
        plan = await ledger.plan(batch, COMBINED, NOW)
        total = replace(
            total,
            conversations=total.conversations + plan.conversations,
            todo=total.todo + plan.todo,
            already=total.already + plan.already,
            duplicates=total.duplicates + plan.duplicates,
        )
    await ledger._database.read(lambda c: c.set_trace_callback(None))
    return total, statements


@pytest.mark.parametrize("order", [1, -1], ids=["the same order", "the reverse"])
async def test_what_is_saved_takes_a_few_statements_a_thousand(ledger: Ledger, order: int) -> None:
    """Begin, the pilots, their rows, commit; none of it is by the index but the pilots."""
    batches = [bare(*KNOWN[::order][at : at + 1000]) for at in range(0, COUNT, 1000)]
    plan, statements = await plan_all(ledger, batches)
    assert (plan.already, plan.conversations, plan.duplicates, plan.todo) == (COUNT, COUNT, 0, ())
    assert len(statements) <= 5 * len(batches)
    by_index = [text for text in statements if "json_each" in text]
    assert len(by_index) == len(batches)
    assert max(map(len, by_index)) < 1000, "a few ids, not a thousand"


async def test_what_is_saved_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """A transaction without changes neither grows the log nor has it synced."""
    wal = tmp_path / "ledger.db-wal"
    before = wal.stat()
    changes = await ledger._database.read(lambda c: c.total_changes)
    plan, statements = await plan_all(ledger, [bare(*KNOWN)])
    assert plan.already == COUNT
    assert await ledger._database.read(lambda c: c.total_changes) == changes
    assert not [text for text in statements if text.startswith(("INSERT", "UPDATE"))]
    after = wal.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


async def test_what_is_saved_is_not_looked_at_one_by_one(ledger: Ledger) -> None:
    """Far less than one call for each id, counted from the text of the file to the plan."""
    # The rows that come with a header are looked at one by one, and here it comes alone.
    texts = ["conversation_id\n", "\n".join(KNOWN)]
    with Calls() as reading:
        batches = list(read_batches(iter(texts), None, "calls.csv"))
    assert reading.count < 0.2 * COUNT

    def plan(connection: sqlite3.Connection) -> tuple[int, int]:
        seen, already = Seen(), 0
        with Calls() as planning:
            for batch in batches:
                already += Planner(connection, COMBINED, NOW, seen).plan(batch).already
        return already, planning.count

    already, calls = await ledger._database.read(plan)
    assert already == COUNT
    assert calls < 0.2 * COUNT


async def test_a_few_others_do_not_make_the_rest_slow(ledger: Ledger) -> None:
    """New ones among the saved, first and last ones too, cost a look at the index for themselves."""
    ids = [*KNOWN]
    ids[::100] = [f"NEW{n}" for n in range(50)]
    ids[-1] = "NEW-LAST"
    plan, statements = await plan_all(ledger, [bare(*ids)])
    assert plan.already == COUNT - 51
    assert [task.recording.conversation_id for task in plan.todo] == [
        i for i in ids if i.startswith("NEW")
    ]
    assert sum(text.startswith("INSERT") for text in statements) == 51
    assert sum("json_each" in text for text in statements) <= 3


async def test_rows_that_are_not_together_are_looked_up(ledger: Ledger) -> None:
    """Every one of them, and none that nobody asked for is read for it."""
    ids = sorted(KNOWN)
    batches = [bare(*ids[at : at + 100]) for at in range(0, COUNT, 100)]
    plan, statements = await plan_all(ledger, batches)
    assert (plan.already, plan.conversations) == (COUNT, COUNT)
    assert not [text for text in statements if "BETWEEN" in text]
    assert len(statements) <= 5 * len(batches)


async def test_a_conversation_that_comes_again_is_a_duplicate(ledger: Ledger) -> None:
    """In its batch and in later ones, among some that are new to the run, at no greater cost."""
    first = await ledger.plan(bare(*KNOWN[:20], *KNOWN[5:10]), COMBINED, NOW)
    assert (first.already, first.conversations, first.duplicates) == (20, 20, 5)
    again, statements = await plan_all(ledger, [bare(*KNOWN[10:1000])])
    assert (again.already, again.conversations, again.duplicates) == (980, 980, 10)
    assert len(statements) <= 5


def test_rows_are_marked_together() -> None:
    """Those that were marked before are named, and the others are marked all the same."""
    seen = Seen()
    assert seen.add_all([]) == set()
    assert seen.add_all([9, 8, 7, 10]) == set()
    assert seen.add_all([1, 100_000, 31]) == set()
    assert seen.add_all([200, 31, 5, 9]) == {9, 31}
    assert seen.add_all([10, 11]) == {10}
    numbers = (1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 31, 200, 100_000)
    assert [n for n in numbers if seen.add(n)] == [2, 6, 12]


def test_bare_conversations_are_like_any_others() -> None:
    """A sequence of conversations that knows nothing but their ids."""
    calls = BareConversations(ids=("a", "b", "c"))
    made = [Conversation(id=i) for i in "abc"]
    assert list(calls) == made
    assert [calls[0], calls[-1]] == [made[0], made[-1]]
    assert list(calls[1:]) == made[1:]
    assert calls[:2] == BareConversations(ids=("a", "b"))
    assert len(calls) == 3
    assert made[1] in calls


@dataclass
class Oracle:
    """What the ledger should say: every recording by itself, with a dictionary."""

    statuses: dict[tuple[str, Direction], Status]
    dates: dict[tuple[str, Direction], datetime | None]
    seen: set[tuple[str, Direction]] = field(default_factory=set)

    def plan(self, calls: Sequence[Conversation], directions: Sequence[Direction]) -> Counter[str]:
        """Count, and learn dates."""
        counts = Counter[str]()
        for call in calls:
            keys = [(call.id, direction) for direction in directions]
            counts["conversations"] += not self.seen.intersection(keys)
            for key in keys:
                status = self.statuses.setdefault(key, Status.OPEN)
                self.dates[key] = self.dates.get(key) or call.started_at
                counts["duplicates" if key in self.seen else status] += 1
                self.seen.add(key)
        return counts


NAMES = st.integers(0, 39).map("CA{}".format)
START = st.sampled_from([None, NOW - HOUR])
SETTLED = st.sampled_from([Status.SAVED, Status.SAVED, Status.SAVED, Status.ABSENT, Status.FAILED])
DIRECTIONS = st.lists(st.sampled_from(Direction), min_size=1, unique=True)
ORDERS: list[Callable[[list[str]], Sequence[str]]] = [list, sorted, lambda ids: ids[::-1]]


def calls_of(data: st.DataObject, names: Sequence[str]) -> Sequence[Conversation]:
    """Name some of the known ones, mostly in their order, and some others."""
    order = data.draw(st.sampled_from(ORDERS))
    some = [name for name in order([*names]) if data.draw(st.integers(0, 9))]
    ids = some + data.draw(st.lists(NAMES, max_size=5))
    if data.draw(st.booleans()):
        return BareConversations(ids=tuple(ids))
    return tuple(Conversation(id=i, started_at=data.draw(START)) for i in ids)


def history(data: st.DataObject) -> list[Outcome]:
    """Make up what earlier runs left behind."""
    outcomes = []
    for name in data.draw(st.lists(NAMES, unique=True, max_size=40)):
        for direction in data.draw(DIRECTIONS):
            kept = saved(name, direction)
            dated = replace(recording(name, direction), started_at=data.draw(START))
            status = data.draw(SETTLED)
            outcomes.append(
                replace(kept, recording=dated)
                if status is Status.SAVED
                else Outcome(recording=dated, status=status, reason="http_500")
            )
    return outcomes


async def check(data: st.DataObject, folder: Path) -> None:
    """Plan some batches of a run and compare every figure and every date."""
    ledger = await Ledger.open(folder / "ledger.db", is_new_allowed=True)
    try:
        outcomes = history(data)
        await ledger.settle(outcomes, "run-1", NOW)
        await ledger.start_run("run-2", NOW, "{}")
        keys = {(o.recording.conversation_id, o.recording.direction): o for o in outcomes}
        oracle = Oracle(
            statuses={key: o.status for key, o in keys.items()},
            dates={key: o.recording.started_at for key, o in keys.items()},
        )
        directions = data.draw(DIRECTIONS)
        names = list(dict.fromkeys(key[0] for key in keys))
        for _ in range(3):
            calls = calls_of(data, names)
            plan = await ledger.plan(Batch(conversations=calls), directions, NOW)
            counts = oracle.plan(calls, directions)
            assert plan.conversations == counts["conversations"]
            assert plan.duplicates == counts["duplicates"]
            assert plan.already == counts[Status.SAVED]
            assert plan.absent == counts[Status.ABSENT]
            assert len(plan.todo) == counts[Status.OPEN] + counts[Status.FAILED]
        kept = [row.recording for row in await ledger.rows_after(0, 1000)]
        assert {(r.conversation_id, r.direction): r.started_at for r in kept} == oracle.dates
    finally:
        await ledger.aclose()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_plans_are_what_one_by_one_would_make_them(data: st.DataObject) -> None:
    """Any order, repetition, direction, date and state: the figures are those of a dictionary."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(data, Path(folder)))
