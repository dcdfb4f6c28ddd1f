"""Who may write to an archive in a bucket: one state folder, and the one it always was."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio import archive as archive_room
from bulkaudio.archive import look_into, open_archive
from bulkaudio.errors import (
    ArchiveBusyError,
    LedgerError,
    StorageError,
    UsageError,
)
from bulkaudio.identity import Identity
from bulkaudio.ledger.journal import STORE_PIN
from bulkaudio.model import Batch, Conversation, Direction, Recording
from bulkaudio.object_url import ObjectUrl
from bulkaudio.place import archive_place
from bulkaudio.rebuild import rebuild
from bulkaudio.settings import Elsewhere
from bulkaudio.stores import address, opening
from bulkaudio.stores.address import write_address
from bulkaudio.stores.base import Publication, Staged
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.objects import manifest
from bulkaudio.stores.objects.bucket import Bucket
from tests.audio import wav_of
from tests.objects.folder_bucket import FolderBucket
from tests.test_ledger_journal import saved

URL = ObjectUrl("s3", "bucket", "calls")
HERE = Elsewhere(url=URL)
UK = Identity(region="uk", agent="PROJECT-1")
NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderBucket:
    """Keep every address in folders of its own."""
    monkeypatch.setattr(
        Bucket,
        "open",
        lambda url, _, **__: FolderBucket(url, tmp_path / "cloud" / url.state_name()),
    )
    return FolderBucket(URL, tmp_path / "cloud" / URL.state_name())


async def test_the_archive_remembers_its_address(tmp_path: Path) -> None:
    """Without being told again, and refuses another, or to be one of its own."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
        assert (await held.remembered())[STORE_PIN] == "s3://bucket/calls"
    async with open_archive(tmp_path / "a") as held:
        assert held.store.place == Path()
    other = Elsewhere(url=ObjectUrl("s3", "bucket", "others"))
    with pytest.raises(UsageError, match="s3://bucket/calls, and this run asks for s3://bucket/o"):
        async with open_archive(tmp_path / "a", elsewhere=other):
            pass
    (tmp_path / "a" / ".bulkaudio" / "store").unlink()
    with pytest.raises(UsageError, match="s3://bucket/calls, and this run asks for s3://bucket/o"):
        async with open_archive(tmp_path / "a", elsewhere=other):
            pass
    async with open_archive(tmp_path / "a") as held:
        assert held.store.place == Path()
    assert (tmp_path / "a" / ".bulkaudio" / "store").read_text() == "s3://bucket/calls\n"


async def test_a_folder_of_recordings_stays_one(tmp_path: Path) -> None:
    """An archive on disk is not turned into a state folder."""
    async with open_archive(tmp_path / "a") as held:
        await held.bind(UK)
    with pytest.raises(UsageError, match="recordings of its own"):
        async with open_archive(tmp_path / "a", elsewhere=HERE):
            pass
    (tmp_path / "b" / "user").mkdir(parents=True)
    (tmp_path / "b" / "user" / "CA1.wav").touch()
    with pytest.raises(UsageError, match="recordings of its own"):
        async with open_archive(tmp_path / "b", elsewhere=HERE):
            pass


async def test_a_second_state_folder(tmp_path: Path) -> None:
    """It has to learn what is there first; the one that was before is refused from then on."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as first:
        await first.bind(UK)
        with pytest.raises(LedgerError, match="its ledger is not in") as caught:
            async with open_archive(tmp_path / "b", elsewhere=HERE):
                pass
        assert "bulkaudio rebuild s3://bucket/calls" in (caught.value.fix or "")
        await rebuild(tmp_path / "b", elsewhere=HERE)
        async with open_archive(tmp_path / "b"):
            pass
        await first.ledger.settle([saved("CA1")], None, NOW)
        with pytest.raises(
            ArchiveBusyError, match="another run writes to s3://bucket/calls"
        ) as busy:
            await first.store.share_ledger()
        assert busy.value.exit_code == 75
    with pytest.raises(ArchiveBusyError, match="not its own"):
        async with open_archive(tmp_path / "a"):
            pass
    async with look_into(tmp_path / "a") as seen:
        assert await seen.ledger.totals()
        mark = await seen.ledger.journal.last_mark()
        with pytest.raises(ArchiveBusyError, match="not its own"):
            await seen.store.audit(mark)
        with pytest.raises(ArchiveBusyError, match="not its own"):
            await asyncio.to_thread(opening.look_over, HERE, mark, tmp_path / "a")
    # By force it becomes the one that counts.
    await rebuild(tmp_path / "a", is_forced=True)
    async with open_archive(tmp_path / "a"):
        pass
    with pytest.raises(ArchiveBusyError):
        async with open_archive(tmp_path / "b"):
            pass


async def test_a_run_beside_a_purge(tmp_path: Path) -> None:
    """
    A run whose parts a purge from another state folder has removed finds their names free again.

    It is found out all the same, and leaves nothing behind that the other one would go by.
    """
    async with open_archive(tmp_path / "a", elsewhere=HERE) as first:
        await first.bind(UK)
        await first.store.share_ledger()
        await rebuild(tmp_path / "b", elsewhere=HERE)
        async with open_archive(tmp_path / "b") as second:
            await second.store.share_ledger_anew()
        await first.ledger.settle([saved("CA1")], None, NOW)
        with pytest.raises(ArchiveBusyError, match=r"0002-00000001\.jsonl is not its own"):
            await first.store.share_ledger()
        with pytest.raises(ArchiveBusyError, match="is not its own"):
            await first.store.note([{"held": "CA1"}])
    assert not (tmp_path / "a" / ".bulkaudio" / "tombstones.jsonl").exists()
    async with open_archive(tmp_path / "b") as second:
        assert not await second.ledger.has_saved()


async def test_two_that_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find nothing there; the first part has room for one."""

    async def yes(_: Elsewhere, *, is_patient: bool) -> bool:
        assert is_patient
        return True

    monkeypatch.setattr(archive_room, "is_unused", yes)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_archive(tmp_path / "a", elsewhere=HERE))
        with pytest.raises(ArchiveBusyError):
            await stack.enter_async_context(open_archive(tmp_path / "b", elsewhere=HERE))


async def test_a_part_whose_answer_was_lost(tmp_path: Path, bucket: FolderBucket) -> None:
    """It arrived, and its writer did not learn it: it is known again, and nothing is told twice wrong."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
        await held.ledger.settle([saved("CA1")], None, NOW)
        await held.store.share_ledger()
        mark = await held.ledger.journal.begin()
        await held.ledger.settle([saved("CA2")], None, NOW)
        await held.store.share_ledger()
        assert mark is not None
    # The ledger of a moment before: the part was intended, and is there.
    before = {path for path in bucket.objects() if "manifest" in path}
    async with open_archive(tmp_path / "a"):
        pass
    assert {path for path in bucket.objects() if "manifest" in path} > before


async def test_obstore_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix is an extra; archives on disk do without."""

    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'obstore'", name="obstore")

    def broken(_: str) -> None:
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr(opening, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="other"):
        await opening.is_unused(HERE)
    monkeypatch.setattr(opening, "import_module", missing)
    async with open_archive(tmp_path / "a"):
        pass
    with pytest.raises(UsageError, match="obstore, which is not installed") as caught:
        async with open_archive(tmp_path / "b", elsewhere=HERE):
            pass
    assert caught.value.fix == "pip install 'bulkaudio[objects]'"


async def test_a_wrong_agent_leaves_nothing_told(tmp_path: Path, bucket: FolderBucket) -> None:
    """What began anew here begins anew there."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(Identity(region="uk", agent="WRONG"))
        await held.store.share_ledger()
        assert b"WRONG" in b"".join(bucket.objects().values())
        await held.bind(UK)
        assert (await held.remembered())[STORE_PIN] == "s3://bucket/calls"
        assert b"WRONG" not in b"".join(bucket.objects().values())


async def test_parts_come_by_size_and_by_age(
    tmp_path: Path, bucket: FolderBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part for every so many rows at once, and otherwise one for all that is some time old."""
    monkeypatch.setattr(manifest, "LOOK_S", 0.01)
    monkeypatch.setattr(manifest, "ROWS_PER_PART", 4)
    monkeypatch.setattr(manifest, "SHARE_S", 0.4)

    def parts() -> int:
        return sum("manifest" in path for path in bucket.objects())

    async with open_archive(tmp_path / "a", elsewhere=HERE) as held, asyncio.TaskGroup() as group:
        await held.bind(UK)
        await held.store.share_ledger()
        before = parts()
        sharing = group.create_task(held.store.keep_sharing())
        await held.ledger.settle([saved(f"CA{n}") for n in range(6)], None, NOW)
        await asyncio.sleep(0.2)
        assert parts() == before + 2
        for number in range(3):
            await held.ledger.settle([saved(f"CB{number}")], None, NOW)
            await asyncio.sleep(0.05)
        assert parts() == before + 2
        await asyncio.sleep(0.6)
        assert parts() == before + 3
        sharing.cancel()


async def test_there_is_nothing_to_rebuild(tmp_path: Path) -> None:
    """A mistyped address makes no archive."""
    with pytest.raises(UsageError, match="no archive of bulkaudio at s3://bucket/calls"):
        await rebuild(tmp_path / "a", elsewhere=HERE)
    assert not (tmp_path / "a").exists()


async def test_a_look_needs_no_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the ledger tells is told without credentials; what was uploaded last is seen."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)

    def refuse(*_: object, **__: object) -> FolderBucket:
        raise StorageError("no credentials")

    monkeypatch.setattr(Bucket, "open", refuse)
    async with look_into(tmp_path / "a") as seen:
        assert (await seen.remembered())[STORE_PIN] == str(URL)
        assert await seen.store.free_bytes() > 0
        with pytest.raises(StorageError, match="no credentials"):
            await seen.store.has_sidecar(["CA1"])


async def test_recordings_go_through(tmp_path: Path, bucket: FolderBucket) -> None:
    """Staged, uploaded, named; the same bytes are adopted, and others are a conflict."""
    recording = saved("CA1").recording
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
        results = []
        for wav in (wav_of("CA1"), wav_of("CA1"), wav_of("CA2")):
            staging = await held.store.stage(recording)
            await staging.write(wav)
            staged = await staging.seal(framed=True)
            assert isinstance(staged, Staged)
            [published] = await held.store.publish([staged])
            results.append(published.result)
            await held.store.forget([published])
        assert results == [Publication.PUBLISHED, Publication.ADOPTED, Publication.CONFLICT]
        assert bucket.objects()["combined/CA1.wav"] == wav_of("CA1")
        assert (await held.store.inspect(PurePosixPath("combined/CA1.wav"))).bytes == len(
            wav_of("CA1")
        )


async def test_the_register_is_told(tmp_path: Path, bucket: FolderBucket) -> None:
    """Line by line; one that nobody can read is left out, and one that is not whole waits."""
    register = tmp_path / "a" / ".bulkaudio" / "tombstones.jsonl"
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
        register.write_text('{"held":"CA1"}\nno line of ours\n{"held":"CA2"}\n{"held":"CA3"')
        await held.store.share_ledger()
        told = b"".join(bucket.objects().values())
        assert b'{"held":"CA1"}' in told
        assert b'{"held":"CA2"}' in told
        assert b"CA3" not in told
        assert b"no line" not in told
    register.unlink()
    register.symlink_to("elsewhere")
    with pytest.raises(StorageError, match="no regular file"):
        async with open_archive(tmp_path / "a"):
            pass


async def test_an_address_that_is_none(tmp_path: Path) -> None:
    """It is never guessed where recordings are."""
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
    address = tmp_path / "a" / ".bulkaudio" / "store"
    address.write_text("\n")
    with pytest.raises(StorageError, match="holds no address"):
        async with open_archive(tmp_path / "a"):
            pass
    address.unlink()
    address.symlink_to("elsewhere")
    async with open_archive(tmp_path / "a") as held:
        assert held.store.place == Path()
    async with open_archive(tmp_path / "b") as held:
        assert held.store.place == tmp_path / "b"


def test_places() -> None:
    """A folder, an address with a folder of its own, and what is neither."""
    assert archive_place("calls", environ={}) == (Path("calls"), None)
    root, url = archive_place("s3://bucket/calls", environ={"HOME": "/home/x"})
    assert url == URL
    assert root == Path("/home/x/.local/state/bulkaudio") / URL.state_name()
    root, _ = archive_place("s3://bucket/calls", environ={"XDG_STATE_HOME": "/var/s", "HOME": "/x"})
    assert root == Path("/var/s/bulkaudio") / URL.state_name()
    root, _ = archive_place("s3://bucket/calls", Path("here"), environ={})
    assert root == Path("here")
    with pytest.raises(UsageError, match="no home folder"):
        archive_place("s3://bucket/calls", environ={"XDG_STATE_HOME": "relative"})
    with pytest.raises(UsageError, match="this archive is a folder"):
        archive_place("calls", Path("here"))


def test_a_disk_alone_needs_no_obstore() -> None:
    """Importing what opens archives does not import what only some of them need."""
    import subprocess
    import sys

    script = "import bulkaudio.archive, bulkaudio.rebuild, sys; assert 'obstore' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_archive_is_named_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address, and whatever else is needed to find it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "x y"))
    usual, other, folder = archive_place(str(URL))[0], tmp_path / "a b", tmp_path / "calls"
    reached = Elsewhere(url=URL, endpoint="https://ceph.example", ca_bundle=Path("/etc/ca.pem"))
    for root in (usual, other):
        (root / ".bulkaudio").mkdir(parents=True)
        folders = Folders(root)
        write_address(folders, reached)
        folders.close()
    assert address.words_of(folder) == address.argument_of(folder) == str(folder)
    assert address.words_of(usual) == address.argument_of(usual) == str(URL)
    assert address.words_of(other) == f"{URL} --state-dir '{other}'"
    assert address.argument_of(other) == f"'{other}'"
    way = "--store-endpoint https://ceph.example --ca-bundle /etc/ca.pem"
    assert address.words_for(usual, reached) == f"{URL} {way}"
    assert address.title_of(folder, HERE) == f"{URL} (ledger in {folder})"
    assert (address.store_of(folder), address.store_of(folder, HERE)) == (None, str(URL))
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    assert address.words_of(usual) == f"{URL} --state-dir '{usual}'"


def test_a_store_is_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is, and how it is spoken to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "CANARY")
    trial = opening.try_elsewhere(Elsewhere(url=URL, endpoint="http://127.0.0.1:9"))
    assert (trial.server, trial.is_plain, trial.conditions.notes) == ("127.0.0.1:9", True, ())


async def test_what_was_kept_and_not_told_is_not_called_lost(tmp_path: Path) -> None:
    """The manifest calls it open, because the run was killed; a rebuild takes it up all the same."""
    recording = Recording(conversation_id="CA1", direction=Direction.COMBINED)
    async with open_archive(tmp_path / "a", elsewhere=HERE) as held:
        await held.bind(UK)
        batch = Batch(conversations=(Conversation(id="CA1"),))
        await held.ledger.plan(batch, [Direction.COMBINED], NOW)
        await held.store.share_ledger()
        staging = await held.store.stage(recording)
        await staging.write(wav_of("CA1"))
        staged = await staging.seal(framed=True)
        assert isinstance(staged, Staged)
        await held.store.publish([staged])
    report = await rebuild(tmp_path / "b", elsewhere=HERE)
    assert (report.adopted, report.is_clean) == (1, True)
    async with open_archive(tmp_path / "b", elsewhere=HERE) as held:
        assert await held.ledger.unsaved([recording]) == []
