"""Every durable system call, every time it is made: a kill or an error in place of it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.ledger.faults import CAUSES
from tests.kills.ground import LOCAL, WORDS, Ground, check_end
from tests.kills.hooks import ERRORS, Action
from tests.kills.tracing import Fault, Traced, run_traced, why_not

STORE, LEDGER, OPENING = "store", "ledger", "asyncio"
"""Threads: of recordings; of SQLite; of what is opened and closed before and after."""

LOG = "ledger.db-wal"

CALLS = {
    STORE: ("openat", "write", "fsync", "linkat", "unlinkat", "renameat", "mkdirat", "close"),
    LEDGER: ("openat", "pwrite64", "fdatasync", "fsync", "unlink", "close"),
    OPENING: ("openat", "mkdirat", "fsync", "write", "ftruncate", "pwrite64", "unlinkat", "close"),
}

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def may_go_on(fault: Fault, traced: Traced) -> bool:
    """
    Say whether an error is none for the run: `check_end` has seen that it saved everything.

    A folder that cannot be closed is closed all the same. SQLite does without random numbers of the
    system, and what it cannot bring from its log into the ledger when it closes stays in the log:
    only what writes or syncs a transaction in the log has to be a success.
    """
    if fault.call == "close":
        return True
    is_of_the_log = fault.call in {"pwrite64", "fdatasync"} and LOG in (traced.line or "")
    return fault.thread == LEDGER and not (is_of_the_log and traced.keeps_new(LOG))


def words(fault: Fault) -> Collection[str]:
    """
    Say what an error has to be called.

    SQLite keeps the number of what the system refused to itself: only that a write found no space
    can be told from the rest.
    """
    if fault.thread != LEDGER or fault.action not in ERRORS:
        return ()
    if (fault.call, fault.action) == ("pwrite64", Action.ENOSPC):
        return ("the disk is full",)
    return (WORDS[fault.action], *(cause for cause, _ in CAUSES.values()))


async def strike(ground: Ground, fault: Fault) -> bool:
    """Put one fault into one call, look, and heal; false when it was not made so often."""
    archive = await ground.archive()
    traced = await run_traced(ground, archive, fault)
    if not traced.was_struck:
        assert traced.ended.code == 0
        return False
    # In place of a failing close, strace makes none: the kernel would have closed all the same.
    ended = replace(traced.ended, descriptors=None) if fault.call == "close" else traced.ended
    check_end(archive, ended, fault.action, words(fault))
    if fault.action in ERRORS:
        assert ended.code == LOCAL or may_go_on(fault, traced), (traced.line, ended.stdout)
        assert fault.thread == LEDGER or not traced.repeated_syncs()
    if ended.code == 0:
        # Read and write version: it was given its write-ahead log.
        assert archive.archive.joinpath(".bulkaudio", "ledger.db").read_bytes()[18:20] == b"\2\2"
    await ground.heal(archive)
    return True


@pytest.mark.parametrize(
    "fault",
    [
        Fault(thread=LEDGER, call="pwrite64", number=2, action=Action.ENOSPC),
        Fault(thread=LEDGER, call="fdatasync", number=9, action=Action.KILL),
        Fault(thread=STORE, call="fsync", number=9, action=Action.EIO),
        Fault(thread=OPENING, call="close", number=6, action=Action.EIO),
    ],
    ids=lambda fault: f"{fault.thread}-{fault.call}-{fault.number}-{fault.action}",
)
async def test_some_of_a_first_run(tmp_path: Path, fault: Fault) -> None:
    """A few of the faults below: in each of these something was wrong, or would be worst."""
    async with Ground.at(tmp_path, count=2) as ground:
        assert await strike(ground, fault)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_killed", [True, False], ids=["SIGKILL", "errors"])
@pytest.mark.parametrize(
    ("thread", "call"), [(thread, call) for thread, calls in CALLS.items() for call in calls]
)
async def test_first_run(tmp_path: Path, thread: str, call: str, is_killed: bool) -> None:  # noqa: FBT001
    """Nothing is lost, nothing half is shown, no sync is repeated, and the next run mends it."""
    async with Ground.at(tmp_path, count=2) as ground:
        number = 0
        while True:
            action = Action.KILL if is_killed else ERRORS[number % len(ERRORS)]
            fault = Fault(thread=thread, call=call, number=number + 1, action=action)
            if not await strike(ground, fault):
                break
            number += 1
        assert number, f"{thread} never makes a call of {call}"
