"""
A scripted listing beside scripted recordings, and what must hold of a listing at every moment.

A `Book` answers each place of a listing by its own plan; `check_bookmark` holds the ledger to I4.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from bulkaudio.naming import file_stem
from tests.audio import wav_of
from tests.forked import Ended
from tests.oracle import CANARY, Trial
from tests.plans import Plans, subject
from tests.program import ledger_rows
from tests.wire import Exchange, Script, WireServer, says_json

DAY = ("--account", "ws-1", "--since", "2026-11-10", "--until", "2026-11-11")
"""The window of most trials."""


class ListingLine(NamedTuple):
    """What the ledger says of one listing."""

    since: str
    until: str
    cursor: str | None
    offset: int | None
    state: str


def record(conversation_id: str, **changes: object) -> dict[str, object]:
    """Return a listed call of that day."""
    call = {"id": conversation_id, "started_at": "2026-11-10T10:00:00Z", "channel": "VOICE-SIP"}
    return {**call, "in_progress": False, "total_duration": 60, **changes}


def page(*records: object, **envelope: object) -> Script:
    """Answer with a page; a text stands for a usual record of that id."""
    return says_json(200, page_value(*records, **envelope))


def page_value(*records: object, **envelope: object) -> dict[str, Any]:
    """Return the JSON value of a page."""
    found = [record(each) if isinstance(each, str) else each for each in records]
    return {"conversations": found, **envelope}


def chapters(*pages: Sequence[str]) -> dict[str, Script]:
    """Return the pages of a listing: the first without a cursor, then ``c1``, ``c2``, …"""
    last = len(pages) - 1
    return {
        f"c{number}" if number else "": page(
            *ids, cursor=f"c{number + 1}" if number < last else None
        )
        for number, ids in enumerate(pages)
    }


class Book:
    """
    A script for both endpoints.

    Args:
        pages: What is said at each place, by the cursor asked for, ``@`` and the offset, or
            nothing; of several scripts the first answers the first request for that place, the
            last one all that follow.
        recordings: What is said to requests for recordings.
    """

    def __init__(
        self, pages: Mapping[str, Script | Sequence[Script]], recordings: Script | None = None
    ) -> None:
        self.pages = dict(pages)
        self.recordings = recordings or Plans()
        self.places: list[str] = []
        self.targets: list[str] = []
        self.asked: Counter[str] = Counter()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        target = exchange.head.target
        parts = urlsplit(target)
        if parts.path.endswith("/audio"):
            conversation_id, direction = subject(target)
            self.asked[f"{direction}/{file_stem(conversation_id)}.wav"] += 1
            await self.recordings(exchange)
            return
        query = parse_qs(parts.query)
        place = query.get("cursor", [f"@{each}" for each in query.get("offset", [])] or [""])[0]
        plan = self.pages[place]
        scripts = plan if isinstance(plan, Sequence) else (plan,)
        script = scripts[min(self.places.count(place), len(scripts) - 1)]
        self.places.append(place)
        self.targets.append(target)
        await script(exchange)

    def mend(self, pages: Mapping[str, Script | Sequence[Script]]) -> None:
        """Answer as a healthy PolyAI from now on, and count places anew."""
        self.pages = dict(pages)
        self.places.clear()
        self.targets.clear()


def listing_trial(
    server: WireServer, book: Book, cwd: Path, *ids: str, speed: float = 1.0
) -> Trial:
    """
    Return a trial of a server that lists by `book` and has these conversations' recordings.

    Its folder is made, and must not be there yet.
    """
    cwd.mkdir()
    names = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")
    return Trial(
        cwd=cwd,
        env={**dict.fromkeys(names, server.url()), "POLYAI_API_KEY": CANARY},
        truth={f"combined/{file_stem(id_)}.wav": wav_of(id_) for id_ in ids},
        asked=lambda: book.asked,
        speed=speed,
    )


async def listed(trial: Trial, told: Mapping[str, Sequence[str]], *arguments: str) -> Ended:
    """
    List the day to the end, whatever that is, and hold the ledger to I4 as well.

    Args:
        told: The ids that each place of the book tells, in the order of its pages.
    """
    ended = await trial.download(*DAY, *arguments)
    check_bookmark(trial.archive, told)
    return ended


def told_by(*pages: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return what `chapters` of these pages tell."""
    return {f"c{number}" if number else "": ids for number, ids in enumerate(pages)}


def listing_lines(archive: Path) -> list[ListingLine]:
    """Read the ledger's listings in the order they were begun; see `ledger_rows`."""
    with TemporaryDirectory() as folder:
        for path in (archive / ".bulkaudio").glob("ledger.db*"):
            if path.suffix in {".db", ".db-wal"}:
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "ledger.db")) as connection:
            rows = connection.execute(
                'SELECT since, until, cursor, "offset", state FROM listings ORDER BY id'
            ).fetchall()
    return [ListingLine(*row) for row in rows]


def check_bookmark(archive: Path, told: Mapping[str, Sequence[str]]) -> None:
    """Whatever place the ledger's listing stands at, what was told before it is in the ledger."""
    if not (archive / ".bulkaudio" / "ledger.db").exists():
        return
    known = {id_ for id_, _ in ledger_rows(archive)}
    for line in listing_lines(archive):
        passed = list(told)
        if line.state == "open":
            place = line.cursor or (f"@{line.offset}" if line.offset is not None else "")
            assert place in told, f"a bookmark at {place!r}, where no page is"
            passed = passed[: passed.index(place)]
        missing = {id_ for place in passed for id_ in told[place]} - known
        assert not missing, f"{line} has passed {missing}, and the ledger does not know them"
