"""Counting by day: every recording in exactly one column of one day, whatever its zone does."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkaudio.gaps import COLUMN_OF, Column, Coverage, Frame, coverage, merged
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Evidence, Outcome, Recording, Status
from bulkaudio.survey import survey
from bulkaudio.windows import day_of, day_start
from tests.properties.test_days import ZONES

NOW = datetime(2037, 12, 1, tzinfo=UTC)

Row = tuple[datetime | None, Status, Direction]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
STARTS = st.integers(-1_700_000_000_000_000, 300_000_000_000_000).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)
"""From 1972 to 2035."""

FATES = st.sampled_from([Status.SAVED, Status.ABSENT, Status.DEFERRED, Status.FAILED])


def rows_near(base: datetime) -> st.SearchStrategy[list[Row]]:
    """Draw recordings of one season: the days between them are all shown."""
    offsets = st.integers(-90 * 86400, 90 * 86400).map(lambda s: base + timedelta(seconds=s))
    row = st.tuples(st.none() | offsets, FATES, st.sampled_from(list(Direction)))
    return st.lists(row, max_size=20)


ROWS = STARTS.flatmap(rows_near)


def outcome(number: int, row: Row) -> Outcome:
    """Make a recording's outcome."""
    started_at, status, direction = row
    is_saved = status is Status.SAVED
    return Outcome(
        recording=Recording(
            conversation_id=f"CA{number}", direction=direction, started_at=started_at
        ),
        status=status,
        path=Path(f"{direction}/CA{number}.wav") if is_saved else None,
        bytes=1 if is_saved else None,
        sha256="0" * 64 if is_saved else None,
        reason=None if is_saved else "http_410",
        evidence=Evidence(attempts=1),
    )


async def counted(
    rows: Sequence[Row], frame: Frame, page_rows: int
) -> tuple[dict[tuple[date | None, Direction, Column], int], Counter[Column]]:
    """Count rows by the ledger; return each cell, and the ledger's own totals."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = await Ledger.open(Path(folder) / "ledger.db", is_new_allowed=True)
        try:
            outcomes = [outcome(number, row) for number, row in enumerate(rows)]
            await ledger.settle(outcomes, "run-1", NOW)
            census = await survey(ledger, frame, page_rows=page_rows)
            totals: Counter[Column] = Counter()
            for (_, status), total in (await ledger.totals()).items():
                totals[COLUMN_OF[status]] += total.count
        finally:
            await ledger.aclose()
    cells: dict[tuple[date | None, Direction, Column], int] = {}
    for line in frame.lines(census):
        parts = {column: getattr(line, column.value) for column in Column}
        assert line.listed == sum(parts.values())
        cells |= {(line.day, line.direction, c): n for c, n in parts.items() if n}
    return cells, totals


@settings(max_examples=40)
@example(
    [(datetime(2007, 11, 4, 2, 31, 30, tzinfo=UTC), Status.SAVED, Direction.USER)],
    "America/St_Johns",
    7,
)
@example(
    [(datetime(2026, 3, 28, 18, 29, 59, tzinfo=UTC), Status.FAILED, Direction.USER)],
    "Asia/Kolkata",
    1,
)
@given(ROWS, st.sampled_from(ZONES), st.integers(1, 40))
async def test_sums_over_days_are_the_ledgers_totals(
    rows: list[Row], zone: str, page_rows: int
) -> None:
    """In every zone, on every page size; and each row lies in the day that it begins in."""
    tz = ZoneInfo(zone)
    frame = Frame(zone=tz, now=NOW, directions=tuple(Direction))
    cells, totals = await counted(rows, frame, page_rows)
    by_hand = Counter(
        (None if at is None else day_of(at, tz), direction, COLUMN_OF[status])
        for at, status, direction in rows
    )
    assert cells == dict(by_hand)
    summed: Counter[Column] = Counter()
    for (_, _, column), count in cells.items():
        summed[column] += count
    assert summed == totals


@settings(max_examples=30)
@given(
    STARTS.flatmap(lambda base: st.tuples(st.just(base), rows_near(base))),
    st.sampled_from(ZONES),
    st.integers(1, 100),
)
async def test_a_window_holds_what_starts_in_it(
    drawn: tuple[datetime, list[Row]], zone: str, days: int
) -> None:
    """And nothing without a start."""
    (begin, rows), tz = drawn, ZoneInfo(zone)
    end = begin + timedelta(days=days)
    frame = Frame(zone=tz, now=NOW, directions=tuple(Direction), since=begin, until=end)
    cells, _ = await counted(rows, frame, 10)
    inside = [at for at, _, _ in rows if at is not None and begin <= at < end]
    assert sum(cells.values()) == len(inside)
    assert {day for day, _, _ in cells} == {day_of(at, tz) for at in inside}


@given(STARTS, st.sampled_from(ZONES))
def test_a_moment_lies_in_one_day(moment: datetime, zone: str) -> None:
    """Between its start and that of the next."""
    tz = ZoneInfo(zone)
    day = day_of(moment, tz)
    assert day_start(day, tz) <= moment < day_start(day + timedelta(days=1), tz)


HOURS = st.integers(0, 60)
WINDOWS = st.lists(
    st.tuples(st.none() | HOURS, HOURS).filter(lambda w: w[0] is None or w[0] < w[1])
)


def at(hour: int) -> datetime:
    """Return so many hours from the beginning."""
    return EPOCH + timedelta(hours=hour)


@given(WINDOWS, HOURS, st.integers(1, 30))
def test_coverage_is_what_the_hours_say(
    windows: list[tuple[int | None, int]], first: int, count: int
) -> None:
    """Hour by hour, against windows that are merged in any order."""
    whole = merged((None if a is None else at(a), at(b)) for a, b in windows)
    seen = [
        any((a is None or a <= hour) and hour < b for a, b in windows)
        for hour in range(first, first + count)
    ]
    expected = Coverage.WHOLE if all(seen) else Coverage.PART if any(seen) else Coverage.NONE
    assert coverage(at(first), at(first + count), whole) is expected


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.ALREADY])
def test_every_status_has_a_column(status: Status) -> None:
    """So that nothing that the ledger knows can be left out of the sums."""
    assert COLUMN_OF[status] in Column
