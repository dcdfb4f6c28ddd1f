"""Benches of workers: what they leave, and who may have it."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.errors import StorageError
from bulkaudio.identity import Identity
from bulkaudio.model import Batch, Conversation, Direction, Outcome, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.base import Publication, Staged
from bulkaudio.stores.benches import claim
from bulkaudio.stores.disk import STATE_FOLDER, TEMPORARY_FOLDER, Folders
from bulkaudio.stores.shared import WorkerStore
from tests.audio import wav_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LAYOUT = Layout.parse(DEFAULT_LAYOUT)
IDS = ["CA1", "CA2", "CA3", "CAx", "caX"]


def recording(id_: str) -> Recording:
    """Name one."""
    return Recording(conversation_id=id_, direction=Direction.COMBINED)


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """Make an archive that knows of some calls."""
    folder = tmp_path / "archive"
    async with open_archive(folder) as archive:
        await archive.bind(Identity(region="uk", agent="A"))
        batch = Batch(conversations=tuple(Conversation(id=id_) for id_ in IDS))
        await archive.ledger.plan(batch, [Direction.COMBINED], NOW)
    return folder


async def staged(store: WorkerStore, id_: str) -> Staged:
    """Fetch a recording."""
    staging = await store.stage(recording(id_))
    await staging.write(wav_of(id_))
    sealed = await staging.seal(framed=True)
    assert isinstance(sealed, Staged)
    return sealed


def outcome(each: Staged) -> Outcome:
    """Say that it was saved."""
    return Outcome(
        recording=each.recording,
        status=Status.SAVED,
        path=Path(LAYOUT.path(each.recording)),
        bytes=each.bytes,
        sha256=each.sha256,
        audio=each.audio,
    )


async def publish(store: WorkerStore, shard: str, *ids: str) -> list[Outcome]:
    """Publish some of a shard, and write them down."""
    batch = [await staged(store, id_) for id_ in ids]
    published = await store.publish(batch)
    assert {each.result for each in published} <= {Publication.PUBLISHED, Publication.ADOPTED}
    outcomes = [outcome(each) for each in batch]
    await store.write_down(shard, outcomes)
    await store.forget(published)
    return outcomes


async def statuses(archive: OpenArchive) -> dict[str, Status]:
    """Read what the ledger says."""
    left = await archive.ledger.unsaved([recording(id_) for id_ in IDS])
    open_ = {each.conversation_id for each in left}
    return {id_: Status.OPEN if id_ in open_ else Status.SAVED for id_ in IDS}


def benches(root: Path) -> list[Path]:
    """Return the benches there are."""
    return sorted((root / ".bulkaudio" / "tmp").iterdir())


async def test_a_worker_that_leaves_in_peace_leaves_nothing(root: Path) -> None:
    """Once the run has struck its lists out."""
    async with open_archive(root) as archive:
        store = await WorkerStore.join(root, layout=LAYOUT)
        outcomes = await publish(store, "s-1", "CA1", "CA2")
        await archive.ledger.settle(outcomes, "r", NOW)
        bench = store.bench_name
        await archive.store.strike_out(bench, "s-1")
        await archive.store.strike_out(bench, "s-1")
        await archive.store.strike_out("../..", "s-1")
        await staged(store, "CA3")
        await store.aclose()
        assert benches(root) == []


async def test_what_a_lost_worker_wrote_down_is_not_fetched_again(root: Path) -> None:
    """Another worker finds it by the shard's name, proven; other shards' it does not look at."""
    async with open_archive(root):
        first = await WorkerStore.join(root, layout=LAYOUT)
        await publish(first, "s-1", "CA1", "CAx", "caX")
        await publish(first, "s-2", "CA2")
        second = await WorkerStore.join(root, layout=LAYOUT)
        wanted = [recording(id_) for id_ in IDS]
        found = await second.written_down("s-1", wanted)
        assert {each.recording.conversation_id for each in found} == {"CA1", "CAx", "caX"}
        assert all(each.sha256 and each.audio for each in found)
        assert await second.written_down("s-3", wanted) == []
        (root / "combined" / "CA1.wav").write_bytes(wav_of("other"))
        found = await second.written_down("s-1", [recording("CA1")])
        assert found == []
        await first.aclose()
        await second.aclose()


async def test_the_next_run_adopts_what_dead_workers_left(root: Path) -> None:
    """Lists, and files that were published and not written down; then the benches are gone."""
    store = await WorkerStore.join(root, layout=LAYOUT)
    await publish(store, "s-1", "CA1")
    await store.publish([await staged(store, "CA2")])
    await staged(store, "CA3")
    (store._bench.folder / "s-9.kept").write_bytes(
        b"nonsense\nCA3 combined 12\nCAx combined " + b"a" * 64
    )
    store._bench.pool.shutdown()
    _die(store)
    assert len(benches(root)) == 1
    async with open_archive(root) as archive:
        assert await statuses(archive) == {
            "CA1": Status.SAVED,
            "CA2": Status.SAVED,
            "CA3": Status.OPEN,
            "CAx": Status.OPEN,
            "caX": Status.OPEN,
        }
        assert benches(root) == []


async def test_of_a_worker_that_lives_only_the_lists_are_read(root: Path) -> None:
    """It goes on, and what it is about to publish is its own matter."""
    store = await WorkerStore.join(root, layout=LAYOUT)
    await publish(store, "s-1", "CA1")
    going = await staged(store, "CA2")
    async with open_archive(root) as archive:
        known = await statuses(archive)
        assert (known["CA1"], known["CA2"]) == (Status.SAVED, Status.OPEN)
        assert len(benches(root)) == 1
        published = await store.publish([going])
        assert published[0].result is Publication.PUBLISHED
    await store.aclose()


async def test_a_worker_that_sees_no_archive_says_so(tmp_path: Path) -> None:
    """A folder that is not shared is the usual mistake; nothing is made there."""
    with pytest.raises(StorageError, match="does not see the archive") as caught:
        await WorkerStore.join(tmp_path / "nowhere", layout=LAYOUT)
    assert "mount" in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="does not see the archive"):
        await WorkerStore.join(tmp_path / "empty", layout=LAYOUT)
    assert list((tmp_path / "empty").iterdir()) == []


async def test_nothing_planted_is_followed(root: Path, tmp_path: Path) -> None:
    """A link or a file under a bench's name is left alone."""
    tmp = root / ".bulkaudio" / "tmp"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (tmp / f"worker-{'a' * 16}").symlink_to(elsewhere)
    async with open_archive(root):
        assert (elsewhere / "precious").exists()


def _die(store: WorkerStore) -> None:
    """Let go as a process that is killed does."""
    os.close(store._lock_fd)
    store._folders.close()


async def test_what_is_planted_among_benches_is_nobodys(root: Path, tmp_path: Path) -> None:
    """A link is not followed, a list that is no file says nothing, and nothing saved is no list."""
    tmp = root / ".bulkaudio" / "tmp"
    (tmp / "worker-0123456789abcdef").symlink_to(tmp_path)
    store = await WorkerStore.join(root, layout=LAYOUT)
    try:
        bench = tmp / store.bench_name
        (bench / "s-1.kept").mkdir()
        assert await store.written_down("s-1", [recording("CA1")]) == []
        await store.write_down("s-2", [Outcome(recording=recording("CA1"), status=Status.ABSENT)])
        assert not (bench / "s-2.kept").exists()
    finally:
        (bench / "s-1.kept").rmdir()
        await store.aclose()


def test_a_bench_has_one_worker(tmp_path: Path) -> None:
    """Two that drew the same name do not share it."""
    (tmp_path / ".bulkaudio" / "tmp").mkdir(parents=True)
    folders = Folders(tmp_path)
    try:
        with folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as tmp_fd:
            folder_fd, lock_fd = claim(tmp_fd, "worker-0000000000000000")
            with pytest.raises(FileExistsError):
                claim(tmp_fd, "worker-0000000000000000")
            os.close(folder_fd)
            os.close(lock_fd)
    finally:
        folders.close()


async def test_what_is_no_folder_has_no_benches(tmp_path: Path) -> None:
    """Which is told, and not taken for an archive that is not mounted."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as refused:
        await WorkerStore.join(tmp_path / "file", layout=LAYOUT)
    assert "does not see" not in refused.value.message
