"""
From an answer that is no recording to what it means for this recording and for the run.

`bulkaudio.policy` judges one answer by itself; this room knows what came before it: how many in a
row were refused, whether the key was read anew since the request left. All of it happens in one
synchronous method, `Verdicts.judge`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bulkaudio.clocks import believed
from bulkaudio.errors import KeyRefusedError, WrongHostError
from bulkaudio.model import Evidence, Outcome, Status, Task
from bulkaudio.policy import (
    FORBIDDEN_STREAK,
    MAX_WAIT_S,
    WRONG_HOST_STREAK,
    Action,
    Answer,
    Reason,
    Ruling,
    is_young,
    retry_after_s,
    rule,
)
from bulkaudio.retry import AttemptFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What only the connection knows, for the errors that end a run."""

    agent: str
    key_source: str
    right_host: str


class Verdicts:
    """
    Judges the answers of one run.

    Args:
        reread_key: Reads the key's source again; True when it holds another key than the one the
            last requests carried.
    """

    def __init__(
        self,
        wording: Wording,
        *,
        reread_key: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._wording = wording
        self._reread_key = reread_key
        self._clock = clock
        self._forbidden = 0
        self._lost = 0

    def rule(self, answer: Answer, failed_for: str | None = None) -> Ruling:
        """
        Judge the answer by itself, and remember what it says about the run.

        Args:
            failed_for: Reason of an earlier run's failure; the same again ends no run, or what
                failed in months would end every night at its first requests.
        """
        ruling = rule(answer)
        if ruling.reason == failed_for:
            return ruling
        self._forbidden = self._forbidden + 1 if ruling.action is Action.FORBIDDEN else 0
        is_lost = ruling.action in {Action.WRONG_HOST, Action.WRONG_AGENT}
        self._lost = self._lost + 1 if is_lost else 0
        return ruling

    def judge(self, task: Task, answer: Answer, ruling: Ruling, evidence: Evidence) -> Outcome:
        """
        Settle a recording whose answer is not to be saved.

        Raises:
            AttemptFailed: Another attempt may bring it.
            BulkAudioError: The whole run is affected.
        """
        match ruling.action:
            case Action.MISSING:
                return self._missing(task, answer, evidence)
            case Action.THROTTLE:
                return self._throttled(task, answer, evidence)
            case Action.KEY_REFUSED:
                raise self._key_refused(evidence)
            case Action.FORBIDDEN if self._forbidden >= FORBIDDEN_STREAK:
                raise KeyRefusedError(
                    f"the key from {self._wording.key_source} was refused (403) for "
                    f"{self._forbidden} recordings in a row",
                    fix="ask PolyAI for a key that may read this agent's recordings",
                    correlation_id=evidence.correlation_id,
                )
            case Action.WRONG_HOST | Action.WRONG_AGENT:
                raise self._lost_way(ruling, evidence)
            case Action.RETRY:
                raise AttemptFailed(ruling.reason, evidence=evidence)
            case Action.FAIL | Action.FORBIDDEN | Action.REDIRECT | Action.SAVE:
                return Outcome(
                    recording=task.recording,
                    status=Status.FAILED,
                    reason=ruling.reason,
                    evidence=evidence,
                )

    def _missing(self, task: Task, answer: Answer, evidence: Evidence) -> Outcome:
        now = believed(self._clock(), answer.date)
        young = is_young(task.recording.started_at, task.first_seen_at, now)
        return Outcome(
            recording=task.recording,
            status=Status.DEFERRED if young else Status.ABSENT,
            reason=Reason.NOT_READY if young else Reason.NO_RECORDING,
            evidence=evidence,
        )

    def _throttled(self, task: Task, answer: Answer, evidence: Evidence) -> Outcome:
        wait_s = retry_after_s(answer)
        if wait_s is None or wait_s <= MAX_WAIT_S:
            raise AttemptFailed(
                Reason.THROTTLED, evidence=evidence, is_throttle=True, retry_after_s=wait_s
            )
        return Outcome(
            recording=task.recording,
            status=Status.DEFERRED,
            reason=Reason.THROTTLED,
            evidence=evidence,
            next_try_at=self._clock() + timedelta(seconds=wait_s),
        )

    def _key_refused(self, evidence: Evidence) -> Exception:
        if self._reread_key():
            return AttemptFailed("http_401", evidence=evidence, is_throttle=True)
        return key_refused(self._wording.key_source, evidence.correlation_id)

    def _lost_way(self, ruling: Ruling, evidence: Evidence) -> Exception:
        if self._lost < WRONG_HOST_STREAK:
            return AttemptFailed(ruling.reason, evidence=evidence)
        if ruling.action is Action.WRONG_AGENT:
            return unknown_agent(self._wording.agent, evidence.correlation_id)
        return wrong_host("recordings", self._wording.right_host, evidence.correlation_id)


def key_refused(source: str, correlation_id: str | None) -> KeyRefusedError:
    """Say that a key opens nothing."""
    return KeyRefusedError(
        f"PolyAI refused the key from {source} (401)",
        fix="keys are scoped to a region and expire when rotated: check --region, "
        "or ask PolyAI for a new key",
        correlation_id=correlation_id,
    )


def unknown_agent(agent: str, correlation_id: str | None) -> WrongHostError:
    """Say that there is no such agent."""
    return WrongHostError(
        f"PolyAI does not know the agent {agent!r}",
        fix="check --agent and --region: both stand in the address of Agent Studio, "
        "https://studio.REGION.poly.ai/ACCOUNT/AGENT/",
        correlation_id=correlation_id,
    )


def wrong_host(what: str, fix: str, correlation_id: str | None) -> WrongHostError:
    """Say that something answers that is not PolyAI, or not the part of it that was meant."""
    return WrongHostError(
        f"the host answers 404 without one of PolyAI's error codes: it does not know {what}",
        fix=fix,
        correlation_id=correlation_id,
    )
