"""
What must hold after every fault, whatever it was.

A `Trial` is one archive and the truth about it: which bytes belong under which final name. It runs
the program in processes of its own and holds each of them, and what it left, to all the promises.
"""

import hashlib
import stat
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.audio import wav_of
from tests.forked import Ended, Order, run_forked
from tests.plans import subject
from tests.program import LedgerLine, ledger_rows, temporary_files, wavs, write_csv
from tests.wire import WireServer

CANARY = "canary-3f9d1c77-key"
"""The key of every trial; it is to be found nowhere."""

UNWANTED = (
    *("Traceback", "Task was destroyed", "never retrieved", "Exception ignored"),
    *("Unclosed", "ResourceWarning", "never awaited", "this is a bug"),
)
"""What a program says that lost hold of something."""

PEAK_RSS_KIB = 300 * 1024
"""Far above what a run needs, far below what a bomb or an endless body would take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """
    One archive, and the truth about it.

    Attributes:
        cwd: Where the program is started; nothing but the archive and what the test itself puts
            there may appear in it.
        env: Where the hosts are and what the key is.
        truth: What PolyAI has, by final path in the archive, e.g. ``combined/CA1.wav``.
        asked: How often each final path's recording was asked for so far.
        speed: How much faster than real time runs; see `tests.forked`.
    """

    cwd: Path
    env: Mapping[str, str]
    truth: Mapping[str, bytes]
    asked: Callable[[], Mapping[str, int]]
    speed: float = 1.0
    foreign: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def archive(self) -> Path:
        """Where it is."""
        return self.cwd / "archive"

    def csv(self, *ids: str) -> tuple[str, str]:
        """Write ids into a CSV; return the option that names it."""
        return "--csv", str(write_csv(self.cwd / "calls.csv", list(ids)))

    def order(self, *arguments: str | Path, **env: str) -> Order:
        """Say how the program is run with these words."""
        return Order(
            arguments=tuple(map(str, arguments)),
            env={"HOME": str(self.cwd), "PATH": "/usr/bin:/bin", **self.env, **env},
            cwd=self.cwd,
            speed=self.speed,
        )

    def words(self, *arguments: str | Path) -> tuple[str, ...]:
        """Return the words of a download into the archive."""
        fixed = ("--agent", "PROJECT-1", "--region", "uk", "--out", str(self.archive), "--json")
        return ("download", *fixed, *map(str, arguments))

    async def download(self, *arguments: str | Path, **env: str) -> Ended:
        """Download to the end, whatever that is, and check what always holds."""
        ended = await run_forked(self.order(*self.words(*arguments), **env))
        self.check(ended)
        return ended

    async def healed(self, *arguments: str | Path) -> None:
        """
        Run again with the fault gone: everything is there then, and nothing is asked for twice.

        `arguments` are those of the first run.
        """
        before, asked = self.saved(), dict(self.asked())
        ended = await self.download(*arguments)
        assert ended.code == 0, ended.stderr
        assert temporary_files(self.archive) == []
        assert wavs(self.archive) == {**self.truth, **self.foreign}
        again = {path for path in before if self.asked().get(path, 0) > asked.get(path, 0)}
        assert not again, f"{again} were saved and asked for again"
        asked = dict(self.asked())
        ended = await self.download(*arguments)
        assert ended.code == 0, ended.stderr
        assert dict(self.asked()) == asked, "a third run asked for something"

    def check(self, ended: Ended, *, peak_rss_kib: int = PEAK_RSS_KIB) -> None:
        """Hold a process that ended, and the archive, to what always holds."""
        check_words(ended)
        check_left(ended)
        assert ended.peak_rss_kib < peak_rss_kib, f"{ended.peak_rss_kib} KiB"
        check_secret(self.cwd)
        if self.archive.is_dir():
            self.check_archive(is_whole=ended.code in {0, 3, 4, 5, 8})

    def check_archive(self, *, is_whole: bool) -> None:
        """
        Hold the archive to I1, I2 and I3, and the ledger to the disk.

        Args:
            is_whole: The last run ended in order, so that every file is in the ledger, too.
        """
        files = wavs(self.archive)
        check_files(files, self.truth, self.foreign)
        check_modes(self.archive, self.foreign)
        if not (self.archive / ".bulkaudio" / "ledger.db").exists():
            assert set(files) <= set(self.foreign), "there are recordings and no ledger"
            return
        rows = ledger_rows(self.archive)
        check_ledger(rows, files)
        if is_whole:
            unknown = set(files) - {row.path for row in rows.values()} - set(self.foreign)
            assert not unknown, f"{unknown} are not in the ledger"

    def saved(self) -> set[str]:
        """Return the paths that the ledger calls saved."""
        if not (self.archive / ".bulkaudio" / "ledger.db").exists():
            return set()
        rows = ledger_rows(self.archive).values()
        return {row.path for row in rows if row.status == "saved" and row.path is not None}

    def statuses(self) -> dict[str, tuple[str, str | None]]:
        """Return status and reason of each recording, as ``direction/id``."""
        rows = ledger_rows(self.archive).items()
        return {f"{side}/{id_}": (row.status, row.reason) for (id_, side), row in rows}


def trial_on(server: WireServer, cwd: Path, *ids: str, speed: float = 1.0) -> Trial:
    """
    Return a trial of a scripted server that has these conversations' combined recordings.

    Its folder is made, and must not be there yet.
    """
    cwd.mkdir()

    def asked() -> Counter[str]:
        return Counter(f"{side}/{id_}.wav" for id_, side in map(subject, server.targets))

    names = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")
    return Trial(
        cwd=cwd,
        env={**dict.fromkeys(names, server.url()), "POLYAI_API_KEY": CANARY},
        truth={f"combined/{id_}.wav": wav_of(id_) for id_ in ids},
        asked=asked,
        speed=speed,
    )


def check_words(ended: Ended) -> None:
    """Nothing that it said betrays the key, a lost hold, or a bug."""
    for text in (ended.stdout, ended.stderr):
        assert CANARY not in text
        found = [each for each in UNWANTED if each in text]
        assert not found, text
        assert "\x1b" not in text
    assert ended.code != 1, ended.stderr


def check_left(ended: Ended) -> None:
    """It let go of everything, unless it was killed."""
    for left in (ended.descriptors, ended.threads, ended.tasks):
        assert not left, left


def check_secret(folder: Path) -> None:
    """No file below `folder` holds the key, by name or by content."""
    for path in folder.rglob("*"):
        assert CANARY not in path.name
        if path.is_file() and not path.is_symlink():
            assert CANARY.encode() not in path.read_bytes(), path


def check_files(
    files: Mapping[str, bytes], truth: Mapping[str, bytes], foreign: Mapping[str, bytes]
) -> None:
    """Every file under a final name is what PolyAI has, or what somebody else had put there."""
    for name, content in files.items():
        wanted = foreign.get(name, truth.get(name))
        assert wanted is not None, f"{name} has no business here"
        assert content == wanted, f"{name} is damaged"


def check_modes(archive: Path, foreign: Collection[str]) -> None:
    """Nobody else can read anything."""
    for path in (archive, *archive.rglob("*")):
        name = str(path.relative_to(archive))
        is_private = stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0
        assert is_private or path.is_symlink() or name in foreign, name


def check_ledger(rows: Mapping[tuple[str, str], LedgerLine], files: Mapping[str, bytes]) -> None:
    """What is called saved is there with its hash, and each path belongs to one recording."""
    saved = [row for row in rows.values() if row.status == "saved"]
    paths = [row.path for row in saved]
    assert len(set(paths)) == len(paths), "two recordings share a path"
    for row in saved:
        assert row.path is not None
        assert row.path in files, f"{row.path} is called saved and is not there"
        assert hashlib.sha256(files[row.path]).hexdigest() == row.sha256
