"""The local store against a real disk: privacy, proof, publishing, faults, recovery."""

import asyncio
import errno
import hashlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Conversation, Direction, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores import publishing
from bulkaudio.stores import staging as staging_module
from bulkaudio.stores.base import Publication, PublishError, SidecarsKept, Staged, Store
from bulkaudio.stores.inspection import Sight
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.staging import PIECE_BYTES, LocalStaging, recording_of, temporary_name
from bulkaudio.wav import Flaw
from tests.audio import pcm_wav, wav_of

FLAT = Layout.parse(DEFAULT_LAYOUT)
DATED = Layout.parse("{year}/{month}/{direction}/{id}.wav")
START = datetime(2026, 11, 22, 6, tzinfo=UTC)
WAV = wav_of("CA1")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")


def recording(id_: str = "CA1", direction: Direction = Direction.COMBINED) -> Recording:
    """Name a recording of a known time."""
    return Recording(conversation_id=id_, direction=direction, started_at=START)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Place an archive that does not exist yet."""
    return tmp_path / "not" / "yet" / "archive"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalStore]:
    """Open a store with the flat layout."""
    store = await LocalStore.open(root, layout=FLAT)
    yield store
    await store.aclose()


async def put(store: LocalStore, recording: Recording, body: bytes = WAV) -> Staged:
    """Stage a whole recording."""
    staging = await store.stage(recording)
    await staging.write(body)
    staged = await staging.seal(framed=True)
    assert isinstance(staged, Staged)
    return staged


async def begin(store: LocalStore, recording: Recording) -> LocalStaging:
    """Stage so much of a recording that its file is there."""
    staging = await store.stage(recording)
    await staging.write(WAV[:44] + bytes(PIECE_BYTES))
    return staging


def temporaries(root: Path) -> list[str]:
    """Names in the temporary folder."""
    return sorted(path.name for path in (root / ".bulkaudio" / "tmp").iterdir())


def name_of(fd: int) -> str:
    """Path that an open descriptor leads to."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the process's umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_it_is_a_store(root: Path) -> None:
    """It has what the flow needs of a store, as mypy sees it."""

    async def check() -> None:
        store: Store = await LocalStore.open(root, layout=FLAT)
        await store.publish(())
        await store.forget(())

    async def run() -> None:
        await check()

    asyncio.run(run())


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_folders_and_files_are_private_whatever_the_umask(root: Path, mask: int) -> None:
    """0700 and 0600, for everything, parents of the archive included; the umask is not touched."""
    with umask(mask):
        store = await LocalStore.open(root, layout=DATED)
        staged = await put(store, recording())
        await store.publish([staged])
        await store.write_sidecars({"CA1": b"{}\n"})
        await store.aclose()
        assert os.umask(mask) == mask
    modes = {
        (stat.S_IMODE(path.stat().st_mode), path.is_dir())
        for path in [root.parent, root, *root.rglob("*")]
    }
    assert modes == {(0o700, True), (0o600, False)}


async def test_bytes_arrive_whole_and_in_large_pieces(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small chunks are collected to 256 KiB; hash and size are of what is on the disk."""
    pieces: list[int] = []
    write = staging_module.RecordingFile.writelines

    def spy(file: staging_module.RecordingFile, piece: Sequence[bytes]) -> None:
        pieces.append(sum(map(len, piece)))
        write(file, piece)

    monkeypatch.setattr(staging_module.RecordingFile, "writelines", spy)
    body = pcm_wav(60.0, "long")
    staging = await store.stage(recording())
    for start in range(0, len(body), 10_000):
        await staging.write(body[start : start + 10_000])
    staged = await staging.seal(framed=False)
    assert isinstance(staged, Staged)
    assert await staging.seal(framed=False) is staged
    assert sum(pieces) == len(body)
    assert all(size >= PIECE_BYTES for size in pieces[:-1])
    assert staged.sha256 == hashlib.sha256(body).hexdigest()
    assert (staged.bytes, staged.audio.seconds) == (len(body), 60.0)

    [published] = await store.publish([staged])
    assert published.path == Path("combined/CA1.wav")
    assert published.result is Publication.PUBLISHED
    assert (root / published.path).read_bytes() == body
    await store.forget([published])
    assert temporaries(root) == []


@pytest.mark.parametrize(
    ("body", "flaw"), [(b"<html>no", Flaw.NOT_AUDIO), (WAV[:-10], Flaw.TRUNCATED), (b"", None)]
)
async def test_what_is_no_whole_recording_leaves_nothing(
    store: LocalStore, root: Path, body: bytes, flaw: Flaw | None
) -> None:
    """A flaw is a value, and the temporary file is gone."""
    staging = await store.stage(recording())
    await staging.write(body)
    found = await staging.seal(framed=True)
    assert isinstance(found, Flaw)
    assert flaw is None or found is flaw
    assert temporaries(root) == []
    await staging.discard()


async def test_a_discarded_recording_leaves_nothing(store: LocalStore, root: Path) -> None:
    """Discarding removes the file, may be repeated, and does nothing after a seal."""
    staging = await store.stage(recording())
    await staging.write(WAV)
    await staging.discard()
    await staging.discard()
    assert temporaries(root) == []
    staging = await store.stage(recording())
    await staging.write(WAV)
    staged = await staging.seal(framed=True)
    await staging.discard()
    assert isinstance(staged, Staged)
    assert staged.temporary.read_bytes() == WAV


async def test_nothing_is_written_after_a_discard(store: LocalStore, root: Path) -> None:
    """A thread that had no time to begin before its coroutine was cancelled makes no file."""
    staging = await store.stage(recording())
    await staging.discard()
    with pytest.raises(StorageError, match="not wanted any more"):
        await staging.write(bytes(PIECE_BYTES))
    assert temporaries(root) == []


async def test_cancelling_anywhere_leaves_no_file_and_no_descriptor(root: Path) -> None:
    """However far staging got, discarding after a cancellation cleans up."""
    store = await LocalStore.open(root, layout=FLAT)
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def fetch() -> None:
        staging = await store.stage(recording())
        try:
            for _ in range(3):
                await staging.write(bytes(PIECE_BYTES))
            await staging.seal(framed=True)
        except BaseException:
            await staging.discard()
            raise

    for steps in range(12):
        task = asyncio.create_task(fetch())
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait({task})
    await store.aclose()
    assert temporaries(root) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_same_bytes_under_the_final_name_are_adopted(store: LocalStore, root: Path) -> None:
    """A foreign file that is equal becomes ours, private from here on."""
    (root / "combined").mkdir()
    final = root / "combined" / "CA1.wav"
    final.write_bytes(WAV)
    final.chmod(0o644)
    [published] = await store.publish([await put(store, recording())])
    assert published.result is Publication.ADOPTED
    assert stat.S_IMODE(final.stat().st_mode) == 0o600
    await store.forget([published])
    assert temporaries(root) == []


def plant_other_bytes(final: Path) -> None:
    """Put a file of the same size and other bytes there."""
    final.write_bytes(WAV[:-1] + bytes([WAV[-1] ^ 1]))


def plant_link(final: Path) -> None:
    """Put a link to an equal file there."""
    target = final.parent.parent / "target"
    target.write_bytes(WAV)
    final.symlink_to(target)


def plant_broken_link(final: Path) -> None:
    """Put a link to nowhere there."""
    final.symlink_to(final.parent.parent / "nowhere")


def plant_fifo(final: Path) -> None:
    """Put a FIFO there, which nobody reads or writes."""
    os.mkfifo(final)


def plant_folder(final: Path) -> None:
    """Put a folder there."""
    final.mkdir()


def plant_socket(final: Path) -> None:
    """Put a socket there, which cannot be opened at all."""
    with socket.socket(socket.AF_UNIX) as server:
        # Its address may have 107 bytes, and a test's folder is longer.
        folder_fd = os.open(final.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder_fd}/{final.name}")
        os.close(folder_fd)


PLANTS = [
    plant_other_bytes,
    plant_link,
    plant_broken_link,
    plant_fifo,
    plant_folder,
    plant_socket,
]


@pytest.mark.parametrize("plant", PLANTS)
async def test_anything_else_under_the_final_name_is_a_conflict(
    store: LocalStore, root: Path, plant: Callable[[Path], None]
) -> None:
    """It is neither replaced, followed nor waited for, and the rest of the batch is published."""
    (root / "combined").mkdir()
    final = root / "combined" / "CA1.wav"
    plant(final)
    before = (os.lstat(final), final.read_bytes() if final.is_file() else None)
    batch = [await put(store, recording()), await put(store, recording("CA2"))]
    published = await store.publish(batch)
    assert [p.result for p in published] == [Publication.CONFLICT, Publication.PUBLISHED]
    await store.forget(published)
    after = (os.lstat(final), final.read_bytes() if final.is_file() else None)
    assert (after[0].st_ino, after[0].st_mode, after[1]) == (
        before[0].st_ino,
        before[0].st_mode,
        before[1],
    )
    assert not (root / "nowhere").exists()
    assert temporaries(root) == []


async def test_a_linked_folder_is_refused(store: LocalStore, root: Path, tmp_path: Path) -> None:
    """A recording never leaves the archive through a planted folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "user").symlink_to(outside)
    good, bad = await put(store, recording()), await put(store, recording("CA1", Direction.USER))
    with pytest.raises(PublishError, match="symbolic link") as caught:
        await store.publish([good, bad])
    assert [p.path for p in caught.value.published] == [Path("combined/CA1.wav")]
    assert list(outside.iterdir()) == []


async def test_without_hard_links_a_rename_serves(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces nothing either; a note stands in for the temporary name until forgotten."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (root / "combined").mkdir()
    plant_other_bytes(root / "combined" / "CA2.wav")
    batch = [await put(store, recording()), await put(store, recording("CA2"))]
    published = await store.publish(batch)
    assert [p.result for p in published] == [Publication.PUBLISHED, Publication.CONFLICT]
    assert (root / "combined" / "CA1.wav").read_bytes() == WAV
    assert len(temporaries(root)) == 2
    await store.forget(published)
    assert temporaries(root) == []


async def test_a_dated_layout_needs_a_date(root: Path) -> None:
    """It is refused before a byte is asked for; with a date the folders are made."""
    store = await LocalStore.open(root, layout=DATED)
    with pytest.raises(UsageError):
        await store.stage(Recording(conversation_id="CA1", direction=Direction.USER))
    [published] = await store.publish([await put(store, recording())])
    assert published.path == Path("2026/11/combined/CA1.wav")
    await store.aclose()


async def test_files_and_every_touched_folder_are_synced_before_publishing_returns(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file before its name, each folder once after it, new folders in their parents."""
    store = await LocalStore.open(root, layout=DATED)
    calls: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def spy_fsync(fd: int) -> None:
        calls.append(("fsync", name_of(fd)))
        fsync(fd)

    def spy_link(source: str, target: str, **kwargs: Any) -> None:
        calls.append(("link", target))
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    batch = [await put(store, recording(f"CA{n}")) for n in range(5)]
    published = await store.publish(batch)
    assert len(published) == 5
    first_link = calls.index(("link", "CA0.wav"))
    synced_before = {path for call, path in calls[:first_link] if call == "fsync"}
    assert {str(staged.temporary) for staged in batch} <= synced_before
    assert {str(root), str(root / "2026"), str(root / "2026" / "11")} <= synced_before
    folder = str(root / "2026" / "11" / "combined")
    assert calls[-1] == ("fsync", folder)
    assert calls.count(("fsync", folder)) == 1
    await store.aclose()


async def test_a_failed_sync_is_not_repeated_and_spares_the_others(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That recording gets no name; its descriptor is closed; the rest of the batch is published."""
    fsync, asked = os.fsync, list[str]()

    def fail_one(fd: int) -> None:
        path = name_of(fd)
        asked.append(path)
        if "CA2.combined" in path:
            raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail_one)
    batch = [await put(store, recording(f"CA{n}")) for n in (1, 2, 3)]
    with pytest.raises(PublishError, match="hardware fault") as caught:
        await store.publish(batch)
    names = [p.path.name for p in caught.value.published]
    assert names == ["CA1.wav", "CA3.wav"]
    assert sorted(p.name for p in (root / "combined").iterdir()) == names
    assert sum("CA2.combined" in path for path in asked) == 1
    open_files = {
        name_of(int(fd.name)) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()
    }
    assert not any("CA2.combined" in path for path in open_files)


async def test_a_folder_that_cannot_be_synced_holds_back_only_its_own(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names in a folder that may not be on the disk are not reported as published."""
    both = [recording("CA1"), recording("CA1", Direction.USER)]
    await store.publish([await put(store, each) for each in both])
    fsync = os.fsync

    def fail_one(fd: int) -> None:
        if name_of(fd) == str(root / "user"):
            raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail_one)
    more = [recording("CA2", Direction.USER), recording("CA2")]
    with pytest.raises(PublishError) as caught:
        await store.publish([await put(store, each) for each in more])
    assert [p.path for p in caught.value.published] == [Path("combined/CA2.wav")]


async def test_a_sync_nobody_waits_for_is_not_reported_as_lost(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that ends for another reason does not end in complaints."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    await put(store, recording())
    await store.aclose()
    assert caplog.records == []


async def test_a_file_size_limit_is_explained(store: LocalStore, root: Path) -> None:
    """EFBIG names the path, the cause and the fix; nothing of the file stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    staging = await store.stage(recording())
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="file-size limit") as caught:
            await staging.write(bytes(PIECE_BYTES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ulimit -f" in str(caught.value)
    assert str(root / ".bulkaudio" / "tmp") in str(caught.value)
    assert caught.value.exit_code == 6
    await staging.discard()
    assert temporaries(root) == []


async def test_exhausted_descriptors_are_explained(store: LocalStore) -> None:
    """EMFILE is an error with a fix, at once, and the store works again afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())
    fillers = [os.dup(0) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(in_use, *fillers), hard))
    try:
        with pytest.raises(StorageError, match="too many files open"):
            await begin(store, recording())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)
    await put(store, recording())


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small tmpfs."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_root
async def test_a_full_disk_is_explained_and_what_was_published_stays(tmp_path: Path) -> None:
    """ENOSPC while writing leaves no trace of that recording, and all of the earlier one."""
    disk = small_disk(tmp_path / "disk", "size=1m")
    with disk as folder:
        store = await LocalStore.open(folder, layout=FLAT)
        assert 0 < await store.free_bytes() <= 1024 * 1024
        await store.publish([await put(store, recording())])
        staging = await store.stage(recording("CA2"))
        with pytest.raises(StorageError, match="no space"):
            await staging.write(bytes(5 * PIECE_BYTES))
        await staging.discard()
        assert (folder / "combined" / "CA1.wav").read_bytes() == WAV
        assert await store.free_bytes() > PIECE_BYTES
        await store.aclose()


@needs_root
async def test_no_inodes_left_is_explained(tmp_path: Path) -> None:
    """A disk with bytes but without inodes says so too."""
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=5") as folder:
        store = await LocalStore.open(folder, layout=FLAT)
        await begin(store, recording("CA1"))
        await begin(store, recording("CA2"))
        with pytest.raises(StorageError, match="inodes"):
            await begin(store, recording("CA3"))
        await store.aclose()


@needs_root
async def test_a_read_only_disk_is_refused_at_the_opening(tmp_path: Path) -> None:
    """The error comes before any request."""
    with small_disk(tmp_path / "disk", "size=1m,ro") as folder:
        with pytest.raises(StorageError, match="read-only"):
            await LocalStore.open(folder, layout=FLAT)
        with pytest.raises(StorageError, match="read-only"):
            await LocalStore.prepare(folder / "below")


async def test_a_file_in_place_of_the_archive_is_refused(tmp_path: Path) -> None:
    """So is a file in place of one of the folders above it."""
    file = tmp_path / "file"
    file.write_text("precious")
    for root in (file, file / "archive"):
        with pytest.raises(StorageError, match="a file or a symbolic link"):
            await LocalStore.open(root, layout=FLAT)
    assert file.read_text() == "precious"


async def test_a_linked_state_folder_is_refused(root: Path, tmp_path: Path) -> None:
    """The temporary folder is never reached through a link."""
    root.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / ".bulkaudio").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError):
        await LocalStore.open(root, layout=FLAT)
    assert list((tmp_path / "outside").iterdir()) == []


async def test_the_archive_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    """Where a user keeps an archive is the user's choice."""
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    store = await LocalStore.open(tmp_path / "link", layout=FLAT)
    await store.publish([await put(store, recording())])
    await store.aclose()
    assert (root / "combined" / "CA1.wav").exists()


async def test_sidecars_are_replaced_atomically(store: LocalStore, root: Path) -> None:
    """The latest text is there whole."""
    assert await store.has_sidecar(["CA1"]) == frozenset()
    assert await store.write_sidecars({"CA1": b"{old}"}) == SidecarsKept()
    both = {"CA1": b"{new}", "CA2": b"{two}"}
    assert await store.write_sidecars(both) == SidecarsKept()
    assert (root / "metadata" / "CA1.json").read_bytes() == b"{new}"
    assert (root / "metadata" / "CA2.json").read_bytes() == b"{two}"
    assert await store.has_sidecar(["CA1", "CA2", "CA3"]) == {"CA1", "CA2"}
    assert temporaries(root) == []


async def test_a_sidecar_that_is_the_same_is_left_alone(store: LocalStore, root: Path) -> None:
    """So that a backup of every night does not copy it again; one that is shorter or other is not."""
    texts = {"CA1": b"{one}", "CA2": b"{two}", "CA3": b"{three}"}
    await store.write_sidecars(texts)
    before = (root / "metadata" / "CA1.json").stat()
    again = await store.write_sidecars({**texts, "CA2": b"{TWO}", "CA3": b"{three }"})
    assert again == SidecarsKept(unchanged=frozenset({"CA1"}))
    after = (root / "metadata" / "CA1.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (root / "metadata" / "CA2.json").read_bytes() == b"{TWO}"
    assert (root / "metadata" / "CA3.json").read_bytes() == b"{three }"


def test_what_is_no_file_is_no_sidecar(tmp_path: Path) -> None:
    """Nor is an empty one; nothing is nothing."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        (tmp_path / "empty").touch()
        for name in ("folder", "pipe", "empty"):
            assert publishing.read_sidecar(name, folder_fd, 1) is None
        assert publishing.read_sidecar("nothing", folder_fd, 1) == b""
    finally:
        os.close(folder_fd)


async def test_what_is_no_sidecar_is_not_replaced_by_one(store: LocalStore, root: Path) -> None:
    """A folder, a link, a pipe, somebody's text: each is named and kept, and the others written."""
    folder, victim = root / "metadata", root / "victim"
    folder.mkdir()
    victim.write_text("{precious}")
    (folder / "CA1.json").mkdir()
    (folder / "CA2.json").symlink_to(victim)
    os.mkfifo(folder / "CA3.json")
    (folder / "CA4.json").write_text("notes of somebody")
    ids = [f"CA{number}" for number in range(1, 6)]
    kept = await store.write_sidecars(dict.fromkeys(ids, b"{}"))
    assert kept.in_the_way == {id_: folder / f"{id_}.json" for id_ in ids[:4]}
    assert (folder / "CA1.json").is_dir()
    assert (folder / "CA2.json").is_symlink()
    assert (folder / "CA3.json").is_fifo()
    assert (folder / "CA4.json").read_text() == "notes of somebody"
    assert (folder / "CA5.json").read_bytes() == b"{}"
    assert victim.read_text() == "{precious}"
    assert temporaries(root) == []


async def test_a_sidecar_that_cannot_be_written_leaves_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is told, and the temporary file goes."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr("bulkaudio.stores.local.os.rename", fail)
    with pytest.raises(StorageError):
        await store.write_sidecars({"CA1": b"{}"})
    assert temporaries(root) == []


async def test_an_archive_with_recordings_is_not_empty(root: Path) -> None:
    """Whatever the layout; temporary files, damaged ones and sidecars are no recordings."""
    assert await LocalStore.is_empty(root)
    store = await LocalStore.open(root, layout=DATED)
    await store.write_sidecars({"CA1": b"{}"})
    (root / ".bulkaudio" / "damaged").mkdir()
    (root / ".bulkaudio" / "damaged" / "CA1.wav").touch()
    staged = await put(store, recording())
    assert await LocalStore.is_empty(root)
    await store.publish([staged])
    assert not await LocalStore.is_empty(root)
    await store.aclose()


async def test_closing_removes_what_was_not_published_and_may_be_repeated(root: Path) -> None:
    """What is published and not forgotten keeps its trace for the next start."""
    store = await LocalStore.open(root, layout=FLAT)
    await put(store, recording("CA1"))
    await begin(store, recording("CA2"))
    await store.publish([await put(store, recording("CA3"))])
    other = await LocalStore.open(root, layout=FLAT)
    await other.aclose()
    assert len(temporaries(root)) == 3, "another opener removes only what is its own"
    await store.aclose()
    await store.aclose()
    assert [name.split(".")[0] for name in temporaries(root)] == ["CA3"]
    with pytest.raises(StorageError, match="closed"):
        await store.stage(recording())
    for trace in (root / ".bulkaudio" / "tmp").iterdir():
        trace.unlink()


def test_temporary_names_say_what_they_hold() -> None:
    """They are read back exactly, and other names are nobody's."""
    for id_ in ("CA1", "a.b-c_d", "Ab"):
        for direction in Direction:
            name = temporary_name(Recording(conversation_id=id_, direction=direction), "0" * 8)
            assert len(name) < 255
            assert recording_of(name) == Recording(conversation_id=id_, direction=direction)
    for name in ("x", "CA1.combined.wav", "CA1.metadata.00000000.part", "../a.user.0.part"):
        assert recording_of(name) is None
    longest = Recording(conversation_id="A" * 128, direction=Direction.COMBINED)
    assert len(temporary_name(longest, "0" * 8)) < 255


async def open_ledger(root: Path, *ids: str) -> Ledger:
    """Open the archive's ledger, in which these conversations are open."""
    state = await LocalStore.prepare(root)
    ledger = await Ledger.open(state / "ledger.db", is_new_allowed=True)
    calls = tuple(Conversation(id=i, started_at=START) for i in ids)
    await ledger.plan(Batch(conversations=calls), (Direction.COMBINED,), START)
    return ledger


CHILD = """
import asyncio, os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from bulkaudio.naming import Layout
from bulkaudio.stores.local import LocalStore
from tests.test_local_store import begin, put, recording

async def main():
    if sys.argv[3] == "rename":
        def refuse(*_, **__):
            raise PermissionError(1, "Operation not permitted")
        os.link = refuse
    store = await LocalStore.open(Path(sys.argv[1]), layout=Layout.parse(sys.argv[2]))
    batch = [await put(store, recording(f"CA{n}")) for n in range(3)]
    await put(store, recording("CA8"))
    await begin(store, recording("CA9"))
    await store.publish(batch)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def kill_between_publishing_and_ledger(root: Path, layout: Layout, how: str) -> None:
    """Run a process that publishes three recordings and is killed before the ledger knows."""
    command = [sys.executable, "-c", CHILD, str(root), layout.template, how]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("how", ["link", "rename"])
@pytest.mark.parametrize("layout", [FLAT, DATED])
async def test_after_a_kill_the_next_start_brings_the_ledger_what_was_published(
    root: Path, layout: Layout, how: str
) -> None:
    """Nothing published is fetched again, nothing unpublished is kept, no `.part` is left."""
    ledger = await open_ledger(root, *(f"CA{n}" for n in range(10)))
    await asyncio.to_thread(kill_between_publishing_and_ledger, root, layout, how)
    assert len(temporaries(root)) == 5
    store = await LocalStore.open(root, layout=layout)
    outcomes = await store.recover(ledger)
    assert {o.recording.conversation_id for o in outcomes} == {"CA0", "CA1", "CA2"}
    rows = await ledger.saved_after(0, 100)
    assert len(rows) == 3
    for row in rows:
        assert row.path is not None
        assert (root / row.path).read_bytes() == WAV
        assert (row.bytes, row.sha256) == (len(WAV), hashlib.sha256(WAV).hexdigest())
    assert temporaries(root) == []
    assert await store.recover(ledger) == ()
    await store.aclose()
    await ledger.aclose()


class DeathError(Exception):
    """Stands for the process's end at a chosen step."""


class DyingLedger:
    """Passes on to a ledger, or ends the process before or after it has settled."""

    def __init__(self, ledger: Ledger, *, before: bool) -> None:
        self.ledger = ledger
        self.before = before

    async def unsaved(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Ask the ledger."""
        return await self.ledger.unsaved(recordings)

    async def settle(self, outcomes: Any, run_id: str | None, now: datetime) -> None:
        """Die before or after."""
        if not self.before:
            await self.ledger.settle(outcomes, run_id, now)
        raise DeathError


@pytest.mark.parametrize("before", [True, False])
async def test_recovery_itself_may_be_killed(root: Path, *, before: bool) -> None:
    """The next start recovers what is left to recover."""
    ledger = await open_ledger(root, "CA0", "CA1", "CA2")
    await asyncio.to_thread(kill_between_publishing_and_ledger, root, FLAT, "link")
    store = await LocalStore.open(root, layout=FLAT)
    with pytest.raises(DeathError):
        await store.recover(DyingLedger(ledger, before=before))
    assert len(temporaries(root)) == 3
    assert len(await store.recover(ledger)) == (3 if before else 0)
    assert len(await ledger.saved_after(0, 10)) == 3
    assert temporaries(root) == []
    await store.aclose()
    await ledger.aclose()


async def test_recovery_adopts_only_what_was_published(root: Path) -> None:
    """Neither strangers, nor spoilt bytes, nor a file that only has the right name."""
    ledger = await open_ledger(root, "CA1", "CA2")
    await asyncio.to_thread(kill_between_publishing_and_ledger, root, FLAT, "link")
    spoilt = root / "combined" / "CA1.wav"
    spoilt.write_bytes(b"rotten" + WAV[6:])
    replaced = root / "combined" / "CA2.wav"
    replaced.unlink()
    replaced.write_bytes(WAV)
    os.link(root / "combined" / "CA2.wav", root / ".bulkaudio" / "tmp" / "junk")
    store = await LocalStore.open(root, layout=FLAT)
    assert await store.recover(ledger) == []
    assert temporaries(root) == []
    [aside] = (root / ".bulkaudio" / "damaged").iterdir()
    assert aside.name.startswith("CA1.combined.")
    assert not spoilt.exists()
    assert replaced.exists()
    assert (root / "combined" / "CA0.wav").exists(), "unknown to the ledger, and kept"
    assert {r.status for r in await ledger.rows_after(0, 9)} == {Status.OPEN}
    await store.aclose()
    await ledger.aclose()


async def test_recovery_leaves_alone_what_it_cannot_place(root: Path) -> None:
    """A recording without the date that its path needs is fetched again; a folder is not ours."""
    ledger = await open_ledger(root)
    await ledger.plan(Batch(conversations=(Conversation(id="CA1"),)), (Direction.COMBINED,), START)
    await asyncio.to_thread(kill_between_publishing_and_ledger, root, DATED, "link")
    (root / ".bulkaudio" / "tmp" / "folder").mkdir()
    store = await LocalStore.open(root, layout=DATED)
    assert await store.recover(ledger) == []
    assert temporaries(root) == ["folder"]
    assert (root / "2026" / "11" / "combined" / "CA1.wav").exists()
    await store.aclose()
    await ledger.aclose()


class Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> "Noon":
        """Tell the same time always."""
        return cls(2026, 11, 22, 12, tzinfo=tz)


async def test_setting_aside_replaces_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two damaged files of one recording are both kept, even of one moment."""
    monkeypatch.setattr("bulkaudio.stores.recovery.datetime", Noon)
    path = PurePosixPath("combined/CA1.wav")
    for body in (b"one", b"two"):
        (root / "combined").mkdir(exist_ok=True)
        (root / path).write_bytes(body)
        aside = await store.set_aside(path, recording())
        assert (root / aside).read_bytes() == body
    assert len(list((root / ".bulkaudio" / "damaged").iterdir())) == 2


@pytest.mark.parametrize(
    ("plant", "sight"),
    [
        (lambda _: None, Sight.MISSING),
        (plant_fifo, Sight.NOT_A_FILE),
        (plant_link, Sight.NOT_A_FILE),
        (plant_folder, Sight.NOT_A_FILE),
        (plant_other_bytes, Sight.FILE),
    ],
)
async def test_inspecting_says_what_is_there(
    store: LocalStore, root: Path, plant: Callable[[Path], None], sight: Sight
) -> None:
    """Neither a link nor a FIFO is followed or waited for."""
    (root / "combined").mkdir()
    plant(root / "combined" / "CA1.wav")
    assert (await store.inspect(PurePosixPath("combined/CA1.wav"))).sight is sight
    for outside in ("../x.wav", "/etc/passwd"):
        assert (await store.inspect(PurePosixPath(outside))).sight is not Sight.FILE


async def test_all_names_come_without_our_own(store: LocalStore, root: Path) -> None:
    """Recordings, strangers and links, in pages; not the state folder or sidecars."""
    await store.write_sidecars({"CA1": b"{}"})
    (root / "2026" / "11").mkdir(parents=True)
    for n in range(1500):
        (root / "2026" / "11" / f"{n}.wav").touch()
    (root / "link").symlink_to(root / "2026")
    pages = [page async for page in store.names()]
    assert len(pages) == 2
    assert max(name for page in pages for name in page) == "link"
    assert sum(len(page) for page in pages) == 1501
