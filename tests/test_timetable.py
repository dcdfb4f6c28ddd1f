"""The timetable of the bandwidth: what is read, what is refused, and what holds when."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.timetable import DAYS, Timetable, parse_timetable

ZONES = ("UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
MINUTES = st.integers(0, 24 * 60 - 1)
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("20M", 20_000_000),
        ("20MB", 20_000_000),
        (" 20 MB/s ", 20_000_000),
        ("20MiB", 20 * 2**20),
        ("500k", 500_000),
        ("1.5G", 1_500_000_000),
        ("64000", 64_000),
        ("off", None),
        ("OFF", None),
    ],
)
def test_one_ceiling_holds_always(text: str, limit: int | None) -> None:
    """A number with a unit, or none, or no ceiling at all."""
    assert parse_timetable(text).limit_at(datetime(2026, 11, 27, tzinfo=UTC)) == limit


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "20", "999", "-1M", "fast", "20X", "20Mbps", "20Mbit", "1e6", "20M,", ",20M"),
        *("8-18=20M", "08:00=20M", "08:00-18:00=", "=20M", "08:00-18:00=0", "08:00-18:00=-1"),
        *("off,off", "off,08:00-09:00=1M", "25:00-26:00=1M", "08:60-09:00=1M", "24:00-06:00=1M"),
        *("08:00-08:00=1M", "Mon-Foo 08:00-09:00=1M", "Mon,Tue 08:00-09:00=1M", "20M off"),
        "08:00-18:00=20M\x1b[31m",
    ],
)
def test_what_is_no_bandwidth_is_refused(text: str) -> None:
    """Nothing is guessed, nothing is printed raw, and the right form is told."""
    with pytest.raises(UsageError) as refused:
        parse_timetable(text)
    assert refused.value.message.isprintable()
    assert "08:00-18:00=20M,off" in str(refused.value.fix)


def at(text: str, day: int, clock: str) -> int | None:
    """Return the ceiling in November 2026, whose 23rd is a Monday, in London."""
    table = parse_timetable(text).within(ZoneInfo("Europe/London"))
    return table.limit_at(datetime.fromisoformat(f"2026-11-{day}T{clock}Z"))


def test_hours_and_days_are_those_of_the_zone() -> None:
    """Half-open hours; what holds is the first entry that does; a night belongs to its evening."""
    office = "Mon-Fri 08:00-18:00=20M,Sat-Sun=50M,off"
    assert at(office, 27, "07:59:59") is None
    assert at(office, 27, "08:00:00") == 20_000_000
    assert at(office, 27, "17:59:59") == 20_000_000
    assert at(office, 27, "18:00:00") is None
    assert at(office, 28, "03:00:00") == 50_000_000
    night = "Fri 22:00-06:00=off,20M"
    assert at(night, 27, "05:59:00") == 20_000_000
    assert at(night, 27, "22:00:00") is None
    assert at(night, 28, "05:59:00") is None
    assert at(night, 28, "06:00:00") == 20_000_000
    assert at("00:00-24:00=1M,off", 28, "23:59:59") == 1_000_000
    assert at("Fri-Mon=1M,off", 29, "12:00:00") == 1_000_000
    assert at("Fri-Mon=1M,off", 24, "12:00:00") is None
    assert at("08:00-12:00=1M,08:00-18:00=2M", 27, "09:00:00") == 1_000_000
    assert at("08:00-12:00=1M", 27, "13:00:00") is None


def test_an_hour_that_comes_twice_is_one_hour_twice() -> None:
    """In London the hour after one o'clock came twice in October 2026, and not at all in March."""
    table = parse_timetable("01:00-02:00=1M,off").within(ZoneInfo("Europe/London"))

    def minutes(day: datetime) -> int:
        found = (table.limit_at(day + timedelta(minutes=n)) for n in range(24 * 60))
        return sum(limit is not None for limit in found)

    assert minutes(datetime(2026, 10, 25, tzinfo=UTC) - timedelta(hours=1)) == 120
    assert minutes(datetime(2026, 3, 28, 23, tzinfo=UTC)) == 0
    assert minutes(datetime(2026, 7, 1, 22, tzinfo=UTC)) == 60


@given(INSTANTS, st.sampled_from(ZONES), st.tuples(MINUTES, MINUTES), st.sampled_from(DAYS))
def test_what_holds_is_what_the_clocks_on_the_wall_say(
    moment: datetime, zone: str, hours: tuple[int, int], day: str
) -> None:
    """At every instant of every zone, changes of the clocks included."""
    begin, end = hours
    if begin == end:
        return
    written = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    table: Timetable = parse_timetable(f"{day} {written}=1M,2M").within(ZoneInfo(zone))
    shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
    inside = False
    # Today's evening, or yesterday's night: as one would count it off on paper.
    for evening in (midnight, midnight - timedelta(days=1)):
        since = evening + timedelta(minutes=begin)
        until = evening + timedelta(minutes=end, days=int(end < begin))
        is_day = evening.weekday() == DAYS.index(day)
        inside = inside or (is_day and since <= shown < until)
    assert table.limit_at(moment) == (1_000_000 if inside else 2_000_000)
