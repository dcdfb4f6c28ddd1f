"""The policy tables: every documented answer has its one right ruling."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.policy import (
    Action,
    Answer,
    Reason,
    attempts_for,
    is_young,
    retry_after_s,
    rule,
)

NOW = datetime(2026, 11, 22, 8, 49, 37, tzinfo=UTC)
DATE = "Sun, 22 Nov 2026 08:49:37 GMT"


def wait(header: str | None, date: str | None = DATE) -> float | None:
    """Read a ``Retry-After``."""
    return retry_after_s(Answer(http_status=429, retry_after=header, date=date))


@pytest.mark.parametrize(
    ("status", "code", "action", "reason"),
    [
        (200, None, Action.SAVE, ""),
        (204, None, Action.RETRY, Reason.NOT_AUDIO),
        (206, None, Action.RETRY, Reason.NOT_AUDIO),
        (304, None, Action.RETRY, Reason.NOT_AUDIO),
        (302, None, Action.REDIRECT, Reason.REDIRECT),
        (308, None, Action.REDIRECT, Reason.REDIRECT),
        (400, "CONVERSATIONS_VALIDATION_FAILED", Action.FAIL, "http_400"),
        (401, "AUTH_USER_INVALID_TOKEN", Action.KEY_REFUSED, "http_401"),
        (401, None, Action.KEY_REFUSED, "http_401"),
        (403, "USER_ACCESS_FORBIDDEN", Action.FORBIDDEN, Reason.FORBIDDEN),
        (404, "CONVERSATIONS_RECORDING_NOT_FOUND", Action.MISSING, Reason.NO_RECORDING),
        (404, "5003", Action.MISSING, Reason.NO_RECORDING),
        (404, "CONVERSATIONS_NOT_FOUND", Action.FAIL, Reason.UNKNOWN_CONVERSATION),
        (404, "5001", Action.FAIL, Reason.UNKNOWN_CONVERSATION),
        (404, "PROJECT_NOT_FOUND", Action.WRONG_AGENT, "http_404"),
        (404, "15001", Action.WRONG_AGENT, "http_404"),
        (404, "SOMETHING_NEW", Action.FAIL, "http_404"),
        (404, None, Action.WRONG_HOST, "http_404"),
        (408, None, Action.RETRY, Reason.TIMEOUT),
        (429, None, Action.THROTTLE, Reason.THROTTLED),
        (405, None, Action.FAIL, "http_405"),
        (410, None, Action.FAIL, "http_410"),
        (415, None, Action.FAIL, "http_415"),
        (422, None, Action.FAIL, "http_422"),
        (451, None, Action.FAIL, "http_451"),
        (501, None, Action.FAIL, "http_501"),
        (500, None, Action.RETRY, "http_500"),
        (502, None, Action.RETRY, "http_502"),
        (503, None, Action.RETRY, "http_503"),
        (504, None, Action.RETRY, "http_504"),
        (520, None, Action.RETRY, "http_520"),
    ],
)
def test_rulings(status: int, code: str | None, action: Action, reason: str) -> None:
    """An answer's status and code decide what becomes of the recording."""
    ruling = rule(Answer(http_status=status, error_code=code))
    assert (ruling.action, ruling.reason) == (action, reason)


def test_503_with_a_wait_is_a_throttle() -> None:
    """A host that says when to come back is full, not broken."""
    ruling = rule(Answer(http_status=503, retry_after="7"))
    assert (ruling.action, ruling.reason) == (Action.THROTTLE, Reason.THROTTLED)


@pytest.mark.parametrize(
    ("encoding", "is_kept"),
    [("gzip", False), ("x", False), (" Identity ", True), ("", True), (" ", True), (None, True)],
)
def test_encodings(encoding: str | None, *, is_kept: bool) -> None:
    """A body that was encoded although nobody asked is not a recording."""
    ruling = rule(Answer(http_status=200, content_encoding=encoding))
    kept, refused = (Action.SAVE, ""), (Action.FAIL, Reason.ENCODING)
    assert (ruling.action, ruling.reason) == (kept if is_kept else refused)


@given(
    st.integers(100, 999),
    st.none() | st.text(max_size=8),
    st.none() | st.text(max_size=20),
    st.none() | st.text(max_size=8),
)
def test_every_answer_is_ruled(
    status: int, code: str | None, retry_after: str | None, encoding: str | None
) -> None:
    """Nothing a server sends is without a ruling, and only 200 is ever saved."""
    ruling = rule(
        Answer(
            http_status=status,
            error_code=code,
            retry_after=retry_after,
            content_encoding=encoding,
        )
    )
    assert ruling.action is not Action.SAVE or status == 200
    assert bool(ruling.reason) == (ruling.action is not Action.SAVE)


@pytest.mark.parametrize(
    "header",
    ["Sun, 22 Nov 2026 08:50:37 GMT", "Sunday, 22-Nov-26 08:50:37 GMT", "Sun Nov 22 08:50:37 2026"],
)
@pytest.mark.parametrize(
    "date", [DATE, "Sunday, 22-Nov-26 08:49:37 GMT", "Sun Nov 22 08:49:37 2026"]
)
def test_all_forms_of_http_dates(header: str, date: str) -> None:
    """A date in any of the three forms is measured against the answer's own."""
    assert wait(header, date) == 60.0


def test_a_date_of_another_zone_is_the_instant_it_names() -> None:
    """HTTP knows only GMT; whoever names another offset means it."""
    assert wait("Sun, 22 Nov 2026 10:50:37 +0200") == 60.0


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (" 120 ", 120.0), ("007", 7.0)])
def test_seconds(header: str, seconds: float) -> None:
    """Plain seconds are taken as they are."""
    assert wait(header) == seconds


@pytest.mark.parametrize("header", ["1" + "0" * 20, "9" * 5000, "Fri, 22 Nov 2999 08:50:37 GMT"])
def test_waits_beyond_reason_are_cut(header: str) -> None:
    """A century is a year, and not an overflow."""
    assert wait(header) == 86400.0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "0",
        "-1",
        "+5",
        "1.5",
        "1e3",
        "\u0663",
        "soon",
        "Sun, 22 Nov",
        "²",
        DATE,
        "Sat, 21 Nov 2026 08:49:37 GMT",
        "Sun, 99 Nov 2026 08:49:37 GMT",
    ],
)
def test_waits_that_say_nothing(header: str | None) -> None:
    """Zero, the past and nonsense leave it to our own backoff."""
    assert wait(header) is None


def test_dates_fall_back_to_our_clock() -> None:
    """Without a usable ``Date``, our own time at reception counts; without that, nothing."""
    header = "Sun, 22 Nov 2026 08:50:37 GMT"
    assert wait(header, None) is None
    for date in (None, "yesterday"):
        answer = Answer(http_status=429, retry_after=header, date=date, received_at=NOW)
        assert retry_after_s(answer) == 60.0


@given(st.integers(0, 2**32), st.integers(1, 86_400))
def test_a_wrong_clock_cancels_out(clock: int, seconds: int) -> None:
    """However wrong the server's clock is, the wait it means is the wait it gets."""
    until, date = (
        format_datetime(datetime.fromtimestamp(t, UTC), usegmt=True)
        for t in (clock + seconds, clock)
    )
    assert wait(until, date) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_crashes(header: str, date: str) -> None:
    """Whatever the headers hold: seconds within bounds, or nothing."""
    seconds = wait(header, date)
    assert seconds is None or 0 < seconds <= 86400


def test_youth() -> None:
    """A missing recording is awaited for 48 hours from the call, else from when it was heard of."""
    old, fresh = NOW - timedelta(hours=48), NOW - timedelta(hours=47, minutes=59)
    assert is_young(fresh, old, NOW)
    assert not is_young(old, fresh, NOW)
    assert is_young(None, fresh, NOW)
    assert not is_young(None, old, NOW)


def test_attempts() -> None:
    """What more of the same will not mend gets fewer attempts, never more than configured."""
    assert attempts_for(Reason.CONNECTION, 5) == 5
    assert attempts_for(Reason.NOT_AUDIO, 5) == 3
    assert attempts_for(Reason.PROTOCOL, 5) == 2
    assert attempts_for(Reason.NOT_AUDIO, 1) == 1
    assert attempts_for("http_503", 9) == 9
