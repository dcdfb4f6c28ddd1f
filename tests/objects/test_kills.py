"""An archive in a bucket that is struck at each of its steps, and what the next run makes of it."""

from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.kills.ground import KILLED, Blow
from tests.kills.hooks import Action
from tests.objects.ground import Cloud, summary_of

FIRST_RUN = (
    *(Step.ADDRESS_WRITE, Step.ADDRESS_SYNC, Step.ADDRESS_MOVE),
    *(Step.PART_PUT, Step.PART_KEPT, Step.OBJECT_PUT, Step.OBJECT_KEPT),
    *(Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED, Step.ACKNOWLEDGE),
    *(Step.FORGET, Step.STAGE_PROVE, Step.LEDGER_CLOSE),
)
"""Taken by a first run, from the first of an address to the last of a part."""

PURGE = (
    *(Step.OBJECT_ERASE, Step.OBJECT_ERASED, Step.GENERATION_MARK, Step.GENERATION_CLEAN),
    *(Step.PART_PUT, Step.PART_KEPT, Step.REGISTER_WRITE, Step.REGISTER_COPY),
    Step.LEDGER_COMMITTED,
)


async def strike(cloud: Cloud, blow: Blow) -> bool:
    """Let one blow fall on a first run, look, and heal; false when its step was not reached."""
    note = cloud.folder / "struck"
    ended = await cloud.download(blow=blow.order(note))
    if not note.exists():
        assert ended.code == 0, ended.stderr
        return False
    if blow.action is Action.KILL:
        assert ended.code == KILLED
    else:
        # Struck in its last steps, it has nothing left to be interrupted in.
        assert ended.code in {0, 143}, ended.stderr
    await cloud.heal()
    return True


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (Step.ADDRESS_MOVE, 1),
        (Step.PART_KEPT, 1),
        (Step.OBJECT_KEPT, 3),
        (Step.LEDGER_COMMITTED, 9),
        (Step.FORGET, 2),
        (Step.PART_PUT, 2),
        (Step.PART_KEPT, 3),
    ],
)
async def test_some_kills(tmp_path: Path, step: Step, number: int) -> None:
    """What was uploaded is not fetched again, and what nobody was told of is told by the next run."""
    async with Cloud.at(tmp_path) as cloud:
        assert await strike(cloud, Blow(step=step, number=number, action=Action.KILL))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", [Action.KILL, Action.TERM])
@pytest.mark.parametrize("step", FIRST_RUN)
async def test_first_run(tmp_path: Path, step: Step, action: Action) -> None:
    """At the first, second, third … reach, until it is reached no more."""
    number, is_reached = 0, True
    while is_reached:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        async with Cloud.at(folder, count=3) as cloud:
            is_reached = await strike(cloud, Blow(step=step, number=number, action=action))
    assert number > 1, "never reached"


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (Step.OBJECT_ERASED, 1),
        (Step.GENERATION_MARK, 1),
        (Step.PART_KEPT, 3),
        (Step.REGISTER_COPY, 1),
    ],
)
async def test_some_kills_of_a_purge(tmp_path: Path, step: Step, number: int) -> None:
    """Whatever opens the archive next brings it to its end."""
    assert await strike_purge(tmp_path, step, number)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", PURGE)
async def test_purge(tmp_path: Path, step: Step) -> None:
    """At every reach of every step."""
    number, is_reached = 0, True
    while is_reached:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        is_reached = await strike_purge(folder, step, number)
    assert number > 1, "never reached"


async def strike_purge(folder: Path, step: Step, number: int) -> bool:
    """Kill a purge, lose the state folder or not, and find nothing of the call in the end."""
    async with Cloud.at(folder, words=("--metadata", "basic")) as cloud:
        assert (await cloud.download()).code == 0
        gone = cloud.simulator.calls.ids()[1]
        details = cloud.details(gone)
        assert len(details) > 6
        cloud.erased.add(gone)
        note = cloud.folder / "struck"
        blow = Blow(step=step, number=number, action=Action.KILL).order(note)
        ended = await cloud.run("purge", cloud.state, "--id", gone, "--yes", blow=blow)
        assert ended.code == (KILLED if note.exists() else 0), ended.stderr
        ended = await cloud.run("verify", cloud.state, "--json")
        assert summary_of(ended)["manifest_faults"] == [], "what is being told anew is no fault"
        if number % 2:
            cloud.lose_state()
            ended = await cloud.rebuild()
            # Killed anywhere, what was told is whole; a recording may be gone that is called saved.
            assert ended.code in {0, 7}, ended.stderr
            assert summary_of(ended)["manifest_faults"] == []
        ended = await cloud.run("purge", cloud.state, "--id", gone, "--yes")
        assert ended.code == 0, ended.stderr
        cloud.check_gone(gone, details)
        asked = cloud.asked()
        ended = await cloud.download()
        assert ended.code == 0, ended.stderr
        assert cloud.asked() == asked
        cloud.check_gone(gone, details)
        return note.exists()
