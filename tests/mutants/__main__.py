"""``python -m tests.mutants``: every mistake, who notices it and how."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.mutants.run import Fate, Verdict, copy_checkout, look, made
from tests.mutants.table import MUTANTS, Mutant
from tests.powercuts.launch import missing

LANES = 2
WIDTH = 110


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def chosen(words: Sequence[str]) -> tuple[list[Mutant], list[Mutant]]:
    """Return the mutants that these words name, or all; and those of them that cannot be tried."""
    found = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    lacking = missing("ext4")
    if not lacking:
        return found, []
    untried = [mutant for mutant in found if mutant.test is None]
    say(f"NOT TRIED, because power cuts cannot be simulated here without {lacking}:")
    say("\n".join(f"  {mutant.name}" for mutant in untried))
    return [mutant for mutant in found if mutant.test], untried


def judge(mutants: Sequence[Mutant], work: Path) -> dict[Mutant | None, Verdict]:
    """Try every mutant in one of the copies; None stands for no mistake at all."""
    copies: SimpleQueue[Path] = SimpleQueue()
    for lane in range(LANES):
        copy_checkout(work / f"checkout{lane}")
        copies.put(work / f"checkout{lane}")

    def sound(tests: Sequence[str]) -> Verdict:
        copy = copies.get()
        try:
            return look(copy, tests)
        finally:
            copies.put(copy)

    def mutated(mutant: Mutant) -> Verdict:
        copy = copies.get()
        try:
            with made(mutant, copy):
                return look(copy, [mutant.test] if mutant.test else [])
        finally:
            copies.put(copy)

    tests = sorted({mutant.test for mutant in mutants if mutant.test})
    with ThreadPoolExecutor(LANES) as pool:
        bases = [pool.submit(sound, tests)] if tests else []
        bases += [pool.submit(sound, [])] if None in {m.test for m in mutants} else []
        tries = {mutant: pool.submit(mutated, mutant) for mutant in mutants}
        verdicts = [base.result() for base in bases]
        bad = [verdict for verdict in verdicts if verdict.fate is not Fate.SURVIVED]
        found: dict[Mutant | None, Verdict] = {m: tried.result() for m, tried in tries.items()}
    if bad:
        found[None] = bad[0]
    return found


def main(words: Sequence[str]) -> int:
    """Print the table; 1 when one went unnoticed, or untried in CI, or a test fails without one."""
    began = time.monotonic()
    mutants, untried = chosen(words)
    with TemporaryDirectory(prefix="mutants") as folder:
        found = judge(mutants, Path(folder))
    sound = found.pop(None, None)
    for mutant, verdict in found.items():
        if mutant is not None:
            test = mutant.test or "the power cuts of tests/powercuts"
            say(f"{verdict.fate.name:8} · {mutant.name}\n{'':11}by {test}")
            how = verdict.how if verdict.fate is Fate.BROKEN else verdict.how[:WIDTH]
            say(f"{'':11}{how}")
    caught = sum(verdict.fate is Fate.CAUGHT for verdict in found.values())
    say(f"{caught} of {len(found)} mutants caught in {time.monotonic() - began:.0f} s")
    if sound is not None:
        say(f"and without any mistake the tests fail: {sound.how}")
    is_lacking = bool(untried) and "CI" in os.environ
    return 0 if caught == len(found) and sound is None and not is_lacking else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
