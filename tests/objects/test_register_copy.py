"""What was erased and what is held is told beside the recordings twice, and never forgotten silently."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores import register
from bulkaudio.stores.disk import STATE_FOLDER, Folders
from bulkaudio.stores.objects import register_copy
from bulkaudio.stores.objects.history import History
from bulkaudio.stores.objects.parts import Head, encode, part_path
from bulkaudio.stores.objects.register_copy import Reading, RegisterCopy, segment_path
from bulkaudio.stores.objects.things import Body
from tests.objects.desk import ADDRESS, Desk, has, line_of
from tests.objects.folder_bucket import FolderBucket
from tests.objects.ground import Cloud, summary_of

URL = ObjectUrl("s3", "bucket", "calls")


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_copy, "SEGMENT_BYTES", 100)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Return a state folder."""
    return state(tmp_path / "state")


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    """Return an empty one."""
    return FolderBucket(URL, tmp_path / "bucket")


def state(root: Path) -> Folders:
    """Make a state folder."""
    (root / STATE_FOLDER).mkdir(parents=True)
    return Folders(root)


def lines(*numbers: int) -> Sequence[register.Entry]:
    """Return lines of some length."""
    return [{"held": f"CA{number}", "reason": "x" * 30} for number in numbers]


def opened(bucket: FolderBucket, folders: Folders) -> RegisterCopy:
    """Open a copy."""
    copy = RegisterCopy(bucket, folders)  # type: ignore[arg-type]  # a fake of the whole interface
    copy.learn()
    copy.open()
    return copy


def copied(bucket: FolderBucket) -> list[register.Entry]:
    """Return what the bucket has, in order."""
    found = sorted((name, text) for name, text in bucket.objects().items() if "register" in name)
    return [json.loads(line) for _, text in found for line in text.splitlines()]


def local(folders: Folders) -> list[register.Entry]:
    """Return what the folder has."""
    return list(register.read(folders))


def test_only_the_last_segment_is_written_again(bucket: FolderBucket, folders: Folders) -> None:
    """Each line is there as soon as `keep_up` has returned."""
    written: list[str] = []
    bucket.hook = lambda call, key: written.append(key) if call == "replace" else None
    copy = opened(bucket, folders)
    assert (len(written), copy.lines) == (1, 0)
    assert opened(bucket, folders).lines == 0
    for number in range(1, 9):
        register.append(folders, lines(number))
        copy.keep_up()
        assert copied(bucket) == local(folders) == lines(*range(1, number + 1))
        assert copy.lines == number
    assert len(written) == 9
    assert len(set(written)) == 4
    copy.keep_up()
    again = opened(bucket, folders)
    assert (len(written), again.lines) == (9, 8)
    register.append(folders, lines(9))
    again.keep_up()
    assert copied(bucket) == lines(*range(1, 10))


def test_many_at_once(bucket: FolderBucket, folders: Folders) -> None:
    """They go over the borders of segments."""
    register.append(folders, lines(*range(20)))
    copy = opened(bucket, folders)
    register.append(folders, lines(*range(20, 40)))
    copy.keep_up()
    assert copied(bucket) == lines(*range(40))
    assert copy.lines == 40


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_a_folder_that_knows_less(bucket: FolderBucket, tmp_path: Path, kept: int) -> None:
    """It learns the rest, and takes nothing away."""
    first, second = state(tmp_path / "first"), state(tmp_path / "second")
    register.append(first, lines(*range(8)))
    opened(bucket, first)
    if kept:
        register.append(second, lines(*range(7, 7 - kept, -1)))
    register.append(second, lines(100))
    opened(bucket, second)
    wanted = {each["held"] for each in lines(*range(8), 100)}
    assert {each["held"] for each in local(second)} == wanted
    assert {each["held"] for each in copied(bucket)} == wanted
    assert len(local(second)) == 9


def test_a_segment_that_was_changed_is_told_anew(bucket: FolderBucket, folders: Folders) -> None:
    """What the folder knows is the truth."""
    register.append(folders, lines(*range(8)))
    opened(bucket, folders)
    bucket.spoil(str(segment_path(2)), b"spoilt\n")
    bucket.spoil(str(segment_path(3)), None)
    assert Reading.over(bucket).faults == [  # type: ignore[arg-type]
        "segment 00000002.jsonl of the register is damaged",
        "segment 00000003.jsonl of the register is missing",
    ]
    opened(bucket, folders)
    assert copied(bucket) == local(folders) == lines(*range(8))


def test_a_copy_that_lost_its_beginning_has_the_last_word(
    bucket: FolderBucket, folders: Folders, tmp_path: Path
) -> None:
    """Held, released, and held again: the manifest knows the order of what the copy lacks."""
    told: list[register.Entry] = [
        {"held": "CA1", "at": "1"},
        {"released": "CA1", "at": "2"},
        {"held": "CA1", "at": "3"},
    ]
    told[1:1] = lines(5, 6)
    register.append(folders, told)
    opened(bucket, folders)
    head = Head(generation=1, number=1, previous=None, writer="w", written_at=datetime.now(UTC))
    key = URL.key(part_path((1, 1)))
    body = Body.of(encode(head, [{"register": line} for line in told]))
    bucket.put(key, body, facts={})
    bucket.spoil(str(segment_path(1)), None)
    anew = state(tmp_path / "anew")
    history = History(bucket, anew)  # type: ignore[arg-type]
    assert list(history.entries()) == [[]]
    assert local(anew) == told
    assert history.is_register_whole


def spoil(cloud: Cloud, word: str, *, but: int = 0) -> None:
    """Remove what is below `.bulkaudio` and has a word in its name."""
    named = sorted(name for name in cloud.bucket.objects() if f"{STATE_FOLDER}/{word}" in name)
    for name in named[: len(named) - but]:
        cloud.bucket.spoil(name, None)


@pytest.mark.parametrize("left", [0, 1])
async def test_a_lost_manifest_forgets_no_erasure(tmp_path: Path, left: int) -> None:
    """
    The register has a copy of its own; the call is not fetched again.

    How many lines it should have, the last part says. Without any, one that was put back from before
    the erasure would look as whole, so that only somebody who knows better can go on.
    """
    async with Cloud.at(tmp_path) as cloud:
        gone = await cloud.erase_one()
        if left:
            for place in cloud.shelf().told[:-left]:
                cloud.bucket.spoil(str(part_path(place)), None)
        else:
            spoil(cloud, "manifest")
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state, "--json")
        if not left:
            assert ended.code == 6
            assert "no part of the manifest is there" in ended.stderr
            ended = await cloud.looked("rebuild", cloud.state, "--json", "--force")
        assert ended.code == 7, ended.stderr
        told = summary_of(ended)
        assert (told["erased_conversations"], told["erasures_known"]) == (1, bool(left))
        assert (told["manifest_writer"] is None) == (not left)
        asked = cloud.asked()
        assert (await cloud.download()).code == 0
        assert cloud.asked() == asked
        assert not [name for name in cloud.bucket.objects() if gone in name]
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0


@pytest.mark.parametrize("left", [1, 2])
@pytest.mark.parametrize("word", ["manifest", ""], ids=["manifest", "register_too"])
async def test_the_last_parts_alone_are_named(tmp_path: Path, word: str, left: int) -> None:
    """They tell of nothing before them; but whoever looks there sees that they are there."""
    async with Cloud.at(tmp_path) as cloud:
        await cloud.erase_one()
        hold = await cloud.run("hold", cloud.state, "add", "--id", cloud.simulator.calls.ids()[2])
        assert hold.code == 0
        kept = [str(part_path(place)) for place in cloud.shelf().told[-left:]]
        for name in cloud.bucket.objects():
            if f"{STATE_FOLDER}/{word}" in name and name not in kept:
                cloud.bucket.spoil(name, None)
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state)
        assert ended.code == 6
        only = f"of the manifest only {Path(kept[0]).name} is there"
        assert (only if left == 1 else "0002.whole is missing") in ended.stderr


async def test_a_lost_copy_is_told_anew(tmp_path: Path) -> None:
    """The manifest has the lines, too: nothing is wrong with such an archive."""
    async with Cloud.at(tmp_path) as cloud:
        await cloud.erase_one()
        spoil(cloud, "register")
        cloud.lose_state()
        ended = await cloud.rebuild()
        assert ended.code == 0, ended.stderr
        assert (await cloud.download()).code == 0
        assert len(copied(cloud.bucket)) >= 1


async def test_a_rebuild_that_would_forget_is_refused(tmp_path: Path) -> None:
    """With both lost, only --force goes on, and says what that means."""
    async with Cloud.at(tmp_path) as cloud:
        await cloud.erase_one()
        spoil(cloud, "register")
        shelf = cloud.shelf()
        cloud.bucket.spoil(str(part_path(shelf.told[0])), b"spoilt\n")
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state)
        assert ended.code == 6
        assert "rebuild --force" in ended.stderr
        assert f"{part_path(shelf.told[0]).name} is damaged" in ended.stderr
        assert not (cloud.state / STATE_FOLDER / "ledger.db").exists()
        ended = await cloud.looked("rebuild", cloud.state, "--json", "--force")
        assert ended.code == 7, ended.stderr
        assert summary_of(ended)["erasures_known"] is False
        # What it means comes true now, perhaps at night: it is said once more.
        cloud.erased.clear()
        reminders = [summary_of(await cloud.download("--limit", "1"))["notes"] for _ in range(2)]
        assert [len(each) for each in reminders] == [2, 0]
        # The part that was left had told of the tombstone.
        assert "lacks 1 erased conversation" in reminders[0][0]
        assert "may be fetched again" in reminders[0][1]
        assert f"bulkaudio purge {cloud.state} --ids FILE --yes" in reminders[0][1]


async def test_quiet_hides_no_reminder(tmp_path: Path) -> None:
    """Of erasures that a forced rebuild has forgotten, nobody at night would hear else."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        for name in desk.bucket().objects():
            if f"{STATE_FOLDER}/" in name:
                desk.bucket().spoil(name, None)
        shutil.rmtree(desk.usual)
        forgotten = "What was erased or held here before may be forgotten"
        ended = await desk.well("rebuild", ADDRESS, "--force")
        assert has(ended.stdout, forgotten)
        assert ended.stderr == ""
        ended = await desk.well("rebuild", ADDRESS, "--force", "--quiet")
        assert (ended.stdout, forgotten in ended.stderr) == ("", True)
        said = [(await desk.download("--quiet")).stderr for _ in range(2)]
        assert "may be fetched again" in said[0]
        assert f"bulkaudio purge {ADDRESS} --ids FILE --yes" in said[0]
        assert not said[1]


async def test_what_another_tool_copied_needs_force(tmp_path: Path) -> None:
    """Recordings alone look like an archive that lost everything else."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        spoil(cloud, "")
        cloud.lose_state()
        ended = await cloud.rebuild()
        assert ended.code == 6
        assert "another tool has copied" in ended.stderr
        ended = await cloud.rebuild("--force")
        assert ended.code == 0, ended.stderr
        assert summary_of(ended)["erasures_known"] is False
        assert cloud.saved() == set(cloud.truth)
        ended = await cloud.download()
        assert ended.code == 0
        assert "may be fetched again" in summary_of(ended)["notes"][0]
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0


async def test_a_second_state_folder_hears_of_the_first(tmp_path: Path) -> None:
    """Somebody who makes one while a run goes on elsewhere can see it."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        ended = await desk.well("rebuild", ADDRESS, "--state-dir", tmp_path / "second")
        assert has(ended.stdout, "The last that told of this archive was process ")
        assert has(ended.stdout, "Should a run be going on there, let it end")
        ended = await desk.well("rebuild", ADDRESS, "--state-dir", tmp_path / "third", "--json")
        found = line_of(ended)
        assert found["manifest_writer"].startswith("process ")
        assert found["manifest_written_at"].endswith("Z")
