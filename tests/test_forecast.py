"""What a run is going to take: tables, and what holds whatever the numbers."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.forecast import (
    BYTES_PER_AUDIO_S,
    CALL_S,
    Basis,
    Held,
    Limits,
    Load,
    Rates,
    duration_s,
    estimate,
    limits,
    will_fit,
)

NOTHING = Held()
ARCHIVE = Held(
    recordings=10,
    bytes=16_000_000,
    audio_seconds=2000.0,
    paired_audio_seconds=90.0,
    paired_call_seconds=100.0,
)
"""Mean 200 s, 8,000 bytes a second, nine tenths of each call."""


@pytest.mark.parametrize(
    ("load", "held", "audio", "size"),
    [
        # Nothing known: the documented defaults.
        (Load(recordings=2), NOTHING, 2 * CALL_S, 2 * CALL_S * BYTES_PER_AUDIO_S),
        # Lengths of the calls, and for the calls without one their mean.
        (Load(recordings=2, known=2, call_seconds=100.0), NOTHING, 100.0, 1_600_000),
        (Load(recordings=3, known=2, call_seconds=100.0), NOTHING, 150.0, 2_400_000),
        # What the archive has seen is believed.
        (Load(recordings=2), ARCHIVE, 400.0, 3_200_000),
        (Load(recordings=2, known=2, call_seconds=100.0), ARCHIVE, 90.0, 720_000),
        (Load(recordings=3, known=2, call_seconds=100.0), ARCHIVE, 290.0, 2_320_000),
        # Files without a length say nothing of their bytes per second.
        (Load(recordings=1), Held(recordings=3, bytes=999), CALL_S, CALL_S * BYTES_PER_AUDIO_S),
        (Load(), ARCHIVE, 0.0, 0),
    ],
)
def test_sizes_come_from_lengths_and_from_what_was_seen(
    load: Load, held: Held, audio: float, size: float
) -> None:
    """Each kind of knowledge, alone and together."""
    found = estimate(load, Rates.of(load, held, held))
    assert found.audio_seconds == pytest.approx(audio)
    assert found.bytes == pytest.approx(size)


@pytest.mark.parametrize(
    ("load", "held", "all_held", "told"),
    [
        (Load(recordings=2), ARCHIVE, ARCHIVE, (Basis.SAVED, 200.0)),
        (Load(recordings=2), NOTHING, ARCHIVE, (Basis.OTHER_DIRECTIONS, 200.0)),
        (Load(recordings=2, known=1, call_seconds=60.0), NOTHING, ARCHIVE, (Basis.NAMED, 60.0)),
        (Load(recordings=2), NOTHING, NOTHING, (Basis.ASSUMED, CALL_S)),
        # Less than a second says nothing, whosever it is.
        (Load(), NOTHING, Held(recordings=9, audio_seconds=0.5), (Basis.ASSUMED, CALL_S)),
    ],
)
def test_a_length_that_nobody_tells_is_taken_from_the_nearest_there_is(
    load: Load, held: Held, all_held: Held, told: tuple[Basis, float]
) -> None:
    """Saved ones of the same side, those to be fetched, those of the other sides; else a guess."""
    rates = Rates.of(load, held, all_held)
    assert (rates.basis, rates.mean_audio_seconds) == told
    assert rates.is_size_measured == (held is ARCHIVE)


def summary(saved: int, size: int, seconds: float) -> dict[str, Any]:
    """Make as much of a run's summary as is read."""
    return {"counts": {"saved": saved}, "bytes": size, "duration_s": seconds}


@pytest.mark.parametrize(
    ("runs", "options", "expected"),
    [
        ([], {}, Limits()),
        ([], {"max_rate": 5.0, "bandwidth": 7.0}, Limits(max_rate=5.0, bandwidth=7.0)),
        ([summary(100, 1000, 10.0)], {}, Limits(recordings_per_s=10.0, bytes_per_s=100.0)),
        # Runs that saved hardly anything say nothing, neither do those that took no time.
        (
            [summary(100, 1000, 10.0), summary(3, 9, 900.0), summary(90, 9, 0.0)],
            {},
            Limits(recordings_per_s=10.0, bytes_per_s=100.0),
        ),
        # Half the slots, half the pace; more slots are no promise.
        (
            [summary(100, 1000, 10.0)],
            {"slots": 0.5},
            Limits(recordings_per_s=5.0, bytes_per_s=50.0),
        ),
        (
            [summary(100, 1000, 10.0)],
            {"slots": 4.0},
            Limits(recordings_per_s=10.0, bytes_per_s=100.0),
        ),
    ],
)
def test_pace_is_that_of_the_latest_runs(
    runs: list[dict[str, Any]], options: dict[str, float], expected: Limits
) -> None:
    """As far as they can tell, below what was set as a ceiling."""
    assert limits(runs, **options) == expected


@pytest.mark.parametrize(
    ("known", "seconds"),
    [
        (Limits(), None),
        (Limits(max_rate=2.0), 50.0),
        (Limits(bandwidth=10.0), 100.0),
        (Limits(recordings_per_s=10.0), 10.0),
        (Limits(recordings_per_s=10.0, max_rate=4.0), 25.0),
        (Limits(recordings_per_s=10.0, bytes_per_s=20.0, max_rate=4.0), 50.0),
    ],
)
def test_the_tightest_limit_decides(known: Limits, seconds: float | None) -> None:
    """Of 100 recordings with 1,000 bytes together."""
    assert duration_s(100, 1000, known) == seconds


def test_nothing_takes_no_time() -> None:
    """Also where no limit is known."""
    assert duration_s(0, 0, Limits()) == 0.0


FLOATS = st.floats(0.001, 1e9)
RATE = st.none() | FLOATS
LOADS = st.builds(
    lambda recordings, known, seconds: Load(
        recordings=recordings, known=min(known, recordings), call_seconds=seconds
    ),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.floats(0.0, 1e9),
)
HELD = st.builds(
    Held,
    recordings=st.integers(0, 10**7),
    bytes=st.integers(0, 10**12),
    audio_seconds=st.floats(0.0, 1e9),
    paired_audio_seconds=st.floats(0.0, 1e6),
    paired_call_seconds=st.floats(0.0, 1e6),
)


@given(LOADS, HELD)
def test_estimates_are_finite_and_grow_with_the_work(load: Load, held: Held) -> None:
    """Whatever was seen, however odd."""
    rates = Rates.of(load, held, held)
    found = estimate(load, rates)
    assert math.isfinite(found.audio_seconds)
    assert found.bytes >= 0
    more = Load(recordings=load.recordings + 1, known=load.known, call_seconds=load.call_seconds)
    assert estimate(more, rates).bytes >= found.bytes


@given(
    st.integers(1, 10**7),
    st.integers(0, 10**12),
    st.builds(Limits, recordings_per_s=RATE, bytes_per_s=RATE, max_rate=RATE, bandwidth=RATE),
)
def test_no_ceiling_is_passed(recordings: int, size: int, known: Limits) -> None:
    """The time is never shorter than any of the limits allows."""
    seconds = duration_s(recordings, size, known)
    if seconds is None:
        assert known.recordings_per_s is known.max_rate is known.bytes_per_s is known.bandwidth
        return
    for rate in (known.recordings_per_s, known.max_rate):
        assert rate is None or recordings <= rate * seconds * 1.000001
    for speed in (known.bytes_per_s, known.bandwidth):
        assert speed is None or size <= speed * seconds * 1.000001


def test_what_must_stay_free_is_not_used() -> None:
    """To the byte."""
    assert will_fit(100, 150, 50)
    assert not will_fit(101, 150, 50)
    assert not will_fit(1, 10, 50)
