"""Ledgers that SQLite opens and that hold what nobody wrote there."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.database import WRITE_VERSION_AT, _configure
from bulkaudio.ledger.faults import is_damage
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Bookmark
from bulkaudio.stores import inspection
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.local import LocalStore
from tests.test_ledger import COMBINED, HOUR, NOW, batch, saved
from tests.test_local_store import FLAT, open_ledger, put, recording, temporaries


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Make a closed ledger with a row of everything."""
    folder = tmp_path / "archive" / ".bulkaudio"
    folder.mkdir(parents=True)
    ledger = await Ledger.open(folder / "ledger.db", is_new_allowed=True)
    await ledger.start_run("run-1", NOW, "{}")
    await ledger.finish_run("run-1", NOW + HOUR, '{"counts": {}}')
    listing = await ledger.start_listing("live", None, NOW)
    mark = Bookmark(listing_id=listing.listing_id, cursor="page-2")
    await ledger.plan(batch("a", bookmark=mark), COMBINED, NOW)
    await ledger.settle([saved("a")], "run-1", NOW)
    await ledger.aclose()
    return folder / "ledger.db"


async def spoil(path: Path, statement: str) -> Ledger:
    """Change a value behind our back, and open what that leaves."""

    def change() -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    await asyncio.to_thread(change)
    return await Ledger.open(path, is_new_allowed=False)


async def test_a_whole_ledger_has_nothing_to_say(path: Path) -> None:
    """Every value of a ledger that nobody touched can be read."""
    ledger = await Ledger.open(path, is_new_allowed=False)
    await ledger.check()
    await ledger.check_values()
    await ledger.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE recordings SET started_at = 'yesterday'",
        "UPDATE recordings SET first_seen_at = x'00'",
        "UPDATE recordings SET saved_at = 7",
        "UPDATE recordings SET path = x'00'",
        "UPDATE runs SET started_at = ''",
        "UPDATE runs SET finished_at = '2026-13-01'",
        "UPDATE runs SET summary = '{\"counts\":'",
        "UPDATE runs SET summary = 'NULL'",
        "UPDATE listings SET since = 'never'",
        "UPDATE listings SET until = 'ever'",
    ],
)
async def test_a_value_that_is_none_of_ours_is_damage(path: Path, statement: str) -> None:
    """It is named as such, with the way to make the ledger anew, and never as a bug."""
    ledger = await spoil(path, statement)
    with pytest.raises(LedgerError, match="rebuild") as caught:
        await ledger.check_values()
    assert is_damage(caught.value)
    await ledger.aclose()


async def test_a_file_format_of_the_future_is_damage_and_not_a_permission(path: Path) -> None:
    """SQLite words it as a file that may not be written; asking for permissions would not help."""
    content = bytearray(path.read_bytes())
    content[WRITE_VERSION_AT] = 7
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="no such version") as caught:
        await Ledger.open(path, is_new_allowed=False)
    assert is_damage(caught.value)
    assert path.read_bytes() == content


async def test_a_schema_that_is_no_text_is_damage(path: Path) -> None:
    """What SQLite quotes of it cannot even be decoded."""
    content = path.read_bytes()
    assert b"CREATE TABLE archive" in content
    spoilt = content.replace(b"CREATE TABLE archive", b"CREATE \xff\xfeBLE archive")
    path.write_bytes(spoilt)
    with pytest.raises(LedgerError, match="damaged") as caught:
        await Ledger.open(path, is_new_allowed=False)
    assert is_damage(caught.value)
    assert path.read_bytes() == spoilt


def test_a_ledger_without_a_write_ahead_log_is_refused() -> None:
    """SQLite goes on without one and says nothing; a power cut could take back what was reported."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(OSError, match=r"write-ahead log.*memory mode"),
    ):
        _configure(connection)


def test_a_folder_whose_entry_cannot_be_synced_is_not_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is lost, and the next attempt syncs it again."""

    def refuse(_: int) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    folders = Folders(tmp_path)
    (tmp_path / "user").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                folders.open(("user",), create=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(folders.open(("user",), create=True))
    folders.close()


async def test_what_a_start_cannot_read_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published file that the disk lost since is in the way of nothing, and fetched again."""

    def lost(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    root = tmp_path / "archive"
    ledger = await open_ledger(root, "CA1")
    store = await LocalStore.open(root, layout=FLAT)
    await store.publish([await put(store, recording())])
    await store.aclose()

    store = await LocalStore.open(root, layout=FLAT)
    monkeypatch.setattr(inspection, "_read", lost)
    assert await store.recover(ledger) == []
    assert temporaries(root) == []
    assert not (root / "combined" / "CA1.wav").exists()
    assert len(list((root / ".bulkaudio" / "damaged").iterdir())) == 1
    assert not await ledger.has_saved()
    await store.aclose()
    await ledger.aclose()
