"""
From the errors of aiohttp, ssl and the sockets to the words of bulkaudio.

Rules of this file: a certificate that fails is never retried; a failure of this machine is not
blamed on the host; no error that holds request headers, and so the key, becomes a cause.
"""

import errno
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from bulkaudio.errors import BulkAudioError, HostUnavailableError, LocalError, UsageError
from bulkaudio.gate import NO_SUCH_HOST
from bulkaudio.model import Evidence
from bulkaudio.policy import Reason
from bulkaudio.polyai.redirects import Refused
from bulkaudio.retry import AttemptFailed

WIRE_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, Refused)
"""Everything that sending a request or reading an answer may raise; a timeout is an `OSError`."""

REDIRECTED = "redirected to "
"""Begins the note of a failure that is not the configured host's."""

_SOCKET_ERRORS = ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "OSError")


class PermanentFailure(Exception):  # noqa: N818  a signal between two rooms, not an error that leaves them
    """
    A request that will fail again in the same way.

    Args:
        reason: A word of `bulkaudio.policy.Reason`.
        why: For people.
    """

    def __init__(
        self, reason: str, *, evidence: Evidence | None = None, why: str | None = None
    ) -> None:
        super().__init__(f"{reason}: {why}" if why else reason)
        self.reason = reason
        self.evidence = evidence or Evidence()
        self.why = why


class RedirectRefused(PermanentFailure):
    """A redirect that leads in circles, or where nothing of a request may go."""

    def __init__(self, why: str, *, evidence: Evidence | None = None) -> None:
        super().__init__(Reason.REDIRECT, evidence=evidence, why=why)


class BodyTooLarge(PermanentFailure):
    """A body above the limit."""

    def __init__(self, why: str, *, evidence: Evidence | None = None) -> None:
        super().__init__(Reason.TOO_LARGE, evidence=evidence, why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    Where a request went.

    Attributes:
        is_home: It is the configured origin, not one that a redirect led to.
        evidence: What is known before there is an answer: the support id we sent.
    """

    host: str
    is_home: bool
    evidence: Evidence


Failure = AttemptFailed | PermanentFailure | BulkAudioError


def sending_failure(error: BaseException, target: Target) -> Failure:
    """Translate what went wrong before an answer's head was complete."""
    match error:
        case Refused():
            failure: Failure = RedirectRefused(
                f"to {target.host}, {error}", evidence=target.evidence
            )
        case aiohttp.ClientConnectorCertificateError():
            failure = _distrust(error.certificate_error, target)
        case aiohttp.ClientHttpProxyError():
            failure = _proxy_refusal(error, target)
        case aiohttp.ClientPayloadError():
            # A head that breaks off is no body that does: the connection is at fault.
            failure = AttemptFailed(Reason.CONNECTION, evidence=target.evidence)
        case aiohttp.ClientConnectorDNSError():
            reason = NO_SUCH_HOST if target.is_home else Reason.CONNECTION
            failure = AttemptFailed(reason, evidence=target.evidence)
        case _:
            failure = _local_failure(error) or AttemptFailed(
                _reason(error), evidence=target.evidence
            )
    if not target.is_home:
        failure.add_note(f"{REDIRECTED}{target.host}")
    return _chained(failure, error)


def reading_failure(error: BaseException, evidence: Evidence) -> Failure:
    """Translate what went wrong in the middle of a body."""
    failure = _local_failure(error) or AttemptFailed(_reason(error), evidence=evidence)
    return _chained(failure, error)


def _reason(error: BaseException) -> Reason:
    match error:
        case aiohttp.ClientPayloadError():
            # A reset looks like a short body; only the text names the error of the socket.
            is_lost = any(name in str(error) for name in _SOCKET_ERRORS)
            return Reason.CONNECTION if is_lost else Reason.TRUNCATED
        case TimeoutError():
            return Reason.TIMEOUT
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return Reason.PROTOCOL
        case _:
            return Reason.CONNECTION


def _local_failure(error: BaseException) -> LocalError | None:
    own = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(own, OSError) and own.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return LocalError(
            f"this machine has no room for another connection: {own.strerror}",
            fix="raise the limit of open files (ulimit -n), or lower --concurrency",
        )
    return None


def _distrust(error: Exception, target: Target) -> Failure:
    flaw = certificate_flaw(error)
    if not target.is_home:
        return RedirectRefused(
            f"to {target.host}, whose certificate {flaw}", evidence=target.evidence
        )
    return HostUnavailableError(
        f"the certificate of {target.host} {flaw}, so nothing was sent to it",
        fix="if a proxy or gateway of your own stands in between, add its authority with "
        "--ca-bundle FILE; otherwise check --region, the network and this machine's clock",
    )


def certificate_flaw(error: Exception) -> str:
    """Say in one clause why a certificate was not accepted; the numbers are OpenSSL's."""
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else None
    match code:
        case 9:
            return "is not valid yet"
        case 10:
            return "has expired"
        case 18:
            return "is self-signed"
        case 19 | 20 | 21:
            return "comes from an authority that this machine does not know"
        case 62 | 64:
            return "is for another host"
        case _:
            detail = getattr(error, "verify_message", "") or type(error).__name__
            return f"is not accepted ({detail})"


def _proxy_refusal(error: aiohttp.ClientHttpProxyError, target: Target) -> Failure:
    if error.status == 407:
        return UsageError(
            "the proxy wants a user name and a password",
            fix="put them into --proxy http://USER:PASSWORD@HOST:PORT",
        )
    return AttemptFailed(Reason.CONNECTION, evidence=target.evidence)


def _chained(failure: Failure, error: BaseException) -> Failure:
    """Name the cause; an error that carries the request's headers only by its text."""
    if isinstance(error, aiohttp.ClientResponseError):
        failure.add_note(f"{type(error).__name__}: {error.status} {error.message}")
    else:
        failure.__cause__ = error
    return failure
