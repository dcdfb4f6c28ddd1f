"""Verifying against real damage, and repairing it."""

import asyncio
import errno
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio import verify as verify_module
from bulkaudio.committer import Committer
from bulkaudio.errors import StorageError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Direction, Evidence, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.policy import Reason
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.base import Staged
from bulkaudio.stores.local import LocalStore
from bulkaudio.verify import Damage, Progress, quarantine, verify
from tests.audio import wav_of

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
COMBINED = (Direction.COMBINED,)


class Archive:
    """An archive with five saved recordings."""

    def __init__(self, root: Path, store: LocalStore, ledger: Ledger) -> None:
        self.root = root
        self.store = store
        self.ledger = ledger

    async def save(self, *ids: str) -> None:
        """Save the recordings of these conversations as a run does."""
        committer = Committer(self.store, self.ledger, run_id="run-1", emit=lambda _: None)
        async with asyncio.TaskGroup() as group:
            group.create_task(committer.run())
            for id_ in ids:
                recording = Recording(conversation_id=id_, direction=Direction.COMBINED)
                staging = await self.store.stage(recording)
                await staging.write(wav_of(id_))
                staged = await staging.seal(framed=True)
                assert isinstance(staged, Staged)
                await committer.submit(staged, Evidence(http_status=200, attempts=1))
            await committer.drain()

    def file(self, id_: str) -> Path:
        """Path of a recording."""
        return self.root / "combined" / f"{id_}.wav"


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    """Make an archive with CA0 to CA4."""
    root = tmp_path / "archive"
    store = await LocalStore.open(root, layout=Layout.parse(DEFAULT_LAYOUT))
    ledger = await Ledger.open(root / ".bulkaudio" / "ledger.db", is_new_allowed=True)
    archive = Archive(root, store, ledger)
    await archive.save(*(f"CA{n}" for n in range(5)))
    yield archive
    await store.aclose()
    await ledger.aclose()


async def test_an_intact_archive_is_clean(archive: Archive) -> None:
    """Everything is read and counted; sidecars and our own files are no strangers."""
    await archive.store.write_sidecars({"CA0": b"{}"})
    seen: list[Progress] = []
    report = await verify(archive.ledger, archive.store, on_progress=seen.append)
    assert report.is_clean
    assert (report.checked, report.unknown_count) == (5, 0)
    assert report.bytes == sum(len(wav_of(f"CA{n}")) for n in range(5))
    assert [(p.checked, p.of) for p in seen] == [(n, 5) for n in range(1, 6)]


def truncate(file: Path) -> None:
    """Lose the last byte."""
    os.truncate(file, file.stat().st_size - 1)


def append(file: Path) -> None:
    """Gain a byte."""
    with file.open("ab") as stream:
        stream.write(b"\0")


def flip(file: Path) -> None:
    """Flip one bit in the middle."""
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)


def delete(file: Path) -> None:
    """Remove it."""
    file.unlink()


def empty(file: Path) -> None:
    """Leave the name and no bytes."""
    os.truncate(file, 0)


def link(file: Path) -> None:
    """Replace it by a link to an equal file."""
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def fifo(file: Path) -> None:
    """Replace it by a FIFO."""
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    """Replace it by a folder."""
    file.unlink()
    file.mkdir()


DAMAGES = [
    (truncate, Damage.SIZE),
    (append, Damage.SIZE),
    (empty, Damage.SIZE),
    (flip, Damage.CONTENT),
    (delete, Damage.MISSING),
    (link, Damage.NOT_A_FILE),
    (fifo, Damage.NOT_A_FILE),
    (folder, Damage.NOT_A_FILE),
]


@pytest.mark.parametrize(("spoil", "damage"), DAMAGES)
async def test_each_damage_is_found_and_repaired(
    archive: Archive, spoil: Callable[[Path], None], damage: Damage
) -> None:
    """It is named, moved aside and not deleted; the next run makes the archive clean."""
    spoil(archive.file("CA2"))
    report = await verify(archive.ledger, archive.store)
    [finding] = report.findings
    assert (finding.damage, finding.recording.conversation_id) == (damage, "CA2")
    assert finding in (report.missing if damage is Damage.MISSING else report.damaged)
    assert finding.path.as_posix() == "combined/CA2.wav"
    assert not report.is_clean
    assert report.checked == 5

    moved = await quarantine(archive.ledger, archive.store, report.findings)
    assert len(moved) == (0 if damage is Damage.MISSING else 1)
    for path in moved:
        name = re.compile(r"\.bulkaudio/damaged/CA2\.combined\.\d{8}T\d{12}Z\.wav")
        assert name.fullmatch(path.as_posix())
        assert os.path.lexists(archive.root / path)
    assert not os.path.lexists(archive.file("CA2"))
    row = await archive.ledger.oldest_open()
    assert row is not None
    assert (row.status, row.reason) == (Status.OPEN, Reason.DAMAGED)

    ids = tuple(Conversation(id=f"CA{n}") for n in range(5))
    await archive.ledger.start_run("run-2", NOW, "{}")
    plan = await archive.ledger.plan(Batch(conversations=ids), COMBINED, NOW)
    await archive.save(*(task.recording.conversation_id for task in plan.todo))
    assert (await verify(archive.ledger, archive.store)).is_clean
    assert archive.file("CA2").read_bytes() == wav_of("CA2")


async def test_a_whole_folder_behind_a_link_is_not_followed(archive: Archive) -> None:
    """Files that are equal but elsewhere are not those that were saved."""
    outside = archive.root / "moved"
    (archive.root / "combined").rename(outside)
    (archive.root / "combined").symlink_to(outside)
    report = await verify(archive.ledger, archive.store)
    assert [f.damage for f in report.damaged] == [Damage.NOT_A_FILE] * 5
    assert report.unknown_count == 6


async def test_bytes_that_were_saved_wrong_are_found_by_proof(archive: Archive) -> None:
    """A row whose hash fits a file that is no WAV is damage too."""
    archive.file("CA1").write_bytes(b"<html>")
    inspection = await archive.store.inspect(PurePosixPath("combined/CA1.wav"))
    rows = await archive.ledger.saved_after(0, 10)
    [row] = [row for row in rows if row.recording.conversation_id == "CA1"]
    assert verify_module.judge(row, inspection) is not None

    def rewrite(connection: object) -> None:
        connection.execute(  # type: ignore[attr-defined]
            "UPDATE recordings SET bytes = 6, sha256 = ? WHERE conversation_id = 'CA1'",
            (inspection.sha256,),
        )

    await archive.ledger._database.change(rewrite)
    [finding] = (await verify(archive.ledger, archive.store)).damaged
    assert finding.damage is Damage.PROOF


async def test_strangers_are_named_and_no_damage(archive: Archive) -> None:
    """Files, links and names that are no text; the archive's own configuration is none of them."""
    archive.file("CA9").write_bytes(wav_of("CA9"))
    (archive.root / "notes.txt").touch()
    (archive.root / "bulkaudio.toml").touch()
    (archive.root / "link").symlink_to("nowhere")
    (archive.root / os.fsdecode(b"latin-\xe9.wav")).touch()
    report = await verify(archive.ledger, archive.store)
    assert report.is_clean
    assert report.unknown_count == 4
    assert set(report.unknown) == {
        "combined/CA9.wav",
        "notes.txt",
        "link",
        "latin-\\udce9.wav",
    }


async def test_a_disk_that_cannot_read_is_damage_and_missing_permission_is_not(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO is about the file; EACCES is about us, and must not have everything fetched again."""
    pread = os.pread

    def fail_as(number: int) -> Callable[[int, int, int], bytes]:
        def fail(fd: int, size: int, at: int) -> bytes:
            if Path(f"/proc/self/fd/{fd}").readlink().name == "CA3.wav":
                raise OSError(number, os.strerror(number))
            return pread(fd, size, at)

        return fail

    monkeypatch.setattr(os, "pread", fail_as(errno.EIO))
    [finding] = (await verify(archive.ledger, archive.store)).damaged
    assert (finding.damage, finding.detail) == (Damage.UNREADABLE, "Input/output error")
    monkeypatch.setattr(os, "pread", fail_as(errno.EACCES))
    with pytest.raises(StorageError, match="no permission"):
        await verify(archive.ledger, archive.store)


async def test_a_report_is_bounded(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost disk does not fill the memory; the report says that there is more."""
    monkeypatch.setattr(verify_module, "FINDINGS_KEPT", 2)
    for n in range(5):
        archive.file(f"CA{n}").unlink()
    report = await verify(archive.ledger, archive.store)
    assert len(report.missing) == 2
    assert report.is_truncated


async def test_pages_cover_every_row(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond the first page are looked at too."""
    monkeypatch.setattr(verify_module, "ROWS_PER_PAGE", 2)
    archive.file("CA4").unlink()
    report = await verify(archive.ledger, archive.store)
    assert (report.checked, len(report.missing)) == (5, 1)


async def test_cancelling_stops_the_threads_too(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader in the middle of a large file gives up with the coroutine."""
    reading = threading.Event()

    def endless(_: int, size: int, at: int) -> bytes:
        if at > 1000:
            reading.set()
        return bytes(size)

    monkeypatch.setattr("bulkaudio.stores.inspection.READ_BYTES", 100)
    monkeypatch.setattr(os, "pread", endless)
    verifying = asyncio.create_task(verify(archive.ledger, archive.store))
    await asyncio.to_thread(reading.wait, 10)
    verifying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await verifying
    await asyncio.wait_for(archive.store.aclose(), 5)


async def test_quarantine_killed_halfway_is_finished_by_the_next(archive: Archive) -> None:
    """A file that is moved and not yet opened again is found missing and opened."""
    flip(archive.file("CA2"))
    [finding] = (await verify(archive.ledger, archive.store)).findings
    await archive.store.set_aside(finding.path, finding.recording)
    report = await verify(archive.ledger, archive.store)
    assert [f.damage for f in report.findings] == [Damage.MISSING]
    await quarantine(archive.ledger, archive.store, report.findings)
    row = await archive.ledger.oldest_open()
    assert row is not None
    assert (row.status, row.reason) == (Status.OPEN, Reason.DAMAGED)


async def test_what_a_repair_could_not_fetch_again_is_not_forgotten(archive: Archive) -> None:
    """A run fed from files never comes back to it: until it is kept again, it is missing."""
    flip(archive.file("CA2"))
    report = await verify(archive.ledger, archive.store)
    await quarantine(archive.ledger, archive.store, report.findings)
    await archive.ledger.plan(Batch(conversations=(Conversation(id="CA9"),)), COMBINED, NOW)

    again = await verify(archive.ledger, archive.store)
    [finding] = again.missing
    assert (finding.recording.conversation_id, finding.path.as_posix()) == (
        "CA2",
        "combined/CA2.wav",
    )
    assert (again.checked, again.is_clean) == (4, False)
    assert await quarantine(archive.ledger, archive.store, again.findings) == []
    await archive.save("CA2")
    assert (await verify(archive.ledger, archive.store)).is_clean
