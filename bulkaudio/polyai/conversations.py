"""
Conversations: how they are asked for, and what a listed record says.

Rules of this file: pure. Two APIs spell the same things differently (``started_at``, ``startedAt``);
every spelling is read everywhere.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bulkaudio.model import Conversation, Rejected
from bulkaudio.naming import is_conversation_id, printable
from bulkaudio.polyai.hosts import Host
from bulkaudio.polyai.request import Request
from bulkaudio.settings import ListingQuery

IDS = ("conversation_id", "conversationId", "id")
STARTS = ("started_at", "startedAt")
CHANNELS = ("channel",)
PROGRESS = ("in_progress", "inProgress")
DURATIONS = ("total_duration", "totalDuration")

READ_KEYS = frozenset((*IDS, *STARTS, *CHANNELS, *PROGRESS, *DURATIONS))
"""All that is read of a record when its details are not wanted."""

_QUERIED_CHANNELS = frozenset({"voice", "chat"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in a listing a page begins; by cursor, by the older offset, or at the start."""

    cursor: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    What every page of one listing is asked with.

    Attributes:
        account: None: the endpoint of the studio region, which knows neither account nor time.
        since, until: Half-open, aware.
    """

    account: str | None
    agent: str
    since: datetime
    until: datetime
    query: ListingQuery


def page_request(listing: Listing, position: Position) -> Request:
    """Ask for one page; only cursor or offset differ between the pages of a listing."""
    if listing.account is None:
        return Request(
            host=Host.LISTING,
            segments=("v1", "agents", listing.agent, "conversations"),
            query=(
                ("limit", str(listing.query.page_size)),
                *_where(position if position.cursor else Position(offset=position.offset or 0)),
            ),
        )
    query = listing.query
    return Request(
        host=Host.LISTING,
        segments=("v3", listing.account, listing.agent, "conversations"),
        query=(
            ("start_time", iso(listing.since)),
            ("end_time", iso(listing.until)),
            ("limit", str(query.page_size)),
            ("client_env", query.env),
            *(("channel", channel) for channel in _channels_to_ask(query.channels)),
            *((("variant_id", query.variant),) if query.variant else ()),
            *_where(position),
        ),
    )


def conversation_request(agent: str, conversation_id: str) -> Request:
    """Ask for one conversation in full."""
    return Request(
        host=Host.AUDIO, segments=("v1", "agents", agent, "conversations", conversation_id)
    )


def iso(time: datetime) -> str:
    """Write an aware time as the API documents it, in UTC with ``Z``."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def read_record(value: object, where: str) -> Conversation | Rejected:
    """
    Read one listed record.

    What decides what is fetched and where it is kept (id, start, progress) has to be right; what
    only describes (channel, duration) is dropped when it is not. A record that does not say whether
    it is in progress is taken for finished: at worst its recording is looked for too early.
    """
    if not isinstance(value, Mapping):
        return _rejected(where, value, "is no object")
    conversation_id = _first(value, IDS)
    if not isinstance(conversation_id, str) or not is_conversation_id(conversation_id):
        why = "has no id" if conversation_id is None else "has an id of another form"
        return _rejected(where, conversation_id, why)
    start = _first(value, STARTS)
    started_at = _time(start)
    if started_at is None:
        why = "has no start" if start is None else "has a start that is no time"
        return _rejected(where, conversation_id, why)
    in_progress = _first(value, PROGRESS)
    if not isinstance(in_progress, bool | None):
        return _rejected(where, conversation_id, "is neither in progress nor finished")
    channel, duration = _first(value, CHANNELS), _first(value, DURATIONS)
    return Conversation(
        id=conversation_id,
        started_at=started_at,
        channel=printable(channel) if isinstance(channel, str) else None,
        in_progress=bool(in_progress),
        duration_s=_seconds(duration),
    )


def _channels_to_ask(channels: tuple[str, ...]) -> tuple[str, ...]:
    """
    Name to the server only the channels that its documents agree on, and only all or none of them.

    Objects carry other spellings (``VOICE-SIP``) than the query documents (``voice``): asking for
    one that the server does not know would come back empty, and look complete.
    """
    asked = tuple(dict.fromkeys(channel.lower() for channel in channels))
    return asked if _QUERIED_CHANNELS.issuperset(asked) else ()


def _where(position: Position) -> tuple[tuple[str, str], ...]:
    if position.cursor is not None:
        return (("cursor", position.cursor),)
    return () if position.offset is None else (("offset", str(position.offset)),)


def _first(value: Mapping[str, Any], keys: tuple[str, ...]) -> object:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _time(value: object) -> datetime | None:
    """Read an ISO time; without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer of any length is legal JSON, and no float.
    return float(value) if 0 <= value < 1e12 and math.isfinite(value) else None


def _rejected(where: str, value: object, why: str) -> Rejected:
    text = value if isinstance(value, str) else "" if value is None else type(value).__name__
    return Rejected(where=where, text=printable(text), why=why)
