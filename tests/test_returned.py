"""Files of erased recordings that came back out of a backup: named, and erased again."""

from pathlib import Path

import pytest

from bulkaudio import returned
from tests.audio import wav_of
from tests.erasing import DATED, SIDES, WINDOW, asked_for, fill, filled, polyai, traces
from tests.inside import Inside
from tests.plans import subject
from tests.program import Done, wavs
from tests.test_purge_interrupted import break_off
from tests.wire import Exchange, WireServer, in_thread, says_json


def erase(inside: Inside, *words: str | Path) -> None:
    """Erase at once."""
    assert inside.run("purge", inside.archive, "--yes", *words).code == 0


def copy_of(inside: Inside, id_: str) -> dict[Path, bytes]:
    """Read every file of a call, as a backup would."""
    return {path: path.read_bytes() for path in inside.archive.rglob(f"*{id_}.*")}


def bring_back(files: dict[Path, bytes]) -> None:
    """Restore a backup."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def verified(inside: Inside, *words: str) -> Done:
    """Verify, and tell it as JSON."""
    return inside.run("verify", inside.archive, "--json", *words)


@pytest.mark.parametrize("layout", [(), ("--layout", DATED)], ids=["plain", "dated"])
def test_what_came_back_is_named_and_erased_again(inside: Inside, layout: tuple[str, ...]) -> None:
    """Audio, metadata and what had been set aside; no download meets them, and verify does."""
    with filled(inside, *layout) as server:
        backup = copy_of(inside, "CA1")
        assert len(backup) == 4
        assert verified(inside).summary["erased_count"] == 0
        erase(inside, "--id", "CA1")
        assert verified(inside).code == 0
        bring_back(backup)
        aside = inside.archive / ".bulkaudio" / "damaged" / "CA1.user.20261101T100000000000Z.wav"
        bring_back({aside: wav_of("CA1", "user")})
        (inside.archive / "notes.txt").touch()
        server.heads.clear()
        fill(inside)
        assert asked_for(server) == set()
        names = {str(path.relative_to(inside.archive)) for path in (*backup, aside)}
        found = verified(inside)
        assert found.code == 7
        assert set(found.summary["erased"]) == names
        assert found.summary["erased_count"] == len(names)
        assert found.summary["unknown"] == ["notes.txt"]
        assert found.summary["damaged_count"] == found.summary["missing_count"] == 0
        page = inside.run("verify", inside.archive, "--quiet")
        assert page.code == 7
        assert "5 files of erased recordings came back: " in page.stdout
        assert "--repair" in page.stdout
        assert all(path.exists() for path in (*backup, aside))
        repaired = verified(inside, "--repair")
        assert repaired.code == 0
        left = {"conversations": 1, "recordings": 3, "held": 0}
        assert (repaired.summary["erased_count"], repaired.summary["interrupted_erasure"]) == (
            len(names),
            left,
        )
        # Looking again, they are what an erasure has left.
        again = verified(inside)
        assert (again.code, again.summary["erased"]) == (0, [])
        assert again.summary["unknown"] == ["notes.txt"]
        done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full")
        told = done.summary["erasure_finished"]
        assert (told["ids"], told["reason"]) == (["CA1"], "found again by verify")
        assert not aside.exists()
        assert traces(inside.archive, "CA1") == {}
        assert asked_for(server) == set()
        assert verified(inside).summary["interrupted_erasure"] is None


def test_one_side_that_came_back(inside: Inside) -> None:
    """What of the call is kept stays as it is, and so does its metadata."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1", "--direction", "user")
        bring_back(backup)
        found = verified(inside)
        assert (found.code, found.summary["erased"]) == (7, ["user/CA1.wav"])
        assert verified(inside, "--repair").code == 0
        checks = inside.run("doctor", "--out", inside.archive, "--json").summary["checks"]
        [told] = [each for each in checks if each["name"] == "archive.ledger"]
        assert told["status"] == "warn"
        assert "files of erased recordings came back: 1 recording of 1 " in str(told)
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        kept = set(backup) - {inside.archive / "user" / "CA1.wav"}
        assert set(copy_of(inside, "CA1")) == kept
        assert verified(inside).code == 0


def test_metadata_alone_came_back(inside: Inside) -> None:
    """It tells of the caller as much as the recording does."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        [metadata] = [path for path in backup if path.suffix == ".json"]
        bring_back({metadata: backup[metadata]})
        assert verified(inside).summary["erased"] == ["metadata/CA1.json"]
        assert verified(inside, "--repair").code == 0
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        assert not metadata.exists()


def test_what_verify_found_is_no_interrupted_erasure(inside: Inside) -> None:
    """Nothing had broken off, and so nothing is to be repeated: every sentence says what it was."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        for ending in ("purge", "download"):
            bring_back(backup)
            found = inside.run("verify", inside.archive, "--repair")
            for look in (("status",), ("gaps",), ("purge", "--resume"), ("hold", "list")):
                told = inside.run(look[0], inside.archive, *look[1:])
                said = " ".join((found.stdout + told.stdout + told.stderr).split())
                assert "Files of erased recordings came back: 3 recordings of 1 " in said
                assert "The next download erases them, or: bulkaudio purge" in said
                assert "interrupted" not in said, look
                assert "repeat" not in said
                assert "(0 B)" not in said
            if ending == "purge":
                done = inside.run("purge", inside.archive, "--resume", "--yes")
                said = " ".join(done.stdout.split())
                assert said.startswith("Erased: 3 recordings of 1 conversation, 1 metadata file.")
                assert "were erased before, and were there again; found by " in said
            else:
                done = inside.download(*WINDOW)
                said = done.stderr
                assert "Files of erased recordings had come back and were erased: 3 rec" in said
            assert done.code == 0
            assert "interrupted" not in said
            assert "repeat" not in said
            assert not [path for path in backup if path.exists()]


def test_what_came_back_beside_damage(inside: Inside) -> None:
    """The repair that fetches erases as well, and says that nothing is left to be erased."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        bring_back(backup)
        (inside.archive / "user" / "CA2.wav").unlink()
        repaired = verified(inside, "--repair")
        assert repaired.code == 0, repaired.stderr
        assert repaired.summary["refetch"]["erasure_finished"]["ids"] == ["CA1"]
        assert repaired.summary["interrupted_erasure"] is None
        assert {Path(name).stem for name in wavs(inside.archive)} == {"CA2", "CA3", "CA4"}
        assert len(wavs(inside.archive)) == 3 * len(SIDES)


def test_more_came_back_than_is_named(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted; a repair says that it has to be run again, until all are on their way."""
    monkeypatch.setattr(returned, "KEPT", 4)
    with filled(inside):
        backup = copy_of(inside, "CA1") | copy_of(inside, "CA2")
        erase(inside, "--id", "CA1", "--id", "CA2")
        bring_back(backup)
        first, second = verified(inside, "--repair"), verified(inside, "--repair")
        assert (first.code, first.summary["erased_count"]) == (7, len(backup))
        assert (first.summary["truncated"], len(first.summary["erased"])) == (True, 4)
        assert (second.code, second.summary["truncated"]) == (0, False)
        assert verified(inside).summary["erased_count"] == 0
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        assert not [path for path in backup if path.exists()]


def test_several_files_of_one_recording(inside: Inside) -> None:
    """One goes with each round, and the exit code says so until none is left."""
    with filled(inside, "--layout", DATED):
        [kept] = [path for path in copy_of(inside, "CA1") if path.parent.name == "user"]
        content = kept.read_bytes()
        erase(inside, "--id", "CA1")
        places = [Path(str(kept).replace("/01/user", f"/{day:02d}/user")) for day in (1, 2)]
        bring_back(dict.fromkeys(places, content))
        rounds = []
        while any(path.exists() for path in places):
            found = inside.run("verify", inside.archive, "--repair")
            said = " ".join(found.stdout.split())
            rounds.append((found.code, "erases 1 of them; run verify --repair once more" in said))
            assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        assert rounds == [(7, True), (0, False)]
        assert verified(inside).summary["unknown"] == []


def test_audio_after_metadata(inside: Inside) -> None:
    """What comes back of a call that is on its way out goes along, and is no stranger's."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        [metadata] = [path for path in backup if path.suffix == ".json"]
        bring_back({metadata: backup[metadata]})
        assert verified(inside, "--repair").code == 0
        bring_back(backup)
        found = verified(inside)
        assert (found.code, found.summary["erased"], found.summary["unknown"]) == (0, [], [])
        assert found.summary["interrupted_erasure"] is not None
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        assert not [path for path in backup if path.exists()]


def test_the_ledger_knows_without_the_register(inside: Inside) -> None:
    """The register is for the day on which the ledger is lost."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        (inside.archive / ".bulkaudio" / "tombstones.jsonl").unlink()
        bring_back(backup)
        assert verified(inside).summary["erased_count"] == len(backup)


def test_an_order_that_was_interrupted_keeps_its_name(inside: Inside) -> None:
    """What came back is erased along with it; who had ordered that, and why, is not written over."""
    with filled(inside):
        backup = copy_of(inside, "CA4")
        erase(inside, "--id", "CA4")
        break_off(inside)
        bring_back(backup)
        assert verified(inside, "--repair").code == 0
        done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full")
        told = done.summary["erasure_finished"]
        assert (set(told["ids"]), told["reason"]) == ({"CA1", "CA3", "CA4"}, "case 17")
        assert not [path for path in backup if path.exists()]


def test_metadata_of_a_call_that_is_half_erased(inside: Inside) -> None:
    """It was never erased: another side had been expected then, and was never recorded."""
    has_none = False
    usual = polyai()

    async def script(exchange: Exchange) -> None:
        target = exchange.head.target
        if "/audio" not in target or subject(target) not in {("CA1", "agent"), ("CA1", "combined")}:
            await usual(exchange)
        elif has_none:
            body = {"success": False, "error_code": "CONVERSATIONS_RECORDING_NOT_FOUND"}
            await says_json(404, body)(exchange)
        else:
            await says_json(503, {})(exchange)

    words = (*WINDOW, "--direction", "all", "--metadata", "full", "--attempts", "1")
    with in_thread(WireServer(script)) as server:
        inside.reach(server)
        assert inside.download(*words).code == 3
        erase(inside, "--id", "CA1", "--direction", "user")
        has_none = True
        assert inside.download(*words).code == 0
        assert (inside.archive / "metadata" / "CA1.json").exists()
        found = verified(inside)
        assert (found.code, found.summary["erased"]) == (0, [])


def test_purging_it_again_takes_what_came_back(inside: Inside) -> None:
    """Whoever works an order off once more looks; only what was ordered goes, and nothing held."""
    with filled(inside):
        backup = copy_of(inside, "CA1") | copy_of(inside, "CA2")
        erase(inside, "--id", "CA1")
        erase(inside, "--id", "CA2", "--direction", "user")
        bring_back(backup)
        dry = inside.run("purge", inside.archive, "--id", "CA1", "--json")
        assert (dry.summary["already_erased"], dry.summary["came_back"]["recordings"]) == (1, 0)
        words = ("--id", "CA1", "--id", "CA2", "--direction", "user", "--yes", "--json")
        done = inside.run("purge", inside.archive, *words)
        assert (done.code, done.summary["conversations"], done.summary["already_erased"]) == (
            0,
            0,
            2,
        )
        assert done.summary["came_back"]["recordings"] == 2
        again = inside.run("purge", inside.archive, "--id", "CA1", "--yes")
        assert again.code == 0
        assert "Erased: what had come back of conversations that were" in again.stdout
        assert "3 files of these had come back, and are erased again." in again.stdout
        assert not copy_of(inside, "CA1")
        kept = {path.parent.name for path in copy_of(inside, "CA2")}
        assert kept == {"combined", "agent", "metadata"}
        assert verified(inside).code == 0


def test_what_was_erased_before_may_be_there_again(inside: Inside) -> None:
    """Who only looks hears which command looks for it; who erases hears what was found."""
    with filled(inside):
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1", "--id", "CA2")
        bring_back(backup)
        both = inside.run("purge", inside.archive, "--id", "CA1", "--id", "CA2")
        assert "Nothing to erase." in both.stdout
        said = " ".join(both.stdout.split())
        assert (
            "2 conversations erased before; whether anything of them is there again, this tells: "
            f"bulkaudio verify {inside.archive}"
        ) in said
        one = inside.run("purge", inside.archive, "--id", "CA2")
        assert "1 conversation erased before; whether anything of it is there again" in one.stdout
        assert all(path.exists() for path in backup)
        done = inside.run("purge", inside.archive, "--id", "CA2", "--yes")
        assert "1 conversation erased before." in done.stdout
        assert "verify" not in done.stdout
        [metadata] = [path for path in backup if path.suffix == ".json"]
        assert inside.run("purge", inside.archive, "--id", "CA1", "--yes").code == 0
        bring_back({metadata: backup[metadata]})
        done = inside.run("purge", inside.archive, "--id", "CA1", "--yes")
        assert "1 file of these had come back, and is erased again." in done.stdout
