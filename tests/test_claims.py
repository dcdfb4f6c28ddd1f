"""A run that did less than is claimed, or left a proof out in CI, is no success."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests import claims
from tests.claims import PROOFS, shortfalls
from tests.mutants import __main__ as mutants
from tests.mutants.run import Fate, Verdict

ROOT = Path(__file__).parent.parent


def report(
    name: str, outcome: Literal["passed", "failed", "skipped"] = "passed", **figures: int
) -> list[pytest.TestReport]:
    """Make the reports of one test."""
    whens: list[Literal["setup", "call", "teardown"]] = ["setup", "call", "teardown"]
    return [
        pytest.TestReport(
            nodeid=f"tests/{name}",
            location=("", None, ""),
            keywords={},
            outcome=outcome if when == "call" else "passed",
            longrepr=None,
            when=when,
            user_properties=list(figures.items()),
        )
        for when in whens
    ]


def test_figures_below_what_is_claimed_are_told() -> None:
    """Each number once, of all tests together; a case that failed is none."""
    reports = [
        *report("faults/a.py::b[1]", kills=2),
        *report("faults/a.py::b[2]", kills=3),
        *report("faults/a.py::b[3]", "failed"),
    ]
    assert shortfalls(reports, ["kills=5", "cases of tests/faults=2"]) == []
    assert shortfalls(reports, ["kills=6", "cases of tests/faults=3", "nights=1"]) == [
        "5 kills, and not 6",
        "2 cases of tests/faults, and not 3",
        "0 nights, and not 1",
    ]


@pytest.mark.parametrize("has_everything", [True, False])
def test_a_proof_that_was_skipped_is_told_where_nothing_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, *, has_everything: bool
) -> None:
    """Elsewhere it is what it says; and of other tests it always is."""
    monkeypatch.setattr(claims, "has_everything", lambda: has_everything)
    names = [f"{folder.removeprefix('tests/')}/a.py::b" for folder in PROOFS]
    reports = [each for name in (*names, "test_keys.py::b") for each in report(name, "skipped")]
    told = [f"tests/{name} was skipped" for name in names]
    assert shortfalls(reports, []) == (told if has_everything else [])


def test_proofs_are_where_they_are_looked_for() -> None:
    """A folder of another name would be held to nothing."""
    assert all((ROOT / folder).is_dir() for folder in PROOFS)


@pytest.mark.parametrize(("number", "code"), [(0, 0), (1, 1)])
def test_such_a_run_fails(number: int, code: int, tmp_path: Path) -> None:
    """With the exit code that CI looks at."""
    itself = f"{__file__}::{test_proofs_are_where_they_are_looked_for.__name__}"
    claim = ("--at-least", f"cases of tests/faults={number}")
    # Not among the folders of other runs, of which the last to come removes the oldest.
    words = ("-n", "0", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", *claim)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, itself],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stderr
    assert ("CLAIMED AND NOT SO" in done.stdout) == bool(code), done.stderr


@pytest.mark.parametrize(("ci", "code"), [("true", 1), (None, 0)])
def test_mutants_that_cannot_be_tried_fail_in_ci(
    ci: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no power can be cut, it says so; CI is where it can."""
    caught = Verdict(fate=Fate.CAUGHT, how="")
    monkeypatch.setattr(mutants, "missing", lambda _: "FUSE")
    monkeypatch.setattr(mutants, "judge", lambda found, _: dict.fromkeys(found, caught))
    if ci:
        monkeypatch.setenv("CI", ci)
    assert mutants.main([]) == code
