"""No step is forgotten: each is struck somewhere, and each is reached by the program somewhere."""

import re
from pathlib import Path

from bulkaudio.steps import Step
from tests.kills.test_commands import REBUILD, REPAIR
from tests.kills.test_purge import PURGE
from tests.kills.test_recovery import OF_NOTES, RECOVERY
from tests.kills.test_steps import FIRST_RUN
from tests.kills.test_variants import ADOPTING, LISTING, MOVING
from tests.objects import test_kills
from tests.test_doctor_archive import TRIALS

PACKAGE = Path(__file__).parents[2] / "bulkaudio"


def test_every_step_is_struck() -> None:
    """Each of these tests fails when it never reaches its step."""
    struck = {*FIRST_RUN, *RECOVERY, *OF_NOTES, *LISTING, *MOVING, *ADOPTING, *REPAIR, *REBUILD}
    struck |= {*PURGE, *TRIALS, *test_kills.FIRST_RUN, *test_kills.PURGE}
    assert struck | {Step.STAGE_REMOVE, Step.SIDECAR_LOOK} == set(Step), set(Step) - struck


def test_every_call_that_syncs_or_names_has_its_step() -> None:
    """What brings bytes or names to the disk is never far from a step that can break it."""
    calls = re.compile(r"\bos\.(fsync|link|rename|mkdir|ftruncate)\(|(?<!os)\.(rename|unlink)\(")
    unguarded = []
    for module in (*PACKAGE.glob("stores/*.py"), *PACKAGE.glob("ledger/*.py")):
        lines = module.read_text().splitlines()
        for number, line in enumerate(lines):
            near = "\n".join(lines[max(0, number - 4) : number])
            if calls.search(line) and "reach(" not in near:
                unguarded.append(f"{module.name}:{number + 1}: {line.strip()}")
    assert unguarded == []
