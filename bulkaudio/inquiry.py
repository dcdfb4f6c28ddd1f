"""What an archive lacks, found out from its ledger, and from a fresh listing where that is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path

from bulkaudio.archive import look_into
from bulkaudio.events import Emit
from bulkaudio.gaps import Census, Frame, covering, merged
from bulkaudio.identity import Identity, begins_anew
from bulkaudio.ledger.listings import Window
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.model import Direction
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.relist import Question, Relisted, relist
from bulkaudio.remember import LISTING_PIN, Choices
from bulkaudio.settings import DownloadRequest
from bulkaudio.survey import survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """
    What somebody wants to know.

    Attributes:
        directions: None: those that were asked for.
        request: Whom to ask for a fresh listing; None: nobody.
    """

    archive: Path
    zone: tzinfo
    since: datetime | None = None
    until: datetime | None = None
    directions: tuple[Direction, ...] | None = None
    request: DownloadRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """
    What was found out.

    Attributes:
        frame: The days that are shown, with what was listed of them.
        left_out: Recordings without a known start, which no window holds.
        unfinished: Listings that were begun and not ended, oldest first.
        is_by_files: No download is on record: `rebuild` made the ledger, and files name no gap.
        interruption: An erasure that was killed: what it had begun with counts as erased.
    """

    archive: Path
    frame: Frame
    census: Census
    relisted: Relisted | None = None
    left_out: int = 0
    unfinished: Sequence[ListingRow] = ()
    is_by_files: bool = False
    interruption: Interruption | None = None


async def inquire(inquiry: Inquiry, now: datetime, emit: Emit) -> Gaps:
    """
    Count what the ledger knows, and what it does not.

    Raises:
        ArchiveBusyError: A run holds the archive.
        UsageError: There is no window to list, or the archive is of another agent.
    """
    frame = Frame(
        zone=inquiry.zone,
        now=now,
        directions=(),
        since=inquiry.since,
        until=inquiry.until,
        counts_never_asked=inquiry.directions is not None,
    )
    async with look_into(inquiry.archive) as held:
        ledger = held.ledger
        pins, has_saved = await ledger.pins(), await ledger.has_saved()
        windows = covering(await ledger.finished_listings(), _usual_scope(pins))
        directions = inquiry.directions or _usual(await ledger.directions(), pins)
        if inquiry.directions is not None:
            # Which calls there were is known from whatever side they were listed for.
            known = merged(each for found in windows.values() for each in found)
            windows = dict.fromkeys(directions, known)
        frame = replace(frame, directions=directions, windows=windows)
        census = await survey(ledger, frame)
        is_window = frame.since is not None or frame.until is not None
        left_out = await ledger.undated(directions) if is_window else 0
        unfinished = await ledger.unfinished_listings()
        download, _ = await ledger.last_of_each()
        interruption = await ledger.erasures.interruption()
    relisted = None
    if inquiry.request is not None:
        question = _question(inquiry.request, pins, emit, has_saved=has_saved)
        relisted = await relist(question, frame, census)
        frame = _seen(frame, relisted)
    return Gaps(
        archive=inquiry.archive,
        frame=frame,
        census=census,
        relisted=relisted,
        left_out=left_out,
        unfinished=unfinished,
        is_by_files=has_saved and download is None,
        interruption=interruption,
    )


def _question(
    request: DownloadRequest, pins: Mapping[str, str], emit: Emit, *, has_saved: bool
) -> Question:
    """Hold the request to what the archive remembers, as a download is."""
    region = canonical_region(request.region) if request.region else None
    identity = Identity(region=region, account=request.account, agent=request.agent)
    begins_anew(pins, identity, request.place.out, has_saved=has_saved)
    return Question(request=request, kept={**pins, **identity.asked()}, emit=emit)


def _usual(known: Sequence[Direction], pins: Mapping[str, str]) -> tuple[Direction, ...]:
    """Return the directions that were asked for: by any run, or by every night."""
    usual = _choices(pins)
    nightly = usual.directions if usual else ()
    found = tuple(d for d in Direction if d in known or d in nightly)
    return found or (Direction.COMBINED,)


def _usual_scope(pins: Mapping[str, str]) -> str | None:
    usual = _choices(pins)
    if usual is None:
        return None
    return usual.scope_of(pins.get("account"), pins.get("agent"))


def _choices(pins: Mapping[str, str]) -> Choices | None:
    return Choices.from_json(pins[LISTING_PIN]) if LISTING_PIN in pins else None


def _seen(frame: Frame, relisted: Relisted) -> Frame:
    """Count the fresh listing among what was listed to its end."""
    window: Window = (relisted.since, relisted.until)
    windows = {
        direction: (*frame.windows.get(direction, ()), window) for direction in frame.directions
    }
    return frame.covered_by(windows)
