"""`rebuild` itself under faults: killed, repeated, on damaged and huge trees; never a request."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.audio import wav_of
from tests.faults.kept import IDS, kept, ledger_of, old_ledgers, rebuilt, run_on
from tests.faults.machine import few, hook
from tests.forked import run_forked
from tests.oracle import CANARY, Trial, check_files
from tests.plans import whole
from tests.program import ledger_rows, wavs
from tests.wire import WireServer

KILLS = {
    "discard": (Step.REBUILD_DISCARD, 1),
    "create": (Step.LEDGER_CREATE, 1),
    "migrate": (Step.LEDGER_MIGRATE, 1),
    "list": (Step.INSPECT_LIST, 2),
    "first_file": (Step.INSPECT_READ, 1),
    "amid_files": (Step.INSPECT_READ, 17),
    "begin": (Step.LEDGER_BEGIN, 2),
    "commit": (Step.LEDGER_COMMIT, 2),
    "committed": (Step.LEDGER_COMMITTED, 2),
    "close": (Step.LEDGER_CLOSE, 1),
    "sync": (Step.LEDGER_SYNC, 2),
    "aside": (Step.REBUILD_ASIDE, 1),
    "switch": (Step.REBUILD_SWITCH, 1),
}


def killed_at(step: str, count: int) -> None:
    """Have this process killed when it reaches a step for the so many-th time."""
    left = count

    def listen(event: str, _: object) -> None:
        nonlocal left
        if event != step:
            return
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)


def spoil(trial: Trial) -> bytes:
    """Make the ledger one that nobody can read; return its bytes."""
    content = b"junk" * 5000
    ledger_of(trial).write_bytes(content)
    return content


@pytest.mark.parametrize("name", few(KILLS, ("amid_files", "switch")))
async def test_a_killed_rebuild(name: str, tmp_path: Path) -> None:
    """No half ledger is ever taken for a whole one, and the next rebuild knows everything."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        spoilt = spoil(trial)
        order = trial.order("rebuild", trial.archive)
        step, count = KILLS[name]
        ended = await run_forked(replace(order, **hook(killed_at, step, count)))
        assert ended.code == 137, ended.stderr
        check_files(wavs(trial.archive), trial.truth, {})
        ledgers = old_ledgers(trial)
        ledgers += [ledger_of(trial).read_bytes()] if ledger_of(trial).exists() else []
        assert spoilt in ledgers
        refused = await run_on(trial, "download")
        assert refused.code == 6, refused.stderr
        assert f"rebuild {trial.archive}" in refused.stderr
        assert server.heads == []
        await rebuilt(trial, server)
        assert not list(ledger_of(trial).parent.glob("ledger.db.new*"))
        assert spoilt in old_ledgers(trial)


@pytest.mark.slow
async def test_rebuilding_again_and_again(tmp_path: Path) -> None:
    """Every ledger that there was is kept under a name of its own."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        for number in range(3):
            spoil(trial)
            ended = await run_on(trial, "rebuild", "--json")
            assert (ended.code, ended.summary["adopted"]) == (0, len(IDS)), ended.stderr
            assert len(old_ledgers(trial)) == number + 1
        whole_one = await run_on(trial, "rebuild")
        assert whole_one.code == 2
        assert "--force" in whole_one.stderr
        await rebuilt(trial, server, "--force")


async def test_a_rebuild_of_a_damaged_tree(tmp_path: Path) -> None:
    """What is damaged stays and is named; strangers are left alone; the rest is taken up."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        folder = trial.archive / "combined"
        cut, html, empty = (folder / f"CA{n}.wav" for n in (3, 4, 5))
        os.truncate(cut, 100)
        html.write_bytes(b"<html>")
        os.truncate(empty, 0)
        gone = folder / "CA6.wav"
        gone.unlink()
        strangers = {
            "notes.txt": b"x",
            "combined/../odd name.wav": b"y",
            "combined/CA1~9.wav": b"z",
        }
        for name, content in strangers.items():
            (trial.archive / name).write_bytes(content)
        ledger_of(trial).unlink()
        before = wavs(trial.archive)
        words = trial.order("rebuild", trial.archive, "--json")
        ended = await run_forked(words)
        assert ended.code == 7, ended.stderr
        assert wavs(trial.archive) == before
        document = ended.summary
        assert {each["id"] for each in document["damaged"]} == {"CA3", "CA4", "CA5"}
        assert (document["adopted"], document["unknown_count"]) == (len(IDS) - 4, 3)
        assert {row.status for row in ledger_rows(trial.archive).values()} == {"saved"}
        assert server.heads == []
        for path in (cut, html, empty, *(trial.archive / name for name in strangers)):
            path.unlink()
        await trial.healed(*trial.csv(*IDS))
        assert {path for path, count in trial.asked().items() if count} == {
            f"combined/CA{n}.wav" for n in (3, 4, 5, 6)
        }


def huge(cwd: Path, count: int) -> Path:
    """Make an archive of so many recordings without a ledger; they share their bytes."""
    folder = cwd / "archive" / "combined"
    folder.mkdir(parents=True, mode=0o700)
    first = folder / "CA0.wav"
    first.write_bytes(wav_of("CA0"))
    for number in range(1, count):
        os.link(first, folder / f"CA{number}.wav")
    return cwd / "archive"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_huge_tree_is_rebuilt_in_bounded_memory(tmp_path: Path) -> None:
    """Ten times the recordings need no more than a few megabytes more."""
    async with WireServer(whole) as server:
        peaks = []
        for count in (2000, 20_000):
            trial = Trial(
                cwd=tmp_path / str(count),
                env={"POLYAI_API_KEY": CANARY},
                truth={},
                asked=dict,
            )
            trial.cwd.mkdir()
            root = huge(trial.cwd, count)
            ended = await run_forked(trial.order("rebuild", root, "--json"))
            assert (ended.code, ended.summary["adopted"]) == (0, count), ended.stderr
            peaks.append(ended.peak_rss_kib)
        assert peaks[1] - peaks[0] < 24 * 1024, peaks
        assert server.connections == 0
