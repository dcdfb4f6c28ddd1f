"""The local store where something else happens than a test can bring about in the usual ways."""

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import pytest

from bulkaudio.errors import StorageError
from bulkaudio.stores.base import Publication, PublishError, Staged
from bulkaudio.stores.disk import Folders, create_file, make_folder, storage_error, translated
from bulkaudio.stores.erasing import make_room
from bulkaudio.stores.inspection import Sight, inspect, names
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.lock import ArchiveLock
from bulkaudio.stores.staging import RecordingFile, temporary_name
from tests.test_local_store import FLAT, WAV, open_ledger, put, recording, temporaries


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Place an archive."""
    return tmp_path / "archive"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalStore]:
    """Open a store with the flat layout."""
    store = await LocalStore.open(root, layout=FLAT)
    yield store
    await store.aclose()


def refusing(code: int) -> Callable[..., NoReturn]:
    """Make a system call that always fails."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse


def open_descriptors() -> int:
    """Count this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_place_that_takes_no_folders_is_named(tmp_path: Path) -> None:
    """Where nothing can be made, the fix is another place, and not a search for what was removed."""
    with pytest.raises(StorageError, match="cannot be made") as caught:
        await LocalStore.open(Path("/proc/self/net/archive"), layout=FLAT)
    assert "use another folder" in str(caught.value)
    assert caught.value.exit_code == 6
    assert await LocalStore.is_empty(tmp_path / "nowhere")


def test_a_folder_that_somebody_else_made_is_left_as_it_is(tmp_path: Path) -> None:
    """Two that make it at once both have it; its mode is its maker's choice."""
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "theirs").chmod(0o755)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        make_folder("theirs", fd)
        make_folder("ours", fd)
    finally:
        os.close(fd)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert (modes["theirs"], modes["ours"]) == (0o755, 0o700)


async def test_many_may_make_the_same_archive_at_once(root: Path) -> None:
    """Whoever loses a race for a folder uses the winner's."""
    stores = await asyncio.gather(*[LocalStore.open(root, layout=FLAT) for _ in range(16)])
    staged = [await put(each, recording(f"CA{n}")) for n, each in enumerate(stores)]
    for each, one in zip(stores, staged, strict=True):
        [published] = await each.publish([one])
        assert published.result is Publication.PUBLISHED
        await each.forget([published])
        await each.aclose()
    assert len(list((root / "combined").iterdir())) == 16


def test_a_file_that_cannot_be_made_private_is_not_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is lost on the way out."""
    folders = Folders(tmp_path)
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", refusing(errno.EPERM))
        with pytest.raises(PermissionError):
            create_file("x", folders.root_fd)
    assert open_descriptors() == before
    folders.close()
    folders.close()
    assert open_descriptors() == before - 1


def test_a_file_system_without_locks_is_an_error_and_not_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot be sure to be alone does not begin; the file is closed again."""
    lock = ArchiveLock(tmp_path / "lock")
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
        with pytest.raises(StorageError, match="No locks available"):
            lock.acquire()
    assert open_descriptors() == before
    with lock, lock:
        assert open_descriptors() == before + 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
async def test_a_name_that_cannot_be_given_is_no_reason_to_rename(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Only a file system without links is worked around; what was published before stays so."""
    batch = [await put(store, recording(f"CA{n}")) for n in (1, 2, 3)]
    link, linked = os.link, list[str]()

    def fail_second(source: str, target: str, **options: Any) -> None:
        linked.append(target)
        if target == "CA2.wav":
            refusing(code)()
        link(source, target, **options)

    monkeypatch.setattr(os, "link", fail_second)
    with pytest.raises(PublishError, match=os.strerror(code)) as caught:
        await store.publish(batch)
    assert [each.path.name for each in caught.value.published] == ["CA1.wav"]
    assert linked == ["CA1.wav", "CA2.wav"], "after a fault no further name is given"
    assert [path.name for path in (root / "combined").iterdir()] == ["CA1.wav"]


@pytest.mark.parametrize(
    ("code", "is_conflict"),
    [(errno.EACCES, True), (errno.EPERM, True), (errno.EIO, False), (errno.EMFILE, False)],
)
async def test_a_file_in_the_way_that_cannot_be_read(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, is_conflict: bool
) -> None:
    """Somebody else's is a conflict of one recording; a disk's own fault is everybody's."""
    (root / "combined").mkdir()
    (root / "combined" / "CA1.wav").write_bytes(WAV)
    staged = await put(store, recording())
    monkeypatch.setattr("bulkaudio.stores.publishing.open_for_reading", refusing(code))
    if is_conflict:
        [published] = await store.publish([staged])
        assert published.result is Publication.CONFLICT
    else:
        with pytest.raises(PublishError) as caught:
            await store.publish([staged])
        assert caught.value.published == ()
    assert (root / "combined" / "CA1.wav").read_bytes() == WAV


async def test_a_sync_that_never_was_is_no_sync(store: LocalStore, root: Path) -> None:
    """What nobody knows to be on the disk gets no name; the rest of the batch does."""
    good, bad = await put(store, recording("CA1")), await put(store, recording("CA2"))
    staging = await store.stage(recording("CA3"))
    await staging.write(WAV)
    lost = await staging.seal(framed=True)
    assert isinstance(lost, Staged)
    lost.durable.cancel()
    with pytest.raises(PublishError, match="was not brought to the disk") as caught:
        await store.publish([good, lost, bad])
    assert [each.path.name for each in caught.value.published] == ["CA1.wav", "CA2.wav"]
    assert not (root / "combined" / "CA3.wav").exists()


async def test_a_bug_in_a_sync_is_shown_as_one(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not told as a fault of the disk, and nothing is published."""

    def stumble(_: RecordingFile) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(RecordingFile, "make_durable", stumble)
    staged = await put(store, recording())
    with pytest.raises(ZeroDivisionError):
        await store.publish([staged])
    assert not (root / "combined").exists()


async def test_no_sidecars_are_nothing_to_do(store: LocalStore, root: Path) -> None:
    """An empty batch makes no folder."""
    await store.write_sidecars({})
    assert not (root / "metadata").exists()


async def test_without_hard_links_a_note_outlives_a_run_that_ends_early(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was renamed and not yet kept is found by the next start."""
    ledger = await open_ledger(root, "CA1")
    store = await LocalStore.open(root, layout=FLAT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refusing(errno.EPERM))
        await store.publish([await put(store, recording())])
    await store.aclose()
    [note] = temporaries(root)
    assert note.endswith(".moved")

    store = await LocalStore.open(root, layout=FLAT)
    assert [each.recording.conversation_id for each in await store.recover(ledger)] == ["CA1"]
    assert temporaries(root) == []
    await store.aclose()
    await ledger.aclose()


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
async def test_what_only_looks_like_a_trace_is_removed(
    root: Path, plant: Callable[[Path], None]
) -> None:
    """A link or FIFO under a temporary name is neither followed, waited for nor believed."""
    ledger = await open_ledger(root, "CA1")
    (root / ".bulkaudio" / "tmp").mkdir(exist_ok=True)
    plant(root / ".bulkaudio" / "tmp" / temporary_name(recording(), "0" * 8))
    plant(root / ".bulkaudio" / "tmp" / temporary_name(recording(), "moved"))
    (root / "combined").mkdir()
    (root / "combined" / "CA1.wav").write_bytes(WAV)
    store = await LocalStore.open(root, layout=FLAT)
    assert await store.recover(ledger) == ()
    assert temporaries(root) == []
    assert not await ledger.has_saved()
    await store.aclose()
    await ledger.aclose()


async def test_a_trace_of_what_is_gone_saves_nothing(root: Path) -> None:
    """When the published name was removed, or leads elsewhere, the recording is fetched again."""
    ledger = await open_ledger(root, "CA1", "CA2")
    store = await LocalStore.open(root, layout=FLAT)
    await store.publish([await put(store, recording(id_)) for id_ in ("CA1", "CA2")])
    await store.aclose()
    assert len(temporaries(root)) == 2
    (root / "combined" / "CA1.wav").unlink()
    (root / "combined" / "CA2.wav").rename(root / "combined" / "other.wav")
    (root / "combined" / "CA2.wav").symlink_to("other.wav")

    store = await LocalStore.open(root, layout=FLAT)
    assert await store.recover(ledger) == []
    assert not await ledger.has_saved()
    assert temporaries(root) == []
    await store.aclose()
    await ledger.aclose()


def test_folders_may_vanish_while_names_are_collected(tmp_path: Path) -> None:
    """Somebody who tidies up meanwhile ends nothing."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
    folders = Folders(tmp_path)
    walk = names(folders)
    first = PurePosixPath(next(walk))
    other = "b" if first.parts[0] == "a" else "a"
    (tmp_path / other / "x.wav").unlink()
    (tmp_path / other).rmdir()
    assert list(walk) == []
    folders.close()


@pytest.mark.parametrize(
    ("path", "sight"),
    [
        ("none/x.wav", Sight.MISSING),
        ("file/x.wav", Sight.NOT_A_FILE),
        ("link/x.wav", Sight.NOT_A_FILE),
        ("folder/x.wav", Sight.FILE),
    ],
)
def test_the_way_to_a_file_counts_too(tmp_path: Path, path: str, sight: Sight) -> None:
    """A file behind a link is none of the archive's."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.wav").write_bytes(WAV)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("folder")
    folders = Folders(tmp_path)
    assert inspect(folders, PurePosixPath(path)).sight is sight
    folders.close()


async def test_a_sidecar_of_which_the_disk_takes_a_part_is_written_whole(
    store: LocalStore, root: Path
) -> None:
    """One larger than a single write may be arrives whole, private and without leftovers."""
    text = os.urandom(3 * 1024 * 1024)
    await store.write_sidecars({"CA1": text})
    sidecar = root / "metadata" / "CA1.json"
    assert sidecar.read_bytes() == text
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o600
    assert temporaries(root) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_a_disk_that_takes_no_byte_is_refused_before_anything_is_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Folders alone prove nothing; what was opened for the look is closed, what was made removed."""
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refusing(code))
        with pytest.raises(StorageError, match=os.strerror(code)):
            await LocalStore.open(root, layout=FLAT)
        with pytest.raises(StorageError, match=os.strerror(code)):
            await LocalStore.prepare(root)
    assert open_descriptors() == before
    assert temporaries(root) == []


@pytest.mark.parametrize("module", ["open_for_reading", "Folders.opened"])
async def test_a_file_whose_name_the_disk_cannot_read_is_damaged(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """A fault of the disk is the file's; what only this process lacks says nothing about it."""
    [published] = await store.publish([await put(store, recording())])
    await store.forget([published])
    path = PurePosixPath(published.path)
    monkeypatch.setattr(f"bulkaudio.stores.inspection.{module}", refusing(errno.EIO))
    found = await store.inspect(path)
    assert (found.sight, found.detail) == (Sight.UNREADABLE, "Input/output error")
    monkeypatch.setattr(f"bulkaudio.stores.inspection.{module}", refusing(errno.EMFILE))
    with pytest.raises(StorageError, match="too many files open"):
        await store.inspect(path)
    assert (root / published.path).read_bytes() == WAV


async def test_who_makes_room_is_not_refused_for_want_of_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk keeps others away, without a word of the file that was tried out."""
    await LocalStore.prepare(root)
    monkeypatch.setattr(os, "write", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match="the disk has no space") as caught:
        await LocalStore.prepare(root)
    assert ".part" not in caught.value.message
    await LocalStore.prepare(root, is_freeing=True)
    monkeypatch.setattr(os, "write", refusing(errno.EROFS))
    with pytest.raises(StorageError, match="read-only"):
        await LocalStore.prepare(root, is_freeing=True)


async def test_room_is_made_of_what_nobody_misses(root: Path) -> None:
    """Copies of older ledgers, and what a run told outsiders; done again, it is no fault."""
    state = await LocalStore.prepare(root)
    for name in ("ledger.db", "ledger.db.v1.20260101T000000.bak", "status.json"):
        (state / name).touch()
    store = await LocalStore.open(root, layout=FLAT)
    await store.within(make_room)
    await store.within(make_room)
    await store.aclose()
    assert {path.name for path in state.iterdir()} == {"ledger.db", "tmp"}


def test_who_only_reads_is_not_told_to_ask_for_more(root: Path) -> None:
    """Permission to read is all that is missing."""
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    told = storage_error(root, error, is_reading=True)
    assert told.message.startswith(f"cannot read {root}: ")
    assert told.fix is not None
    assert "write" not in told.fix


def test_a_folder_that_nobody_may_look_into_is_called_no_archive(tmp_path: Path) -> None:
    """What was to be said of it is said; a name that is too long stands for one."""
    with (
        pytest.raises(StorageError, match="cannot keep recordings in"),
        translated(tmp_path / ("x" * 300)),
    ):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
