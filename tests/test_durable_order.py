"""The order of the durable path, where a crash at just the wrong moment would be rare luck."""

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from bulkaudio.committer import Committer
from bulkaudio.model import Direction, Evidence, Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.base import Staged
from bulkaudio.stores.local import LocalStore
from tests.audio import wav_of

RECORDING = Recording(conversation_id="CA1", direction=Direction.COMBINED)
LAYOUT = Layout.parse(DEFAULT_LAYOUT)


class Watched:
    """A ledger that looks around at the moment at which it is told."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.temporaries: list[str] = []
        self.synced: set[int] = set()
        self.synced_when_told: set[int] | None = None

    def watch_syncs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take note of what is synced from here on."""
        fsync = os.fsync

        def sync(fd: int) -> None:
            fsync(fd)
            self.synced.add(os.fstat(fd).st_ino)

        monkeypatch.setattr(os, "fsync", sync)

    async def unsaved(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Know everything, and nothing of it saved."""
        return recordings

    async def settle(self, outcomes: Sequence[Outcome], _: str | None, __: datetime) -> None:
        """Take note of what is there, and of what was synced."""
        assert [outcome.recording for outcome in outcomes] == [RECORDING]
        self.temporaries = await asyncio.to_thread(names_in, self._root / ".bulkaudio" / "tmp")
        self.synced_when_told = set(self.synced)


def names_in(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


async def staged_in(store: LocalStore) -> Staged:
    """Stage the one recording."""
    staging = await store.stage(RECORDING)
    await staging.write(wav_of("CA1"))
    staged = await staging.seal(framed=True)
    assert isinstance(staged, Staged)
    return staged


async def committed(store: LocalStore, ledger: Watched, staged: Staged) -> None:
    """Bring the one recording to its end."""
    committer = Committer(store, ledger, run_id="run", emit=lambda _: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        await committer.submit(staged, Evidence())
        await committer.drain()


async def test_temporary_names_stay_until_the_ledger_has_the_batch(tmp_path: Path) -> None:
    """Without them, what is published and not in the ledger would be fetched a second time."""
    store, ledger = await LocalStore.open(tmp_path, layout=LAYOUT), Watched(tmp_path)
    staged = await staged_in(store)
    await committed(store, ledger, staged)
    assert ledger.temporaries == [staged.temporary.name]
    assert names_in(tmp_path / ".bulkaudio" / "tmp") == []
    await store.aclose()


async def test_a_file_of_somebody_else_is_synced_before_the_ledger_calls_it_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever copied it there had no reason to."""
    store, ledger = await LocalStore.open(tmp_path, layout=LAYOUT), Watched(tmp_path)
    (tmp_path / "combined").mkdir()
    path = tmp_path / "combined" / "CA1.wav"
    path.write_bytes(wav_of("CA1"))
    staged = await staged_in(store)
    await staged.durable
    ledger.watch_syncs(monkeypatch)
    await committed(store, ledger, staged)
    assert ledger.synced_when_told is not None
    assert {path.stat().st_ino, path.parent.stat().st_ino} <= ledger.synced_when_told
    await store.aclose()


async def test_recovery_syncs_a_folder_before_the_ledger_has_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before was killed, perhaps between giving the name and syncing its folder."""
    killed, ledger = await LocalStore.open(tmp_path, layout=LAYOUT), Watched(tmp_path)
    await killed.publish([await staged_in(killed)])
    await killed.aclose()
    store = await LocalStore.open(tmp_path, layout=LAYOUT)
    ledger.watch_syncs(monkeypatch)
    await store.recover(ledger)
    assert ledger.synced_when_told is not None
    assert (tmp_path / "combined").stat().st_ino in ledger.synced_when_told
    await store.aclose()
