"""An archive in a bucket: downloads, what is told beside it, and what goes wrong there."""

import json
from pathlib import Path

import pytest

from bulkaudio.stores.objects.parts import part_path
from tests.audio import wav_of
from tests.objects.ground import Cloud, summary_of
from tests.program import write_csv

METADATA = ("--metadata", "basic")


async def test_a_download_and_a_lost_state_folder(tmp_path: Path) -> None:
    """Everything arrives; the next run has nothing to do, also where the state folder was lost."""
    async with Cloud.at(tmp_path) as cloud:
        ended = await cloud.download()
        assert ended.code == 0, ended.stderr
        assert ended.summary["counts"]["saved"] == len(cloud.truth)
        assert cloud.recordings() == cloud.truth
        facts = {path.name: path.read_text() for path in (cloud.bucket.folder / "facts").iterdir()}
        for path in cloud.truth:
            told = json.loads(facts[f"calls%2F{path.replace('/', '%2F')}"])
            assert set(told) >= {"sha256", "conversation", "direction"}
        await cloud.heal()


async def test_a_state_folder_that_is_lost_is_not_begun_anew(tmp_path: Path) -> None:
    """Exit 6, naming the address to rebuild; nothing is asked for."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        asked = cloud.asked()
        cloud.lose_state()
        ended = await cloud.download()
        assert ended.code == 6
        assert "bulkaudio rebuild s3://bucket/calls" in ended.stderr
        # The folder that this made does not count as an archive of its own.
        assert (await cloud.download()).code == 6
        assert cloud.asked() == asked
        assert (await cloud.rebuild()).code == 0
        await cloud.settled()


async def test_a_lost_ledger_beside_its_address(tmp_path: Path) -> None:
    """The state folder knows where its recordings are without its ledger."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        (cloud.state / ".bulkaudio" / "ledger.db").unlink()
        assert (await cloud.run("status", cloud.state)).code == 6
        assert (await cloud.download()).code == 6
        assert (await cloud.rebuild()).code == 0
        await cloud.settled()


@pytest.mark.parametrize("keeps_facts", [True, False])
async def test_uploads_that_fail(tmp_path: Path, keeps_facts: bool) -> None:  # noqa: FBT001
    """Exit 6, nothing is called saved that is not there, and the next run fetches the rest."""
    async with Cloud.at(tmp_path) as cloud:
        cloud.bucket.keeps_facts = keeps_facts
        ended = await cloud.download(fault=("put", "/user/", 3))
        assert ended.code == 6
        assert "the bucket refused to put" in ended.stderr
        assert 0 < len(cloud.recordings()) < len(cloud.truth)
        await cloud.heal()


async def test_a_bucket_that_cannot_be_written(tmp_path: Path) -> None:
    """Exit 6 before anything is asked for."""
    async with Cloud.at(tmp_path) as cloud:
        ended = await cloud.download(fault=("probe", "", 1))
        assert ended.code == 6
        assert cloud.asked() == {}
        await cloud.heal()


async def test_a_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    """The run ends with exit 6; what is saved stays saved, and the next run tells it."""
    async with Cloud.at(tmp_path) as cloud:
        ended = await cloud.download(fault=("put", "manifest", 3))
        assert ended.code == 6, ended.stderr
        assert cloud.saved() == set(cloud.recordings()) != set()
        await cloud.heal()


async def test_objects_of_others(tmp_path: Path) -> None:
    """The same bytes are adopted; others stay, and are said to be in the way."""
    async with Cloud.at(tmp_path) as cloud:
        same, other = sorted(cloud.truth)[:2]
        cloud.bucket.spoil(same, cloud.truth[same])
        cloud.bucket.spoil(other, wav_of("somebody else"))
        cloud.foreign[other] = wav_of("somebody else")
        ended = await cloud.download()
        # Recordings where no archive is: those are somebody's.
        assert ended.code == 6, ended.stderr
        ended = await cloud.rebuild("--force")
        assert ended.code == 0, ended.stderr
        ended = await cloud.download()
        assert ended.code in {0, 3}, ended.stderr
        assert cloud.recordings() == {**cloud.truth, **cloud.foreign}


async def test_objects_of_others_that_come_later(tmp_path: Path) -> None:
    """A conflict is one recording's failure; the same bytes are ours from then on."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download("--limit", "1")).code == 0
        same, other = sorted(set(cloud.truth) - set(cloud.recordings()))[:2]
        cloud.bucket.spoil(same, cloud.truth[same])
        cloud.bucket.spoil(other, wav_of("somebody else"))
        cloud.foreign[other] = wav_of("somebody else")
        ended = await cloud.download()
        assert ended.code == 3, ended.stderr
        failures = ended.summary["failures"]
        assert [each["reason"] for each in failures] == ["conflict"]
        assert cloud.recordings() == {**cloud.truth, **cloud.foreign}
        assert same in cloud.saved()
        assert other not in cloud.saved()


async def test_verify_finds_every_damage(tmp_path: Path) -> None:
    """Missing, changed, cut and unknown objects; a repair fetches what is damaged, and no more."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        assert (await cloud.run("verify", cloud.state)).code == 0
        missing, changed, cut = sorted(cloud.truth)[:3]
        cloud.bucket.spoil(missing, None)
        spoilt = cloud.truth[changed][:-4] + b"spoi"
        cloud.bucket.spoil(changed, spoilt)
        cloud.bucket.spoil(cut, cloud.truth[cut][:-100])
        cloud.bucket.spoil("user/stranger.txt", b"?")
        before = cloud.asked()
        ended = await cloud.looked("verify", cloud.state, "--json")
        assert ended.code == 7
        told = summary_of(ended)
        assert {each["path"] for each in told["missing"]} == {missing}
        assert {each["path"] for each in told["damaged"]} == {changed, cut}
        assert told["unknown"] == ["user/stranger.txt"]
        ended = await cloud.looked("verify", cloud.state, "--repair")
        assert ended.code == 0, ended.stdout + ended.stderr
        asked = cloud.asked()
        assert {path for path in asked if asked[path] > before[path]} == {missing, changed, cut}
        cloud.bucket.spoil("user/stranger.txt", None)
        assert cloud.recordings() == cloud.truth
        aside = [path for path in cloud.bucket.objects() if path.startswith(".bulkaudio/damaged/")]
        assert len(aside) == 2
        await cloud.heal()


async def test_a_rebuild_holds_what_was_told_to_what_is_there(tmp_path: Path) -> None:
    """What is gone or has another size is open again; what nobody told of is taken up."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        missing, cut = sorted(cloud.truth)[:2]
        cloud.bucket.spoil(missing, None)
        cloud.bucket.spoil(cut, cloud.truth[cut][:-100])
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state, "--json")
        assert ended.code == 7, ended.stderr
        assert cloud.saved() == set(cloud.truth) - {missing, cut}
        told = summary_of(ended)
        assert told["adopted"] == len(cloud.truth) - 2
        cloud.bucket.spoil(cut, None)
        before = cloud.asked()
        assert (await cloud.download()).code == 0
        asked = cloud.asked()
        assert {path for path in asked if asked[path] > before[path]} == {missing, cut}
        await cloud.heal()


async def test_a_stranger_under_the_name_of_a_recording(tmp_path: Path) -> None:
    """Nobody was told of it, and it is none: unknown, to `verify` and to `rebuild`."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        stranger, cut = "combined/stranger.wav", min(cloud.truth)
        cloud.bucket.spoil(stranger, b"no sound")
        verified = summary_of(await cloud.looked("verify", cloud.state, "--json"))
        cloud.lose_state()
        rebuilt = summary_of(await cloud.looked("rebuild", cloud.state, "--json"))
        for told in (verified, rebuilt):
            assert (told["exit_code"], told["unknown"], told["damaged"]) == (0, [stranger], [])
        # Where not everything is known that was told, it may have been one.
        cloud.bucket.spoil(str(part_path(cloud.shelf().told[1])), None)
        cloud.bucket.spoil(cut, b"no sound")
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state, "--json")
        assert ended.code == 7
        told = summary_of(ended)
        assert {each["path"] for each in told["damaged"]} == {stranger, cut}
        assert told["unknown"] == []


async def test_a_part_that_is_missing(tmp_path: Path) -> None:
    """It is said, the listing of objects makes up for it, and the next run tells everything anew."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        shelf = cloud.shelf()
        assert len(shelf.told) > 3
        cloud.bucket.spoil(str(part_path(shelf.told[1])), None)
        cloud.lose_state()
        ended = await cloud.looked("rebuild", cloud.state, "--json")
        assert ended.code == 7, ended.stderr
        assert cloud.saved() == set(cloud.truth)
        await cloud.settled()
        assert cloud.shelf().told[0] == (2, 1)
        await cloud.heal()


async def test_parts_that_are_removed_while_the_ledger_is_there(tmp_path: Path) -> None:
    """Somebody cleans up: everything is told anew, and nothing is fetched."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        for place in cloud.shelf().places:
            cloud.bucket.spoil(str(part_path(place)), None)
        await cloud.settled()
        await cloud.heal()


async def test_metadata(tmp_path: Path) -> None:
    """Written beside the recordings, once; what is not ours is left alone and named."""
    async with Cloud.at(tmp_path, words=METADATA) as cloud:
        ids = cloud.simulator.calls.ids()
        cloud.words = (*("--account", "ws-1", "--since", "2026-01-01"), *METADATA)
        assert (await cloud.download("--until", "2026-02-01", "--limit", "1")).code == 0
        cloud.bucket.spoil(f"metadata/{ids[0]}.json", b"not ours")
        (cloud.bucket.folder / "facts" / f"calls%2Fmetadata%2F{ids[0]}.json").unlink()
        ended = await cloud.download("--until", "2026-02-01")
        assert ended.code == 3, ended.stderr
        assert f"metadata/{ids[0]}.json is no metadata file of ours" in ended.stderr
        found = {
            path: text for path, text in cloud.bucket.objects().items() if path[:8] == "metadata"
        }
        assert set(found) == {f"metadata/{id_}.json" for id_ in ids}
        assert found.pop(f"metadata/{ids[0]}.json") == b"not ours"
        assert all(json.loads(text) for text in found.values())
        # What is the same is neither written again nor counted.
        folder = cloud.bucket.folder / "bytes"
        before = {each.name: each.stat().st_ino for each in folder.glob("*metadata*")}
        ended = await cloud.download("--until", "2026-02-01")
        assert summary_of(ended)["metadata"] == {"written": 0, "failed": 1}
        assert {each.name: each.stat().st_ino for each in folder.glob("*metadata*")} == before


async def test_holds_survive_a_lost_state_folder(tmp_path: Path) -> None:
    """What must not be erased is told beside the recordings before it is promised."""
    async with Cloud.at(tmp_path) as cloud:
        assert (await cloud.download()).code == 0
        held, other = cloud.simulator.calls.ids()[:2]
        csv = write_csv(tmp_path / "held.csv", [held])
        assert (await cloud.run("hold", cloud.state, "add", "--ids", csv)).code == 0
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0
        words = ("--id", held, "--id", other, "--yes")
        cloud.erased.add(other)
        ended = await cloud.run("purge", cloud.state, *words)
        assert ended.code == 3, ended.stderr
        assert cloud.recordings() == cloud.truth


async def test_a_purge_leaves_nothing(tmp_path: Path) -> None:
    """No byte and no detail in bucket or ledger, also after the state folder was lost since."""
    async with Cloud.at(tmp_path, words=METADATA) as cloud:
        assert (await cloud.download()).code == 0
        gone = cloud.simulator.calls.ids()[1]
        cloud.bucket.spoil(f"user/{gone}.wav", cloud.wav("user", gone)[:-50])
        assert (await cloud.looked("verify", cloud.state, "--repair")).code == 0
        assert (await cloud.run("rebuild", cloud.state, "--force")).code == 0
        assert (await cloud.download()).code == 0
        details = cloud.details(gone)
        asked = cloud.asked()
        ended = await cloud.run("purge", cloud.state, "--id", gone, "--json")
        assert (ended.code, summary_of(ended)["dry_run"]) == (0, True)
        assert set(cloud.recordings()) == set(cloud.truth)
        cloud.erased.add(gone)
        ended = await cloud.run("purge", cloud.state, "--id", gone, "--yes", "--json")
        assert ended.code == 0, ended.stderr
        told = summary_of(ended)
        assert (told["recordings"], told["metadata_files"]) == (2, 1)
        cloud.check_gone(gone, details)
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0
        assert (await cloud.download()).code == 0
        assert cloud.asked() == asked
        assert cloud.recordings() == cloud.truth
        cloud.check_gone(gone, details)


async def test_a_listing_goes_on_after_a_lost_state_folder(tmp_path: Path) -> None:
    """How far the nights had come is told, too: nobody has to say where to begin."""
    async with Cloud.at(tmp_path) as cloud:
        scope = ("--account", "ws-1", "--since", "2026-01-01", "--until", "2026-02-01")
        cloud.words = scope
        assert (await cloud.download()).code == 0
        assert cloud.recordings()
        cloud.lose_state()
        assert (await cloud.rebuild()).code == 0
        cloud.words = ("--until", "2026-02-02")
        ended = await cloud.download()
        assert ended.code == 0, ended.stderr
        assert ended.summary["scope"]["since"].startswith("2026-01-")
        assert ended.summary["counts"]["saved"] == 0


async def test_a_first_run_with_a_wrong_agent(tmp_path: Path) -> None:
    """It binds nothing: neither this ledger nor what was told beside it."""
    async with Cloud.at(tmp_path) as cloud:
        ended = await cloud.run(
            *("download", "--agent", "WRONG", "--region", "uk", "--out", cloud.state, "--json"),
            *cloud.words,
        )
        assert ended.code == 2, ended.stderr
        assert (await cloud.download()).code == 0
        await cloud.heal()
