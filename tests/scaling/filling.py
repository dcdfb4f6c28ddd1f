"""Ledgers of any size, filled as runs fill them: planned page by page, settled batch by batch."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from bulkaudio.ledger.ledger import Ledger
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

PAGE, BATCH = 1000, 64
"""Calls of a listed page; outcomes of a commit."""

SIDES = (Direction.COMBINED,)
RUN_ID = "20261127T020000Z-abcdef"
NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
FIRST_CALL = datetime(2025, 1, 1, tzinfo=UTC)
SECONDS, BYTES = 180.0, 2_880_044
"""Of every recording: three minutes, 8 kHz, 16 bits."""

SWELL_STEP = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """
    A ledger's size after so many rows, and what each of the last of them took.

    Attributes:
        new: How many these were.
        cpu_us, wall_us: To plan it and to settle it; by the clock, with the disk's syncs.
        written: Bytes that were written for it, to the log and from there to the file; 0 where the
            system does not count them.
    """

    rows: int
    new: int
    bytes: int
    cpu_us: float
    wall_us: float
    written: float

    @property
    def bytes_per_row(self) -> float:
        """File and log together."""
        return self.bytes / self.rows


def conversations(first: int, count: int, rng: Random) -> tuple[Conversation, ...]:
    """Make calls in the order of their starts, with ids in no order, as PolyAI's are."""
    return tuple(
        Conversation(
            id=f"CA{rng.randbytes(16).hex()}",
            started_at=FIRST_CALL + timedelta(seconds=3 * number),
            channel="VOICE-SIP",
            duration_s=SECONDS,
        )
        for number in range(first, first + count)
    )


def saved(recording: Recording, rng: Random) -> Outcome:
    """Return how a recording ends that all is well with."""
    return Outcome(
        recording=recording,
        status=Status.SAVED,
        path=Path(recording.direction, f"{recording.conversation_id}.wav"),
        bytes=BYTES,
        sha256=rng.randbytes(32).hex(),
        audio=Audio(
            codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=BYTES - 44, seconds=SECONDS
        ),
        evidence=Evidence(http_status=200, correlation_id=rng.randbytes(16).hex(), attempts=1),
    )


async def fill(path: Path, sizes: Sequence[int], rng: Random) -> list[Filled]:
    """Fill a ledger through its own interface from where it stands, and look at it at each size."""
    found = []
    ledger = await Ledger.open(path, is_new_allowed=True)
    try:
        rows = await ledger.last_rowid()
        await ledger.start_run(f"run-{rows}", NOW, "{}")
        for size in sizes:
            new, spent = size - rows, _Spent()
            while rows < size:
                count = min(PAGE, size - rows)
                await _fill_page(ledger, conversations(rows, count, rng), rng, spent)
                rows += count
            found.append(
                Filled(
                    rows=rows,
                    new=new,
                    bytes=sum(each.stat().st_size for each in _files_of(path)),
                    cpu_us=1e6 * spent.cpu_s / new,
                    wall_us=1e6 * spent.wall_s / new,
                    written=spent.written / new,
                )
            )
    finally:
        await ledger.aclose()
    return found


@dataclass(slots=True)
class _Spent:
    cpu_s: float = 0.0
    wall_s: float = 0.0
    written: int = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what the block takes."""
        began = time.process_time(), time.perf_counter(), _written()
        yield
        self.cpu_s += time.process_time() - began[0]
        self.wall_s += time.perf_counter() - began[1]
        self.written += _written() - began[2]


def _written() -> int:
    """Return the bytes that this process has written so far."""
    counted = Path("/proc/self/io")
    if not counted.exists():
        return 0
    return int(counted.read_text().partition("wchar: ")[2].split()[0])


async def _fill_page(
    ledger: Ledger, calls: Sequence[Conversation], rng: Random, spent: _Spent
) -> None:
    with spent.counting():
        plan = await ledger.plan(Batch(conversations=calls), SIDES, NOW)
    outcomes = [saved(task.recording, rng) for task in plan.todo]
    with spent.counting():
        for start in range(0, len(outcomes), BATCH):
            await ledger.settle(outcomes[start : start + BATCH], RUN_ID, NOW)


def _files_of(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{path.name}*")


async def swell(path: Path, rows: int) -> int:
    """
    Make a ledger of saved recordings by SQL, for questions to it: one in a thousand has failed.

    In a twentieth of the time that `fill` takes, without what changing rows costs in space.

    Returns:
        Its size in bytes.
    """
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.start_run(RUN_ID, NOW, "{}")
    await ledger.aclose()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {pragma}")
        for first in range(0, rows, SWELL_STEP):
            connection.execute(_SWELL, {"first": first + 1, "last": min(rows, first + SWELL_STEP)})
    return path.stat().st_size


_SWELL = """
WITH RECURSIVE
    numbers (id) AS (SELECT :first UNION ALL SELECT id + 1 FROM numbers WHERE id < :last),
    names (id, name) AS MATERIALIZED (
        SELECT id, 'CA' || lower(hex(randomblob(16))) FROM numbers
    )
INSERT INTO recordings (
    id, conversation_id, direction, status, path, bytes, sha256, audio_seconds, codec, sample_rate,
    channels, started_at, first_seen_at, saved_at, attempts, http_status, correlation_id, run_id
)
SELECT id, name, 'combined', CASE WHEN id % 1000 = 0 THEN 'failed' ELSE 'saved' END,
    'combined/' || name || '.wav', 2880044, lower(hex(randomblob(32))), 180.0, 'pcm', 8000, 1,
    strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1735689600 + 3 * id, 'unixepoch'),
    '2026-11-27T02:00:00.000000Z', '2026-11-27T02:00:00.000000Z', 1, 200,
    lower(hex(randomblob(16))), '20261127T020000Z-abcdef'
FROM names
"""
