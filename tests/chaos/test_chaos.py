"""Everything at once: faults, rotated keys and SIGKILL; every byte is right and none comes twice."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random

import pytest

from tests.chaos.host import Host
from tests.chaos.ordeal import Figures, Ordeal, Trouble, undergo

RECORDINGS = int(os.environ.get("CHAOS_RECORDINGS", "10000"))
SEED = int(os.environ.get("CHAOS_SEED", 1 if "CI" in os.environ else Random().randrange(10**6)))
"""Both for repeating a failure, or for more of it; CI always has the same seed."""


async def come_through(ordeal: Ordeal, folder: Path) -> Figures:
    """Go through an ordeal, and print its seed before and its figures after."""
    print(f"CHAOS_SEED={ordeal.seed} CHAOS_RECORDINGS={ordeal.recordings}")  # noqa: T201
    figures = await undergo(ordeal, folder)
    print(figures)  # noqa: T201
    return figures


@pytest.mark.parametrize("source", ["csv", "listing"])
async def test_a_small_download_comes_through_chaos(source: str, tmp_path: Path) -> None:
    """Three hundred recordings, a fault for every tenth, four kills, a key every second."""
    ordeal = Ordeal(
        seed=SEED,
        recordings=300,
        source=source,
        kills=4,
        between_s=(0.05, 0.4),
        rotate_s=0.7,
        page_size=25,
        largest_bytes=2**20,
        speed=8.0,
    )
    figures = await come_through(ordeal, tmp_path)
    assert figures.faults
    assert figures.kills


@asynccontextmanager
async def a_trouble(folder: Path) -> AsyncIterator[Trouble]:
    """Return a small one, whose runs nobody kills."""
    ordeal = Ordeal(seed=3, recordings=40, kills=0, largest_bytes=2**16, speed=8.0)
    async with Host(ordeal.holdings()) as host:
        yield Trouble(ordeal, host, folder)


def damage(archive: Path) -> None:
    """Change one byte of a recording."""
    path = next(archive.glob("combined/*.wav"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def lose(archive: Path) -> None:
    """Take a recording away."""
    next(archive.glob("combined/*.wav")).unlink()


def misplace(archive: Path) -> None:
    """Put half a recording under another one's final name."""
    paths = iter(archive.glob("combined/*.wav"))
    next(paths).write_bytes(next(paths).read_bytes()[:1000])


def forget(archive: Path) -> None:
    """Take recordings away and out of the ledger, so that the program has to fetch them again."""
    for path in archive.glob("combined/*.wav"):
        path.unlink()
    with closing(sqlite3.connect(archive / ".bulkaudio" / "ledger.db")) as ledger:
        ledger.execute("UPDATE recordings SET status = 'open', sha256 = NULL, path = NULL")
        ledger.commit()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage, "is damaged"),
        (lose, "are not there"),
        (misplace, "is damaged"),
        (forget, "are not any more"),
    ],
)
async def test_the_ordeal_itself_notices(
    harm: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    """What it is to find is found: harm done between a kill and the look after it."""
    async with a_trouble(tmp_path) as trouble:
        ended = await trouble.run()
        trouble.look(ended)
        harm(trouble.archive)
        with pytest.raises(AssertionError, match=words):
            trouble.look(ended)


async def test_the_ordeal_itself_notices_what_is_fetched_twice(tmp_path: Path) -> None:
    """A program that forgot what it had is reported by the host."""
    async with a_trouble(tmp_path) as trouble:
        trouble.look(await trouble.run())
        forget(trouble.archive)
        ended = await trouble.run()
        with pytest.raises(AssertionError, match="is asked for again"):
            trouble.look(ended)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("source", ["csv", "listing"])
async def test_a_long_download_comes_through_chaos(
    source: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Ten thousand recordings of all sizes, until a run ends with nothing left to do."""
    # On a quick machine the whole takes half a minute: kills must not be further apart.
    ordeal = Ordeal(seed=SEED, recordings=RECORDINGS, source=source, kills=30, between_s=(0.3, 1.5))
    figures = await come_through(ordeal, tmp_path)
    record_property("figures", str(figures))
    record_property("blows: SIGKILL in chaos", figures.kills)
    assert figures.kills >= 15
    assert figures.keys > 3
    assert figures.refused > 0
    assert sum(figures.faults.values()) >= RECORDINGS * 0.08
