"""The parts of a run, made of what was asked for and what the archive remembers."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bulkaudio.bandwidth import Bandwidth
from bulkaudio.choices import Keys
from bulkaudio.conduct import slots_of
from bulkaudio.crew import WORKERS_PER_SLOT
from bulkaudio.errors import UsageError
from bulkaudio.events import Emit
from bulkaudio.gate import COLD_SLOTS, CREDIT_GROWTH, START_CREDIT, Gate, GateOptions
from bulkaudio.listings import Errand
from bulkaudio.polyai.client import Host, Session
from bulkaudio.settings import Connection, DownloadRequest, Pace, Selection

LISTING_CREDIT = 2.0
"""Pages are asked for one by one: a host that fails twice in a row is down for all of them."""


def require(value: str | None, option: str) -> str:
    """Return a value that neither the user nor the archive may leave open."""
    if not value:
        raise UsageError(
            f"{option} is missing, and the archive does not remember one",
            fix=f"add {option}; it stands in the address of Agent Studio, "
            "https://studio.REGION.poly.ai/ACCOUNT/AGENT/",
        )
    return value


async def find_keys(request: DownloadRequest, kept: Mapping[str, str]) -> Keys:
    """Look the keys up for the region that the archive remembers."""
    region = require(kept.get("region"), "--region")
    return await asyncio.to_thread(request.find_keys, region)


def connection_of(request: DownloadRequest, kept: Mapping[str, str], keys: Keys) -> Connection:
    """Put a connection together of what was asked for and what the archive remembers."""
    api_key, conversations_key = keys
    return Connection(
        region=require(kept.get("region"), "--region"),
        account=kept.get("account"),
        agent=require(kept.get("agent"), "--agent"),
        api_key=api_key,
        conversations_key=conversations_key,
        audio_url=request.audio_url,
        conversations_url=request.conversations_url,
        ca_bundle=request.ca_bundle,
        proxy=request.proxy,
    )


def gate_of(
    session: Session, host: Host, pace: Pace, *, emit: Emit, start: int = COLD_SLOTS
) -> Gate:
    """Make the gate of one host."""
    options = GateOptions(
        fixed=pace.concurrency,
        start=start,
        max_rate=pace.max_rate,
        give_up_s=pace.give_up_after_s,
        bandwidth=Bandwidth(pace.bandwidth),
        credit=LISTING_CREDIT if host is Host.LISTING else recordings_credit(pace),
    )
    return Gate(session.hosts.name(host), options, emit=emit)


def recordings_credit(pace: Pace) -> float:
    """
    Return how many first failures in a row are an outage: about as many as there are workers.

    With more, a few workers would use up all attempts of their recordings before it is noticed.
    """
    workers = slots_of(pace) * WORKERS_PER_SLOT
    return max(LISTING_CREDIT, min(START_CREDIT, workers / CREDIT_GROWTH))


def scope_of(
    connection: Connection, source: str, selection: Selection, windows: Sequence[Errand]
) -> dict[str, Any]:
    """Say what was asked for, as the summary shows it."""
    return {
        "region": connection.region,
        "account": connection.account,
        "agent": connection.agent,
        "source": source,
        "since": _text(windows[0].since) if windows else None,
        "until": _text(windows[-1].until) if windows else None,
        "directions": [direction.value for direction in selection.directions],
        "redaction_requested": bool(selection.redacted),
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
