"""One cheap request to each host, and all that its answer tells."""

import asyncio
import ipaddress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from bulkaudio.doctor.patience import within
from bulkaudio.errors import BulkAudioError, exhaustion
from bulkaudio.model import Direction, Recording
from bulkaudio.naming import printable
from bulkaudio.policy import Answer
from bulkaudio.polyai.client import PermanentFailure, Request, Session, TransferLimits
from bulkaudio.polyai.conversations import Listing, Position, page_request
from bulkaudio.polyai.recordings import recording_request
from bulkaudio.polyai.trouble import Stage, addresses_of, redirected_to, stage_of, words_of
from bulkaudio.retry import AttemptFailed
from bulkaudio.settings import ListingQuery

NAME_S, CONNECT_S, ANSWER_S, ALL_S = 10.0, 5.0, 10.0, 25.0

LIMITS = TransferLimits(connect_s=CONNECT_S, head_s=ANSWER_S, read_s=ANSWER_S)

NO_CONVERSATION = "CA00000000000000000000000000000000"
"""Of the usual form, and nobody's."""

SOMEBODY = "bulkaudio-doctor"
"""In place of an account or an agent that nobody has named; goes out without a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why there is no answer.

    Attributes:
        words: The system's, where it has some.
        error: What a run would end with, where it would end at once.
    """

    stage: Stage
    reason: str = ""
    words: str | None = None
    error: BulkAudioError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """
    What one host had to say.

    Attributes:
        name: Whose address was looked up: the host's, or the proxy's in front of it.
        addresses: None where there was nothing to look up.
        looks_like: Of a body under a 200, what it is: ``json``, or its ``Content-Type``.
        until: The end of the certificate.
    """

    name: str
    addresses: tuple[str, ...] | None = None
    failure: Failure | None = None
    answer: Answer | None = None
    message: str | None = None
    looks_like: str = ""
    first_byte_s: float = 0.0
    until: datetime | None = None


def recording_question(agent: str | None, *, is_anonymous: bool) -> Request:
    """Ask for a recording that cannot exist, which PolyAI answers with a code of its own."""
    request = recording_request(
        agent or SOMEBODY,
        Recording(conversation_id=NO_CONVERSATION, direction=Direction.COMBINED),
        redacted=None,
    )
    return replace(request, is_anonymous=is_anonymous)


def listing_question(
    account: str | None, agent: str | None, now: datetime, *, is_anonymous: bool
) -> Request:
    """Ask for a page of one conversation; `account` is None in the studio region."""
    listing = Listing(
        account=account,
        agent=agent or SOMEBODY,
        since=now - timedelta(days=1),
        until=now,
        query=ListingQuery(page_size=1),
    )
    return replace(page_request(listing, Position()), is_anonymous=is_anonymous)


async def ask(session: Session, request: Request) -> Heard:
    """Look the host's name up, then send it the request; never raises for what goes wrong."""
    parts = urlsplit(session.connection.proxy or session.hosts.url(request.host))
    name = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    heard = Heard(name=name)
    if not _is_address(name):
        found = await _look_up(name, port)
        if isinstance(found, Failure):
            return replace(heard, failure=found)
        heard = replace(heard, addresses=found)
    try:
        async with asyncio.timeout(ALL_S):
            return await _get(session, request, heard)
    except (AttemptFailed, PermanentFailure) as failure:
        elsewhere = redirected_to(failure)
        reason = str(failure) if elsewhere is None else f"a redirect to {elsewhere}"
        told = Failure(stage=stage_of(failure), reason=reason, words=words_of(failure))
        return replace(heard, failure=told)
    except BulkAudioError as error:
        return replace(heard, failure=Failure(stage=stage_of(error), error=error))
    except TimeoutError:
        return replace(heard, failure=Failure(stage=Stage.ANSWER, reason="timeout"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _look_up(name: str, port: int) -> tuple[str, ...] | Failure:
    try:
        return await within(NAME_S, lambda: addresses_of(name, port))
    except TimeoutError:
        return Failure(stage=Stage.NAME, words=f"no answer within {NAME_S:.0f}s")
    except (OSError, UnicodeError) as error:
        exhausted = exhaustion(error)
        words = error.strerror if isinstance(error, OSError) else "no such name can be"
        return Failure(stage=Stage.NAME, words=printable(words or "").lower(), error=exhausted)


async def _get(session: Session, request: Request, heard: Heard) -> Heard:
    async with session.get(request) as response:
        answer = response.answer
        looks_like = ""
        if answer.http_status == 200:
            head = await anext(response.chunks(), b"")
            label = (response.content_type or "").partition(";")[0].strip()
            is_json = head.lstrip()[:1] in {b"{", b"["}
            looks_like = "json" if is_json else printable(label, 40) or "something unnamed"
        return replace(
            heard,
            answer=answer,
            message=response.error_message,
            looks_like=looks_like,
            first_byte_s=response.first_byte_s,
            until=response.certificate_until,
        )
