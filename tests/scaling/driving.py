"""What the run itself does for each recording that workers report, on one core."""

import asyncio
import json
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

from bulkaudio.committer import Committer
from bulkaudio.conduct import fan_out
from bulkaudio.events import Emit, Planned, Started
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Outcome
from bulkaudio.observe.log_events import LogEvents
from bulkaudio.observe.logs import LogOptions, logging_to
from bulkaudio.observe.status_file import StatusFile
from bulkaudio.observe.tally import Tally
from bulkaudio.polyai.conversations import READ_KEYS, read_record
from bulkaudio.polyai.pages import PageParser
from bulkaudio.sources.listing import SLICE_BYTES
from bulkaudio.stores.base import Store
from tests.scaling.filling import NOW, PAGE, RUN_ID, SIDES, conversations, saved

SHARD = 256
"""Recordings in a report."""

TURN = {"user_input": "yes, that is right", "agent_response": "thank you, one moment please"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """
    Microseconds of processor time for each recording, all threads together.

    Attributes:
        plan: Compared with the ledger and put there as open.
        unpack: Of a worker's report.
        commit: Committed, counted, logged and shown.
        waited: Wall time of a recording from its plan to its commit, the disk's syncs included.
    """

    plan: float
    unpack: float
    commit: float
    waited: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.plan + self.unpack + self.commit

    @property
    def results_per_s(self) -> float:
        """How many one core is good for."""
        return 1e6 / self.total


def driver_cost(folder: Path, rows: int, rng: Random) -> Cost:
    """Bring recordings from a listing's page into the ledger, by the parts that a run has."""
    with logging_to(LogOptions(file=folder / "run.log")):
        return asyncio.run(_driver_cost(folder, rows, rng))


async def _driver_cost(folder: Path, rows: int, rng: Random) -> Cost:
    state = folder / ".bulkaudio"
    state.mkdir()
    ledger = await Ledger.open(state / "ledger.db", is_new_allowed=True)
    tally = Tally()
    status_file = StatusFile(tally=tally)
    emit = fan_out([tally, LogEvents(), status_file])
    spent = [0.0, 0.0, 0.0]
    waited = 0.0
    try:
        await ledger.start_run(RUN_ID, NOW, "{}")
        emit(Started(run_id=RUN_ID, started_at=NOW, archive=folder))
        with status_file.writing():
            for first in range(0, rows, PAGE):
                batch = Batch(conversations=conversations(first, min(PAGE, rows - first), rng))
                began, clock = time.perf_counter(), _Clock()
                plan = await ledger.plan(batch, SIDES, NOW)
                emit(Planned(plan=plan))
                spent[0] += clock.lap()
                waited += time.perf_counter() - began
                reports = _reports([saved(task.recording, rng) for task in plan.todo])
                began, clock = time.perf_counter(), _Clock()
                outcomes = [each for report in reports for each in pickle.loads(report)]  # noqa: S301
                spent[1] += clock.lap()
                await _commit(ledger, outcomes, emit)
                spent[2] += clock.lap()
                waited += time.perf_counter() - began
    finally:
        await ledger.aclose()
    plan_us, unpack_us, commit_us = (1e6 * each / rows for each in spent)
    return Cost(plan=plan_us, unpack=unpack_us, commit=commit_us, waited=1e6 * waited / rows)


class _Clock:
    """Processor time of the process between two looks."""

    def __init__(self) -> None:
        self._at = time.process_time()

    def lap(self) -> float:
        """Return the time since the last look."""
        before, self._at = self._at, time.process_time()
        return self._at - before


def _reports(outcomes: Sequence[Outcome]) -> list[bytes]:
    return [
        pickle.dumps(tuple(outcomes[start : start + SHARD]), protocol=pickle.HIGHEST_PROTOCOL)
        for start in range(0, len(outcomes), SHARD)
    ]


async def _commit(ledger: Ledger, outcomes: Sequence[Outcome], emit: Emit) -> None:
    # Saved by workers: the store is not asked for anything.
    committer = Committer(cast("Store", None), ledger, run_id=RUN_ID, emit=emit)
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        for outcome in outcomes:
            await committer.settle(outcome)
        await committer.drain()


def page_bytes(calls: int = PAGE, *, turns: int = 0) -> bytes:
    """Make a page as PolyAI's listing has them, with so many turns of transcript in each call."""
    records = [
        {
            "conversation_id": call.id,
            "account_id": "ws-1",
            "project_id": "PROJECT-1",
            "started_at": None if call.started_at is None else call.started_at.isoformat(),
            "total_duration": call.duration_s,
            "num_turns": turns,
            "channel": call.channel,
            "client_env": "live",
            "variant_id": "variant-1",
            "in_progress": False,
            "from_number": "+440000000000",
            "to_number": "+440000000001",
            "handoff": None,
            "language": "en-GB",
            "turns": [TURN] * turns,
        }
        for call in conversations(0, calls, Random(1))
    ]
    return json.dumps({"conversations": records, "cursor": "A" * 64}).encode()


def parse_s(page: bytes, rounds: int = 3) -> float:
    """Return the processor time that reading a page takes, the shortest of some rounds."""
    return min(_parse_s(page) for _ in range(rounds))


def _parse_s(page: bytes) -> float:
    clock, parser, found = _Clock(), PageParser(READ_KEYS), 0
    for start in range(0, len(page), SLICE_BYTES):
        for record in parser.feed(page[start : start + SLICE_BYTES]):
            found += isinstance(read_record(record, "page 1"), Conversation)
    records, end = parser.finish()
    found += sum(isinstance(read_record(each, "page 1"), Conversation) for each in records)
    assert found and end.cursor, "a page of ours is a page"  # noqa: PT018
    return clock.lap()
