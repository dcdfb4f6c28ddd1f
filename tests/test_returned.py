"""Files of erased recordings that came back out of a backup: named, and erased again."""

from pathlib import Path

import pytest

from bulkaudio import returned
from tests.audio import wav_of
from tests.erasing import DATED, SIDES, WINDOW, asked_for, fill, polyai, traces
from tests.inside import Inside
from tests.program import Done, wavs
from tests.wire import WireServer, in_thread


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
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside, *layout)
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
        assert (verified(inside).code, verified(inside).summary["erased"]) == (0, [])
        done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full")
        told = done.summary["erasure_finished"]
        assert (told["ids"], told["reason"]) == (["CA1"], "found again by verify")
        assert not aside.exists()
        assert traces(inside.archive, "CA1") == {}
        assert asked_for(server) == set()
        assert verified(inside).summary["interrupted_erasure"] is None


def test_one_side_that_came_back(inside: Inside) -> None:
    """What of the call is kept stays as it is, and so does its metadata."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1", "--direction", "user")
        bring_back(backup)
        found = verified(inside)
        assert (found.code, found.summary["erased"]) == (7, ["user/CA1.wav"])
        assert verified(inside, "--repair").code == 0
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        kept = set(backup) - {inside.archive / "user" / "CA1.wav"}
        assert set(copy_of(inside, "CA1")) == kept
        assert verified(inside).code == 0


def test_metadata_alone_came_back(inside: Inside) -> None:
    """It tells of the caller as much as the recording does."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        backup = copy_of(inside, "CA1")
        erase(inside, "--id", "CA1")
        [metadata] = [path for path in backup if path.suffix == ".json"]
        bring_back({metadata: backup[metadata]})
        assert verified(inside).summary["erased"] == ["metadata/CA1.json"]
        assert verified(inside, "--repair").code == 0
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
        assert not metadata.exists()


def test_what_came_back_beside_damage(inside: Inside) -> None:
    """The repair that fetches erases as well, and says that nothing is left to be erased."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
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
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
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
