"""
A ledger that is made anew beside the old one, and takes its place only when it is whole.

Until then the old one stays where it is, so that a killed rebuild leaves nothing that looks like a
ledger and knows only some of the recordings.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.faults import translated
from bulkaudio.ledger.files import sync_file, sync_folder
from bulkaudio.steps import Step, reach

PARTS = ("", "-wal", "-shm")
"""SQLite's files of one database; in this order, so that no log stays behind without its ledger."""


def draft_of(path: Path) -> Path:
    """Where the ledger that is to replace the one at `path` is made."""
    return path.with_name(f"{path.name}.new")


def discard(draft: Path) -> None:
    """Remove an unfinished draft, an earlier rebuild's too."""
    with translated(draft):
        for part in PARTS:
            reach(Step.REBUILD_DISCARD)
            draft.with_name(draft.name + part).unlink(missing_ok=True)


def put_in_place(draft: Path, path: Path) -> Sequence[Path]:
    """
    Move the old ledger aside and a closed draft to its name; durable when this returns.

    Call it under the archive's lock. Killed in between, it leaves no ledger at all, which every
    command takes for lost.

    Returns:
        Where the old ledger's files are now; none when it had none.
    """
    with translated(path):
        if os.path.lexists(draft.with_name(f"{draft.name}-wal")):
            raise LedgerError(
                f"the new ledger {draft} could not be finished",
                fix="check the disk and its space, then run again: the old ledger is untouched",
            )
        # What the ledger calls saved is on the disk, also where a backup has just been copied back.
        os.sync()
        sync_file(draft)
        aside = _move_aside(path)
        sync_folder(path.parent)
        reach(Step.REBUILD_SWITCH)
        draft.rename(path)
        sync_folder(path.parent)
    return aside


def _move_aside(path: Path) -> Sequence[Path]:
    there = [part for part in PARTS if os.path.lexists(path.with_name(path.name + part))]
    free = _free_name(path)
    moved = []
    for part in there:
        target = free.with_name(free.name + part)
        reach(Step.REBUILD_ASIDE)
        path.with_name(path.name + part).rename(target)
        moved.append(target)
    return moved


def _free_name(path: Path) -> Path:
    """Only the holder of the archive's lock makes names here, so that a look is enough."""
    number = 0
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ") + (f".{number}" if number else "")
        name = path.with_name(f"{path.name}.{stamp}.old")
        if not any(os.path.lexists(name.with_name(name.name + part)) for part in PARTS):
            return name
        number += 1
