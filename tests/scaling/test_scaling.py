"""That the figures are measured at all, small: on a ledger of some thousand rows."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Status
from tests.scaling import page
from tests.scaling.__main__ import main
from tests.scaling.asking import QUESTIONS, answers
from tests.scaling.driving import driver_cost, page_bytes, parse_s
from tests.scaling.filling import fill, swell

LEAST_RESULTS_PER_S = 2000


async def counted(path: Path) -> dict[tuple[Direction, Status], int]:
    """Count a ledger's rows, checked by SQLite and by us."""
    ledger = await Ledger.open(path, is_new_allowed=False)
    try:
        await ledger.check()
        await ledger.check_values()
        return {key: total.count for key, total in (await ledger.totals()).items()}
    finally:
        await ledger.aclose()


async def test_a_ledger_is_filled_and_filled_on(tmp_path: Path) -> None:
    """To the sizes that were asked for, as a run would, also one that was made by SQL."""
    first, second = await fill(tmp_path / "a.db", (1000, 2500), Random(1))
    assert (first.rows, second.rows, second.new) == (1000, 2500, 1500)
    assert first.bytes < second.bytes
    assert await counted(tmp_path / "a.db") == {(Direction.COMBINED, Status.SAVED): 2500}

    size = await swell(tmp_path / "b.db", 2000)
    assert size == (tmp_path / "b.db").stat().st_size
    await fill(tmp_path / "b.db", (2100,), Random(2))
    assert await counted(tmp_path / "b.db") == {
        (Direction.COMBINED, Status.SAVED): 2098,
        (Direction.COMBINED, Status.FAILED): 2,
    }


async def test_every_question_is_answered(tmp_path: Path) -> None:
    """In no time at all, here."""
    await swell(tmp_path / "a.db", 1000)
    rows, found = await answers(tmp_path / "a.db")
    assert rows == 1000
    assert found.keys() == QUESTIONS.keys()


def test_the_run_itself_is_good_for_thousands_of_results(tmp_path: Path) -> None:
    """Of processor time, which others that share the machine do not change much: 2,000 a second."""
    cost = driver_cost(tmp_path, 3000, Random(1))
    assert cost.results_per_s > LEAST_RESULTS_PER_S, cost
    assert asyncio.run(counted(tmp_path / ".bulkaudio" / "ledger.db")) == {
        (Direction.COMBINED, Status.SAVED): 3000
    }
    assert len((tmp_path / ".bulkaudio" / "status.json").read_text()) > 100


def test_pages_of_the_listing_are_read() -> None:
    """With transcripts, which take their time, and without."""
    assert 0 < parse_s(page_bytes(10), rounds=1) < parse_s(page_bytes(10, turns=2000), rounds=1)


def test_everything_is_written_into_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two marks, and nowhere else."""
    target = tmp_path / "page.md"
    target.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr("tests.scaling.__main__.SIMULATED", 5000)
    monkeypatch.setattr("tests.scaling.__main__.MORE", 100)
    sizes = ("--rows", "200", "--swell", "300", "--results", "200")
    main([*sizes, "--dir", str(tmp_path), "--output", str(target)])
    text = target.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| `report` |" in text
    assert "| 10,000,000 | 100,000,000 |" in text
    assert not list(tmp_path.glob("scaling-*"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.50 s"), (90, "90.0 s"), (600, "10.0 min"), (86400, "24.0 h"), (864000, "10.0 days")],
)
def test_times_are_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    """So that nobody has to divide."""
    assert page.span(seconds) == text
