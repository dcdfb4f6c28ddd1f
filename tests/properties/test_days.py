"""Days over every change of clocks: each moment belongs to exactly one of them."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkaudio.windows import Window, parse_time

NOW = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def check_days(zone: str, first: date, count: int) -> None:
    """Hold so many days to what days are."""
    tz = ZoneInfo(zone)
    days = [first + timedelta(days=n) for n in range(count)]
    starts = [parse_time(day.isoformat(), now=NOW, tz=tz) for day in days]
    for day, start in zip(days, starts, strict=True):
        assert start.tzinfo is UTC
        assert start.astimezone(tz).date() >= day, "it begins where its date shows, or is past"
        assert (start - INSTANT).astimezone(tz).date() < day, "and nowhere earlier"
    for one, other in pairwise(starts):
        assert one <= other
        if one == other:
            continue  # a day that this zone skipped
        window = Window(one, other)
        assert window.holds(one)
        assert window.holds(other - INSTANT)
        assert not window.holds(other)
        assert not window.holds(one - INSTANT)
        assert timedelta(hours=20) <= other - one <= timedelta(hours=28)


@settings(max_examples=50)
@given(st.sampled_from(ZONES), st.integers(1971, 2037))
def test_the_days_of_a_year_follow_one_another(zone: str, year: int) -> None:
    """In every zone of the world, whatever happened to its clocks."""
    check_days(zone, date(year, 1, 1), 366)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tenth", range(10))
def test_the_days_of_all_zones_follow_one_another(tenth: int) -> None:
    """Every day from 2020 to 2030, in all of them."""
    for zone in ZONES[tenth::10]:
        check_days(zone, date(2020, 1, 1), 366 * 11)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1971, 1, 2), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.lists(st.integers(0, 3 * 86_400), min_size=2, max_size=12),
)
def test_later_on_the_clock_is_never_earlier(zone: str, start: datetime, steps: list[int]) -> None:
    """Local times that follow one another by the second name instants that do, too."""
    tz = ZoneInfo(zone)
    times = [start + timedelta(seconds=step) for step in sorted(steps)]
    instants = [parse_time(each.isoformat(), now=NOW, tz=tz) for each in times]
    assert instants == sorted(instants)
    for each, instant in zip(times, instants, strict=True):
        assert instant.astimezone(tz).replace(tzinfo=None) >= each
