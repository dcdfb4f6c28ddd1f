"""
What an answer means that is no page of the listing.

The listing is one request after another, and every one is needed: what ends one page ends the run's
listing, with an error that says what to do. `bulkaudio.verdicts` is its sibling for recordings.
"""

from bulkaudio.errors import BulkAudioError, KeyRefusedError, ListingError, WrongHostError
from bulkaudio.policy import (
    MAX_WAIT_S,
    WRONG_HOST_STREAK,
    Action,
    Reason,
    Ruling,
    retry_after_s,
)
from bulkaudio.polyai.client import Host, Response, Session
from bulkaudio.retry import AttemptFailed

RESUMES = "run again later: the listing goes on from this page"


class Refusals:
    """Judges the answers to one listing's requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lost = 0
        self.page_number = 0
        """For people, counted from 1."""

    def accepted(self) -> None:
        """Note that a page was answered."""
        self._lost = 0

    def judge(self, response: Response, ruling: Ruling) -> AttemptFailed | BulkAudioError:
        """Return what to raise: `AttemptFailed` where another attempt may bring the page."""
        again = AttemptFailed(ruling.reason, evidence=response.evidence)
        verdict: AttemptFailed | BulkAudioError = again
        self._lost = self._lost + 1 if ruling.action is Action.WRONG_HOST else 0
        match ruling.action:
            case Action.THROTTLE:
                verdict = self._throttled(response)
            case Action.WRONG_HOST if self._lost < WRONG_HOST_STREAK:
                pass
            case Action.WRONG_HOST | Action.WRONG_AGENT:
                verdict = self._wrong_host(response, ruling)
            case Action.KEY_REFUSED if self._session.reread_key(Host.LISTING):
                again.is_throttle = True
            case Action.KEY_REFUSED | Action.FORBIDDEN:
                verdict = self._key_refused(response, ruling)
            case Action.RETRY:
                pass
            case Action.FAIL | Action.MISSING | Action.REDIRECT | Action.SAVE:
                verdict = self._refused(response)
        return verdict

    def trouble(self, what: str, correlation_id: str | None = None) -> ListingError:
        """Word what keeps the listing from its end, for a person."""
        return ListingError(
            f"page {self.page_number} of the listing: {what}",
            fix=RESUMES,
            correlation_id=correlation_id,
        )

    def exhausted(self, failure: AttemptFailed) -> BulkAudioError:
        """Word that a page failed for the last time."""
        if self._lost:
            return self._unknown_endpoint(failure.evidence.correlation_id)
        broken = f", {failure.__cause__}" if failure.reason == Reason.PROTOCOL else ""
        return self.trouble(
            f"every attempt failed ({failure.reason}{broken})", failure.evidence.correlation_id
        )

    def _throttled(self, response: Response) -> AttemptFailed | BulkAudioError:
        wait_s = retry_after_s(response.answer)
        if wait_s is not None and wait_s > MAX_WAIT_S:
            return self.trouble(
                f"PolyAI asks to wait for {wait_s / 60:.0f} minutes",
                response.answer.correlation_id,
            )
        return AttemptFailed(
            Reason.THROTTLED,
            evidence=response.evidence,
            is_throttle=True,
            retry_after_s=wait_s,
        )

    def _wrong_host(self, response: Response, ruling: Ruling) -> WrongHostError:
        if ruling.action is Action.WRONG_HOST:
            return self._unknown_endpoint(response.answer.correlation_id)
        connection = self._session.connection
        return WrongHostError(
            f"PolyAI does not know the agent {connection.agent!r} of account "
            f"{connection.account!r}",
            fix="check --account, --agent and --region: all stand in the address of Agent "
            "Studio, https://studio.REGION.poly.ai/ACCOUNT/AGENT/",
            correlation_id=response.answer.correlation_id,
        )

    def _unknown_endpoint(self, correlation_id: str | None) -> WrongHostError:
        hosts = self._session.hosts
        return WrongHostError(
            f"{hosts.name(Host.LISTING)} answers 404 without one of PolyAI's error codes: it does "
            "not know the listing",
            fix=hosts.right_host_hint(Host.LISTING),
            correlation_id=correlation_id,
        )

    def _key_refused(self, response: Response, ruling: Ruling) -> KeyRefusedError:
        source = self._session.key_source(Host.LISTING)
        status = response.answer.http_status
        doubt = "--region" if ruling.action is Action.KEY_REFUSED else "--account"
        fix = (
            f"check {doubt} and that the key is current; where listing has a key of its own, give "
            "it with --conversations-key-file FILE or POLYAI_CONVERSATIONS_API_KEY"
        )
        return KeyRefusedError(
            f"PolyAI refused the key from {source} for listing conversations ({status})",
            fix=fix,
            correlation_id=response.answer.correlation_id,
        )

    def _refused(self, response: Response) -> ListingError:
        answer = response.answer
        words = [str(answer.http_status), answer.error_code, response.error_message]
        said = ": ".join(word for word in words if word)
        return ListingError(
            f"page {self.page_number} of the listing was refused ({said})",
            fix="check --since, --until, --env, --variant and --channel",
            correlation_id=answer.correlation_id,
        )
