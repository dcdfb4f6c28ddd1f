"""Disks that are full, small or read-only: said in a sentence, nothing lost, and the run goes on."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.audio import wav_of
from tests.faults.machine import disk, failing_disk, few, hook, lifted, limited, ordered, refused
from tests.forked import Ended, forked, run_forked
from tests.oracle import Trial, trial_on
from tests.plans import Plans, subject
from tests.program import until, wavs
from tests.wire import Exchange, WireServer, says, says_json

IDS = tuple(f"CA{n}" for n in range(1, 25))
ANY_SPACE = ("--min-free", "0")

FULL = ("the disk has no space", "the disk is full")

LIMITS = (4096, 5000, 8192, 12000, 16384, 20000, 24000, 28000, 32000, 40000, 50000, 60000)

SOME = (46, 82, 136)
"""KiB at which planning, bodies and committing find no room."""


async def whole(exchange: Exchange) -> None:
    """Answer with a recording of 32 kB, or with the conversation's metadata."""
    if "direction=" not in exchange.head.target:
        await says_json(200, {"id": exchange.head.target, "turns": ["x" * 3000]})(exchange)
        return
    await says(200, wav_of(*subject(exchange.head.target), seconds=2.0))(exchange)


def long_trial(server: WireServer, folder: Path, *ids: str) -> Trial:
    """Return a trial of what `whole` answers."""

    def asked() -> dict[str, int]:
        told = [subject(each) for each in server.targets if "direction=" in each]
        paths = [f"{side}/{id_}.wav" for id_, side in told]
        return {path: paths.count(path) for path in paths}

    truth = {f"combined/{id_}.wav": wav_of(id_, seconds=2.0) for id_ in ids}
    return replace(trial_on(server, folder, *ids), truth=truth, asked=asked)


def accounted(trial: Trial, ended: Ended) -> None:
    """Every file under a final name is counted as saved, or in the note about those that are not."""
    noted = (re.search(r"not counted as saved: (\d+)\.", n) for n in ended.summary["notes"])
    unrecorded = sum(int(found[1]) for found in noted if found)
    assert ended.summary["counts"]["saved"] + unrecorded == len(wavs(trial.archive))


@pytest.mark.parametrize("kib", few(range(4, 220, 6), SOME))
async def test_a_disk_that_fills_up_at_any_moment(tmp_path: Path, kib: int) -> None:
    """Whatever finds no room, what is durable is kept, and with more room the rest follows."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), *ANY_SPACE)
        with disk(trial.archive, f"size={kib}k") as full:
            ended = await trial.download(*csv)
            if kib < 160 or ended.code != 0:
                refused(ended, *FULL)
                assert "free some" in ended.stderr
            accounted(trial, ended)
            full.remount("size=4m")
            await lifted(trial, *csv)


@pytest.mark.parametrize("kib", few(range(100, 420, 40), (180,)))
async def test_a_disk_that_long_bodies_and_metadata_fill_up(tmp_path: Path, kib: int) -> None:
    """Half a body, or half a metadata file, is never found under a final name."""
    async with WireServer(whole) as server:
        trial = long_trial(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), *ANY_SPACE, "--metadata", "full")
        with disk(trial.archive, f"size={kib}k") as full:
            refused(await trial.download(*csv), *FULL)
            full.remount("size=8m")
            await lifted(trial, *csv)
            texts = (trial.archive / "metadata").glob("*.json")
            assert {path.stem for path in texts if path.stat().st_size > 3000} == set(IDS)


@pytest.mark.parametrize("inodes", few(range(2, 33, 2), (20,)))
async def test_a_disk_without_inodes(tmp_path: Path, inodes: int) -> None:
    """The same when there is room, but for no more files."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), *ANY_SPACE)
        with disk(trial.archive, f"size=4m,nr_inodes={inodes}") as full:
            ended = await trial.download(*csv)
            refused(ended, "inodes", "the disk is full", "No space left")
            full.remount("nr_inodes=200")
            await lifted(trial, *csv)


async def test_a_reserve_is_kept(tmp_path: Path) -> None:
    """Less than --min-free, which is 1 GB by itself, is refused before any request."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        with disk(trial.archive, "size=900m") as almost:
            refused(await trial.download(*csv), "--min-free")
            assert server.targets == []
            almost.remount("size=1100m")
            await lifted(trial, *csv)


@pytest.mark.parametrize("limit", few(LIMITS, (20000,)))
async def test_a_file_size_limit(tmp_path: Path, limit: int) -> None:
    """Neither a recording nor the ledger may become as large as it wants: no signal kills."""
    async with WireServer(whole) as server:
        trial = long_trial(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        ended = await run_forked(ordered(trial, *csv, **hook(limited, "RLIMIT_FSIZE", limit)))
        trial.check(ended)
        refused(ended, "file-size limit")
        await lifted(trial, *csv)


@pytest.mark.parametrize("at", few((1, 8, 16), (8,)))
async def test_a_disk_that_turns_read_only(tmp_path: Path, at: int) -> None:
    """As the kernel does after an error of the medium, in the midst of a run."""
    halted = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if len(server.targets) > at:
            await halted.wait()
        await Plans()(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=20.0)
        csv = (*trial.csv(*IDS), *ANY_SPACE, "--concurrency", "4")
        with failing_disk(trial.archive) as broken:
            async with forked(trial.order(*trial.words(*csv))) as fork:
                await until((trial.archive / ".bulkaudio/ledger.db").exists)
                await until(lambda: len(trial.saved()) >= at)
                broken.remount("abort")
                halted.set()
                ended = await fork.wait()
            saved = trial.saved()
            refused(
                ended,
                "mounted read-only",
                "failed to read or write",
                "may not be written",
                "hardware fault",
            )
            trial.check(ended)
            broken.repair()
            assert trial.saved() >= saved
            await lifted(trial, *csv)
