"""
What an answer means: save, retry, defer, absent, fail or stop.

Rules of this file: values in, values out; no clock, no I/O, no aiohttp. The whole behaviour is in
the two tables `BY_CODE` and `BY_STATUS`; the functions below only look things up. An answer that
no table names is judged by its class of status, and never by more than that.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto

from bulkaudio.clocks import http_date

MAX_WAIT_S = 15 * 60.0
"""A `Retry-After` above this is not waited for: the recording is deferred to a later run, and the
run ends where the host says so to all."""

MAX_DEFERRAL = timedelta(days=1)
"""Whatever a server asks for, the next night looks again: nothing is put off until it is erased."""

YOUNG = timedelta(hours=48)
"""A conversation younger than this may still get its recording."""

FORBIDDEN_STREAK = 10
"""So many 403 in a row are the key's fault, not the conversations'."""

WRONG_HOST_STREAK = 3
"""So many answers in a row from something that is not PolyAI end the run."""


SUSPICIOUS = "http_500"
"""The reason that may be the recording's as well as the host's; what has it is asked for again."""


class Reason(StrEnum):
    """Why a recording is not saved (yet). ``http_<status>`` completes the vocabulary."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    PROTOCOL = "protocol"
    TRUNCATED = "truncated"
    THROTTLED = "throttled"
    NOT_AUDIO = "not_audio"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    FORBIDDEN = "forbidden"
    UNKNOWN_CONVERSATION = "unknown_conversation"
    NO_RECORDING = "no_recording"
    NOT_READY = "not_ready"
    IN_PROGRESS = "in_progress"
    CONFLICT = "conflict"
    DAMAGED = "damaged"
    CRASHED = "crashed"


class Action(Enum):
    """What to do about an answer."""

    SAVE = auto()
    RETRY = auto()
    THROTTLE = auto()
    REDIRECT = auto()
    MISSING = auto()
    FAIL = auto()
    KEY_REFUSED = auto()
    FORBIDDEN = auto()
    WRONG_HOST = auto()
    WRONG_AGENT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    The head of a response, reduced to what decides.

    Attributes:
        error_code: ``UPPER_SNAKE`` from the error envelope; None without one.
        retry_after: The raw header; see `retry_after_s`.
        date: The raw ``Date`` header, against which an HTTP date in `retry_after` is measured.
        received_at: This machine's time, the measure where ``Date`` is missing.
    """

    http_status: int
    error_code: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    retry_after: str | None = None
    date: str | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """An action and, unless it is SAVE, its reason."""

    action: Action
    reason: str


NAMES_OF_NUMBERS = {
    "5001": "CONVERSATIONS_NOT_FOUND",
    "5003": "CONVERSATIONS_RECORDING_NOT_FOUND",
    "15001": "PROJECT_NOT_FOUND",
}
"""Some gateways send the code's number where its name belongs."""

BY_CODE: dict[tuple[int, str], Ruling] = {
    (404, "CONVERSATIONS_RECORDING_NOT_FOUND"): Ruling(
        action=Action.MISSING, reason=Reason.NO_RECORDING
    ),
    (404, "CONVERSATIONS_NOT_FOUND"): Ruling(
        action=Action.FAIL, reason=Reason.UNKNOWN_CONVERSATION
    ),
    (404, "PROJECT_NOT_FOUND"): Ruling(action=Action.WRONG_AGENT, reason="http_404"),
}

BY_STATUS: dict[int, Ruling] = {
    200: Ruling(action=Action.SAVE, reason=""),
    **{s: Ruling(action=Action.RETRY, reason=Reason.NOT_AUDIO) for s in (201, 202, 203, 204)},
    **{s: Ruling(action=Action.RETRY, reason=Reason.NOT_AUDIO) for s in (205, 206, 304)},
    **{s: Ruling(action=Action.REDIRECT, reason=Reason.REDIRECT) for s in (301, 302, 303)},
    **{s: Ruling(action=Action.REDIRECT, reason=Reason.REDIRECT) for s in (307, 308)},
    401: Ruling(action=Action.KEY_REFUSED, reason="http_401"),
    403: Ruling(action=Action.FORBIDDEN, reason=Reason.FORBIDDEN),
    404: Ruling(action=Action.WRONG_HOST, reason="http_404"),
    408: Ruling(action=Action.RETRY, reason=Reason.TIMEOUT),
    429: Ruling(action=Action.THROTTLE, reason=Reason.THROTTLED),
    501: Ruling(action=Action.FAIL, reason="http_501"),
    505: Ruling(action=Action.FAIL, reason="http_505"),
}

ATTEMPTS_BY_REASON: dict[str, int] = {Reason.NOT_AUDIO: 3, Reason.PROTOCOL: 2}
"""Tighter bounds than the configured number of attempts: more of the same will not help."""


def rule(answer: Answer) -> Ruling:
    """Judge the head of an answer to a request for a recording."""
    code = answer.error_code or ""
    named = BY_CODE.get((answer.http_status, NAMES_OF_NUMBERS.get(code, code)))
    if named is not None:
        return named
    if answer.http_status == 404 and code:
        # Some code we do not know: PolyAI itself is speaking, so the host is the right one.
        return Ruling(action=Action.FAIL, reason="http_404")
    if answer.http_status == 503 and retry_after_s(answer) is not None:
        return Ruling(action=Action.THROTTLE, reason=Reason.THROTTLED)
    if answer.http_status == 200 and not _is_identity(answer.content_encoding):
        return Ruling(action=Action.FAIL, reason=Reason.ENCODING)
    known = BY_STATUS.get(answer.http_status)
    if known is not None:
        return known
    reason = f"http_{answer.http_status}"
    transient = answer.http_status >= 500
    return Ruling(action=Action.RETRY if transient else Action.FAIL, reason=reason)


def is_young(started_at: datetime | None, first_seen_at: datetime, now: datetime) -> bool:
    """Whether a recording that is missing at `now` (all aware) may still appear."""
    return now - (started_at or first_seen_at) < YOUNG


def attempts_for(reason: str, configured: int) -> int:
    """How many attempts a recording gets that keeps failing for `reason`."""
    return min(configured, ATTEMPTS_BY_REASON.get(reason, configured))


def retry_after_s(answer: Answer) -> float | None:
    """
    Seconds that ``Retry-After`` asks for; None when it is absent or invalid.

    Seconds are ASCII digits (RFC 9110, 10.2.3); a date is measured against the response's own
    ``Date``, so that a wrong clock on either side cancels out. Zero, the past and nonsense are
    invalid: the caller's own backoff is the better guess. More than `MAX_DEFERRAL` is cut to it.
    """
    raw = (answer.retry_after or "").strip()
    if not raw:
        return None
    if raw.isascii() and raw.isdigit():
        seconds = float(raw)
    else:
        then, now = http_date(raw), http_date(answer.date) or answer.received_at
        if then is None or now is None:
            return None
        seconds = (then - now).total_seconds()
    return min(seconds, MAX_DEFERRAL.total_seconds()) if seconds > 0 else None


def _is_identity(content_encoding: str | None) -> bool:
    return (content_encoding or "identity").strip().lower() in {"", "identity"}
