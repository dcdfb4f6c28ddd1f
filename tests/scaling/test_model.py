"""What the model makes of figures that anybody can check by hand."""

from dataclasses import replace

import pytest

from tests.scaling import model
from tests.scaling.model import Fleet, Measured

MEASURED = Measured(
    row_bytes=400.0,
    told_bytes=600.0,
    driver_us=90.0,
    waited_us=250.0,
    page_s=0.01,
    answers_us={"`status`": 0.5},
    take_up_us=20.0,
)


def test_polyais_limit_is_what_most_runs_wait_for() -> None:
    """Ten million at 100 a second take 28 hours, whatever else there is."""
    fleet = Fleet(recordings=10_000_000, rate=100.0)
    first, *others = model.bounds(fleet, MEASURED)
    assert (first.name, first.per_s) == ("PolyAI's limit", 100.0)
    assert model.duration_s(fleet, MEASURED) == 100_000
    assert [each.per_s for each in others] == sorted(each.per_s for each in others)


@pytest.mark.parametrize(
    ("fleet", "name", "per_s"),
    [
        pytest.param(Fleet(recordings=1), "the listing", 1000.0, id="pages of a second"),
        pytest.param(
            Fleet(recordings=1, workers=10), "the workers' lines", 217.0, id="few workers"
        ),
        pytest.param(
            Fleet(recordings=1, workers=10, worker_bytes_per_s=1e12, page_latency_s=0.1),
            "the workers' processors",
            1572.3,
            id="wide lines",
        ),
        pytest.param(
            Fleet(recordings=1, workers=500, worker_bytes_per_s=1e12, page_latency_s=0.1),
            "the driver's disk",
            4000.0,
            id="many workers",
        ),
    ],
)
def test_the_narrowest_part_decides(fleet: Fleet, name: str, per_s: float) -> None:
    """Which one it is depends on the fleet."""
    first = model.bounds(fleet, MEASURED)[0]
    assert first.name == name
    assert first.per_s == pytest.approx(per_s, abs=0.1)


def test_a_line_counts_once_without_an_object_store() -> None:
    """A shared folder is reached by another line, or by the same: then say two passes."""
    fleet = Fleet(recordings=1, workers=10)
    through = {each.name: each.per_s for each in model.bounds(fleet, MEASURED)}
    once = {each.name: each.per_s for each in model.bounds(replace(fleet, passes=1), MEASURED)}
    assert once["the workers' lines"] == pytest.approx(2 * through["the workers' lines"])


def test_a_page_takes_its_time_or_its_parsers() -> None:
    """A page of 200 MB of transcripts is no longer the network's matter."""
    fleet = Fleet(recordings=1_000_001)
    assert (model.pages(fleet), model.parts(fleet)) == (1001, 1001)
    assert model.listing_s(fleet, MEASURED) == pytest.approx(1001)
    assert model.listing_s(fleet, replace(MEASURED, page_s=2.0)) == pytest.approx(2002)


def test_the_runs_own_share_grows_with_the_pace() -> None:
    """100 µs for each recording, its share of a page among it: a tenth of a core at 1,000 a second."""
    assert model.driver_us(MEASURED) == pytest.approx(100.0)
    assert model.driver_share(Fleet(recordings=1), MEASURED) == pytest.approx(0.1)


def test_a_lost_disk_costs_reading_and_writing() -> None:
    """A thousand parts of 50 ms, and a million rows of 20 µs."""
    fleet = Fleet(recordings=1_000_000)
    assert model.lost_disk_s(fleet, MEASURED) == pytest.approx(50 + 20)
