"""Saved files that changed, and files that were there first: found, kept, and fetched again."""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.audio import pcm_wav, wav_of
from tests.faults.kept import IDS, kept
from tests.faults.machine import few
from tests.forked import Ended, run_forked
from tests.oracle import Trial, check_words, trial_on
from tests.plans import Plans, whole
from tests.program import until, wavs
from tests.wire import Exchange, WireServer, says_json

SIZE = len(wav_of("CA0"))
DRAW = random.Random(20261122)

Spoil = Callable[[Path], object]


def flip(bit: int) -> Spoil:
    """Turn one bit of a file round."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)

    return change


def cut(size: int) -> Spoil:
    """Leave so many bytes."""
    return lambda path: os.truncate(path, size)


def grow(data: bytes) -> Spoil:
    """Add bytes."""
    return lambda path: path.write_bytes(path.read_bytes() + data)


def in_its_place(make: Spoil) -> Spoil:
    """Put something else under the name."""

    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def moved_and_linked(path: Path) -> None:
    """Leave a link to the same bytes elsewhere."""
    outside = path.parents[2] / f"elsewhere-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


ROT: dict[str, Sequence[Spoil]] = {
    "bits_of_the_header": [flip(bit) for bit in (0, 31, 32, 39, 63, 64, 160, 176, 192, 272, 320)],
    "all_bits_of_a_byte": [flip(8 * 400 + bit) for bit in range(8)],
    "bits_of_the_first_samples": [flip(8 * 44 + bit) for bit in range(0, 64, 7)],
    "bits_of_the_middle": [flip(8 * (SIZE // 2) + bit) for bit in range(0, 64, 7)],
    "bits_of_the_last_byte": [flip(8 * (SIZE - 1) + bit) for bit in range(8)],
    "bits_anywhere": [flip(DRAW.randrange(8 * SIZE)) for _ in range(20)],
    "bits_anywhere_else": [flip(DRAW.randrange(8 * SIZE)) for _ in range(20)],
    "cut_short": [cut(size) for size in (0, 1, 11, 12, 43, 44, 45, SIZE // 2, SIZE - 2, SIZE - 1)],
    "grown": [grow(data) for data in (b"\0", b"x" * 4096, b"LIST\x04\x00\x00\x00INFO")],
    "deleted": [Path.unlink] * 5,
    "replaced": [
        in_its_place(lambda path: path.mkdir(0o700)),
        in_its_place(lambda path: os.mkfifo(path, 0o600)),
        in_its_place(lambda path: path.symlink_to("nowhere")),
        cut(0),
        lambda path: path.write_bytes(wav_of("CA29")),
        moved_and_linked,
    ],
    "everything": [*([Path.unlink] * 10), *([cut(100)] * 10), *([flip(4000)] * 10)],
}  # fmt: skip


async def verified(trial: Trial, *arguments: str) -> Ended:
    """Run ``verify``; what is in the archive may be anything."""
    ended = await run_forked(trial.order("verify", trial.archive, "--json", *arguments))
    check_words(ended)
    assert (ended.descriptors, ended.threads, ended.tasks) == ((), (), ())
    return ended


@pytest.mark.parametrize(
    "name", few(ROT, ("bits_of_the_header", "bits_of_the_last_byte", "cut_short", "deleted"))
)
async def test_rot_is_found_and_repaired(name: str, tmp_path: Path) -> None:
    """`verify` names every spoilt file and no other; repaired, all are as they were."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        assert (await verified(trial)).code == 0
        spoilt = IDS[: len(ROT[name])]
        for id_, spoil in zip(spoilt, ROT[name], strict=True):
            spoil(trial.archive / "combined" / f"{id_}.wav")
        found = await verified(trial)
        assert found.code == 7, found.stdout
        document = found.summary
        assert {each["id"] for each in document["damaged"] + document["missing"]} == set(spoilt)
        assert document["checked"] == len(IDS)
        assert server.heads == []
        await verified(trial, "--repair")
        trial.check_archive(is_whole=True)
        assert wavs(trial.archive) == trial.truth
        assert dict(trial.asked()) == {f"combined/{id_}.wav": 1 for id_ in spoilt}
        assert (await verified(trial)).code == 0
        await trial.healed(*trial.csv(*IDS))
        assert sum(trial.asked().values()) == len(spoilt)


@pytest.mark.slow
async def test_two_files_under_each_others_names(tmp_path: Path) -> None:
    """Both are whole recordings of the right size: only their hashes tell."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        one, other = (trial.archive / "combined" / f"CA{n}.wav" for n in (1, 2))
        one.rename(tmp_path / "aside")
        other.rename(one)
        (tmp_path / "aside").rename(other)
        found = await verified(trial)
        assert {each["id"] for each in found.summary["damaged"]} == {"CA1", "CA2"}
        await verified(trial, "--repair")
        assert wavs(trial.archive) == trial.truth
        await trial.healed(*trial.csv(*IDS))


@pytest.mark.slow
async def test_a_lost_folder(tmp_path: Path) -> None:
    """Every recording in it is named, and comes back."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        shutil.rmtree(trial.archive / "combined")
        found = await verified(trial)
        assert found.code == 7
        assert len(found.summary["missing"]) == len(IDS)
        await verified(trial, "--repair")
        await trial.healed(*trial.csv(*IDS))
        assert sum(trial.asked().values()) == len(IDS)


@pytest.mark.slow
async def test_what_polyai_no_longer_has_is_told_and_kept_aside(tmp_path: Path) -> None:
    """It is told as a failure, its damaged file is kept aside, and it is tried again later."""
    gone = says_json(404, {"error_code": "CONVERSATIONS_NOT_FOUND"})
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        server.scripts = (Plans({"CA1": [gone]}),)
        path = trial.archive / "combined" / "CA1.wav"
        flip(4000)(path)
        spoilt = path.read_bytes()
        assert (await verified(trial, "--repair")).code == 3
        assert trial.statuses()["combined/CA1"] == ("failed", "unknown_conversation")
        aside = list((trial.archive / ".bulkaudio" / "damaged").iterdir())
        assert [each.read_bytes() for each in aside] == [spoilt]
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*IDS))
        assert (await verified(trial)).code == 0


FOREIGN: dict[str, bytes] = {
    "same_bytes": wav_of("CA1"),
    "other_recording": wav_of("CA2"),
    "longer_recording": pcm_wav(1.0, "other"),
    "shorter": wav_of("CA1")[:-1],
    "longer": wav_of("CA1") + b"\0",
    "empty": b"",
    "text": b"keep me",
}


def plant(trial: Trial, content: bytes) -> Path:
    """Put somebody's file where a recording belongs."""
    path = trial.archive / "combined" / "CA1.wav"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
@pytest.mark.parametrize("name", few(FOREIGN, ("same_bytes", "other_recording")))
async def test_a_foreign_file_under_a_final_name(name: str, moment: str, tmp_path: Path) -> None:
    """The same bytes are adopted; others are kept and reported, and make room when removed."""
    content, is_same = FOREIGN[name], name == "same_bytes"
    planted: list[Path] = []

    async def answer(exchange: Exchange) -> None:
        if moment == "meanwhile" and not planted:
            planted.append(plant(trial, content))
        await whole(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2", "CA3")
        source = trial.csv("CA2", "CA3")
        if moment == "before":
            # An archive that has its ledger; what is planted into a folder without one is no run's.
            assert (await trial.download(*source)).code == 0
            planted.append(plant(trial, content))
        source = trial.csv("CA1", "CA2", "CA3")
        theirs = {} if is_same else {"combined/CA1.wav": content}
        object.__setattr__(trial, "foreign", theirs)
        ended = await trial.download(*source)
        assert ended.code == (0 if is_same else 3), ended.stderr
        status = trial.statuses()["combined/CA1"]
        assert status == (("saved", None) if is_same else ("failed", "conflict"))
        assert planted[0].read_bytes() == content
        if not is_same:
            planted[0].unlink()
            object.__setattr__(trial, "foreign", {})
        await trial.healed(*source)


async def test_a_second_run_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    """Exit 75 without a request, naming the process that holds it."""
    from tests.forked import forked

    released: list[bool] = []

    async def answer(exchange: Exchange) -> None:
        await until(lambda: bool(released))
        await whole(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2")
        words = trial.words(*trial.csv("CA1", "CA2"))
        async with forked(trial.order(*words)) as fork:
            await until(lambda: len(server.heads) == 2)
            second = await trial.download(*trial.csv("CA1", "CA2"))
            assert second.code == 75, second.stderr
            assert f"process {fork.pid}" in second.stderr
            assert second.cpu_s < 1.0
            assert len(server.heads) == 2
            released.append(True)
            first = await fork.wait()
        trial.check(first)
        assert (first.code, first.summary["counts"]["saved"]) == (0, 2)
        await trial.healed(*trial.csv("CA1", "CA2"))
