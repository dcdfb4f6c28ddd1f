"""
Ten and a hundred million recordings, on paper: ``python -m tests.scaling``.

Fills ledgers of some size on this machine, measures what each recording costs there, and computes what
millions of them come to; simulates fifty workers besides. A page of Markdown goes to standard output.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.benchmarks.machine import Machine
from tests.scaling.asking import answers, take_up_us, told_bytes
from tests.scaling.driving import driver_cost, page_bytes, parse_s
from tests.scaling.filling import fill, swell
from tests.scaling.model import Fleet, Measured
from tests.scaling.page import (
    Findings,
    bounds_table,
    computed_table,
    courses_table,
    measured_tables,
    placed,
)
from tests.scaling.simulation import Course, Setting, Simulation

SIZES = (10_000_000, 100_000_000)
RATES = (100.0, 500.0, None)
SHARDS = (16, 64, 256, 1024, 4096)
SIMULATED = 1_000_000
LIVES_S = 3600.0

MORE = 20_000
"""Rows that come to a large ledger as they come to any."""


def options() -> argparse.ArgumentParser:
    """Say what may be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=__doc__)
    parser.add_argument(
        "--rows",
        type=_numbers,
        default=(50_000, 200_000),
        metavar="N,...",
        help="fill a ledger so far, and look at its size at each of these [50000,200000]",
    )
    parser.add_argument(
        "--swell",
        type=_numbers,
        default=(1_000_000,),
        metavar="N,...",
        help="ask ledgers of these sizes, made by SQL [1000000]",
    )
    parser.add_argument(
        "--results", type=int, default=50_000, metavar="N", help="for the run itself [50000]"
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="the disk to measure [here]")
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="ask and fill this one, too, made by SQL before"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write into its place in that page"
    )
    return parser


def _numbers(text: str) -> Sequence[int]:
    return tuple(sorted({int(each) for each in text.split(",")}))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def find(chosen: argparse.Namespace, folder: Path) -> Findings:
    """Measure everything; the ledgers stay in `folder`."""
    rng = Random(1)
    _say(f"filling a ledger: {chosen.rows}")
    filled = asyncio.run(fill(folder / "filled.db", chosen.rows, rng))
    _say(str(filled))
    _say("what a run does itself")
    cost = driver_cost(folder, chosen.results, rng)
    _say(str(cost))
    taken = asyncio.run(take_up_us(folder / "taken.db", chosen.results, rng))
    large = [_swollen(folder, rows) for rows in chosen.swell]
    large += [chosen.ledger] if chosen.ledger else []
    asked, filled_on = {}, []
    for path in (folder / "filled.db", *large):
        _say(f"asking {path.name}")
        rows, found = asyncio.run(answers(path, _say))
        asked[rows] = found
        if path in large:
            filled_on += asyncio.run(fill(path, (rows + MORE,), rng))
    pages = [page_bytes(), page_bytes(turns=200)]
    return Findings(
        filled=filled,
        filled_on=filled_on,
        cost=cost,
        answers=asked,
        pages={len(page): parse_s(page) for page in pages},
        told_bytes=told_bytes(folder / "filled.db"),
        take_up_us=taken,
    )


def _swollen(folder: Path, rows: int) -> Path:
    path = folder / f"swollen-{rows}.db"
    if not path.exists():
        _say(f"making {path.name}")
        asyncio.run(swell(path, rows))
    return path


def fleets(recordings: int) -> Iterator[Fleet]:
    """Yield what the bounds are told for."""
    for rate in RATES:
        yield Fleet(recordings=recordings, rate=rate)
    yield Fleet(recordings=recordings, workers=10)


def courses(measured: Measured) -> Iterator[tuple[Setting, Course]]:
    """Simulate fifty workers, with and without a limit, with shards of several sizes."""
    driver_s = measured.driver_us / 1e6
    for rate in (500.0, None):
        for shard in SHARDS:
            setting = Setting(
                recordings=SIMULATED, shard=shard, rate=rate, lives_s=LIVES_S, driver_s=driver_s
            )
            yield setting, Simulation(setting).course()


def page_of(found: Findings, machine: Machine) -> str:
    """Write all of it."""
    measured = found.measured()
    return "\n\n".join(
        [
            f"## Measured\n\n{_where(machine)}",
            measured_tables(found),
            "## Computed from that",
            computed_table([Fleet(recordings=size) for size in SIZES], measured),
            "## What is in the way",
            bounds_table(list(fleets(SIZES[0])), measured),
            f"## Simulated: {SIMULATED:,} recordings, 50 workers",
            courses_table(list(courses(measured))),
        ]
    )


def _where(machine: Machine) -> str:
    return (
        f"{machine.date}, {machine.hardware}, {machine.file_system}, {machine.system}. Processor "
        "time; in brackets the clock's, on a machine that others share."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compute, and write it down."""
    chosen = options().parse_args(arguments)
    with TemporaryDirectory(prefix="scaling-", dir=chosen.dir or Path.cwd()) as made:
        folder = Path(made)
        found = find(chosen, folder)
        text = page_of(found, Machine.here(folder, ()))
    if chosen.output is None:
        sys.stdout.write(f"{text}\n")
    else:
        whole = chosen.output.read_text(encoding="utf-8")
        chosen.output.write_text(placed(text, whole), encoding="utf-8")


if __name__ == "__main__":
    main()
