"""What is told of a ledger elsewhere, and a ledger made anew of that."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.restoring import Sighting
from bulkaudio.model import (
    Audio,
    Batch,
    Bookmark,
    Conversation,
    Direction,
    Evidence,
    Outcome,
    Recording,
    Status,
)

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)
SIDES = (Direction.COMBINED,)


@asynccontextmanager
async def ledger_in(folder: Path) -> AsyncIterator[Ledger]:
    """Open a ledger."""
    folder.mkdir(exist_ok=True)
    ledger = await Ledger.open(folder / "ledger.db", is_new_allowed=True)
    try:
        yield ledger
    finally:
        await ledger.aclose()


def saved(id_: str, size: int = 100) -> Outcome:
    """Return a recording that was kept."""
    recording = Recording(conversation_id=id_, direction=Direction.COMBINED, started_at=NOW)
    return Outcome(
        recording=recording,
        status=Status.SAVED,
        path=Path(f"combined/{id_}.wav"),
        evidence=Evidence(http_status=200, attempts=1, correlation_id=f"support-{id_}"),
        bytes=size,
        sha256="ab" * 32,
        audio=Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=56, seconds=0.5),
    )


async def listing_of(ledger: Ledger, *ids: str) -> None:
    """List these to the end of a window."""
    row = await ledger.start_listing("everything", NOW.replace(day=1), NOW)
    batch = Batch(
        conversations=tuple(Conversation(id=i, started_at=NOW) for i in ids),
        bookmark=Bookmark(listing_id=row.listing_id, is_last=True),
    )
    await ledger.plan(batch, SIDES, NOW)


def kinds(entries: tuple[Any, ...]) -> list[str]:
    """Say of what kind each is."""
    return [next(iter(each)) for each in entries]


async def test_open_rows_and_listings_wait_for_the_end(tmp_path: Path) -> None:
    """While a run goes on only what is settled is told; a listing never before all its rows."""
    async with ledger_in(tmp_path) as ledger:
        assert await ledger.journal.begin() is None
        await listing_of(ledger, "CA1", "CA2", "CA3")
        await ledger.settle([saved("CA2")], "run-1", NOW)
        assert (
            await ledger.journal.waiting() == 2
        )  # noted when it was planned, and when it was saved
        during = await ledger.journal.changes(10, is_whole=False)
        assert [e["recording"]["conversation_id"] for e in during.entries] == ["CA2"]
        await ledger.journal.shared(during, "one")
        assert await ledger.journal.waiting() == 0

        first = await ledger.journal.changes(1, is_whole=True)
        assert kinds(first.entries) == ["recording"]
        assert not first.is_last
        await ledger.journal.shared(first, "two")
        last = await ledger.journal.changes(1, is_whole=True)
        assert kinds(last.entries) == ["recording", "listing"]
        assert last.is_last
        await ledger.journal.shared(last, "three")
        assert (await ledger.journal.changes(10, is_whole=True)).entries == ()
        assert await ledger.journal.begin() == "three"


async def test_what_changes_meanwhile_is_told_later(tmp_path: Path) -> None:
    """A change after the look, and before it is noted as told, is not forgotten."""
    async with ledger_in(tmp_path) as ledger:
        await ledger.journal.begin()
        await ledger.plan(Batch(conversations=(Conversation(id="CA1"),)), SIDES, NOW)
        changes = await ledger.journal.changes(10, is_whole=True)
        await ledger.settle([saved("CA1")], "run-1", NOW)
        await ledger.journal.shared(changes, "one")
        again = await ledger.journal.changes(10, is_whole=True)
        assert [each["recording"]["status"] for each in again.entries] == ["saved"]


async def test_a_ledger_learns_what_another_told(tmp_path: Path) -> None:
    """Rows, pins and finished listings come over; what nobody may believe does not."""
    async with ledger_in(tmp_path / "old") as ledger:
        await ledger.journal.begin()
        await ledger.pin({"region": "uk", "store": "s3://bucket/prefix", "purging": "x"})
        await listing_of(ledger, "CA1", "CA2")
        await ledger.settle([saved("CA1")], "run-1", NOW)
        changes = await ledger.journal.changes(10, is_whole=True)
        old = await ledger.rows_after(0, 10)
        high_water = await ledger.high_water("everything")
    async with ledger_in(tmp_path / "new") as ledger:
        assert await ledger.restoring.take(changes.entries) == 0
        assert await ledger.rows_after(0, 10) == old
        assert await ledger.pins() == {"region": "uk"}
        assert await ledger.high_water("everything") == high_water
        good = changes.entries[0]["recording"]
        [listed] = [each["listing"] for each in changes.entries if "listing" in each]
        bad: list[dict[str, Any]] = [
            {"recording": {**good, "path": "../../etc/passwd"}},
            {"recording": {**good, "conversation_id": "../x"}},
            {"recording": {**good, "status": "stolen"}},
            {"recording": {**good, "status": "saved", "sha256": "short"}},
            {"recording": {**good, "status": "saved", "bytes": "many"}},
            {"recording": {**good, "first_seen_at": "yesterday"}},
            {"recording": {**good, "first_seen_at": None}},
            {"recording": {**good, "attempts": None}},
            {"recording": {**good, "started_at": "2026-11-27T03:00:00"}},
            {"recording": []},
            {"listing": {"scope": "x", "until": 17}},
            {"listing": {**listed, "scope": 7}},
            {"listing": {**listed, "since": "2026-11-27T03:00:00"}},
            {"listing": {"until": "2026-11-27T03:00:00Z"}},
            {"pins": {"region": 7}},
            {"other": {}},
            {},
        ]
        assert await ledger.restoring.take(bad) == len(bad)
        assert await ledger.rows_after(0, 10) == old
        await ledger.check_values()


async def test_what_is_there_is_held_to_what_was_told(tmp_path: Path) -> None:
    """By name and size, one lookup each; what nobody listed is lost."""
    async with ledger_in(tmp_path) as ledger:
        await ledger.settle([saved("CA1"), saved("CA2"), saved("CA3")], None, NOW)
        there = [
            Sighting(name=f"combined/{id_}.wav", recording=saved(id_).recording, size=size)
            for id_, size in (("CA1", 100), ("CA2", 99), ("CA9", 100))
        ]
        kept, others = await ledger.restoring.familiar(there)
        assert kept == {"combined/CA1.wav"}
        assert [name for name, _ in others] == ["combined/CA2.wav"]
        lost = await ledger.restoring.lost(0, 3, 10)
        assert [row.recording.conversation_id for row in lost] == ["CA2", "CA3"]
        assert await ledger.restoring.saved() == (3, 300)


async def test_an_archive_that_began_anew_has_nothing_left_to_tell(tmp_path: Path) -> None:
    """Rows that are gone are not waited for, and everything can be told again."""
    async with ledger_in(tmp_path) as ledger:
        await ledger.journal.begin()
        await listing_of(ledger, "CA1")
        await ledger.begin_anew()
        changes = await ledger.journal.changes(10, is_whole=True)
        assert changes.entries == ()
        await ledger.journal.shared(changes, "one")
        await ledger.settle([saved("CA2")], None, NOW)
        await ledger.journal.share_all_again("two")
        assert kinds((await ledger.journal.changes(10, is_whole=True)).entries) == [
            "recording",
            "pins",
        ]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT mark FROM shared").fetchone() == ("two",)


async def test_a_local_ledger_has_nothing_of_this(tmp_path: Path) -> None:
    """Only archives whose recordings are elsewhere pay for it."""
    async with ledger_in(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert not {"shared", "unshared", "share_new"} & {name for (name,) in names}


async def test_telling_a_part_does_not_walk_what_else_is_to_be_told(tmp_path: Path) -> None:
    """A ledger of millions is told a thousand rows at a time: each time all of them would be hours."""

    async def steps(rows: int) -> int:
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1

        async with ledger_in(tmp_path / str(rows)) as ledger:
            await ledger.journal.begin()
            await ledger.settle([saved(f"CA{number}") for number in range(rows)], "run-1", NOW)
            await ledger.journal.share_all_again("{}")
            await ledger.journal.shared(await ledger.journal.changes(10, is_whole=True), "{}")
            watch = ledger._database
            await watch.read(lambda connection: connection.set_progress_handler(count, 1))
            await ledger.journal.waiting()
            changes = await ledger.journal.changes(10, is_whole=True)
            await ledger.journal.shared(changes, "{}")
            await watch.read(lambda connection: connection.set_progress_handler(None, 1))
            assert len(changes.recordings) == 10
        return counted

    # Waiting ones are counted, up to some thousands; the rest is of the ten.
    few, many = await steps(6000), await steps(12_000)
    assert many < 1.05 * few
