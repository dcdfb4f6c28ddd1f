"""Makes mistakes in copies, one at a time, and runs the tests that are to notice them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tests.mutants.table import Mutant

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("bulkaudio", "tests", "pyproject.toml")
PATIENCE_S = 600.0

# Few states: each of these mistakes shows in a good part of all of them.
POWER_CUTS = ("tests.powercuts", "--states", "120", "--brief")
PYTEST = ("pytest", "-n", "0", "-m", "", "-x", "-q", "--tb=short", "-p", "no:cacheprovider")


class Fate(Enum):
    """What became of a mistake; or of the tests, when none was made."""

    CAUGHT = auto()
    SURVIVED = auto()
    BROKEN = auto()
    """The test did not come to a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a test ended; `how` is its own word for what is wrong."""

    fate: Fate
    how: str


def copy_checkout(folder: Path) -> None:
    """Copy what the tests need: with or without a repository around it."""
    folder.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)


def mutated(text: str, mutant: Mutant) -> str:
    """Make the mistake in a module's text; raises `ValueError` when its place is not clear."""
    count = text.count(mutant.old)
    if count != 1:
        raise ValueError(f"{mutant.file} holds the old text of {mutant.name!r} {count} times")
    return text.replace(mutant.old, mutant.new)


@contextmanager
def made(mutant: Mutant, checkout: Path) -> Iterator[None]:
    """Make a mistake in a copy for a while."""
    path = checkout / "bulkaudio" / mutant.file
    text = path.read_text()
    path.write_text(mutated(text, mutant))
    try:
        yield
    finally:
        path.write_text(text)


def look(checkout: Path, tests: Sequence[str]) -> Verdict:
    """Run tests of pytest, or the power cuts when none are named, on a copy."""
    program = (*PYTEST, *tests) if tests else POWER_CUTS
    # Two writes within a second may leave a module as old and as large as it was.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-m", *program],
        capture_output=True,
        text=True,
        cwd=checkout,
        env=env,
        check=False,
        timeout=PATIENCE_S,
    )
    lines = done.stdout.splitlines()
    if done.returncode == 0:
        return Verdict(fate=Fate.SURVIVED, how=lines[-1] if lines else "")
    if done.returncode != 1:
        return Verdict(fate=Fate.BROKEN, how=f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    wrong = [line[1:].strip() for line in lines if line.startswith("E ")] if tests else lines[1:]
    return Verdict(fate=Fate.CAUGHT, how=wrong[0] if wrong else lines[-1])
