"""``purge`` struck at every step: what is half erased is finished, and nothing is fetched again."""

import json
import shutil
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import pytest

from bulkaudio.steps import Step
from bulkaudio.stores.pages import MARK
from tests.forked import run_forked
from tests.kills.ground import DIRECTIONS, Archive, Blow, Ground
from tests.kills.hooks import Action
from tests.kills.test_commands import ACTIONS, check_command, numbered
from tests.program import ledger_rows, wavs

PURGE = (
    *(Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.LEDGER_COMMITTED, Step.LEDGER_CLOSE),
    *(Step.REGISTER_OPEN, Step.REGISTER_WRITE, Step.REGISTER_SYNC),
    *(Step.ERASE_REMOVE, Step.ERASE_SYNC, Step.ERASE_COPY, Step.ERASE_PAGE),
    *(Step.LEDGER_REWRITE, Step.LEDGER_EMPTY_LOG),
)


async def make_ready(ground: Ground) -> None:
    """Let every archive start with all recordings, a report, and a copy of its ledger."""
    await ground.complete()
    assert ground.template is not None
    ground.foreign = {"report.html": b"<!DOCTYPE html>" + MARK}
    for name, page in ground.foreign.items():
        (ground.template / "archive" / name).write_bytes(page)
    state = ground.template / "archive" / ".bulkaudio"
    shutil.copy(state / "ledger.db", state / "ledger.db.v1.20260101T000000000000.bak")


def words_of(archive: Archive, ids: Collection[str]) -> tuple[str, ...]:
    """Return the words that erase these."""
    named = (word for id_ in ids for word in ("--id", id_))
    return ("purge", str(archive.archive), *named, "--yes", "--json")


def left_of(archive: Archive, id_: str) -> set[str]:
    """Name the files that know a conversation's audio, its hash or its metadata."""
    marks = [archive.truth[f"{side}/{id_}.wav"][100:140] for side in DIRECTIONS]
    marks += [
        sha256(archive.truth[f"{side}/{id_}.wav"]).hexdigest().encode() for side in DIRECTIONS
    ]
    files = [path for path in archive.archive.rglob("*") if path.is_file()]
    found = {path.name for path in files if any(mark in path.read_bytes() for mark in marks)}
    return found | {path.name for path in files if path.name == f"{id_}.json"}


def check_between(archive: Archive, ids: Collection[str]) -> None:
    """
    Hold an archive that was struck to its promises.

    Nothing is called saved that has no file, and a conversation whose first file is gone is erased.
    """
    archive.check_archive(is_whole=False)
    rows, files = ledger_rows(archive.archive), wavs(archive.archive)
    for id_ in ids:
        statuses = {rows[id_, side].status for side in DIRECTIONS}
        assert len(statuses) == 1, statuses
        are_there = [f"{side}/{id_}.wav" in files for side in DIRECTIONS]
        assert all(are_there) or statuses == {"purged"}
    others = {name: wav for name, wav in archive.truth.items() if not _is_of(name, ids)}
    assert others.items() <= files.items()


def check_settled(archive: Archive, ids: Collection[str]) -> None:
    """Each of these is erased to the last byte or was never touched; all others are whole."""
    check_between(archive, ids)
    for id_ in ids:
        is_erased = ledger_rows(archive.archive)[id_, DIRECTIONS[0]].status == "purged"
        if is_erased:
            assert left_of(archive, id_) == set(), id_


def _is_of(name: str, ids: Collection[str]) -> bool:
    return Path(name).stem in ids


async def told_of(archive: Archive) -> dict[str, int] | None:
    """
    Return what a look says of an interrupted erasure; hold it to what there is.

    Neither it nor a dry run deletes anything.
    """
    before = wavs(archive.archive)
    looked = await run_forked(archive.order("status", str(archive.archive), "--json"))
    left: dict[str, int] | None = looked.summary["interrupted_erasure"]
    named = next(iter(archive.truth)).partition("/")[2].removesuffix(".wav")
    dry = await run_forked(
        archive.order("purge", str(archive.archive), "--id", named, "--dry-run", "--json")
    )
    assert dry.summary["interrupted_erasure"] == left
    assert wavs(archive.archive) == before
    rows = ledger_rows(archive.archive)
    kept = {key for key, row in rows.items() if row.status == "purged" and row.path}
    there = {key for key, row in rows.items() if row.status == "purged" and _file(key) in before}
    assert there <= kept
    assert len(kept) == (0 if left is None else left["recordings"])
    return left


async def finish_by_hand(archive: Archive, left: dict[str, int]) -> None:
    """Erase what is left, with a receipt that names it, and nothing else."""
    done = await run_forked(
        archive.order("purge", str(archive.archive), "--resume", "--yes", "--json")
    )
    assert done.code == 0, done.stderr
    told = done.summary
    assert (told["resumed"]["conversations"], told["resumed"]["recordings"]) == (
        left["conversations"],
        left["recordings"],
    )
    assert len(told["erased"]) == left["conversations"]
    assert all(each["resumed"] for each in told["erased"])
    assert await told_of(archive) is None


def _file(key: tuple[str, str]) -> str:
    return f"{key[1]}/{key[0]}.wav"


async def struck(ground: Ground, blow: Blow, *, is_ledger_lost: bool = False) -> bool:
    """Let a blow fall, lose the ledger if that is asked for, and erase to the end; false when unreached."""
    archive = await ground.archive()
    doomed = ground.ids[:2]
    ended = await ground.struck(archive, blow, *words_of(archive, doomed))
    if ended is None:
        return False
    check_command(archive, ended, blow)
    check_between(archive, doomed)
    asked = dict(ground.asked())
    if is_ledger_lost:
        (archive.archive / ".bulkaudio" / "ledger.db").unlink()
        (archive.archive / ".bulkaudio" / "ledger.db-wal").unlink(missing_ok=True)
        rebuilt = await run_forked(archive.order("rebuild", str(archive.archive)))
        assert rebuilt.code == 0, rebuilt.stderr
    left = await told_of(archive)
    if left is not None and blow.number % 2 and not is_ledger_lost:
        await finish_by_hand(archive, left)
        left = None
    # What opens the archive next to work on it, a nightly run above all, finishes what was begun.
    nightly = await run_forked(archive.order(*archive.words(*ground.words)))
    assert nightly.code == 0, nightly.stderr
    counts, finished = nightly.summary["counts"], nightly.summary["erasure_finished"]
    assert counts["already"] == len(archive.truth)
    erased = [row for row in ledger_rows(archive.archive).values() if row.status == "purged"]
    assert counts["erased"] == len(erased)
    assert (finished is None) == (left is None)
    if left is not None:
        assert finished["recordings"] == left["recordings"]
        assert nightly.stderr.count("An interrupted erasure was finished") == 1
    check_settled(archive, doomed)
    done = await run_forked(archive.order(*words_of(archive, doomed)))
    assert done.code == 0, done.stderr
    check_settled(archive, doomed)
    assert all(ledger_rows(archive.archive)[id_, "user"].status == "purged" for id_ in doomed)
    assert not list(archive.archive.glob(".bulkaudio/*.bak"))
    assert not (archive.archive / "report.html").exists()
    again = await run_forked(archive.order(*archive.words(*ground.words)))
    assert again.code == 0, again.stderr
    assert dict(ground.asked()) == asked, "something was asked for again"
    check_settled(archive, doomed)
    register = (archive.archive / ".bulkaudio" / "tombstones.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in register]
    assert {line["purged"] for line in lines if "purged" in line} == set(doomed)
    assert "cleaned" in lines[-1]
    shutil.rmtree(archive.cwd)
    return True


@pytest.mark.parametrize(
    ("step", "number", "action"),
    [
        (Step.LEDGER_COMMITTED, 1, Action.KILL),
        (Step.REGISTER_WRITE, 1, Action.ENOSPC),
        (Step.ERASE_REMOVE, 2, Action.KILL),
        (Step.ERASE_SYNC, 1, Action.EIO),
        (Step.LEDGER_REWRITE, 1, Action.KILL),
    ],
)
async def test_some_of_a_purge(tmp_path: Path, step: Step, number: int, action: Action) -> None:
    """A few of the blows below, those that would be worst."""
    async with Ground.at(tmp_path) as ground:
        await make_ready(ground)
        assert await struck(ground, Blow(step=step, number=number, action=action))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("step", PURGE)
async def test_purge(tmp_path: Path, step: Step, action: Action) -> None:
    """The next command finishes it, nothing is saved without a file, and nothing is fetched again."""
    async with Ground.at(tmp_path) as ground:
        await make_ready(ground)
        for blow in numbered(step, action):
            if not await struck(ground, blow):
                assert blow.number > 1
                return


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", PURGE)
async def test_purge_and_a_ledger_that_is_lost_then(tmp_path: Path, step: Step) -> None:
    """The register knows what was to go before the first file goes."""
    async with Ground.at(tmp_path) as ground:
        await make_ready(ground)
        for blow in numbered(step, Action.KILL):
            if not await struck(ground, blow, is_ledger_lost=True):
                assert blow.number > 1
                return
