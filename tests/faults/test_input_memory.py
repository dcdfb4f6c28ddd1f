"""Inputs without an end in sight pass in constant memory, and cost what they hold."""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.forked import ROOT
from tests.oracle import Trial, trial_on
from tests.plans import whole
from tests.wire import WireServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

IDS = ("CA1", "CA2", "CA3")
PEAK_KIB = 200 * 1024
MIB = 1024 * 1024


def pour(path: Path, pieces: Iterable[bytes]) -> None:
    """Write into a FIFO; its reader may go away."""
    with suppress(BrokenPipeError):
        fd = os.open(path, os.O_WRONLY)
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)


async def poured(trial: Trial, pieces: Iterable[bytes], code: int) -> dict[str, Any]:
    """Download from a FIFO and hold the run to its limits; return its summary."""
    fifo = trial.cwd / "calls.csv"
    os.mkfifo(fifo)
    writer = Thread(target=pour, args=(fifo, pieces))
    writer.start()
    ended = await trial.download("--csv", "calls.csv")
    writer.join(30)
    trial.check(ended, peak_rss_kib=PEAK_KIB)
    assert ended.code == code, ended.stderr
    fifo.unlink()
    return ended.summary


def endless_line(mebibytes: int, filler: bytes) -> Iterator[bytes]:
    """Hold a row without an end in sight between good ones."""
    yield b"conversation_id,note\nCA1,x\n"
    for _ in range(mebibytes):
        yield filler
    yield b"\nCA2,y\nCA3,z\n"


@pytest.mark.parametrize(
    ("mebibytes", "filler"),
    [(1024, b"x" * MIB), (256, b'"' + b"y" * (MIB - 1))],
    ids=["plain", "quoted"],
)
async def test_a_line_of_a_gigabyte(mebibytes: int, filler: bytes, tmp_path: Path) -> None:
    """It is one bad row; what stands before and behind it is saved."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        summary = await poured(trial, endless_line(mebibytes, filler), 3)
        counts = summary["counts"]
        assert (counts["saved"], counts["rejected"]) == (3, 1)
        assert [each["where"] for each in summary["rejections"]] == ["line 3"]
        await trial.healed(*trial.csv(*IDS))


def many_rows(blocks: int) -> Iterator[bytes]:
    """Say the same ids again and again; and rows that are none."""
    yield b"conversation_id,note\n"
    block = b"CA1,x\nCA2,y\nCA3,z\n" * 1000 + b",nothing\n"
    for _ in range(blocks):
        yield block


async def test_rows_by_the_million(tmp_path: Path) -> None:
    """Ten million rows, some of them bad: three requests, and every bad row is counted."""
    blocks = 10_000_000 // 3000
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        counts = (await poured(trial, many_rows(blocks), 3))["counts"]
        assert (counts["saved"], counts["rejected"]) == (3, blocks)
        assert len(server.heads) == 3
        await trial.healed(*trial.csv(*IDS))


@pytest.mark.timeout(600)
async def test_a_million_conversations_are_planned_in_bounded_memory(tmp_path: Path) -> None:
    """Each different from all others: only the disk holds them all, for two runs in a row."""
    with (tmp_path / "calls.csv").open("w") as file:
        file.write("conversation_id,note\n")
        file.writelines(f"CA{number * 2654435761 % 2**32:032x},x\n" for number in range(10**6))
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.planning", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        stdout, _ = await process.communicate()
        assert process.returncode == 0
        planned, peak_kib = map(int, stdout.split())
        assert planned == 10**6
        # As text in memory they alone would take as much again.
        assert peak_kib < PEAK_KIB // 2
