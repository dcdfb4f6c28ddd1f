"""
Whether the tests of the pure decisions notice when one of them is changed: ``python -m tests.mutation``.

mutmut changes one thing at a time in a temporary copy of the project and runs the tests that reach
it. A module of which less than nine tenths are noticed fails, and so does any change that is
neither noticed nor explained in `tests.mutation.explained`.

cosmic-ray was tried as well: it starts pytest anew for every mutant, which takes an hour.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.mutation.explained import EXPLAINED, Survivor

MODULES = ("policy", "naming", "wav")
AT_LEAST = 0.9
PROJECT = Path(__file__).parents[2]
NEEDED = ("bulkaudio", "tests", "pyproject.toml", "README.md", "LICENSE")
UNNOTICED = {0, 5, 33, 34, 35}
"""Exit codes of pytest, and of mutmut in its place, that are no failed test."""

_MANGLED = re.compile(
    r"bulkaudio\.(?P<module>\w+)\.x(?:ǁ(?P<owner>\w+)ǁ|_)(?P<name>\w+)__mutmut_\d+"
)


def copy_project(target: Path) -> None:
    """Copy what the tests need: mutants must never stand where anybody works."""
    leave = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=leave)
        else:
            shutil.copy2(source, target / name)


def mutmut(folder: Path, *arguments: str) -> str:
    """Run it there; the same examples are drawn every time."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    environment = os.environ | {"CI": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-5000:] + done.stderr[-5000:])
        raise SystemExit(f"mutmut {arguments[0]} failed with {done.returncode}")
    return done.stdout


def results(folder: Path, module: str) -> Mapping[str, int | None]:
    """Read how the tests ended for every mutant of a module."""
    text = (folder / "mutants" / "bulkaudio" / f"{module}.py.meta").read_text()
    codes: Mapping[str, int | None] = json.loads(text)["exit_code_by_key"]
    return codes


def survivor_of(mutant: str, difference: str) -> Survivor:
    """Say what was changed."""
    found = _MANGLED.fullmatch(mutant)
    assert found is not None, mutant
    lines: Mapping[str, list[str]] = {"-": [], "+": []}
    for line in difference.splitlines():
        if line[:1] in lines and not line.startswith(("---", "+++")):
            lines[line[0]].append(line[1:].strip())
    return Survivor(
        function=".".join(filter(None, (found["module"], found["owner"], found["name"]))),
        before=" ".join(lines["-"]),
        after=" ".join(lines["+"]),
    )


def judge(folder: Path) -> Iterator[str]:
    """Print a line a module; yield what is wrong."""
    known = {replace(each, why=""): each for each in EXPLAINED}
    met: set[Survivor] = set()
    for module in MODULES:
        codes = results(folder, module)
        unnoticed = [name for name, code in codes.items() if code is None or code in UNNOTICED]
        score = 1 - len(unnoticed) / len(codes)
        print(f"{module}: {score:.1%} of {len(codes)} mutants noticed")  # noqa: T201
        if score < AT_LEAST:
            yield f"{module}: less than {AT_LEAST:.0%} noticed"
        for name in unnoticed:
            survivor = survivor_of(name, mutmut(folder, "show", name))
            met.add(survivor)
            if survivor not in known:
                yield f"not noticed and not explained: {survivor!r}"
    for each in sorted(met & known.keys(), key=lambda survivor: survivor.function):
        print(f"  {each.function}: {each.after}\n    {known[each].why}")  # noqa: T201
    for each in known.keys() - met:
        yield f"explained and not among the survivors: {each!r}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Mutate, judge, and end with 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--children", type=int, default=os.cpu_count() or 2)
    children = parser.parse_args(arguments).children
    with tempfile.TemporaryDirectory(prefix="bulkaudio-mutants-") as folder:
        copy_project(Path(folder))
        mutmut(Path(folder), "run", "--max-children", str(children))
        faults = list(judge(Path(folder)))
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
