"""``Retry-After`` in all its forms: what a server means is what it gets, within bounds."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.policy import MAX_DEFERRAL, Answer, retry_after_s

LONGEST_S = MAX_DEFERRAL.total_seconds()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(2060, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


def imf(moment: datetime) -> str:
    """``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return (
        f"{DAYS[moment.weekday()][:3]}, {moment.day:02d} {MONTHS[moment.month - 1]} "
        f"{moment.year:04d} {moment:%H:%M:%S} GMT"
    )


def rfc850(moment: datetime) -> str:
    """``Sunday, 06-Nov-94 08:49:37 GMT``."""
    return (
        f"{DAYS[moment.weekday()]}, {moment.day:02d}-{MONTHS[moment.month - 1]}-"
        f"{moment.year % 100:02d} {moment:%H:%M:%S} GMT"
    )


def asctime(moment: datetime) -> str:
    """``Sun Nov  6 08:49:37 1994``."""
    return (
        f"{DAYS[moment.weekday()][:3]} {MONTHS[moment.month - 1]} {moment.day:2d} "
        f"{moment:%H:%M:%S} {moment.year:04d}"
    )


FORMS = st.sampled_from([imf, rfc850, asctime])


def wait(header: str, date: str | None, received_at: datetime | None = None) -> float | None:
    """Read a header."""
    return retry_after_s(
        Answer(http_status=429, retry_after=header, date=date, received_at=received_at)
    )


def expected(seconds: float) -> float | None:
    """What a wait of so many seconds comes to."""
    return min(seconds, LONGEST_S) if seconds > 0 else None


@given(INSTANTS, st.integers(-(10**6), 10**6), FORMS, FORMS)
def test_dates_of_all_forms_measure_the_same(
    moment: datetime, seconds: int, header: object, date: object
) -> None:
    """Whatever form either header has, and whatever both clocks say, the difference counts."""
    later = moment + timedelta(seconds=seconds)
    assert callable(header)
    assert callable(date)
    assert wait(header(later), date(moment)) == expected(seconds)


@given(INSTANTS, st.integers(1, 10**5), st.integers(-86_399, 86_399))
def test_our_own_clock_serves_in_any_zone(moment: datetime, seconds: int, offset_s: int) -> None:
    """Without a ``Date`` the time of reception is the measure, whatever zone it is given in."""
    here = moment.astimezone(timezone(timedelta(seconds=offset_s)))
    assert wait(imf(moment + timedelta(seconds=seconds)), None, here) == expected(seconds)


@given(st.integers(0, 10**30), st.sampled_from(["", " ", "\t"]), st.integers(0, 5))
def test_seconds_are_seconds(seconds: int, blank: str, zeros: int) -> None:
    """Leading zeros and blanks around them change nothing; nothing is waited for beyond a day."""
    assert wait(f"{blank}{'0' * zeros}{seconds}{blank}", None) == expected(seconds)


@given(
    st.text(max_size=60)
    | st.text(st.sampled_from("0123456789:-, GMTSunNov+²٣"), max_size=40)
    | st.builds(
        lambda one, at, two: one[:at] + two + one[at:],
        INSTANTS.map(imf),
        st.integers(0, 29),
        st.text(max_size=3),
    ),
    st.none() | st.text(max_size=40) | INSTANTS.map(imf),
    st.none() | INSTANTS,
)
def test_no_header_raises_or_waits_beyond_a_day(
    header: str, date: str | None, received_at: datetime | None
) -> None:
    """Whatever the headers hold: seconds within bounds, or nothing."""
    seconds = wait(header, date, received_at)
    assert seconds is None or 0 < seconds <= LONGEST_S
