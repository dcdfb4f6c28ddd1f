"""Runs of other kinds, struck as a first run is: a listing, no links, files that are there already."""

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import pytest

from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.steps import Step
from tests.kills.ground import Archive, Blow, Ground, actions_at, has_ledger, strike, strike_all
from tests.kills.hooks import ERRORS, Action
from tests.program import ledger_rows

PAGE = 2

LISTING = (
    *(Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED),
    *(Step.SIDECAR_MOVE, Step.SIDECAR_PUBLISH, Step.PUBLISH_SYNC, Step.ACKNOWLEDGE),
)

MOVING = (
    *(Step.PUBLISH_LOOK, Step.PUBLISH_NOTE, Step.PUBLISH_NOTE_WRITE, Step.PUBLISH_MOVE),
    *(Step.PUBLISH_SYNC, Step.LEDGER_COMMIT, Step.FORGET),
)

ADOPTING = (Step.PUBLISH_COMPARE, Step.PUBLISH_ADOPT)

KILL_OR_ERROR = (Action.KILL, Action.TERM_TWICE, Action.EIO, Action.ENOSPC)


def check_bookmark(archive: Archive) -> None:
    """Whatever page a listing has come to, the conversations before it are in the ledger."""
    if not has_ledger(archive.archive):
        return
    known = {id_ for id_, _ in ledger_rows(archive.archive)}
    with TemporaryDirectory() as folder:
        copy = copytree(archive.archive / ".bulkaudio", Path(folder) / "copy")
        with closing(sqlite3.connect(copy / "ledger.db")) as connection:
            passed = connection.execute('SELECT max("offset") FROM listings').fetchone()[0]
    assert len(known) >= (passed or 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("step", "action"),
    [
        (step, action)
        for step in LISTING
        for action in actions_at(step, (Action.KILL, Action.TERM, Action.EIO))
    ],
)
async def test_listing(tmp_path: Path, step: Step, action: Action) -> None:
    """A listing never moves past a page whose conversations are not in the ledger."""
    async with Ground.at(tmp_path) as ground:
        simulator = ground.simulator
        simulator.has_cursors = False
        since, until = (each.isoformat() for each in (simulator.calls.since, simulator.calls.until))
        window = ("--since", since, "--until", until, "--account", simulator.account)
        # What follows the file's name is asked of a listing, too.
        ground.words = (*window, "--page-size", str(PAGE), *ground.words[2:])
        await strike_all(ground, Blow(step=step, number=0, action=action), check_bookmark)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", KILL_OR_ERROR)
@pytest.mark.parametrize("step", MOVING)
async def test_without_links(tmp_path: Path, step: Step, action: Action) -> None:
    """Where a file can have one name only, it is renamed, and a note tells the next start."""
    async with Ground.at(tmp_path) as ground:
        await strike_all(ground, Blow(step=step, number=0, action=action, has_links=False))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", [Action.KILL, Action.TERM, *ERRORS])
@pytest.mark.parametrize("step", ADOPTING)
async def test_files_that_are_there(tmp_path: Path, step: Step, action: Action) -> None:
    """The same bytes under a final name are synced before they are called saved."""
    async with Ground.at(tmp_path) as ground:
        await ground.prepare(Blow(step=Step.STAGE_CREATE, number=1, action=Action.KILL))
        assert ground.template is not None
        ground.foreign = ground.truth
        for name, content in ground.foreign.items():
            path = ground.template / "archive" / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(content)
        await strike_all(ground, Blow(step=step, number=0, action=action))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", [Action.KILL, Action.TERM_TWICE, *ERRORS])
async def test_answers_that_break_off(tmp_path: Path, action: Action) -> None:
    """What cannot be removed at once stands in nobody's way, and goes at the next start."""
    async with Ground.at(tmp_path) as ground:
        plan = Faults(share=1.0, kinds=(Fault.SHORT_BODY,), longest=1)
        number = 0
        while True:
            ground.simulator.faults = plan
            ground.simulator.requests.clear()

            def heals(_: Archive) -> None:
                ground.simulator.faults = Faults.none()

            # A file is made with the first piece: the little that came has to be several.
            blow = Blow(step=Step.STAGE_REMOVE, number=number + 1, action=action, piece=64)
            if not await strike(ground, blow, heals):
                break
            number += 1
        assert number


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", Action)
async def test_second_run(tmp_path: Path, action: Action) -> None:
    """An archive that has everything asks for nothing, whatever befalls the look at it."""
    async with Ground.at(tmp_path) as ground:
        await ground.complete()
        await strike_all(ground, Blow(step=Step.SIDECAR_LOOK, number=0, action=action))
