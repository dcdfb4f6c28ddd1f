"""Durations and sizes, read exactly or refused, and written for people."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.quantities import format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("48h", 172800),
        ("15m", 900),
        ("20s", 20),
        ("1d", 86400),
        ("1w", 604800),
        ("90", 90),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 1H30M ", 5400),
        ("1.5h", 5400),
        ("0.25", 0.25),
        ("0", 0),
        ("1w2d3h4m5s", 604800 + 2 * 86400 + 3 * 3600 + 245),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Units add up; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "-5s", "5x", "1m1h", "1h1h", "1e3", "\u0663s", "inf", "9" * 40]
)
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused with examples."""
    with pytest.raises(UsageError) as refusal:
        parse_duration(text)
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("500MB", 5 * 10**8),
        ("1GiB", 2**30),
        ("1000", 1000),
        ("1.5kB", 1500),
        ("2 kib", 2048),
        ("7B", 7),
        ("0", 0),
        ("1.5GiB", 3 * 2**29),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary prefixes mean what they say."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "10M", "10Mi", "-1", "1XB", "1 G B", "99999PB", "1e9"])
def test_what_is_no_size(text: str) -> None:
    """A lone letter, which programs read differently, is refused like nonsense."""
    with pytest.raises(UsageError) as refusal:
        parse_bytes(text)
    assert refusal.value.fix


@given(st.text(max_size=12))
def test_parsers_refuse_politely(text: str) -> None:
    """No text makes them fail in any other way."""
    for parse in (parse_duration, parse_bytes):
        with suppress(UsageError):
            assert parse(text) >= 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_994_999, "9.99 MB"),
        (9_995_001, "10.0 MB"),
        (870_000_000, "870 MB"),
        (10**15, "1.00 PB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    """Three digits, and never a thousand of one unit."""
    assert format_bytes(size) == text


@given(st.integers(0, 10**18))
def test_a_written_size_reads_back(size: int) -> None:
    """What people see is within half a per cent of the truth."""
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.0051)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (-1, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
        (61, "1m 01s"),
        (3599.7, "1h 00m"),
        (7500, "2h 05m"),
        (86400, "1d 0h"),
        (277200, "3d 5h"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    """The two largest units, and never sixty of one."""
    assert format_duration(seconds) == text


@given(st.floats(0, 10**8))
def test_a_written_duration_reads_back(seconds: float) -> None:
    """What people see is off by less than one of its smaller unit."""
    unit = 3600 if seconds > 86399 else 60 if seconds > 3599 else 1
    assert abs(parse_duration(format_duration(seconds)) - seconds) <= unit
