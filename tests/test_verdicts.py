"""What answers in a row mean for the run, and one answer for its recording."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from bulkaudio.errors import BulkAudioError, KeyRefusedError, WrongHostError
from bulkaudio.model import Direction, Evidence, Outcome, Recording, Status, Task
from bulkaudio.policy import Answer, Reason
from bulkaudio.retry import AttemptFailed
from bulkaudio.verdicts import Verdicts, Wording

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Judge:
    """Verdicts with a key source that changes when told to."""

    def __init__(self) -> None:
        self.has_new_key = False
        wording = Wording(
            agent="PROJECT-1", key_source="POLYAI_API_KEY", right_host="use https://right.example"
        )
        self.verdicts = Verdicts(wording, reread_key=lambda: self.has_new_key, clock=lambda: NOW)

    def settle(
        self, answer: Answer, *, age: timedelta = timedelta(), seen_ago: float = 0
    ) -> Outcome:
        """Judge one answer about a call of this age, first seen so many hours ago."""
        recording = Recording(
            conversation_id="CA1",
            direction=Direction.USER,
            started_at=NOW - age if age else None,
        )
        task = Task(recording=recording, first_seen_at=NOW - timedelta(hours=seen_ago))
        ruling = self.verdicts.rule(answer)
        evidence = Evidence(http_status=answer.http_status, correlation_id="support-1")
        return self.verdicts.judge(task, answer, ruling, evidence)


MISSING = Answer(http_status=404, error_code="CONVERSATIONS_RECORDING_NOT_FOUND")


@pytest.mark.parametrize(
    ("age_h", "seen_ago_h", "status"),
    [
        (47.9, 0, Status.DEFERRED),
        (48.1, 0, Status.ABSENT),
        (0, 47.9, Status.DEFERRED),
        (0, 48.1, Status.ABSENT),
        (100, 1, Status.ABSENT),
    ],
)
def test_a_missing_recording_is_late_or_absent(
    age_h: float, seen_ago_h: float, status: Status
) -> None:
    """The call's own age decides; without one, how long the archive has known it."""
    outcome = Judge().settle(MISSING, age=timedelta(hours=age_h), seen_ago=seen_ago_h)

    assert outcome.status is status
    assert outcome.evidence.correlation_id == "support-1"


def test_a_long_retry_after_defers() -> None:
    """Nobody waits a day: the recording is due again when the host said."""
    outcome = Judge().settle(Answer(http_status=429, retry_after="86400"))

    assert outcome.status is Status.DEFERRED
    assert outcome.next_try_at == NOW + timedelta(days=1)


def test_a_short_retry_after_is_waited_for() -> None:
    """And uses up no attempt."""
    with pytest.raises(AttemptFailed) as caught:
        Judge().settle(Answer(http_status=429, retry_after="7"))

    assert (caught.value.is_throttle, caught.value.retry_after_s) == (True, 7.0)


def test_a_refused_key_ends_the_run() -> None:
    """The first 401 is enough, and the error names the source of the key."""
    with pytest.raises(KeyRefusedError, match="POLYAI_API_KEY"):
        Judge().settle(Answer(http_status=401))


def test_a_rotated_key_is_read_again() -> None:
    """A key file that holds another key now is worth another attempt."""
    judge = Judge()
    judge.has_new_key = True
    with pytest.raises(AttemptFailed) as caught:
        judge.settle(Answer(http_status=401))

    assert caught.value.is_throttle


def test_ten_forbidden_in_a_row_end_the_run() -> None:
    """Nine are failures of their recordings, the tenth is the key's."""
    judge = Judge()
    for _ in range(9):
        assert judge.settle(Answer(http_status=403)).reason == Reason.FORBIDDEN
    with pytest.raises(KeyRefusedError, match="10 recordings in a row"):
        judge.settle(Answer(http_status=403))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Answer(http_status=403), "forbidden"), (Answer(http_status=404), "http_404")],
)
def test_what_failed_so_before_says_nothing_new_about_the_run(answer: Answer, reason: str) -> None:
    """Ten forbidden recordings, gathered over months, must not end every later night."""
    judge = Judge()
    for _ in range(30):
        assert judge.verdicts.rule(answer, failed_for=reason).reason == reason
    judge.verdicts.rule(answer)
    with suppress(AttemptFailed):
        assert judge.settle(answer).status is Status.FAILED


def test_a_good_answer_ends_the_streak() -> None:
    """Forbidden recordings among others are just forbidden."""
    judge = Judge()
    for _ in range(30):
        assert judge.settle(Answer(http_status=403)).status is Status.FAILED
        judge.verdicts.rule(Answer(http_status=200))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(http_status=404), "right.example"),
        (Answer(http_status=404, error_code="PROJECT_NOT_FOUND"), "PROJECT-1"),
        (Answer(http_status=404, error_code="15001"), "PROJECT-1"),
    ],
)
def test_the_third_answer_from_nowhere_ends_the_run(answer: Answer, words: str) -> None:
    """Two may be a gateway's hiccup; the third names the right host, or the agent."""
    judge = Judge()
    for _ in range(2):
        with pytest.raises(AttemptFailed):
            judge.settle(answer)
    with pytest.raises(WrongHostError, match=words):
        judge.settle(answer)


@pytest.mark.parametrize("status", [400, 405, 410, 415, 422, 451, 501])
def test_permanent_answers_fail_their_recording_at_once(status: int) -> None:
    """No attempt, no run is lost on them."""
    outcome = Judge().settle(Answer(http_status=status, error_code="SOME_CODE"))

    assert (outcome.status, outcome.reason) == (Status.FAILED, f"http_{status}")


@pytest.mark.parametrize("status", [204, 206, 304, 408, 500, 502, 503, 504, 599])
def test_transient_answers_are_tried_again(status: int) -> None:
    """They cost an attempt."""
    with pytest.raises(AttemptFailed) as caught:
        Judge().settle(Answer(http_status=status))

    assert not caught.value.is_throttle


def test_run_stopping_errors_carry_the_support_id() -> None:
    """Whoever reads the error can quote it."""
    with pytest.raises(BulkAudioError, match="Support id: support-1"):
        Judge().settle(Answer(http_status=401))
