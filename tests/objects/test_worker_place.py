"""An archive in a bucket as workers see it: what they keep, note and leave, and who may have it."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.identity import Identity
from bulkaudio.model import Batch, Conversation, Direction, Outcome, Recording, Status
from bulkaudio.naming import Layout
from bulkaudio.object_url import ObjectUrl
from bulkaudio.rebuild import rebuild
from bulkaudio.settings import DEFAULT_LAYOUT, Elsewhere
from bulkaudio.stores.base import (
    Publication,
    Published,
    PublishError,
    SidecarsKept,
    Staged,
)
from bulkaudio.stores.objects import scratch
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.kept import NoteError, decode, encode, is_note, note_path
from bulkaudio.stores.objects.things import Put
from bulkaudio.stores.objects.worker import WorkerObjects
from bulkaudio.verify import verify
from tests.audio import wav_of
from tests.objects.folder_bucket import FolderBucket

URL = ObjectUrl("s3", "bucket", "calls")
HERE = Elsewhere(url=URL)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
LAYOUT = Layout.parse(DEFAULT_LAYOUT)
IDS = ["CA1", "CA2", "CA3", "CAx", "caX"]
SHARD = "20261122T000000Z-abc123-000001"
NOTES = ".bulkaudio/shards/20261122T000000Z-abc123/"


def recording(id_: str) -> Recording:
    """Name one."""
    return Recording(conversation_id=id_, direction=Direction.COMBINED)


@pytest.fixture(autouse=True)
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderBucket:
    """Keep the bucket in a folder, and temporary folders in another."""
    kept = FolderBucket(URL, tmp_path / "cloud")
    monkeypatch.setattr(Bucket, "open", lambda _url, _options, **_: kept)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return kept


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """Make an archive that knows of some calls."""
    folder = tmp_path / "state"
    async with open_archive(folder, elsewhere=HERE) as archive:
        await archive.bind(Identity(region="uk", agent="A"))
        batch = Batch(conversations=tuple(Conversation(id=id_) for id_ in IDS))
        await archive.ledger.plan(batch, [Direction.COMBINED], NOW)
    return folder


@pytest.fixture
async def worker(root: Path) -> AsyncIterator[WorkerObjects]:
    """Join it."""
    del root
    joined = await WorkerObjects.join(HERE, layout=LAYOUT)
    yield joined
    await joined.aclose()


async def staged(place: WorkerObjects, id_: str, text: str | None = None) -> Staged:
    """Fetch a recording."""
    staging = await place.stage(recording(id_))
    await staging.write(wav_of(text or id_))
    sealed = await staging.seal(framed=True)
    assert isinstance(sealed, Staged)
    return sealed


def path_of(id_: str) -> str:
    """Return where it is kept."""
    return str(LAYOUT.path(recording(id_)))


def outcome(each: Published) -> Outcome:
    """Say that it was saved."""
    return Outcome(
        recording=each.staged.recording,
        status=Status.SAVED,
        path=each.path,
        bytes=each.staged.bytes,
        sha256=each.staged.sha256,
        audio=each.staged.audio,
    )


async def publish(
    place: WorkerObjects, *ids: str, before: list[Outcome] | None = None
) -> list[Outcome]:
    """Publish some of a shard, and note them."""
    published = await place.publish([await staged(place, id_) for id_ in ids])
    assert {each.result for each in published} == {Publication.PUBLISHED}
    outcomes = [outcome(each) for each in published]
    await place.write_down(SHARD, outcomes, before=before or [])
    await place.forget(published)
    return outcomes


async def saved(archive: OpenArchive) -> set[str]:
    """Read what the ledger says."""
    left = await archive.ledger.unsaved([recording(id_) for id_ in IDS])
    return set(IDS) - {each.conversation_id for each in left}


def notes(bucket: FolderBucket) -> list[str]:
    """Name the notes there are."""
    return sorted(path for path in bucket.objects() if path.startswith(".bulkaudio/shards/"))


def test_a_note_reads_as_it_was_written() -> None:
    """What was not saved is not in it, and what is no note is said to be none."""
    assert decode(encode([])) == {}
    failed = Outcome(recording=recording("CA1"), status=Status.FAILED, reason="http_500")
    assert decode(encode([failed])) == {}
    for text in (
        b"",
        b"{}\n",
        b"[]\n",
        b"\xff",
        b'{"schema":"bulkaudio.manifest/1"}\n',
        b'{"schema":"bulkaudio.shard/1"}\n{"conversation":1}\n',
        b'{"schema":"bulkaudio.shard/1"}\n{"conversation":"a","direction":"up","audio":{}}\n',
    ):
        with pytest.raises(NoteError):
            decode(text)


def test_names_of_notes() -> None:
    """They are below their run and their shard; others are not ours."""
    path = note_path(SHARD, f"worker-{'a' * 16}")
    assert str(path) == f"{NOTES}{SHARD}/worker-{'a' * 16}.jsonl"
    assert is_note(path)
    for name in ("x", f"{NOTES}x", f"{NOTES}{SHARD}/worker-1.jsonl", "combined/CA1.wav"):
        assert not is_note(PurePosixPath(name))


async def test_what_a_worker_keeps(bucket: FolderBucket, worker: WorkerObjects) -> None:
    """Objects with their facts; a note that grows; nothing on the machine afterwards."""
    before = await publish(worker, "CA1", "CA2")
    await publish(worker, "CA3", before=before)
    objects = bucket.objects()
    for id_ in ("CA1", "CA2", "CA3"):
        assert objects[f"combined/{id_}.wav"] == wav_of(id_)
    (note,) = notes(bucket)
    assert {key[0] for key in decode(objects[note])} == {"CA1", "CA2", "CA3"}
    assert list(decode(objects[note]).values())[:2] == [replace(each, path=None) for each in before]
    assert await worker.free_bytes() > 0
    assert await worker.write_sidecars({"CA1": b"{}"}) == SidecarsKept()
    assert await worker.has_sidecar(["CA1", "CA2"]) == {"CA1"}
    other = await worker.publish(
        [await staged(worker, "CA1", "other"), await staged(worker, "CA2")]
    )
    assert [each.result for each in other] == [Publication.CONFLICT, Publication.ADOPTED]
    folder = worker._scratch.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    await worker.aclose()
    assert not folder.exists()
    with pytest.raises(StorageError, match="has left"):
        await worker.stage(recording("CA1"))


async def test_what_a_lost_worker_noted_is_not_fetched_again(
    bucket: FolderBucket, worker: WorkerObjects
) -> None:
    """Another worker finds it by the shard's name, as far as it is so."""
    first = await publish(worker, "CA1", "CA2", "CAx", "caX")
    bucket.spoil("combined/CA2.wav", None)
    bucket.spoil(path_of("CAx"), wav_of("CAx") + b"\0\0")
    other = await WorkerObjects.join(HERE, layout=LAYOUT)
    wanted = [replace(recording(id_), started_at=NOW) for id_ in IDS[:4]]
    (found,) = await other.written_down(SHARD, wanted)
    assert found == replace(first[0], recording=wanted[0])
    assert await other.written_down(SHARD[:-1] + "2", wanted) == []
    await other.aclose()


@pytest.mark.parametrize("keeps_facts", [True, False])
async def test_the_next_run_adopts_what_was_noted(
    bucket: FolderBucket,
    worker: WorkerObjects,
    root: Path,
    keeps_facts: bool,  # noqa: FBT001
) -> None:
    """By a look at each object, or by reading it where a store keeps no facts; then notes are gone."""
    bucket.keeps_facts = keeps_facts
    await publish(worker, "CA1", "CA2", "caX")
    swapped = wav_of("xCA")
    assert len(swapped) == len(wav_of("caX"))
    bucket.spoil(path_of("caX"), swapped)
    bucket.tell(path_of("caX"), {"sha256": sha256(swapped).hexdigest()})
    read: list[str] = []
    bucket.hook = lambda call, key: read.append(key) if call == "read" else None
    async with open_archive(root) as archive:
        assert await saved(archive) == {"CA1", "CA2"}
        assert notes(bucket) == []
        assert any(key.endswith("CA1.wav") for key in read) is not keeps_facts
        await archive.store.share_ledger()
    told = b"".join(text for path, text in bucket.objects().items() if "/manifest/" in path)
    assert sha256(wav_of("CA1")).hexdigest().encode() in told


async def test_the_run_strikes_out_what_its_ledger_has(
    bucket: FolderBucket, worker: WorkerObjects, root: Path
) -> None:
    """One worker's note of one shard; where nothing may be deleted, it stays."""
    async with open_archive(root) as archive:
        await publish(worker, "CA1")
        await archive.store.strike_out(worker.bench_name, "another-000001")
        await archive.store.strike_out("../x", SHARD)

        def refuse(call: str, _key: str) -> None:
            if call == "delete":
                raise BucketAuthError("not allowed")

        bucket.hook = refuse
        await archive.store.strike_out(worker.bench_name, SHARD)
        assert len(notes(bucket)) == 1
        bucket.hook = lambda _call, _key: None
        await archive.store.strike_out(worker.bench_name, SHARD)
        assert notes(bucket) == []


async def test_a_note_that_is_written_anew_meanwhile_stays(
    bucket: FolderBucket, worker: WorkerObjects, root: Path
) -> None:
    """A worker of a run that was killed may go on; what it adds is adopted the next time."""
    before = await publish(worker, "CA1")
    added = await publish(worker, "CA2", before=before)
    await worker.write_down(SHARD, before)
    state = {"looks": 0}
    path = note_path(SHARD, worker.bench_name)

    def go_on(call: str, key: str) -> None:
        if call == "read" and key == URL.key(path):
            state["looks"] += 1
            if state["looks"] == 2:
                bucket.spoil(str(path), encode([*before, *added]))

    bucket.hook = go_on
    async with open_archive(root) as archive:
        assert await saved(archive) == {"CA1"}
        assert len(notes(bucket)) == 1
    async with open_archive(root) as archive:
        assert await saved(archive) == {"CA1", "CA2"}
        assert notes(bucket) == []


async def test_nothing_of_others_is_taken_or_removed(bucket: FolderBucket, root: Path) -> None:
    """Other names, other words, what is too large."""
    others = {
        ".bulkaudio/shards/readme.txt": b"?",
        str(note_path(SHARD, f"worker-{'a' * 16}")): b"nonsense",
        str(note_path(SHARD, f"worker-{'b' * 16}")): b" " * (4 * 1024 * 1024 + 1),
    }
    for path, content in others.items():
        bucket.spoil(path, content)
    async with open_archive(root) as archive:
        assert await saved(archive) == set()
    assert {path: bucket.objects()[path] for path in others} == others


async def test_notes_are_neither_recordings_nor_strangers(
    bucket: FolderBucket, worker: WorkerObjects, root: Path, tmp_path: Path
) -> None:
    """Of `verify` and `names`; a rebuild leaves them, and the run after it strikes them out."""
    async with open_archive(root) as archive:
        outcomes = await publish(worker, "CA1")
        await archive.ledger.settle(outcomes, "r", NOW)
        names = [name async for page in archive.store.names() for name in page]
        assert names == ["combined/CA1.wav"]
        report = await verify(archive.ledger, archive.store)
        assert report.unknown == ()
        assert report.is_clean
    await publish(worker, "CA2")
    there = notes(bucket)
    assert len(there) == 1
    anew = tmp_path / "anew"
    rebuilt = await rebuild(anew, elsewhere=HERE)
    assert (rebuilt.adopted, rebuilt.unknown) == (2, ()), rebuilt
    assert notes(bucket) == there
    async with open_archive(anew) as archive:
        assert {"CA1", "CA2"} <= await saved(archive)
    assert notes(bucket) == []


async def test_what_a_worker_lacks_is_said_with_its_name(
    bucket: FolderBucket, root: Path, tmp_path: Path
) -> None:
    """And nothing is written to a bucket that is not the archive's."""
    del root
    host = os.uname().nodename
    there = tmp_path / "ca.pem"
    with pytest.raises(
        StorageError, match=f"on the worker {host}: there are no certificates"
    ) as caught:
        await WorkerObjects.join(replace(HERE, ca_bundle=there), layout=LAYOUT)
    assert "under the same path" in str(caught.value)

    def refuse(call: str, _key: str) -> None:
        if call == "probe":
            raise BucketAuthError("these credentials are refused", fix="mend them")

    bucket.hook = refuse
    with pytest.raises(StorageError, match=f"on the worker {host}: these credentials"):
        await WorkerObjects.join(HERE, layout=LAYOUT)
    calls: list[str] = []
    bucket.hook = lambda call, _key: calls.append(call)
    bucket.url = ObjectUrl("s3", "bucket", "elsewhere")
    with pytest.raises(StorageError, match="no archive at s3://bucket/elsewhere, as this worker"):
        await WorkerObjects.join(HERE, layout=LAYOUT)
    assert calls == ["names"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_folders_of_killed_workers_are_removed(tmp_path: Path) -> None:
    """Once they are a minute old; not one that is in use, nor anything that is not theirs."""
    above = tmp_path / "scratch"
    gone = scratch.take()
    (gone.folder / "CA1.combined.1.part").write_bytes(b"x")
    used = scratch.take()
    os.close(gone.fd)
    precious = above / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (above / f"{scratch.BEGINNING}aaaaaaaa").symlink_to(precious)
    (above / f"{scratch.BEGINNING}x.wav").mkdir()
    now = time.time()
    scratch.sweep(above, now)
    assert gone.folder.exists()
    scratch.sweep(above, now + 61.0)
    assert not gone.folder.exists()
    assert used.folder.exists()
    assert (precious / "file").exists()
    assert (above / f"{scratch.BEGINNING}x.wav").exists()
    scratch.leave(used)
    assert not used.folder.exists()


def test_no_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said which folder to give."""

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(StorageError, match="no folder for temporary files") as caught:
        scratch.take()
    assert "TMPDIR" in str(caught.value)


async def test_what_cannot_be_stored_ends_the_waiting_of_the_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with it: dozens behind it must not be patient for minutes each."""
    del root
    halts: list[str] = []

    def put(_: FolderBucket, key: str, *__: object, **___: object) -> Put:
        raise StorageError(f"storing {key} failed: the connection was refused")

    place = await WorkerObjects.join(HERE, layout=LAYOUT)
    monkeypatch.setattr(FolderBucket, "put", put)
    monkeypatch.setattr(FolderBucket, "halt", lambda _: halts.append("halted"))
    try:
        with pytest.raises(PublishError):
            await place.publish([await staged(place, "CA1")])
        assert halts == ["halted"]
    finally:
        await place.aclose()
