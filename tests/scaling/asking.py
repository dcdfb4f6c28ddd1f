"""What a whole ledger is asked, and how long each question takes."""

import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from random import Random

from bulkaudio.gaps import Frame
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Recording
from bulkaudio.report.count import Count
from bulkaudio.report.figures import Scope
from bulkaudio.report.gather import ROWS_PER_PAGE
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.survey import survey
from bulkaudio.verify import ROWS_PER_PAGE as VERIFIED_PER_PAGE
from tests.scaling.filling import NOW, PAGE, conversations, saved

BOTH = (Direction.COMBINED, Direction.USER)

Question = Callable[[Ledger], Awaitable[object]]


async def status(ledger: Ledger) -> None:
    """Ask what `status` and the metrics file do."""
    await ledger.totals()
    await ledger.oldest_open()


async def gaps(ledger: Ledger) -> None:
    """Count by day, and look for a side that nobody asked for."""
    await survey(ledger, Frame(zone=UTC, now=NOW, directions=BOTH, counts_never_asked=True))


async def report(ledger: Ledger) -> None:
    """Count call by call, as the page does."""
    count, position = Count(Scope(), DEFAULT_LAYOUT), ""
    while page := await ledger.calls_after(position, ROWS_PER_PAGE):
        for call in page:
            count.add(call)
        position = page[-1][0].recording.conversation_id
    count.figures()


async def verify_pages(ledger: Ledger) -> None:
    """Take every saved row, as `verify` does before it reads their files."""
    position = 0
    while page := await ledger.saved_after(position, VERIFIED_PER_PAGE):
        position = page[-1].rowid


async def start(ledger: Ledger) -> None:
    """Ask what a run does at its start."""
    await ledger.has_saved()
    await ledger.high_water("scope")
    await ledger.backlog(BOTH, NOW, after=0, limit=500)


QUESTIONS: Mapping[str, Question] = {
    "start of a run": start,
    "`status`": status,
    "`gaps`": gaps,
    "`report`": report,
    "`verify`: every saved row": verify_pages,
    "`verify`: SQLite's own check": Ledger.check,
}
"""None of them reads a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Microseconds for each row: by the clock on the wall, and of a processor."""

    wall_us: float
    cpu_us: float


def ignore(_: str) -> None:
    """Watch nothing."""


async def answers(
    path: Path, tell: Callable[[str], None] = ignore
) -> tuple[int, dict[str, Answer]]:
    """
    Put every question to a ledger; return how many rows it has, and what each took.

    Args:
        tell: Called with each answer as a line of text: of a large ledger, each takes minutes.
    """
    ledger = await Ledger.open(path, is_new_allowed=False)
    found = {}
    try:
        rows = await ledger.last_rowid()
        for name, question in QUESTIONS.items():
            began, cpu = time.perf_counter(), time.process_time()
            await question(ledger)
            found[name] = Answer(
                wall_us=1e6 * (time.perf_counter() - began) / rows,
                cpu_us=1e6 * (time.process_time() - cpu) / rows,
            )
            tell(f"{name}: {found[name].cpu_us:.2f} ({found[name].wall_us:.2f}) µs a row")
    finally:
        await ledger.aclose()
    return rows, found


async def take_up_us(path: Path, rows: int, rng: Random) -> float:
    """Return the processor time that `rebuild` needs for each file beside reading it, in microseconds."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    spent = 0.0
    try:
        for first in range(0, rows, PAGE):
            calls = conversations(first, min(PAGE, rows - first), rng)
            outcomes = [
                saved(Recording(conversation_id=call.id, direction=Direction.COMBINED), rng)
                for call in calls
            ]
            began = time.process_time()
            await ledger.take_up(outcomes, NOW)
            spent += time.process_time() - began
    finally:
        await ledger.aclose()
    return 1e6 * spent / rows


def told_bytes(path: Path, rows: int = 1000) -> float:
    """Return the bytes of one row in a manifest: a line of JSON with all that it knows."""
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute("SELECT * FROM recordings LIMIT ?", (rows,))
        names = [column[0] for column in cursor.description]
        lines = [
            json.dumps({"recording": known}, separators=(",", ":"))
            for row in cursor
            if (known := {n: v for n, v in zip(names, row, strict=True) if n != "id" and v})
        ]
    return sum(len(line) + 1 for line in lines) / len(lines)
