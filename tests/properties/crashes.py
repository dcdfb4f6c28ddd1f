"""
The end of a process at a chosen step, seen from inside of it.

What a killed process leaves is what its files hold at that moment. So instead of ending, a `Crash`
copies the archive there, hard links and all, and lets the process go on with what nobody will look
at any more: hundreds of kills a minute, each of them exactly where it is wanted.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from blockbuster import blockbuster

from bulkaudio.steps import Step

CANNOT_FAIL = {Step.ACKNOWLEDGE, Step.LEDGER_COMMITTED, Step.LEDGER_CLOSE}
"""No call of their own, or one whose failure changes nothing: there, a process is killed instead."""


LOOKS = {
    *(Step.FOLDER_OPEN, Step.SPACE_LOOK, Step.LOCK_OPEN, Step.LOCK_TAKE, Step.LEDGER_OPEN),
    *(Step.LEDGER_READ, Step.PUBLISH_LOOK, Step.PUBLISH_COMPARE, Step.RECOVER_LIST),
    *(Step.RECOVER_LOOK, Step.INSPECT_OPEN, Step.INSPECT_READ, Step.INSPECT_LIST),
}
"""They change nothing: a kill there is one at the next step that does."""


@dataclass(kw_only=True)
class Crash:
    """
    What may happen to an archive while something is done to it.

    Attributes:
        at: Number of the step, counted from 0; None: none.
        code: The error that the step's call fails with; None: the process is killed before it.
        copy: Where a killed process's archive is to be found.
        acknowledged: What the process reports; another is made of it at the moment of a kill.
        steps: So many were there.
    """

    at: int | None
    code: int | None
    archive: Path
    copy: Path
    acknowledged: set[str]
    steps: int = 0
    happened_at: Step | None = None
    witnessed: set[str] | None = None

    def reach(self, event: str) -> None:
        """Count a step, and do what is to be done there."""
        if event in LOOKS:
            return
        number, self.steps = self.steps, self.steps + 1
        if number == self.at:
            self.happened_at = Step(event)
            if self.code is None or self.happened_at in CANNOT_FAIL:
                self.kill()
            else:
                raise OSError(self.code, os.strerror(self.code))

    def kill(self) -> None:
        """Take what a kill would leave."""
        self.witnessed = set(self.acknowledged)
        copy_tree(self.archive, self.copy)

    def saved(self) -> set[str]:
        """Ask the ledger that a kill left what it calls saved, before anybody recovers more."""
        with tempfile.TemporaryDirectory(dir=self.copy.parent) as folder:
            # SQLite brings a ledger in order when it opens it: this one is to stay as it is.
            for path in (self.copy / ".bulkaudio").glob("ledger.db*"):
                shutil.copy2(path, folder)
            with closing(sqlite3.connect(Path(folder, "ledger.db"))) as connection:
                query = "SELECT direction || '/' || conversation_id FROM recordings WHERE status = 'saved'"
                return {row[0] for row in connection.execute(query)}


class _Listener:
    """The one audit hook of this process: hooks cannot be removed."""

    def __init__(self) -> None:
        self._crash: Crash | None = None
        self._is_installed = False

    @contextmanager
    def expecting(self, crash: Crash) -> Iterator[None]:
        """Let it happen within the block."""
        if not self._is_installed:
            sys.addaudithook(self._hear)
            self._is_installed = True
        self._crash = crash
        try:
            yield
        finally:
            self._crash = None

    def _hear(self, event: str, _: object) -> None:
        if self._crash is not None and event.startswith("bulkaudio."):
            self._crash.reach(event)


listener = _Listener()


def copy_tree(source: Path, target: Path) -> None:
    """Copy an archive as it is; files with several names keep them."""
    # Where a step is reached on the event loop, its detector would take this for the package's.
    before, blockbuster._skip.value = blockbuster._skip.value, True
    try:
        known: dict[int, Path] = {}
        for folder, _, names in os.walk(source):
            there = target / Path(folder).relative_to(source)
            there.mkdir(mode=0o700)
            for name in names:
                number = os.lstat(Path(folder, name)).st_ino
                if number in known:
                    os.link(known[number], there / name)
                else:
                    shutil.copy2(Path(folder, name), there / name, follow_symlinks=False)
                    known[number] = there / name
    finally:
        blockbuster._skip.value = before
