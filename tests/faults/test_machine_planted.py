"""Links, FIFOs and other things under the names that a run uses: never written through or waited for."""

import asyncio
import errno
import json
import os
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.steps import Step
from tests.faults.machine import (
    KINDS,
    PRECIOUS,
    few,
    hook,
    lifted,
    need_root,
    nothing_outside,
    ordered,
    planted,
    refused,
    removed,
    untouched,
)
from tests.forked import run_forked
from tests.oracle import Trial, trial_on
from tests.plans import Plans
from tests.program import wavs
from tests.wire import Exchange, WireServer, says_json

IDS = ("CA1", "CA2", "CA3")

REFUSED_FIRST = (
    *(".bulkaudio/lock", ".bulkaudio/ledger.db", ".bulkaudio", ".bulkaudio/tmp", "../log"),
)
"""Names of which any kind is told before the first request."""

HARMLESS = (".bulkaudio/status.json", ".bulkaudio/status.json.new", ".bulkaudio/tmp/CA1.part")
"""Names that nobody needs, or that are replaced whatever was there."""

SOME = {
    ("link", "combined/CA1.wav"),
    ("fifo", "combined/CA1.wav"),
    ("fifo", ".bulkaudio/lock"),
    ("link", ".bulkaudio/ledger.db"),
    ("link to a folder", ".bulkaudio"),
    ("link to a folder", "combined"),
    ("fifo", "../log"),
    ("fifo", ".bulkaudio/status.json"),
    ("device", "../log"),
}


def cases(*names: str, more: tuple[str, ...] = ()) -> list[object]:
    """Combine all kinds with these names."""
    return few(product((*KINDS, *more), names), SOME)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder that no run has any business in."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def trial_with(server: WireServer, kind: str, name: str, outside: Path) -> tuple[Trial, Path]:
    """Return a trial in whose archive something is planted, and where."""
    trial = trial_on(server, outside.parent / "work", *IDS)
    for folder in (trial.archive, trial.archive / ".bulkaudio"):
        folder.mkdir(mode=0o700)
    return trial, plant(trial, kind, name, outside)


def plant(trial: Trial, kind: str, name: str, outside: Path) -> Path:
    """Put something under a name in the archive."""
    path = trial.archive / name
    if name == ".bulkaudio":
        path.rmdir()
    planted(kind, path, outside)
    if trial.archive in path.parent.parents:
        path.parent.chmod(0o700)
    return path


@pytest.mark.parametrize(("kind", "name"), cases("combined/CA1.wav"))
async def test_under_a_final_name(outside: Path, kind: str, name: str) -> None:
    """The recording is a conflict, told and kept apart; the others are saved."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, outside.parent / "work", *IDS)
        assert (await trial.download(*trial.csv("CA3"))).code == 0
        path = plant(trial, kind, name, outside)
        found = {name: PRECIOUS} if path.is_file() else {}
        csv = trial.csv(*IDS)
        ended = await replace(trial, foreign=found).download(*csv)
        assert ended.code == 3, ended.stderr
        assert trial.statuses()["combined/CA1"] == ("failed", "conflict")
        assert ended.summary["counts"]["saved"] == 1
        untouched(kind, path, outside)
        removed(path)
        await lifted(trial, *csv)


@pytest.mark.parametrize(("kind", "name"), cases(*REFUSED_FIRST, more=("link to a folder",)))
async def test_under_a_name_that_everything_begins_with(
    outside: Path, kind: str, name: str
) -> None:
    """It is refused before the first request, and at once."""
    if kind == "folder" and name in {".bulkaudio", ".bulkaudio/tmp"}:
        return
    async with WireServer(Plans()) as server:
        trial, path = trial_with(server, kind, name, outside)
        csv = (*trial.csv(*IDS), "--log-file", trial.cwd / "log")
        async with asyncio.timeout(40):
            ended = await trial.download(*csv)
        refused(ended, path.name, ".bulkaudio")
        assert server.targets == []
        untouched(kind, path, outside)
        removed(path)
        await lifted(trial, *csv)


@pytest.mark.parametrize(("kind", "name"), cases(*HARMLESS))
async def test_under_a_name_that_nobody_needs(outside: Path, kind: str, name: str) -> None:
    """A run does not end for want of a status, nor over what an earlier run may have left."""
    async with WireServer(Plans()) as server:
        trial, path = trial_with(server, kind, name, outside)
        csv = trial.csv(*IDS)
        async with asyncio.timeout(40):
            assert (await run_forked(trial.order("status", trial.archive))).code in {0, 6}
            ended = await trial.download(*csv)
        assert ended.code == 0, ended.stderr
        assert set(wavs(trial.archive)) == set(trial.truth)
        nothing_outside(outside)
        if kind == "folder" and path.exists():
            removed(path)
        await lifted(trial, *csv)


@pytest.mark.parametrize(
    ("kind", "name"),
    few(
        [
            *product(("link to a folder", "dangling link", "fifo", "file"), ("combined",)),
            *product(KINDS, (".bulkaudio/ledger.db-wal",)),
        ],
        SOME,
    ),
)
async def test_under_a_name_that_is_needed_later(outside: Path, kind: str, name: str) -> None:
    """The run ends with the name and what to do; nothing is written elsewhere."""
    async with WireServer(Plans()) as server:
        trial, path = trial_with(server, kind, name, outside)
        trial = replace(trial, foreign={name: PRECIOUS} if kind == "file" else {})
        csv = trial.csv(*IDS)
        async with asyncio.timeout(40):
            ended = await trial.download(*csv)
        refused(ended, path.name)
        untouched(kind, path, outside)
        removed(path)
        await lifted(replace(trial, foreign={}), *csv)


async def _recordings_and_metadata(exchange: Exchange) -> None:
    is_audio = "direction=" in exchange.head.target
    await (Plans() if is_audio else says_json(200, {"turns": []}))(exchange)


@pytest.mark.parametrize(("kind", "name"), cases("metadata/CA1.json"))
async def test_under_the_name_of_metadata(outside: Path, kind: str, name: str) -> None:
    """It is left alone, with what it leads to, and named; everything else is kept."""
    async with WireServer(_recordings_and_metadata) as server:
        trial, path = trial_with(server, kind, name, outside)
        trial = replace(trial, asked=dict)
        csv = (*trial.csv(*IDS), "--metadata", "full")
        ended = await trial.download(*csv)
        untouched(kind, path, outside)
        assert (ended.code, ended.summary["counts"]["saved"]) == (3, 3), ended.stderr
        assert ended.summary["metadata"] == {"written": 2, "failed": 1}
        assert f"{path} is no metadata file of ours" in ended.stderr
        removed(path)
        await lifted(trial, *csv)
        assert json.loads(path.read_bytes()) == {"turns": []}
        assert not path.is_symlink()


PROBE, RECORDING, METADATA = "probe.*.part", "CA1.combined.*.part", "CA1.metadata.*.part"
NOTE = "CA1.combined.*.moved"


@pytest.mark.parametrize(
    ("kind", "name"),
    few(
        product(KINDS, (PROBE, RECORDING, METADATA, NOTE)),
        {("link", PROBE), ("link", RECORDING), ("dangling link", METADATA), ("fifo", RECORDING)},
    ),
)
async def test_under_a_temporary_name(outside: Path, kind: str, name: str) -> None:
    """Whoever can guess its eight digits ends the run; nothing is written through."""
    if kind == "device":
        need_root("make a device")
    async with WireServer(_recordings_and_metadata) as server:
        trial = replace(trial_on(server, outside.parent / "work", *IDS), asked=dict)
        csv = (*trial.csv(*IDS), "--metadata", "full")
        bench = trial.archive / ".bulkaudio" / "tmp"
        planting = hook(plant_at_birth, kind, name, str(bench), str(outside))
        async with asyncio.timeout(40):
            ended = await run_forked(ordered(trial, *csv, **planting))
        trial.check(ended)
        # What is left of a metadata file is removed, which a folder does not let be done.
        refused(ended, "File exists", "Is a directory")
        path = bench / outside.with_name("planted").read_text()
        if name != METADATA:
            untouched(kind, path, outside)
        nothing_outside(outside)
        if path.is_dir():
            removed(path)
        await lifted(trial, *csv)
        nothing_outside(outside)


def plant_at_birth(kind: str, pattern: str, bench: str, outside: str) -> None:
    """Put something under the first temporary name of this kind, just before it is created."""
    start, _, suffix = pattern.partition("*")
    waiting = [pattern]

    def plant_there(event: str, arguments: tuple[Any, ...]) -> None:
        if event == Step.PUBLISH_LINK and pattern == NOTE:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if event != "open":
            return
        # The interpreter tells it of every file, and before the system is asked.
        name, _, flags = arguments
        is_it = isinstance(name, str) and name.startswith(start) and name.endswith(suffix)
        if is_it and flags & os.O_CREAT and waiting:
            waiting.clear()
            planted(kind, Path(bench) / name, Path(outside))
            Path(outside).with_name("planted").write_text(name)

    sys.addaudithook(plant_there)


@pytest.mark.parametrize("kind", few(KINDS, ("device",)))
async def test_under_the_name_of_the_summary(outside: Path, kind: str) -> None:
    """A device stays one, though the summary was asked for under its name."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, outside.parent / "work", *IDS)
        path = trial.cwd / "summary"
        planted(kind, path, outside)
        csv = trial.csv(*IDS)
        async with asyncio.timeout(40):
            ended = await trial.download(*csv, "--summary-file", path)
        assert ended.code == 6, ended.stderr
        assert f"the summary file {path} cannot be written" in ended.stderr
        assert ended.summary["counts"]["saved"] == 3
        untouched(kind, path, outside)
        removed(path)
        await lifted(trial, *csv)


async def test_what_the_system_keeps_takes_log_and_summary(tmp_path: Path) -> None:
    """The null device swallows both, and standard output and a pipe that is read take theirs."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        csv = trial.csv("CA1")
        said = await trial.download(
            *csv, "--log-file", "/dev/null", "--summary-file", "/dev/stdout"
        )
        assert said.code == 0, said.stderr
        assert len(said.stdout.splitlines()) == 2
        pipe = trial.cwd / "pipe"
        os.mkfifo(pipe, 0o600)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            ended = await trial.download(*csv, "--log-file", pipe, "--summary-file", "/dev/null")
            assert b"started" in os.read(reader, 10_000)
        finally:
            os.close(reader)
        assert ended.code == 0, ended.stderr
        assert Path("/dev/null").is_char_device()
        assert Path("/dev/stdout").is_symlink()
