"""
Archives that are struck at one step, and what must hold then and after the next run.

A `Ground` is a small PolyAI and as many archives as blows: each starts from the same state, is
struck once, checked, and healed by one clean run that asks for nothing which was published.
"""

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from bulkaudio.errors import LedgerError, StorageError
from bulkaudio.simulator.answers import Key
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.server import Simulator
from bulkaudio.steps import Step
from bulkaudio.stores.staging import PIECE_BYTES
from tests.forked import Ended, run_forked
from tests.kills.hooks import ERRORS, SIGNALS, Action
from tests.oracle import CANARY, Trial
from tests.program import temporary_files, wavs

DIRECTIONS = ("user", "agent")
CALLS = 4
KILLED, INTERRUPTED, LOCAL = 137, 143, 6

MENDED = {
    Step.INSPECT_OPEN: (Action.EIO,),
    Step.INSPECT_READ: (Action.EIO,),
    Step.STAGE_REMOVE: ERRORS,
}
"""
Errors that are no reason to end a run: what the disk has lost is fetched again, and what cannot be
removed now is removed at the next start.
"""


WORDS = {
    Action.EIO: "hardware fault",
    Action.ENOSPC: "no space",
    Action.EDQUOT: "quota",
    Action.EROFS: "read-only",
    Action.EMFILE: "too many files",
}
"""What the reader has to be told of each error, wherever it strikes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """
    What is to befall a program, at the `number`-th reach of a step.

    Attributes:
        batch: So many recordings are committed together.
        has_links: False on file systems without hard links.
        piece: So many bytes of a recording are written together.
    """

    step: Step
    number: int
    action: Action
    batch: int = 3
    has_links: bool = True
    piece: int = PIECE_BYTES

    def order(self, note: Path) -> dict[str, Any]:
        """Say it to `tests.kills.hooks`."""
        return {
            "step": self.step.value,
            "number": self.number,
            "action": self.action.value,
            "batch": self.batch,
            "has_links": self.has_links,
            "piece": self.piece,
            "note": str(note),
        }


BLOWS: Counter[str] = Counter()
"""What has struck so far in this process."""


class Archive(Trial):
    """A trial that may be killed before its ledger knows a table."""

    def check_archive(self, *, is_whole: bool) -> None:
        """As for every trial; with no ledger, or one that holds nothing yet, there are no files."""
        if is_whole or has_ledger(self.archive):
            super().check_archive(is_whole=is_whole)
        else:
            assert set(wavs(self.archive)) <= set(self.foreign)

    def saved(self) -> set[str]:
        """Return the paths that the ledger calls saved."""
        return super().saved() if has_ledger(self.archive) else set()


def has_ledger(archive: Path) -> bool:
    """Whether the ledger has its tables: looked at in a copy, which nobody minds."""
    trial = Trial(cwd=archive.parent, env={}, truth={}, asked=dict)
    try:
        trial.saved()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return False
    return (archive / ".bulkaudio" / "ledger.db").exists()


@dataclass(slots=True, kw_only=True)
class Ground:
    """
    A small PolyAI and archives of its calls.

    Attributes:
        template: The state that every archive starts from; None: there is none yet.
        foreign: What somebody else has put into it, by final path.
    """

    simulator: Simulator
    folder: Path
    words: tuple[str, ...]
    template: Path | None = None
    foreign: Mapping[str, bytes] = field(default_factory=dict)
    _made: int = field(default=0, init=False)

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, *, count: int = CALLS) -> AsyncIterator[Self]:
        """Open a ground where `count` calls are wanted, named in a file."""
        calls = Calls(count=count, speech_s=(0.05, 0.3), chat_share=0.0, opt_out_share=0.0)
        async with Simulator(calls=calls, keys=(Key(value=CANARY),)) as simulator:
            csv = folder / "calls.csv"
            csv.write_text("\n".join(["conversation_id", *calls.ids()]) + "\n")
            directions = (word for side in DIRECTIONS for word in ("--direction", side))
            words = ("--csv", str(csv), *directions, "--metadata", "basic")
            yield cls(simulator=simulator, folder=folder, words=words)

    @property
    def ids(self) -> list[str]:
        """Of the calls."""
        return self.simulator.calls.ids()

    @property
    def truth(self) -> Mapping[str, bytes]:
        """What an archive of these calls holds in the end."""
        return {
            f"{side}/{id_}.wav": self.simulator.expected_bytes(id_, side)
            for id_ in self.ids
            for side in DIRECTIONS
        }

    def asked(self) -> Mapping[str, int]:
        """How often each path's recording was asked for so far."""
        counts = self.simulator.requests.recordings()
        return {f"{side}/{id_}.wav": number for (id_, side), number in counts.items()}

    async def archive(self) -> Archive:
        """Make the next archive, from the template if there is one."""
        self._made += 1
        cwd = self.folder / f"work{self._made}"
        if self.template is None:
            cwd.mkdir()
        else:
            # Links between files are part of the state: copying them apart would lose it.
            copying = await asyncio.create_subprocess_exec("cp", "-a", self.template, cwd)
            assert await copying.wait() == 0
        urls = (self.simulator.audio_url, self.simulator.conversations_url)
        names = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")
        env = {**dict(zip(names, urls, strict=True)), "POLYAI_API_KEY": CANARY}
        return Archive(cwd=cwd, env=env, truth=self.truth, asked=self.asked, foreign=self.foreign)

    async def struck(self, archive: Archive, blow: Blow, *words: str) -> Ended | None:
        """Run with a blow, and check what always holds; None when it was never reached."""
        note = self.folder / f"{archive.cwd.name}.struck"
        order = replace(
            archive.order(*(words or archive.words(*self.words))),
            hook="tests.kills.hooks:break_step",
            hook_arguments=(blow.order(note),),
        )
        ended = await run_forked(order)
        if note.exists():
            self.count(blow.action)
            return ended
        assert ended.code == 0, ended.stderr
        return None

    def count(self, action: Action) -> None:
        """Note that something has struck."""
        BLOWS[action if action in SIGNALS else "error"] += 1

    async def prepare(self, blow: Blow) -> None:
        """Make the state that a blow leaves behind the one that all archives start from."""
        archive = await self.archive()
        assert await self.struck(archive, blow) is not None
        self.template = archive.cwd

    async def complete(self) -> None:
        """Make an archive that has everything the one that all archives start from."""
        archive = await self.archive()
        ended = await archive.download(*self.words)
        assert ended.code == 0, ended.stderr
        self.template = archive.cwd

    async def heal(self, archive: Archive) -> None:
        """
        Run once more: all is there then, and what was published is not asked for again.

        What stands in `Trial.foreign` was there before, and only an answer can tell whose it is.
        """
        published = set(wavs(archive.archive)) if archive.archive.is_dir() else set()
        published -= set(archive.foreign) - archive.saved()
        before = self.asked()
        ended = await archive.download(*self.words)
        assert ended.code == 0, ended.stderr
        assert wavs(archive.archive) == archive.truth
        assert archive.saved() == set(archive.truth)
        assert temporary_files(archive.archive) == []
        asked = {path: self.asked().get(path, 0) - before.get(path, 0) for path in archive.truth}
        again = {path for path in published if asked[path]}
        assert not again, f"{again} were published and asked for again"
        assert all(asked[path] == 1 for path in set(archive.truth) - published), asked
        check_sidecars(archive.archive, self.ids)
        shutil.rmtree(archive.cwd)


def check_sidecars(archive: Path, ids: list[str]) -> None:
    """Every conversation has its metadata, whole."""
    found = {path.name: json.loads(path.read_bytes()) for path in archive.glob("metadata/*")}
    assert set(found) == {f"{id_}.json" for id_ in ids}
    assert all(name.removesuffix(".json") in details.values() for name, details in found.items())


def check_end(archive: Archive, ended: Ended, action: Action, said: Collection[str] = ()) -> None:
    """
    Hold a struck program to what its users see, and to every promise about the archive.

    Args:
        said: What it may say of an error; empty: what `WORDS` has for it.
    """
    archive.check(ended)
    if action is Action.KILL:
        assert ended.code == KILLED, ended.stderr
        return
    summary = ended.summary
    assert summary["exit_code"] == ended.code
    # What was told as saved is in the ledger.
    assert summary["counts"]["saved"] <= len(archive.saved())
    if ended.code == 0:
        assert archive.saved() == set(archive.truth)
        assert summary["status"] == "complete"
    elif action in {Action.TERM, Action.TERM_TWICE}:
        assert (ended.code, summary["status"]) == (INTERRUPTED, "interrupted"), ended.stderr
    else:
        assert (ended.code, summary["status"]) == (LOCAL, "failed"), ended.stderr
        assert summary["error"]["kind"] in {StorageError.__name__, LedgerError.__name__}
        assert summary["error"]["fix"]
        message = summary["error"]["message"]
        assert any(each in message for each in said or (WORDS[action],)), message
        assert summary["error"]["message"] in ended.stderr


def actions_at(step: Step, actions: Sequence[Action] = tuple(Action)) -> Sequence[Action]:
    """Which of these may befall a program at a step."""
    return [each for each in actions if step is not Step.ACKNOWLEDGE or each not in ERRORS]


def ends_a_run(blow: Blow) -> bool:
    """Whether it is an error that a run cannot go on after."""
    return blow.action in ERRORS and blow.action not in MENDED.get(blow.step, ())


Look = Callable[[Archive], None]
"""A closer look at an archive between the blow and the next run."""


async def strike(ground: Ground, blow: Blow, look: Look | None = None) -> bool:
    """Let one blow fall, look, and heal; false when its step was not reached so often."""
    archive = await ground.archive()
    ended = await ground.struck(archive, blow)
    if ended is None:
        return False
    check_end(archive, ended, blow.action)
    assert not ends_a_run(blow) or ended.code == LOCAL, ended.stdout
    if look is not None:
        look(archive)
    await ground.heal(archive)
    return True


async def strike_all(ground: Ground, blow: Blow, look: Look | None = None) -> None:
    """Let it fall at the first, second, third … reach, until it is reached no more."""
    number = 0
    while await strike(ground, replace(blow, number=number + 1), look):
        number += 1
    assert number, f"{blow.step} is never reached"
