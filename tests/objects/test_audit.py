"""What is told beside the recordings is looked at while the ledger is there, and told anew if need be."""

from pathlib import Path

import pytest

from bulkaudio.stores.disk import STATE_FOLDER
from bulkaudio.stores.objects.parts import part_path
from tests.objects.desk import ADDRESS, Desk, has, line_of
from tests.objects.ground import Cloud, summary_of
from tests.objects.test_doctor import checks_of

ARCHIVE = "store.archive"


@pytest.mark.parametrize(
    ("what", "content", "told"),
    [
        ("part", b"spoilt\n", "is damaged"),
        ("part", None, "1 part missing before"),
        ("last", b"spoilt\n", ""),
        ("register", b"spoilt\n", "of the register is damaged"),
        ("register", None, "the copy of the register is missing"),
        ("register", b"", "the copy of the register is shorter than it was"),
    ],
)
async def test_what_was_spoilt_is_found_and_told_anew(
    tmp_path: Path, what: str, content: bytes | None, told: str
) -> None:
    """`verify` names it, --repair mends it without a request for a recording."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        held = cloud.simulator.calls.ids()[0]
        assert (await cloud.run("hold", cloud.state, "add", held)).code == 0
        assert (await cloud.download()).code == 0
        ended = await cloud.looked("verify", cloud.state, "--json")
        assert (ended.code, summary_of(ended)["manifest_faults"]) == (0, [])
        shelf = cloud.shelf()
        names = {
            "part": str(part_path(shelf.told[1])),
            "last": str(part_path(shelf.told[-1])),
            "register": f"{STATE_FOLDER}/register/00000001.jsonl",
        }
        cloud.bucket.spoil(names[what], content)
        ended = await cloud.looked("verify", cloud.state, "--json")
        if what == "last":
            # Other bytes where its own should be are another writer's.
            assert ended.code == 75, ended.stderr
            return
        assert ended.code == 7, ended.stderr
        found = summary_of(ended)
        assert [fault for fault in found["manifest_faults"] if told in fault], found
        assert not found["manifest_told_anew"]
        page = await cloud.looked("verify", cloud.state, "--quiet")
        assert "--repair to tell it anew" in " ".join(page.stdout.split())
        if content is None or not content:
            ended = await cloud.looked("doctor", "--out", cloud.state, "--json")
            [check] = [each for each in summary_of(ended)["checks"] if each["name"] == ARCHIVE]
            assert check["status"] == "warn", check
        asked = cloud.asked()
        ended = await cloud.looked("verify", cloud.state, "--repair", "--json")
        assert ended.code == 0, ended.stderr
        repaired = summary_of(ended)
        assert repaired["manifest_faults"] == found["manifest_faults"]
        assert repaired["manifest_told_anew"]
        ended = await cloud.run("verify", cloud.state, "--json")
        assert (ended.code, summary_of(ended)["manifest_faults"]) == (0, [])
        assert cloud.asked() == asked
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0


async def test_damage_and_a_spoilt_part_at_once(tmp_path: Path) -> None:
    """Both are repaired by one command."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        cloud.bucket.spoil(str(part_path(cloud.shelf().told[1])), b"spoilt\n")
        cloud.bucket.spoil(min(cloud.truth), b"cut")
        ended = await cloud.looked("verify", cloud.state, "--repair", "--json")
        assert ended.code == 0, ended.stderr
        found = summary_of(ended)
        assert (found["manifest_told_anew"], found["damaged_count"]) == (True, 1)
        await cloud.settled()
        assert (await cloud.run("verify", cloud.state)).code == 0


async def test_a_killed_run_that_told_less_is_no_fault(tmp_path: Path) -> None:
    """Nor is an archive that nothing was told of yet."""
    async with Cloud.at(tmp_path, count=3) as cloud:
        for path in ("manifest", "register"):
            assert not [name for name in cloud.bucket.objects() if path in name]
        assert (await cloud.download("--limit", "1")).code == 0
        ended = await cloud.run("verify", cloud.state, "--json")
        assert (ended.code, summary_of(ended)["manifest_faults"]) == (0, [])


async def test_a_stale_state_folder(tmp_path: Path) -> None:
    """`doctor` and `verify` say what `download` does: another one has taken the archive over."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--limit", "2")).code == 0
        code, checks = await checks_of(desk)
        assert code == 0
        assert "what it has told there is whole" in checks[ARCHIVE]["detail"]
        await desk.well("rebuild", ADDRESS, "--state-dir", tmp_path / "second")
        assert (await desk.download("--state-dir", tmp_path / "second")).code == 0
        refused = await desk.download()
        assert refused.code == 75
        code, checks = await checks_of(desk)
        assert code == 75
        assert checks[ARCHIVE]["status"] == "fail"
        assert f"bulkaudio rebuild {ADDRESS} --force" in checks[ARCHIVE]["fix"]
        assert has(refused.stderr, checks[ARCHIVE]["detail"])
        for words in (("verify", ADDRESS), ("plan", "--out", ADDRESS), ("rebuild", ADDRESS)):
            ended = await desk.run(*words)
            assert ended.code == 75
            assert ended.stderr == refused.stderr


async def test_a_plan_while_a_run_goes_on(tmp_path: Path) -> None:
    """What the run tells meanwhile is not somebody else's: nobody is advised to use force."""
    from bulkaudio.stores.lock import ArchiveLock

    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--limit", "2")).code == 0
        await desk.well("rebuild", ADDRESS, "--state-dir", tmp_path / "second")
        assert (await desk.download("--state-dir", tmp_path / "second")).code == 0
        async with ArchiveLock(desk.usual / STATE_FOLDER / "lock"):
            ended = await desk.run("plan", "--out", ADDRESS, "--csv", tmp_path / "calls.csv")
        assert "--force" not in ended.stderr
        ended = await desk.run("plan", "--out", ADDRESS, "--csv", tmp_path / "calls.csv")
        assert (ended.code, "--force" in ended.stderr) == (75, True)


async def test_parts_that_somebody_removed(tmp_path: Path) -> None:
    """`doctor` sees it by their names; the next download tells everything anew by itself."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--limit", "1")).code == 0
        assert (await desk.download()).code == 0
        parts = sorted(name for name in desk.bucket().objects() if "/manifest/" in name)
        assert len(parts) > 1
        for gone in (parts[0], parts[-1]):
            content = desk.bucket().objects()[gone]
            desk.bucket().spoil(gone, None)
            code, checks = await checks_of(desk)
            assert code == 0
            assert checks[ARCHIVE]["status"] == "warn"
            assert f"{Path(gone).name}" in checks[ARCHIVE]["detail"]
            assert f"verify {ADDRESS} --repair" in checks[ARCHIVE]["fix"]
            desk.bucket().spoil(gone, content)
        desk.bucket().spoil(parts[0], None)
        assert (await desk.download()).code == 0
        code, checks = await checks_of(desk)
        assert (code, checks[ARCHIVE]["status"]) == (0, "ok")


async def test_a_run_that_holds_the_archive_is_left_alone(tmp_path: Path) -> None:
    """It is writing what would be compared."""
    from bulkaudio.stores.lock import ArchiveLock

    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        async with ArchiveLock(desk.usual / STATE_FOLDER / "lock"):
            _, checks = await checks_of(desk)
        assert checks[ARCHIVE]["status"] == "skip"
        assert line_of(await desk.well("status", ADDRESS, "--json"))["store"] == ADDRESS


async def test_a_mark_that_is_gone(tmp_path: Path) -> None:
    """It is what is named, and not the parts that it lets count; everybody gets over it."""
    async with Cloud.at(tmp_path) as cloud:
        await cloud.erase_one()
        mark = f"{STATE_FOLDER}/manifest/0002.whole"
        cloud.bucket.spoil(mark, None)
        ended = await cloud.looked("verify", cloud.state, "--json")
        assert ended.code == 7, ended.stderr
        assert summary_of(ended)["manifest_faults"] == ["0002.whole is missing"]
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state, "--json")
        assert ended.code == 7, ended.stderr
        told = summary_of(ended)
        assert told["manifest_faults"] == ["0002.whole is missing"]
        assert (told["erased_conversations"], told["erasures_known"]) == (1, True)
        assert set(told["remembered"]) >= {"agent", "region"}
        assert (await cloud.download()).code == 0
        ended = await cloud.run("verify", cloud.state, "--json")
        assert (ended.code, summary_of(ended)["manifest_faults"]) == (0, [])


async def test_an_erased_recording_comes_back(tmp_path: Path) -> None:
    """Out of the bucket's versions: `verify` names it, and after a repair a run erases it again."""
    async with Cloud.at(tmp_path, words=("--metadata", "basic")) as cloud:
        assert (await cloud.download()).code == 0
        gone = cloud.simulator.calls.ids()[1]
        old = {name: text for name, text in cloud.bucket.objects().items() if gone in name}
        assert len(old) == 3
        cloud.erased.add(gone)
        assert (await cloud.run("purge", cloud.state, "--id", gone, "--yes")).code == 0
        for name, text in old.items():
            cloud.bucket.spoil(name, text)
        ended = await cloud.looked("verify", cloud.state, "--json")
        assert (ended.code, set(summary_of(ended)["erased"])) == (7, set(old))
        assert (await cloud.looked("verify", cloud.state, "--repair")).code == 0
        asked = cloud.asked()
        assert (await cloud.download()).code == 0
        assert cloud.asked() == asked
        assert not [name for name in cloud.bucket.objects() if gone in name]
        assert (await cloud.run("verify", cloud.state)).code == 0


async def test_a_mark_that_is_gone_comes_back(tmp_path: Path) -> None:
    """By the next download, or by a repair, without a request for a recording."""
    async with Cloud.at(tmp_path) as cloud:
        await cloud.erase_one()
        asked = cloud.asked()
        for words in (("verify", cloud.state, "--repair"), ()):
            [mark] = [name for name in cloud.bucket.objects() if name.endswith(".whole")]
            cloud.bucket.spoil(mark, None)
            ended = await (cloud.looked(*words) if words else cloud.download())
            assert ended.code == 0, ended.stderr
            if words:
                assert has(ended.stdout, f"{Path(mark).name} is missing. All of it was told anew.")
            # Once, although opening would have done so by itself.
            assert cloud.shelf().told[0][0] == int(Path(mark).stem) + 1
            ended = await cloud.run("verify", cloud.state, "--json")
            assert (ended.code, summary_of(ended)["manifest_faults"]) == (0, [])
        assert cloud.asked() == asked
