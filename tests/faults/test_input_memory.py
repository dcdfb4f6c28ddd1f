"""Inputs without an end in sight pass in constant memory, and cost what they hold."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

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


async def poured(trial: Trial, pieces: Iterable[bytes], code: int) -> dict[str, int]:
    """Download from a FIFO and hold the run to its limits; return its counts."""
    fifo = trial.cwd / "calls.csv"
    os.mkfifo(fifo)
    writer = Thread(target=pour, args=(fifo, pieces))
    writer.start()
    ended = await trial.download("--csv", "calls.csv")
    writer.join(30)
    trial.check(ended, peak_rss_kib=PEAK_KIB)
    assert ended.code == code, ended.stderr
    fifo.unlink()
    counts: dict[str, int] = ended.summary["counts"]
    return counts


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
        counts = await poured(trial, endless_line(mebibytes, filler), 3)
        assert (counts["saved"], counts["rejected"]) == (3, 1)
        await trial.healed(*trial.csv(*IDS))


def many_rows(blocks: int) -> Iterator[bytes]:
    """Say the same ids again and again; and rows that are none."""
    yield b"conversation_id,note\n"
    block = b"CA1,x\nCA2,y\nCA3,z\n" * 1000 + b",nothing\n"
    for _ in range(blocks):
        yield block


async def test_rows_by_the_million(tmp_path: Path) -> None:
    """1.2 million rows, some of them bad: three requests, and every bad row is counted."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        counts = await poured(trial, many_rows(400), 3)
        assert (counts["saved"], counts["rejected"]) == (3, 400)
        assert len(server.heads) == 3
        await trial.healed(*trial.csv(*IDS))
