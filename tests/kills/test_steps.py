"""Every step of the durable path, every time it is taken: a kill, a signal or an error there."""

from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.kills.ground import Blow, Ground, actions_at, strike, strike_all
from tests.kills.hooks import Action

FIRST_RUN = (
    *(Step.FOLDER_OPEN, Step.FOLDER_CREATE, Step.FOLDER_MODE, Step.FOLDER_SYNC),
    *(Step.PROBE_CREATE, Step.PROBE_WRITE, Step.PROBE_REMOVE, Step.SPACE_LOOK),
    *(Step.LOCK_OPEN, Step.LOCK_TAKE, Step.LOCK_WRITE, Step.INSPECT_LIST, Step.RECOVER_LIST),
    *(Step.LEDGER_CREATE, Step.LEDGER_OPEN, Step.LEDGER_MIGRATE, Step.LEDGER_SYNC),
    *(Step.LEDGER_READ, Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED),
    *(Step.STAGE_CREATE, Step.STAGE_WRITE, Step.STAGE_PROVE, Step.STAGE_SYNC),
    *(Step.PUBLISH_LINK, Step.PUBLISH_SYNC, Step.ACKNOWLEDGE, Step.FORGET),
    *(Step.SIDECAR_CREATE, Step.SIDECAR_WRITE, Step.SIDECAR_SYNC, Step.SIDECAR_MOVE),
    *(Step.SIDECAR_PUBLISH, Step.LEDGER_CLOSE),
)
"""Taken by a first run that is fed from a file of ids and fetches metadata, too."""


@pytest.mark.parametrize(
    ("step", "number", "action"),
    [
        (Step.FOLDER_SYNC, 3, Action.EIO),
        (Step.LEDGER_MIGRATE, 1, Action.KILL),
        (Step.STAGE_WRITE, 3, Action.ENOSPC),
        (Step.STAGE_SYNC, 2, Action.TERM),
        (Step.PUBLISH_LINK, 2, Action.KILL),
        (Step.PUBLISH_SYNC, 1, Action.EIO),
        (Step.LEDGER_COMMIT, 1, Action.EIO),
        (Step.LEDGER_COMMIT, 4, Action.KILL),
        (Step.LEDGER_COMMITTED, 4, Action.KILL),
        (Step.FORGET, 2, Action.KILL),
    ],
)
async def test_some_of_a_first_run(tmp_path: Path, step: Step, number: int, action: Action) -> None:
    """A few of the blows below: in each of these something was wrong, or would be worst."""
    async with Ground.at(tmp_path) as ground:
        assert await strike(ground, Blow(step=step, number=number, action=action))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("step", "action"),
    [(step, action) for step in FIRST_RUN for action in actions_at(step)],
)
async def test_first_run(tmp_path: Path, step: Step, action: Action) -> None:
    """Nothing is lost, nothing half is shown, and the next run asks only for what is missing."""
    async with Ground.at(tmp_path) as ground:
        await strike_all(ground, Blow(step=step, number=0, action=action))
