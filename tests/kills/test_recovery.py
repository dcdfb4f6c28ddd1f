"""Killed once, and struck again while the next start is putting things right."""

from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.kills.ground import Blow, Ground, strike, strike_all
from tests.kills.hooks import Action

RECOVERY = (
    *(Step.LOCK_OPEN, Step.LEDGER_OPEN, Step.LEDGER_READ, Step.RECOVER_LIST, Step.RECOVER_LOOK),
    *(Step.INSPECT_OPEN, Step.INSPECT_READ, Step.RECOVER_SYNC, Step.LEDGER_BEGIN),
    *(Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED, Step.RECOVER_CLEAR, Step.RECOVER_REMOVE),
)
"""Taken by a start that finds what a killed run had published, and what it had not."""

BLOWS = (Action.KILL, Action.TERM, Action.EIO, Action.ENOSPC, Action.EMFILE)

OF_NOTES = (Step.RECOVER_LOOK, Step.INSPECT_READ, Step.RECOVER_SYNC, Step.RECOVER_REMOVE)

PUBLISHING = Blow(step=Step.PUBLISH_LINK, number=6, action=Action.KILL, batch=8)
"""Five of eight have their final names, nobody knows of any, and no folder is synced."""

MOVING = Blow(step=Step.PUBLISH_SYNC, number=1, action=Action.KILL, batch=8, has_links=False)
"""All eight were renamed, and only the notes tell."""


@pytest.mark.parametrize(
    ("step", "number", "action"),
    [
        (Step.INSPECT_READ, 2, Action.EIO),
        (Step.LEDGER_COMMITTED, 1, Action.KILL),
        (Step.RECOVER_REMOVE, 6, Action.KILL),
    ],
)
async def test_some_of_a_recovery(tmp_path: Path, step: Step, number: int, action: Action) -> None:
    """A few of the blows below: in each of these something was wrong, or would be worst."""
    async with Ground.at(tmp_path) as ground:
        await ground.prepare(PUBLISHING)
        assert await strike(ground, Blow(step=step, number=number, action=action))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", BLOWS)
@pytest.mark.parametrize("step", RECOVERY)
async def test_recovery(tmp_path: Path, step: Step, action: Action) -> None:
    """What the first run had published is adopted by the third, without a request."""
    async with Ground.at(tmp_path) as ground:
        await ground.prepare(PUBLISHING)
        await strike_all(ground, Blow(step=step, number=0, action=action))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", [Action.KILL, Action.EIO])
@pytest.mark.parametrize("step", OF_NOTES)
async def test_recovery_without_links(tmp_path: Path, step: Step, action: Action) -> None:
    """The same where a file has one name only, and a note stands in for the other."""
    async with Ground.at(tmp_path) as ground:
        await ground.prepare(MOVING)
        await strike_all(ground, Blow(step=step, number=0, action=action))
