"""
What PolyAI would answer: routes, keys, errors. No sockets and no faults here.

The order of refusals is the gateway's: route, method, key, agent, parameters, conversation.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from multidict import MultiMapping

from bulkaudio.model import Direction
from bulkaudio.simulator import listing
from bulkaudio.simulator.calls import Call, Calls
from bulkaudio.simulator.journal import OTHER, What
from bulkaudio.simulator.recordings import render
from bulkaudio.simulator.wire import Reply

AUDIO = "audio"
CONVERSATIONS = "conversations"
DIRECTIONS = frozenset(direction.value for direction in Direction)
STREAMED_FROM_BYTES = 256 * 1024
"""Larger pages come in HTTP chunks."""

NO_ROUTE = b'{"message":"no Route matched with those values"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """
    A key that the simulator knows. It opens nothing else.

    Attributes:
        has_pii_access: Without it every recording comes redacted, whatever was asked for.
        hosts: Where it is valid: ``audio``, ``conversations``.
    """

    value: str = field(default_factory=lambda: f"simulated-{token_hex(12)}", repr=False)
    has_pii_access: bool = True
    hosts: frozenset[str] = frozenset({AUDIO, CONVERSATIONS})


class RefusedError(Exception):
    """The request ends with a status and the error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def envelope(self, error_id: str) -> bytes:
        """Return the documented body."""
        return json.dumps(
            {
                "success": False,
                "error": self.message,
                "error_id": error_id,
                "error_code": self.code,
                "error_message": self.message,
                "data": None,
            }
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    A request, taken apart.

    Attributes:
        host: Which of the two it was sent to: ``audio`` or ``conversations``.
        segments: Of the path, decoded.
    """

    host: str
    method: str
    segments: tuple[str, ...]
    query: MultiMapping[str]
    api_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What is there to be asked for."""

    calls: Calls
    owner: listing.Owner
    keys: tuple[Key, ...]
    has_cursors: bool


def subject(question: Question, calls: Calls) -> What:
    """Tell what is asked for; invented ids and directions are not told apart."""
    query = question.query
    match question.host, question.segments:
        case "audio", ("v1", "agents", _, "conversations", id_, "audio"):
            direction = query.get("direction", Direction.COMBINED.value)
            is_real = calls.knows(id_) and direction in DIRECTIONS
            return What("recording", id_, direction) if is_real else OTHER
        case "audio", ("v1", "agents", _, "conversations", id_):
            return What("conversation", id_) if calls.knows(id_) else OTHER
        case ("audio", ("v1", "agents", _, "conversations")) | (
            "conversations",
            ("v3", _, _, "conversations"),
        ):
            return What("page", query.get("cursor") or query.get("offset", ""))
        case _:
            return OTHER


def answer(question: Question, held: Holdings) -> Reply:
    """
    Answer a request.

    Raises:
        RefusedError: The documented errors; a path without a route is a `Reply` of its own kind.
    """
    query = question.query
    try:
        match question.host, question.segments:
            case "audio", ("v1", "agents", agent, "conversations", id_, "audio"):
                key = _admit(question, held, agent)
                return _recording(_find(held, id_), query, key)
            case "audio", ("v1", "agents", agent, "conversations", id_):
                _admit(question, held, agent)
                return _json(listing.conversation_camel(_find(held, id_)))
            case "audio", ("v1", "agents", agent, "conversations"):
                _admit(question, held, agent)
                return _json(listing.page_studio(held.calls, query))
            case "conversations", ("v3", account, project, "conversations"):
                _admit(question, held, project)
                if account != held.owner.account:
                    raise RefusedError(403, "USER_ACCESS_FORBIDDEN", "not your account")
                return _json(
                    listing.page_v3(held.calls, held.owner, query, has_cursors=held.has_cursors)
                )
            case _:
                return Reply(status=404, body=NO_ROUTE)
    except listing.BadQueryError as bad:
        raise RefusedError(400, bad.code, bad.message) from bad


def _admit(question: Question, held: Holdings, agent: str) -> Key:
    if question.method != "GET":
        raise RefusedError(405, "METHOD_NOT_ALLOWED", "GET only")
    for key in held.keys:
        if key.value == question.api_key and question.host in key.hosts:
            break
    else:
        raise RefusedError(401, "AUTH_USER_INVALID_TOKEN", "the API key is not valid here")
    if agent != held.owner.agent:
        raise RefusedError(404, "PROJECT_NOT_FOUND", "no such project")
    return key


def _find(held: Holdings, conversation_id: str) -> Call:
    call = held.calls.find(conversation_id)
    if call is None:
        raise RefusedError(404, "CONVERSATIONS_NOT_FOUND", "no such conversation")
    return call


def _recording(call: Call, query: MultiMapping[str], key: Key) -> Reply:
    direction = query.get("direction", Direction.COMBINED.value)
    if direction not in DIRECTIONS:
        raise RefusedError(
            400, "CONVERSATIONS_VALIDATION_FAILED", "direction is combined, user or agent"
        )
    redacted = query.get("redacted", "false")
    if redacted not in {"true", "false"}:
        raise RefusedError(400, "CONVERSATIONS_VALIDATION_FAILED", "redacted is true or false")
    if not call.has_recording:
        raise RefusedError(404, "CONVERSATIONS_RECORDING_NOT_FOUND", "no recording")
    is_redacted = redacted == "true" or not key.has_pii_access
    return Reply(
        body=render(call, Direction(direction), is_redacted=is_redacted),
        content_type="audio/wav",
        is_chunked=call.form.is_chunked,
        is_framed=call.is_framed,
    )


def _json(page: Mapping[str, Any]) -> Reply:
    body = json.dumps(page).encode()
    return Reply(body=body, is_chunked=len(body) > STREAMED_FROM_BYTES)
