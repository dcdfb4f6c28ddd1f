"""
What a disk is told: several processes over one archive, all but the last of them killed.

Each is started as ``python -m tests.powercuts.recorder NUMBER ROOT LOG REPORTS``. What it
acknowledges it appends to REPORTS, outside of the disk, with the position of the disk's log at
that moment. A small checkpoint makes SQLite begin its WAL anew all the time: only then does a
commit change no metadata of the file system, and no longer bring to the disk what somebody else
forgot to sync.
"""

import asyncio
import errno
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from unittest.mock import patch

from bulkaudio import purge
from bulkaudio.archive import open_archive
from bulkaudio.committer import Settles
from bulkaudio.erasure import Observer, Wish
from bulkaudio.ledger import database
from bulkaudio.ledger.erasing import Doom
from bulkaudio.model import Outcome
from bulkaudio.steps import Step
from bulkaudio.stores import publishing, recovery
from bulkaudio.tombstones import Order
from tests.powercuts import script
from tests.powercuts.night import night

CHECKPOINT_PAGES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """
    What one process does, and how it ends.

    Attributes:
        pages: So many of the listing are there for it.
        dies_publishing: It kills itself in the publishing of this number, names given and not
            synced.
        dies_at: It kills itself at the settling of this number,
        is_settled: after it and not before.
        dies_recovering: It kills itself before its recovery has cleared the traces.
        has_links: Files can have a second name; otherwise notes stand in for it.
        brings_strangers: Others put files under final names before it begins.
        is_patient: See `Night`.
        erases: It erases so many of `script.ERASED`, which is all that it does,
        dies_erasing: and kills itself at this reach of this step, if any.
    """

    pages: int = script.PAGES
    dies_publishing: int = 0
    dies_at: int = 0
    is_settled: bool = False
    dies_recovering: bool = False
    has_links: bool = True
    brings_strangers: bool = False
    is_patient: bool = True
    erases: int = 0
    dies_erasing: tuple[Step, int] | None = None

    @property
    def is_killed(self) -> bool:
        """Whether it does not reach its end."""
        return (
            self.dies_publishing > 0
            or self.dies_at > 0
            or self.dies_recovering
            or self.dies_erasing is not None
        )


PROCESSES = (
    Process(pages=4, dies_publishing=7),
    Process(dies_recovering=True),
    Process(pages=6, dies_at=5, is_settled=True, brings_strangers=True),
    Process(pages=9, dies_at=5, has_links=False, is_patient=False),
    Process(),
    Process(erases=3, dies_erasing=(Step.ERASE_REMOVE, 5)),
    Process(erases=5, dies_erasing=(Step.LEDGER_REWRITE, 1)),
    Process(erases=6, dies_erasing=(Step.REGISTER_WRITE, 1)),
    Process(erases=7),
)


class Reports:
    """The side channel: what was acknowledged, and what the disk had been told by then."""

    def __init__(self, path: Path, log: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log = log

    def __call__(self, what: str, **details: object) -> None:
        """Append one report."""
        report = {"at": self._log.stat().st_size, "what": what, **details}
        os.write(self._fd, json.dumps(report).encode() + b"\n")


@dataclass(slots=True)
class Mortal:
    """Settles for the committer, and dies of it when its time has come."""

    ledger: Settles
    process: Process
    tell: Reports
    count: int = 0

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """Pass on to the ledger."""
        self.count += 1
        if self.count == self.process.dies_at and not self.process.is_settled:
            die()
        await self.ledger.settle(outcomes, run_id, now)
        if self.count == self.process.dies_at:
            die()
        self.tell("transaction")


def die(*_: object) -> None:
    """End as with ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse_links(*_: object, **__: object) -> None:
    """Be a file system without hard links."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def bring_strangers(root: Path) -> None:
    """Put files under final names, unsynced, as a copying program does."""
    for key, stranger in script.STRANGERS.items():
        path = root / script.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(script.stranger_bytes(key, stranger))


async def live(process: Process, root: Path, reports: Reports, edition: int) -> None:
    """Be one of the processes."""
    async with night(root, reports, edition) as run:
        run.ledger = Mortal(run.ledger, process, reports)
        run.is_patient = process.is_patient
        await run.run(process.pages)


async def erase(process: Process, root: Path, tell: Reports) -> None:
    """Be one of the processes that erase."""
    ids = script.ERASED[: process.erases]

    def gone(dooms: Sequence[Doom]) -> None:
        tell("gone", ids=[doom.conversation_id for doom in dooms])

    async with open_archive(root, layout=script.LAYOUT) as archive:
        await archive.ledger.erasures.want(ids)
        tell("erasing", ids=ids)
        wish = Wish(order=Order.mine("a power cut"), is_acting=True)
        observer = Observer(witness=gone, resumed=gone)
        await purge.purge(archive.ledger, archive.store, wish, observer)
        tell("erased", ids=ids)
    tell("transaction")


def die_at(step: Step, number: int) -> None:
    """Kill this process at the n-th reach of a step."""
    reached = count(1)

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event == step and next(reached) == number:
            die()

    sys.addaudithook(hook)


def main(number: int, root: Path, log: Path, reports: Path) -> None:
    """Prepare what is peculiar to one of the processes, and be it."""
    process = PROCESSES[number]
    configure = database._configure

    def configure_small(connection: sqlite3.Connection) -> None:
        configure(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    sync_folders, published = publishing.Publisher._sync_folders, count(1)

    def sync_or_die(publisher: publishing.Publisher) -> None:
        if next(published) == process.dies_publishing:
            die()
        sync_folders(publisher)

    with ExitStack() as stack:
        stack.enter_context(patch.object(publishing.Publisher, "_sync_folders", sync_or_die))
        stack.enter_context(patch.object(database, "_configure", configure_small))
        if process.dies_recovering:
            stack.enter_context(patch.object(recovery, "clear", die))
        if not process.has_links:
            stack.enter_context(patch.object(os, "link", refuse_links))
        if process.brings_strangers:
            bring_strangers(root)
        if process.erases:
            # A batch is two conversations, so that there are several.
            stack.enter_context(patch.object(purge, "PER_BATCH", 2))
            if process.dies_erasing is not None:
                die_at(*process.dies_erasing)
            asyncio.run(erase(process, root, Reports(reports, log)))
        else:
            asyncio.run(live(process, root, Reports(reports, log), number))


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:]))
