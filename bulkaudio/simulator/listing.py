"""
The two listings and the single conversation, as JSON objects. Pure: queries in, pages out.

A cursor names the index of the next call, so that conversations written meanwhile shift nothing;
it carries a digest of the query it belongs to and a seal, so that a client's own inventions and
changes of parameters are refused as the real API refuses them.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from typing import Any

from multidict import MultiMapping

from bulkaudio.simulator.calls import Call, Calls, Line

MAX_PAGE = 1000
ENVIRONMENTS = frozenset({"live", "pre-release", "sandbox"})
_KNOWN = frozenset({"start_time", "end_time", "limit", "cursor", "offset", "in_progress"})
KNOWN = _KNOWN | {"client_env", "channel", "variant_id", "variant_name"}
_CURSOR = struct.Struct(">Q8s8s")


class BadQueryError(Exception):
    """The query is refused with a 400."""

    def __init__(self, message: str, *, code: str = "CONVERSATIONS_VALIDATION_FAILED") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The account and the agent whose conversations these are."""

    account: str
    agent: str


def page_v3(
    calls: Calls, owner: Owner, query: MultiMapping[str], *, has_cursors: bool
) -> dict[str, Any]:
    """Return one page of ``/v3/{account}/{project}/conversations``."""
    unknown = sorted(set(query) - KNOWN)
    if unknown:
        raise BadQueryError(
            f"unsupported: {', '.join(unknown)}", code="GET_CONVERSATIONS_FILTER_PARSE_ERROR"
        )
    limit = _number(query, "limit", default=MAX_PAGE, least=1, most=MAX_PAGE)
    offset = _number(query, "offset", default=0, least=0, most=10**9)
    cursor = query.get("cursor")
    digest = _digest(calls.seed, query)
    first = 0 if cursor is None else _position(calls.seed, cursor, digest)
    found = _matching(calls, query, first)
    skipped = 0 if cursor is not None else offset
    page = list(islice(found, skipped, skipped + limit))
    after = next(found, None)
    objects = [conversation(call, owner) for call in page]
    if after is None:
        return {"conversations": objects, "next_offset": None, "cursor": None}
    following = _cursor(calls.seed, after.index, digest) if has_cursors else None
    return {"conversations": objects, "next_offset": offset + limit, "cursor": following}


def page_studio(calls: Calls, query: MultiMapping[str]) -> dict[str, Any]:
    """Return one page of ``/v1/agents/{agent}/conversations``."""
    limit = _number(query, "limit", default=100, least=1, most=MAX_PAGE)
    offset = _number(query, "offset", default=0, least=0, most=10**9)
    found: Iterator[Call]
    if calls.late:
        found = islice((c for c in calls.all() if c.is_listed), offset, offset + limit)
    else:
        found = map(calls.at, range(min(offset, calls.count), min(offset + limit, calls.count)))
    page = [conversation_camel(call) for call in found]
    return {"conversations": page, "count": len(page), "limit": limit, "offset": offset}


def conversation(call: Call, owner: Owner) -> dict[str, Any]:
    """Describe a conversation as the v3 listing does."""
    lines = call.lines
    turns = _turns(lines)
    duration_s = None if call.in_progress else round(call.duration_s, 3)
    return {
        "id": call.id,
        "account_id": owner.account,
        "project_id": owner.agent,
        "environment": "live",
        "started_at": _iso(call.started_at),
        "channel": call.channel,
        "in_progress": call.in_progress,
        "variant_id": call.variant_id,
        "variant_name": call.variant_id.replace("VARIANT-", "Variant "),
        "from_number": call.from_number,
        "to_number": call.to_number,
        "num_turns": len(turns),
        "total_duration": duration_s,
        "polyai_duration": duration_s,
        "handoff": False,
        "handoff_reason": None,
        "handoff_destination": None,
        "metrics": {"ASR_ERRORS": call.index % 3, "CONTAINED": not call.in_progress},
        "state": {"language": "en-GB", "intent": _intent(lines)},
        "turns": turns,
    }


def conversation_camel(call: Call) -> dict[str, Any]:
    """Describe a conversation as the recordings host does."""
    return {
        "conversationId": call.id,
        "startedAt": _iso(call.started_at),
        "channel": call.channel,
        "inProgress": call.in_progress,
        "variantId": call.variant_id,
        "fromNumber": call.from_number,
        "toNumber": call.to_number,
        "totalDuration": None if call.in_progress else round(call.duration_s, 3),
        "turns": _turns(call.lines),
    }


def _intent(lines: Sequence[Line]) -> str | None:
    """Name what the caller wants: the second line of every dialogue."""
    return next((line.phrase.name for line in lines[1:2]), None)


def _turns(lines: Sequence[Line]) -> list[dict[str, str]]:
    """Pair what the caller said with what the agent answered."""
    turns: list[dict[str, str]] = []
    for line in lines:
        if line.phrase.speaker == "user" or not turns or turns[-1]["agent_response"]:
            turns.append({"user_input": "", "agent_response": ""})
        key = "user_input" if line.phrase.speaker == "user" else "agent_response"
        turns[-1][key] = line.text
    return turns


def _matching(calls: Calls, query: MultiMapping[str], first: int) -> Iterator[Call]:
    start, end = _time(query, "start_time"), _time(query, "end_time")
    first = first if start is None else max(first, calls.first_from(start))
    last = calls.count if end is None else calls.first_from(end)
    in_progress = _choice(query, "in_progress", {"true": True, "false": False})
    is_live = _choice(query, "client_env", {e: e == "live" for e in ENVIRONMENTS})
    channels = [channel.casefold() for channel in query.getall("channel", [])]
    variant = query.get("variant_id")
    if variant is None and "variant_name" in query:
        variant = query["variant_name"].replace("Variant ", "VARIANT-")
    elif "variant_name" in query:
        raise BadQueryError("variant_id and variant_name exclude each other")
    return (
        call
        for call in map(calls.at, range(first, last))
        if call.is_listed
        and is_live is not False
        and in_progress in {None, call.in_progress}
        and variant in {None, call.variant_id}
        and (not channels or any(c in call.channel.casefold() for c in channels))
    )


def _number(query: MultiMapping[str], name: str, *, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise BadQueryError(f"{name} must be from {least} to {most}")
    return int(text)


def _time(query: MultiMapping[str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadQueryError(f"{name} must be ISO 8601") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _choice(query: MultiMapping[str], name: str, values: Mapping[str, bool]) -> bool | None:
    text = query.get(name)
    if text is None:
        return None
    if text not in values:
        raise BadQueryError(f"{name} must be one of {', '.join(sorted(values))}")
    return values[text]


def _digest(seed: int, query: MultiMapping[str]) -> bytes:
    pairs = sorted((k, v) for k, v in query.items() if k not in {"cursor", "offset"})
    return blake2b(repr((seed, pairs)).encode(), digest_size=8).digest()


def _seal(seed: int, index: int, digest: bytes) -> bytes:
    return blake2b(f"{seed}/{index}".encode(), digest_size=8, key=digest).digest()


def _cursor(seed: int, index: int, digest: bytes) -> str:
    packed = _CURSOR.pack(index, digest, _seal(seed, index, digest))
    return base64.urlsafe_b64encode(packed).decode()


def _position(seed: int, cursor: str, digest: bytes) -> int:
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        index, given, seal = _CURSOR.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise BadQueryError("malformed cursor") from None
    if seal != _seal(seed, index, given):
        raise BadQueryError("malformed cursor")
    if given != digest:
        raise BadQueryError("the parameters are not those that the cursor was made with")
    return int(index)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
