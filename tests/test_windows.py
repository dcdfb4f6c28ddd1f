"""Times and windows: exact in every zone, or refused."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.windows import Window, parse_cutoff, parse_time, parse_zone

NOW = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
ZONES = [
    "UTC",
    "Europe/London",
    "America/New_York",
    "America/Toronto",  # 1919: clocks jumped from 23:30 to 00:30
    "America/Sao_Paulo",  # midnight skipped, and 23:00 twice
    "America/St_Johns",  # went back at 00:01
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # a whole day skipped
]


def read(text: str, zone: str = "UTC") -> str:
    """Parse at `NOW`, as ISO text."""
    return parse_time(text, now=NOW, tz=ZoneInfo(zone)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21", "2026-11-21T00:00:00Z"),
        ("20261121", "2026-11-21T00:00:00Z"),
        ("2026-11-21T08:30", "2026-11-21T08:30:00Z"),
        ("2026-11-21 08:30:15", "2026-11-21T08:30:15Z"),
        ("2026-11-21T08:30Z", "2026-11-21T08:30:00Z"),
        ("2026-11-21t08:30z", "2026-11-21T08:30:00Z"),
        ("2026-11-21T08:30:00+02:00", "2026-11-21T06:30:00Z"),
        ("2026-11", "2026-11-01T00:00:00Z"),
        ("2026-W47", "2026-11-16T00:00:00Z"),
        ("today", "2026-11-22T00:00:00Z"),
        ("Yesterday", "2026-11-21T00:00:00Z"),
        ("2 days ago", "2026-11-20T00:00:00Z"),
        ("1 week ago", "2026-11-15T00:00:00Z"),
        ("36 hours ago", "2026-11-20T13:30:00Z"),
        ("-36h", "2026-11-20T13:30:00Z"),
        ("-1d12h", "2026-11-20T13:30:00Z"),
        ("now", "2026-11-22T01:30:00Z"),
    ],
)
def test_times_in_utc(text: str, utc: str) -> None:
    """Every documented form denotes the start of its period."""
    assert read(text) == utc


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("today", "America/New_York", "2026-11-21T05:00:00Z"),
        ("2026-11", "America/New_York", "2026-11-01T04:00:00Z"),
        ("2026-03-29", "Europe/London", "2026-03-29T00:00:00Z"),
        ("2026-03-30", "Europe/London", "2026-03-29T23:00:00Z"),
        ("2026-03-29T01:30", "Europe/London", "2026-03-29T01:00:00Z"),
        ("2026-10-25T01:30", "Europe/London", "2026-10-25T00:30:00Z"),
        ("2024-04-26", "Africa/Cairo", "2024-04-25T22:00:00Z"),
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30:00Z"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2026-11-21T08:30Z", "Asia/Kathmandu", "2026-11-21T08:30:00Z"),
    ],
)
def test_times_where_clocks_jump(text: str, zone: str, utc: str) -> None:
    """A local time is the first instant at which the clocks there show it or are past it."""
    assert read(text, zone) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "-36",
        "36h",
        "2026",
        "2026-13",
        "2026-11-31",
        "2026-W60",
        "22/11/2026",
        "monday",
        "2026-11-22T25:00",
        "yesterday-ish",
        "-99999999999h",
        "999999 weeks ago",
        "\u0661\u0662",
        "9999-12-31T23:59-12:00",
        "2026-11-22x08:30",
        "\0",
        "1" * 5000,
    ],
)
def test_what_is_no_time(text: str) -> None:
    """Nonsense is refused, with something to copy."""
    with pytest.raises(UsageError) as refusal:
        read(text)
    assert refusal.value.fix


@given(st.text(max_size=20) | st.from_regex(r"[0-9W:TZ+-]{4,20}", fullmatch=True))
def test_no_text_crashes(text: str) -> None:
    """Whatever is typed: a time in UTC, or a refusal."""
    with suppress(UsageError):
        assert parse_time(text, now=NOW, tz=ZoneInfo("America/Sao_Paulo")).tzinfo is UTC


@given(st.sampled_from(ZONES), st.dates(date(1900, 1, 1), date(2040, 12, 31)))
def test_days_partition_time(zone: str, day: date) -> None:
    """In every zone a day starts where its date first shows, and ends where the next starts."""
    tz = ZoneInfo(zone)
    start, end = (parse_time(str(d), now=NOW, tz=tz) for d in (day, day + timedelta(days=1)))
    assert start <= end
    assert start.astimezone(tz).date() >= day
    assert (start - timedelta(microseconds=1)).astimezone(tz).date() < day
    assert end - start <= timedelta(hours=26)


@given(
    st.sampled_from(ZONES),
    st.tuples(
        *[st.builds(datetime.combine, st.dates(date(1900, 1, 1), date(2040, 1, 1)), st.times())] * 2
    ),
)
def test_later_clocks_are_never_earlier(zone: str, pair: tuple[datetime, datetime]) -> None:
    """Local times keep their order, also across jumps."""
    one, other = (parse_time(t.isoformat(), now=NOW, tz=ZoneInfo(zone)) for t in sorted(pair))
    assert one <= other


def test_windows_are_half_open() -> None:
    """What starts at `until` belongs to the next window."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    window = Window(start, end)
    assert window.holds(start)
    assert window.holds(end - timedelta(microseconds=1))
    assert not window.holds(end)
    assert not window.holds(start - timedelta(microseconds=1))
    assert str(window) == "2026-01-01T00:00:00Z up to 2026-01-02T00:00:00Z"


@pytest.mark.parametrize("days", [0, -1])
def test_empty_windows_are_refused(days: int) -> None:
    """Whoever gives one day twice learns that the end is exclusive."""
    start = datetime(2026, 1, 2, tzinfo=UTC)
    with pytest.raises(UsageError, match=r"exclusive|before --since"):
        Window(start, start + timedelta(days=days))


@pytest.mark.parametrize("name", ["America", "../etc", "", "Mars/Base", "/etc/passwd", "UTC\0"])
def test_what_is_no_zone(name: str) -> None:
    """Unknown zones are refused, also those that are folders or paths."""
    with pytest.raises(UsageError, match="IANA"):
        parse_zone(name)


def test_zones_are_found_by_name() -> None:
    """An IANA name gives its zone."""
    assert parse_zone("Europe/London") == ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("13mo", "2025-10-22T01:30:00Z"),
        ("1y", "2025-11-22T01:30:00Z"),
        ("400d", "2025-10-18T01:30:00Z"),
        ("8w", "2026-09-27T01:30:00Z"),
        ("2025-01-01", "2025-01-01T00:00:00Z"),
        ("2026-10", "2026-10-01T00:00:00Z"),
        ("yesterday", "2026-11-21T00:00:00Z"),
    ],
)
def test_cutoffs(text: str, utc: str) -> None:
    """An age, or a time of the past."""
    cutoff = parse_cutoff(text, now=NOW, tz=ZoneInfo("UTC"))
    assert cutoff.isoformat().replace("+00:00", "Z") == utc


def test_a_month_is_one_of_the_calendar() -> None:
    """Of a shorter one the last day counts; the clock's time is the zone's, changed or not."""
    london = ZoneInfo("Europe/London")
    now = datetime(2027, 3, 31, 11, 0, tzinfo=UTC)
    assert parse_cutoff("1mo", now=now, tz=london) == datetime(2027, 2, 28, 12, 0, tzinfo=UTC)
    leap = datetime(2028, 2, 29, 12, 0, tzinfo=UTC)
    assert parse_cutoff("1y", now=leap, tz=london) == datetime(2027, 2, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["13m", "13", "mo", "-13mo", "0d", "0mo", "13 months", "2099-01-01", "now", "99999y", ""],
)
def test_what_is_no_cutoff(text: str) -> None:
    """Minutes that were meant as months above all, and whatever would make everything older."""
    with pytest.raises(UsageError):
        parse_cutoff(text, now=NOW, tz=ZoneInfo("UTC"))
