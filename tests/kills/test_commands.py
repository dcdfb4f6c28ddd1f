"""What mends an archive is struck itself: ``verify --repair`` and ``rebuild``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.forked import Ended, run_forked
from tests.kills.ground import KILLED, LOCAL, Archive, Blow, Ground, ends_a_run
from tests.kills.hooks import Action
from tests.oracle import check_left, check_secret, check_words
from tests.program import wavs

REPAIR = (
    *(Step.INSPECT_OPEN, Step.INSPECT_READ, Step.FOLDER_CREATE, Step.ASIDE_MOVE, Step.ASIDE_SYNC),
    *(Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.PUBLISH_SYNC),
)

REBUILD = (
    *(Step.REBUILD_DISCARD, Step.LEDGER_CREATE, Step.LEDGER_MIGRATE, Step.INSPECT_LIST),
    *(Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED, Step.LEDGER_CLOSE),
    *(Step.LEDGER_SYNC, Step.REBUILD_ASIDE, Step.REBUILD_SWITCH),
)

ACTIONS = (Action.KILL, Action.EIO, Action.ENOSPC)


def check_command(archive: Archive, ended: Ended, blow: Blow) -> None:
    """Hold a struck command to what its users see."""
    check_words(ended)
    check_secret(archive.cwd)
    check_left(ended)
    if blow.action is Action.KILL:
        assert ended.code == KILLED
    elif ends_a_run(blow):
        assert ended.code == LOCAL, ended.stderr


def numbered(step: Step, action: Action) -> Iterator[Blow]:
    """Yield the blow for the first, second, third … reach."""
    for number in range(1, 100):
        yield Blow(step=step, number=number, action=action)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("step", REPAIR)
async def test_repair(tmp_path: Path, step: Step, action: Action) -> None:
    """Damage is moved aside and never lost; repairing again ends with every byte as it was."""
    async with Ground.at(tmp_path) as ground:
        await ground.complete()
        assert ground.template is not None
        damaged = {}
        for name in sorted(ground.truth)[:2]:
            path = ground.template / "archive" / name
            damaged[name] = path.read_bytes()[::-1]
            path.write_bytes(damaged[name])
        for blow in numbered(step, action):
            archive = await ground.archive()
            words = ("verify", str(archive.archive), "--repair", "--json")
            ended = await ground.struck(archive, blow, *words)
            if ended is None:
                assert blow.number > 1
                return
            check_command(archive, ended, blow)
            for name, content in wavs(archive.archive).items():
                assert content in {archive.truth[name], damaged.get(name)}
            again = await run_forked(archive.order(*words))
            assert again.code == 0, again.stdout + again.stderr
            clean = await run_forked(archive.order("verify", str(archive.archive)))
            assert clean.code == 0, clean.stdout
            assert wavs(archive.archive) == archive.truth
            aside = {path.read_bytes() for path in archive.archive.glob(".bulkaudio/damaged/*")}
            assert set(damaged.values()) <= aside


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("step", REBUILD)
async def test_rebuild(tmp_path: Path, step: Step, action: Action) -> None:
    """Until the new ledger is whole there is the old one, or none: never one that knows half."""
    async with Ground.at(tmp_path) as ground:
        await ground.complete()
        assert ground.template is not None
        state = ground.template / "archive" / ".bulkaudio"
        (state / "ledger.db").write_bytes(b"junk" * 1024)
        for blow in numbered(step, action):
            archive = await ground.archive()
            words = ("rebuild", str(archive.archive), "--json")
            ended = await ground.struck(archive, blow, *words)
            if ended is None:
                assert blow.number > 1
                return
            check_command(archive, ended, blow)
            asked = dict(ground.asked())
            between = await run_forked(archive.order(*archive.words(*ground.words)))
            assert between.code in {0, LOCAL}, between.stderr
            again = await run_forked(archive.order(*words))
            # Refused when the new ledger had taken its place already.
            assert again.code == (2 if between.code == 0 else 0), again.stderr
            done = await archive.download(*ground.words)
            assert (done.code, done.summary["counts"]["already"]) == (0, len(archive.truth))
            assert dict(ground.asked()) == asked
            assert wavs(archive.archive) == archive.truth
            assert not list(archive.archive.glob(".bulkaudio/*.new*"))
