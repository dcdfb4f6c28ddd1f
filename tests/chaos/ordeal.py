"""
A long download through everything at once: faults, rotated keys and SIGKILL, until it is done.

After every kill the archive is looked at, and what is committed or in its place by then may never
be asked for again. At the end every byte is compared.
"""

import asyncio
import hashlib
import itertools
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.chaos.holdings import ENDS, Holdings, Name
from tests.chaos.host import ACCOUNT, AGENT, Host
from tests.forked import Ended, Fork, Order, forked, run_forked
from tests.oracle import CANARY, PEAK_RSS_KIB, check_modes, check_secret, check_words
from tests.program import temporary_files, write_csv

MAX_RUNS_UNTOUCHED = 12
"""A run ends in order with what a later one heals still open; far fewer than so many do."""

SAMPLE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordeal:
    """
    What a download has to come through.

    Attributes:
        source: ``csv`` or ``listing``.
        kills: At most so many; then runs are left alone.
        between_s: Least and most time from a run's first request to its kill; a quarter of the
            runs is killed at once instead, while it recovers.
        rotate_s: Time between two keys.
        speed: How much faster than real time the program's clock runs.
    """

    seed: int
    recordings: int
    source: str = "csv"
    kills: int = 60
    between_s: tuple[float, float] = (0.5, 4.0)
    rotate_s: float = 3.0
    page_size: int = 250
    largest_bytes: int = 6 * 2**20
    speed: float = 4.0

    def holdings(self) -> Holdings:
        """Return what there is to be had."""
        is_listing = self.source == "listing"
        directions = ("user", "agent") if is_listing else ("combined",)
        return Holdings(
            seed=self.seed,
            conversations=self.recordings // len(directions),
            directions=directions,
            largest_bytes=self.largest_bytes,
            dated=is_listing,
        )


@dataclass(slots=True, kw_only=True)
class Figures:
    """How it went."""

    ordeal: Ordeal
    kills: int = 0
    runs: int = 0
    keys: int = 0
    seconds: float = 0.0
    bytes: int = 0
    checked: int = 0
    requests: int = 0
    repeated: int = 0
    refused: int = 0
    peak_rss_kib: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        ordeal = self.ordeal
        size, memory = f"{self.bytes / 1e6:.0f} MB", f"{self.peak_rss_kib / 1024:.0f} MiB at most"
        what = f"seed {ordeal.seed}, {ordeal.recordings} recordings by {ordeal.source}"
        lines = (
            f"chaos: {what}, {size}, {self.seconds:.1f} s, {memory}",
            f"  {self.runs} runs, {self.kills} killed; {self.checked} files compared in between",
            f"  {self.keys} keys; {self.refused} requests with one that was no longer valid",
            f"  {self.requests} requests, {self.repeated} for what was asked for before",
            f"  {sum(self.faults.values())} faults: {_listed(self.faults)}",
            f"  ends: {_listed(self.ends)}",
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """
    What the ledger of a dead program says.

    Attributes:
        rows: Status, reason and SHA-256 by recording.
        reached: All conversations before this one were listed, by what the ledger says.
        is_listed: All of them were.
    """

    rows: Mapping[Name, tuple[str, str | None, str | None]]
    reached: int = 0
    is_listed: bool = False

    def names(self, *statuses: str) -> set[Name]:
        """Return the recordings that have one of these statuses."""
        return {name for name, row in self.rows.items() if row[0] in statuses}


class Trouble:
    """One archive, the host it is filled from, and all that happens to both."""

    def __init__(self, ordeal: Ordeal, host: Host, folder: Path) -> None:
        self.ordeal = ordeal
        self.host = host
        self.rng = Random(ordeal.seed)
        self.figures = Figures(ordeal=ordeal)
        self.cwd = folder / "work"
        self.cwd.mkdir()
        self.archive = self.cwd / "archive"
        # Beside the folder that is searched for it.
        self.key_file = folder / "key"
        self._held = host.holdings
        self._name_of = {name.path: name for name in self._held.names()}
        self._sides = len(self._held.directions)
        fates = ((name, self._held.fate(name)) for name in self._held.names())
        self._ends = {name: ENDS[fate] if fate else ("saved", None) for name, fate in fates}
        self._source = self._words()
        self._new_key()

    async def undergo(self) -> Figures:
        """Go through all of it, to the end."""
        started = time.monotonic()
        rotating = asyncio.create_task(self._rotate())
        try:
            for _ in range(MAX_RUNS_UNTOUCHED + self.ordeal.kills):
                ended = await self.run()
                self.look(ended)
                if ended.code != 137 and self._is_done():
                    break
            else:
                raise AssertionError("it does not come to an end")
        finally:
            rotating.cancel()
        await self._finish()
        self.figures.seconds = time.monotonic() - started
        return self.figures

    # What is done to it.

    def _words(self) -> tuple[str, ...]:
        if self.ordeal.source == "csv":
            path = write_csv(self.cwd / "calls.csv", list(self._held.ids()))
            return ("--csv", str(path))
        since, until = self._held.since.isoformat(), self._held.until.isoformat()
        sides = (word for side in self._held.directions for word in ("--direction", side))
        when = ("--since", since, "--until", until, "--page-size", str(self.ordeal.page_size))
        return (*when, "--account", ACCOUNT, *sides)

    def _order(self, *words: str) -> Order:
        names = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")
        env = dict.fromkeys(names, self.host.url)
        return Order(
            arguments=words,
            env={"HOME": str(self.cwd), "PATH": "/usr/bin:/bin", **env},
            cwd=self.cwd,
            speed=self.ordeal.speed,
        )

    def _download(self) -> Order:
        fixed = ("--agent", AGENT, "--region", "uk", "--out", str(self.archive), "--json", "-v")
        files = ("--api-key-file", str(self.key_file), "--log-file", str(self.cwd / "log"))
        return self._order("download", *self._source, *fixed, *files)

    async def run(self) -> Ended:
        """Run the program until it ends or is killed."""
        self.figures.runs += 1
        is_spared = self.figures.kills >= self.ordeal.kills
        before = self.host.total
        async with forked(self._download()) as fork:
            ending = asyncio.create_task(fork.wait())
            if not is_spared:
                await self._kill(fork, ending, before)
            ended = await ending
        self.figures.kills += ended.code == 137
        return ended

    async def _kill(self, fork: Fork, ending: "asyncio.Task[Ended]", before: int) -> None:
        """Kill it at a moment that the seed chooses, unless it has ended by then."""
        is_early, after_s = self.rng.random() < 0.25, self.rng.uniform(*self.ordeal.between_s)
        if is_early:
            after_s = self.rng.uniform(0.0, 0.3)
        # From the first request on: on a slow machine a run would never get anywhere otherwise.
        while not (is_early or ending.done()) and self.host.total == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.wait({ending}, timeout=after_s)
        if not ending.done():
            fork.send(signal.SIGKILL)

    def _new_key(self) -> str:
        self.figures.keys += 1
        key = f"{CANARY}-{self.figures.keys}-{self.rng.randrange(16**8):08x}"
        self.host.keys |= {key}
        fresh = self.key_file.with_name("key.new")
        fresh.write_text(key + "\n")
        fresh.chmod(0o600)
        fresh.replace(self.key_file)
        return key

    async def _rotate(self) -> None:
        """Replace the key again and again; a moment later the host takes only the new one."""
        while True:
            await asyncio.sleep(self.ordeal.rotate_s * self.rng.uniform(0.5, 1.5))
            key = self._new_key()
            await asyncio.sleep(self.rng.uniform(0.0, 0.4))
            self.host.keys = frozenset({key})

    # What is looked at.

    def look(self, ended: Ended) -> None:
        """Hold it to its promises after the end of a run, whatever that was."""
        assert ended.code in {0, 3, 137}, f"it ended with {ended.code}: {ended.stderr[-3000:]}"
        check_words(ended)
        self.figures.peak_rss_kib = max(self.figures.peak_rss_kib, ended.peak_rss_kib)
        assert ended.peak_rss_kib < PEAK_RSS_KIB, f"{ended.peak_rss_kib} KiB"
        if ended.code != 137:
            assert (ended.descriptors, ended.threads, ended.tasks) == ((), (), ())
        found = self._files()
        ledger = read_ledger(self.archive)
        self._check_files(found, ledger)
        saved = ledger.names("saved")
        kept = saved | found
        lost = self.host.committed - kept
        assert not lost, f"{lost} were saved and are not any more"
        self._check_listed(ledger)
        self.host.committed |= kept
        self._hear()

    def _files(self) -> set[Name]:
        """Return what is in its place; nothing else may be there."""
        found = set()
        for side in self._held.directions:
            folder = self.archive / side
            if folder.is_dir():
                paths = {f"{side}/{entry.name}" for entry in os.scandir(folder)}
                assert paths <= self._name_of.keys(), paths - self._name_of.keys()
                found |= {self._name_of[path] for path in paths}
        return found

    def _check_files(self, found: set[Name], ledger: Ledger) -> None:
        """Compare what was published and not committed, and a sample of what was."""
        saved = ledger.names("saved")
        assert saved <= found, f"{saved - found} are called saved and are not there"
        settled = sorted(saved & found, key=lambda name: name.path)
        sample = self.rng.sample(settled, min(SAMPLE, len(settled)))
        for name in (*sample, *(found - saved)):
            self._compare(name, ledger)

    def _check_listed(self, ledger: Ledger) -> None:
        """See that no conversation was lost behind the listing's cursor."""
        reached = self._held.conversations if ledger.is_listed else ledger.reached
        missed = [
            name.path
            for name in itertools.islice(self._name_of.values(), reached * self._sides)
            if name not in ledger.rows
        ]
        assert not missed, f"the listing went past {missed[:5]}"

    def _compare(self, name: Name, ledger: Ledger) -> None:
        content = (self.archive / name.path).read_bytes()
        assert content == self._held.body(name), f"{name.path} is damaged"
        status, _, digest = ledger.rows.get(name, ("open", None, None))
        if status == "saved":
            assert digest == hashlib.sha256(content).hexdigest(), name.path
        self.figures.checked += 1
        self.figures.bytes += len(content)

    def _hear(self) -> None:
        assert self.host.complaints == [], self.host.complaints[:10]

    def _is_done(self) -> bool:
        rows = read_ledger(self.archive).rows
        return {name: row[0] for name, row in rows.items()} == {
            name: status for name, (status, _) in self._ends.items()
        }

    async def _finish(self) -> None:
        """Compare everything, and see that another run has nothing to do."""
        self.figures.bytes = 0
        ledger, found, host = read_ledger(self.archive), self._files(), self.host
        ends = {name: row[:2] for name, row in ledger.rows.items()}
        wrong = {n: (ends.get(n), end) for n, end in self._ends.items() if ends.get(n) != end}
        assert not wrong, dict(list(wrong.items())[:10])
        assert ends.keys() == self._ends.keys()
        assert found == ledger.names("saved")
        checked = self.figures.checked
        for name in found:
            self._compare(name, ledger)
        self.figures.checked = checked
        assert temporary_files(self.archive) == []
        check_modes(self.archive, ())
        asked = host.total
        self.look(await self._run_whole(self._download()))
        failing = len(ledger.names("failed"))
        pages = sum(host.pages.values())
        assert host.total - asked <= failing * 5 + pages, "a finished archive is asked for again"
        verified = await self._run_whole(self._order("verify", str(self.archive)))
        assert verified.code == 0, verified.stderr
        # What is under a final name was compared byte for byte.
        check_secret(self.archive / ".bulkaudio")
        assert CANARY not in (self.cwd / "log").read_text()
        self._count(ends)

    async def _run_whole(self, order: Order) -> Ended:
        self.figures.runs += 1
        ended = await run_forked(order)
        check_words(ended)
        return ended

    def _count(self, ends: Mapping[Name, tuple[str, str | None]]) -> None:
        host, figures = self.host, self.figures
        figures.requests, figures.refused = host.total, host.refused
        figures.repeated = host.asked.total() - len(host.asked)
        figures.faults = {fault.value: count for fault, count in host.faults.most_common()}
        kinds = Counter(f"{status} {reason or ''}".strip() for status, reason in ends.values())
        figures.ends = dict(kinds.most_common())


def read_ledger(archive: Path) -> Ledger:
    """Read the ledger, whatever became of its writer: from a copy, because opening it recovers it."""
    if not (archive / ".bulkaudio" / "ledger.db").exists():
        return Ledger(rows={})
    with TemporaryDirectory() as folder:
        for path in (archive / ".bulkaudio").glob("ledger.db*"):
            if path.suffix in {".db", ".db-wal"}:
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "ledger.db")) as connection:
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                return Ledger(rows={})
            rows = connection.execute(
                "SELECT conversation_id, direction, status, reason, sha256 FROM recordings"
            ).fetchall()
            listings = connection.execute("SELECT cursor, state FROM listings").fetchall()
    return Ledger(
        rows={Name(row[0], row[1]): (row[2], row[3], row[4]) for row in rows},
        reached=max((int(cursor[1:]) for cursor, _ in listings if cursor), default=0),
        is_listed=any(state == "finished" for _, state in listings),
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


async def undergo(ordeal: Ordeal, folder: Path) -> Figures:
    """Go through an ordeal in a folder of one's own; raise `AssertionError` for a broken promise."""
    async with Host(ordeal.holdings()) as host:
        return await Trouble(ordeal, host, folder).undergo()
