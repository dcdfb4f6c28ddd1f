"""``python -m tests.chaos``: an ordeal of any size, from any seed."""

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

from tests.chaos.ordeal import Ordeal, undergo


def main() -> int:
    """Go through it and print how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--recordings", type=int, default=10_000)
    parser.add_argument("--source", choices=("csv", "listing"), default="csv")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--largest", type=int, default=6 * 2**20, metavar="BYTES")
    given = parser.parse_args()
    ordeal = Ordeal(seed=given.seed, recordings=given.recordings, source=given.source)
    ordeal = replace(ordeal, kills=given.kills, largest_bytes=given.largest)
    sys.stdout.write(f"chaos: seed {given.seed}\n")
    with TemporaryDirectory() as folder:
        sys.stdout.write(f"{asyncio.run(undergo(ordeal, Path(folder)))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
