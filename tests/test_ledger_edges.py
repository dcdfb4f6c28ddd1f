"""The ledger where something rare decides: damage or not, whole or not, begun anew or kept."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bulkaudio.errors import LedgerError
from bulkaudio.ledger import anew
from bulkaudio.ledger.faults import NewerLedgerError, is_damage, ledger_error, translated
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Bookmark, Status
from tests.test_ledger import COMBINED, HOUR, NOW, batch, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Place a ledger in a new archive."""
    folder = tmp_path / "archive" / ".bulkaudio"
    folder.mkdir(parents=True)
    return folder / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    """Open a new ledger and close it after the test."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    yield ledger
    await ledger.aclose()


async def filled(path: Path, *ids: str) -> Path:
    """Make a closed ledger in which these are saved."""
    ledger = await Ledger.open(path, is_new_allowed=True)
    await ledger.settle([saved(id_) for id_ in ids], "run-1", NOW)
    await ledger.aclose()
    return path


async def saved_in(path: Path) -> set[str]:
    """Open a ledger and say what is saved."""
    ledger = await Ledger.open(path, is_new_allowed=False)
    rows = await ledger.saved_after(0, 100)
    await ledger.aclose()
    return {row.recording.conversation_id for row in rows}


async def test_an_archive_without_recordings_may_begin_anew(ledger: Ledger) -> None:
    """Of a first run with a wrong agent nothing stays but that it was; what is saved stays."""
    await ledger.start_run("run-1", NOW, "{}")
    await ledger.pin({"agent": "WRONG"})
    listing = await ledger.start_listing("live", None, NOW)
    mark = Bookmark(listing_id=listing.listing_id, cursor="page-2")
    await ledger.plan(batch("a", bookmark=mark), COMBINED, NOW)

    await ledger.begin_anew()
    assert await ledger.rows_after(0, 10) == []
    assert await ledger.pins() == {}
    assert await ledger.unfinished_listings() == []
    last = await ledger.last_run()
    assert last is not None
    assert last.run_id == "run-1"

    await ledger.settle([saved("b")], "run-1", NOW)
    with pytest.raises(LedgerError, match="does not begin anew"):
        await ledger.begin_anew()
    assert [row.status for row in await ledger.rows_after(0, 10)] == [Status.SAVED]


async def test_unfinished_listings_of_every_scope_come_oldest_first(ledger: Ledger) -> None:
    """Finished and superseded ones are not among them."""
    older = await ledger.start_listing("live", None, NOW - HOUR)
    other = await ledger.start_listing("sandbox", NOW - HOUR, NOW)
    newer = await ledger.start_listing("live", NOW - HOUR, NOW)
    done = await ledger.start_listing("draft", NOW - HOUR, NOW)
    end = Bookmark(listing_id=done.listing_id, is_last=True)
    await ledger.plan(batch(bookmark=end), COMBINED, NOW)
    left = await ledger.unfinished_listings()
    assert [each.listing_id for each in left] == [
        older.listing_id,
        other.listing_id,
        newer.listing_id,
    ]
    assert [(each.since, each.until) for each in left] == [
        (None, NOW - HOUR),
        (NOW - HOUR, NOW),
        (NOW - HOUR, NOW),
    ]

    await ledger.start_listing("live", None, NOW)
    assert {each.scope: each.since for each in await ledger.unfinished_listings()} == {
        "sandbox": NOW - HOUR,
        "live": None,
    }


async def test_a_large_ledger_is_walked_when_somebody_asks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening does not read all of it; checking does, and finds what rotted."""
    await filled(path, *(f"CA{n:032x}" for n in range(300)))
    whole = path.read_bytes()
    monkeypatch.setattr("bulkaudio.ledger.database.QUICK_CHECK_BYTES", len(whole))
    ledger = await Ledger.open(path, is_new_allowed=False)
    await ledger.check()
    await ledger.aclose()

    rotten = bytearray(whole)
    for offset in range(4096 * 8, 4096 * 9):
        rotten[offset] ^= 0xFF
    path.write_bytes(rotten)
    with pytest.raises(LedgerError, match="damaged"):
        await Ledger.open(path, is_new_allowed=False)

    monkeypatch.setattr("bulkaudio.ledger.database.QUICK_CHECK_BYTES", len(whole) - 1)
    ledger = await Ledger.open(path, is_new_allowed=False)
    with pytest.raises(LedgerError, match="damaged"):
        await ledger.check()
    await ledger.aclose()


async def test_an_unreadable_place_is_told_as_the_disk_s(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system refuses is no damage: nothing is to be made anew."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LedgerError, match="Input/output error") as caught:
        await Ledger.open(path, is_new_allowed=True)
    assert not is_damage(caught.value)
    assert "rebuild" not in str(caught.value)


def sqlite_fault(code: int | None) -> LedgerError:
    """Let SQLite fail with a code."""
    error = sqlite3.OperationalError("words of SQLite")
    if code is not None:
        error.sqlite_errorcode = code
    path = Path("/a/.bulkaudio/ledger.db")
    with pytest.raises(LedgerError) as caught, translated(path):
        raise error
    assert str(caught.value) == str(ledger_error(path, error))
    return caught.value


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_CORRUPT_VTAB, True),
        (sqlite3.SQLITE_ERROR, True),
        (None, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_CANTOPEN, False),
        (sqlite3.SQLITE_IOERR, False),
        (sqlite3.SQLITE_IOERR_FSYNC, False),
    ],
)
def test_only_damage_leads_to_a_rebuild(code: int | None, *, damage: bool) -> None:
    """Extended codes count as their kind; a full or locked disk loses nothing by waiting."""
    fault = sqlite_fault(code)
    assert is_damage(fault) == damage
    assert ("rebuild" in str(fault)) == damage


def test_a_newer_ledger_is_not_damaged() -> None:
    """What a later version wrote is whole; what we found out ourselves is damage."""
    assert not is_damage(NewerLedgerError("newer"))
    assert is_damage(LedgerError("junk"))


async def test_a_new_ledger_takes_the_old_one_s_place(path: Path) -> None:
    """The old one is kept with everything beside it, under a name of its own."""
    await filled(path, "old")
    path.with_name("ledger.db-wal").write_bytes(b"its log")
    draft = await filled(anew.draft_of(path), "new")

    aside = await asyncio.to_thread(anew.put_in_place, draft, path)
    assert await saved_in(path) == {"new"}
    assert not draft.exists()
    assert [each.name.removeprefix(aside[0].name) for each in aside] == ["", "-wal"]
    assert aside[0].name.startswith("ledger.db.2")
    assert aside[0].name.endswith(".old")
    assert aside[1].read_bytes() == b"its log"
    aside[1].unlink()
    assert await saved_in(aside[0]) == {"old"}


async def test_nothing_is_moved_aside_where_nothing_is(path: Path) -> None:
    """A ledger that was lost altogether leaves nothing to keep."""
    draft = await filled(anew.draft_of(path), "new")
    assert await asyncio.to_thread(anew.put_in_place, draft, path) == []
    assert await saved_in(path) == {"new"}


async def test_an_unfinished_draft_takes_nobody_s_place(path: Path) -> None:
    """With a log beside it, it was not closed: the old one stays where it is."""
    await filled(path, "old")
    draft = await filled(anew.draft_of(path), "new")
    wal = draft.with_name(f"{draft.name}-wal")
    wal.touch()
    with pytest.raises(LedgerError, match="could not be finished") as caught:
        await asyncio.to_thread(anew.put_in_place, draft, path)
    assert "old ledger is untouched" in (caught.value.fix or "")
    assert await saved_in(path) == {"old"}

    await asyncio.to_thread(anew.discard, draft)
    await asyncio.to_thread(anew.discard, draft)
    assert [each.name for each in path.parent.glob("*new*")] == []
    assert await saved_in(path) == {"old"}


class Standing(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> "Standing":
        """Tell the same time always."""
        return cls(2026, 11, 22, 12, tzinfo=tz)


async def test_old_ledgers_of_one_moment_are_all_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is moved aside replaces what was moved aside before, be it only its log."""
    monkeypatch.setattr(anew, "datetime", Standing)
    path.with_name("ledger.db.20261122T120000000000Z.old-shm").touch()
    kept = []
    for generation in range(3):
        await filled(path, f"old-{generation}")
        draft = await filled(anew.draft_of(path), "new")
        [aside] = await asyncio.to_thread(anew.put_in_place, draft, path)
        kept.append(aside)
    assert [each.name.removeprefix("ledger.db.20261122T120000000000Z") for each in kept] == [
        ".1.old",
        ".2.old",
        ".3.old",
    ]
    assert await saved_in(kept[0]) == {"old-0"}
    assert await saved_in(kept[2]) == {"new", "old-2"}


async def test_a_night_s_high_water_is_of_its_own_listings(ledger: Ledger) -> None:
    """What another environment was listed to says nothing of this one."""
    for scope, until in (("live", NOW - HOUR), ("sandbox", NOW)):
        listing = await ledger.start_listing(scope, NOW - timedelta(days=1), until)
        end = Bookmark(listing_id=listing.listing_id, is_last=True)
        await ledger.plan(batch(bookmark=end), COMBINED, NOW)
    assert await ledger.high_water("live") == NOW - HOUR
    assert await ledger.high_water("sandbox") == NOW
    assert await ledger.high_water("draft") is None


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal"])
async def test_what_is_no_file_is_no_ledger(path: Path, name: str) -> None:
    """Neither the ledger nor what SQLite keeps beside it; nothing is opened."""
    path.with_name(name).mkdir()
    with pytest.raises(LedgerError, match="not a regular file") as refused:
        await Ledger.open(path, is_new_allowed=True)
    assert refused.value.fix is not None
    assert path.with_name(name).is_dir()
