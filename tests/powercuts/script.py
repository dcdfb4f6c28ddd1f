"""
What is recorded: a listing of calls, their bytes, and strangers under some of their names.

Small enough that a run over it takes a second, and with everything in it that the durable path
knows: folders made on the way, files of more than one piece, absent recordings, files of others
with the same and with other bytes, metadata files that are written anew.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Bookmark, Conversation, Direction, Metadata, Recording
from bulkaudio.naming import Layout
from bulkaudio.sidecars import sidecar_text
from tests.audio import wav_of

LAYOUT = "{date}/{direction}/{id}.wav"
DIRECTIONS = (Direction.USER, Direction.AGENT)
SCOPE = "power cuts"
PAGES = 10
CALLS_PER_PAGE = 4
PAGES_PER_DAY = 4
BEGINNING = datetime(2026, 11, 2, 6, tzinfo=UTC)
END = BEGINNING + timedelta(days=30)

LONG_S, SHORT_S = 18.0, 0.1
"""The long one is written in more than one piece."""


class Stranger(StrEnum):
    """What somebody else has put under a recording's final name."""

    SAME = "the same bytes"
    OTHER = "other bytes"


Key = tuple[str, str]
"""Conversation id and direction."""

CALLS: tuple[Conversation, ...] = tuple(
    Conversation(
        id=f"CA{number:04x}",
        started_at=BEGINNING
        + timedelta(days=number // (CALLS_PER_PAGE * PAGES_PER_DAY), minutes=number),
    )
    for number in range(PAGES * CALLS_PER_PAGE)
)

NUMBERS: Mapping[str, int] = {call.id: number for number, call in enumerate(CALLS)}

STRANGERS: Mapping[Key, Stranger] = {
    (CALLS[17].id, Direction.USER.value): Stranger.SAME,
    (CALLS[18].id, Direction.AGENT.value): Stranger.OTHER,
    (CALLS[21].id, Direction.AGENT.value): Stranger.SAME,
    (CALLS[30].id, Direction.USER.value): Stranger.OTHER,
    (CALLS[31].id, Direction.USER.value): Stranger.SAME,
}


ERASED: tuple[str, ...] = tuple(CALLS[number].id for number in (1, 2, 5, 9, 13, 17, 25))
"""What somebody wants erased when all of it is archived."""


def page(number: int) -> tuple[Conversation, ...]:
    """Return the calls of a page."""
    return CALLS[number * CALLS_PER_PAGE : (number + 1) * CALLS_PER_PAGE]


def batch(number: int, listing_id: int) -> Batch:
    """Return a page as the listing yields it."""
    bookmark = Bookmark(
        listing_id=listing_id, cursor=f"page {number + 1}", is_last=number + 1 == PAGES
    )
    return Batch(conversations=page(number), bookmark=bookmark)


def reached(cursor: str | None) -> int:
    """Return how many pages are listed where the cursor stands."""
    return int(cursor.removeprefix("page ")) if cursor else 0


@cache
def recordings(pages: int = PAGES) -> Mapping[Key, Recording]:
    """Return the recordings of the first pages."""
    return {
        (call.id, direction.value): Recording(
            conversation_id=call.id, direction=direction, started_at=call.started_at
        )
        for call in CALLS[: pages * CALLS_PER_PAGE]
        for direction in DIRECTIONS
    }


def is_absent(key: Key) -> bool:
    """Whether PolyAI has no such recording."""
    return NUMBERS[key[0]] % 9 == 5 and key[1] == Direction.AGENT


@cache
def audio(key: Key) -> bytes:
    """Return a recording's bytes."""
    return wav_of(*key, seconds=LONG_S if NUMBERS[key[0]] % 16 == 2 else SHORT_S)


def stranger_bytes(key: Key, stranger: Stranger) -> bytes:
    """Return what stands under a recording's final name before it is fetched."""
    return audio(key) if stranger is Stranger.SAME else b"somebody else's notes"


@cache
def path(key: Key) -> str:
    """Return a recording's final name."""
    return str(Layout.parse(LAYOUT).path(recordings()[key]))


@cache
def sidecar(id_: str, edition: int) -> bytes:
    """Return a conversation's metadata file, as the process of this number writes it."""
    return sidecar_text({"conversation_id": id_, "edition": edition}, Metadata.BASIC)


async def listing_of(ledger: Ledger) -> tuple[int, int] | None:
    """Return the listing to go on with and how far it got; None when it is finished."""
    row = await ledger.unfinished_listing(SCOPE)
    if row is None:
        if await ledger.high_water(SCOPE) is not None:
            return None
        row = await ledger.start_listing(SCOPE, BEGINNING, END)
    return row.listing_id, reached(row.cursor)
