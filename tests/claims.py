"""What a run of the tests has done, counted, and whether that is as much as is claimed of it."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import pytest

PROOFS = ("tests/kills", "tests/powercuts", "tests/faults")
"""Where a skipped test leaves a promise without its proof."""


def reports_of(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    """Return what all tests reported: three times each, unless they were skipped."""
    found = chain.from_iterable(reporter.stats.values())
    return [each for each in found if isinstance(each, pytest.TestReport)]


def figures(reports: Iterable[pytest.TestReport]) -> tuple[Counter[str], list[str]]:
    """Sum the numbers that tests have recorded, and the cases of each proof; quote the texts."""
    sums: Counter[str] = Counter()
    said: list[str] = []
    for report in reports:
        # The last of a test's three reports has all of its figures.
        if report.when == "teardown":
            for name, value in report.user_properties:
                if isinstance(value, int):
                    sums[name] += value
                else:
                    said.append(f"{report.nodeid}: {name}: {value}")
        elif report.when == "call" and report.passed:
            sums.update(f"cases of {each}" for each in PROOFS if report.nodeid.startswith(each))
    return sums, said


def shortfalls(reports: Sequence[pytest.TestReport], at_least: Iterable[str]) -> list[str]:
    """
    Say what is missing for the claims to be true.

    Args:
        at_least: Figures by name, as in ``blows: SIGKILL=600``.
    """
    sums, _ = figures(reports)
    found = []
    for claim in at_least:
        name, _, number = claim.rpartition("=")
        if sums[name] < int(number):
            found.append(f"{sums[name]:,} {name}, and not {int(number):,}")
    if has_everything():
        skipped = [each.nodeid for each in reports if each.skipped]
        found += [f"{each} was skipped" for each in skipped if each.startswith(PROOFS)]
    return found


def has_everything() -> bool:
    """Whether nothing that the proofs need of a machine may be missing: root in CI, on Linux."""
    return "CI" in os.environ and sys.platform == "linux" and os.geteuid() == 0
