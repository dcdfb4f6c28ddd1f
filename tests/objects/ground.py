"""
Archives in a bucket, run through the whole program, and what must hold of them whatever happened.

The oracle is that of `tests.oracle`, with objects for files: what the ledger calls saved is there,
what is there is whole, a run that follows fetches nothing again, and one whose state folder was lost
fetches nothing at all.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from bulkaudio.simulator.answers import Key
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.server import Simulator
from bulkaudio.stores.objects.parts import Chain, Shelf, part_path
from tests.forked import Ended, Order, run_forked
from tests.objects.folder_bucket import FolderBucket
from tests.objects.hooks import URL
from tests.oracle import CANARY, check_left, check_secret, check_words
from tests.program import LedgerLine, ledger_rows

DIRECTIONS = ("user", "agent")


@dataclass(slots=True, kw_only=True)
class Cloud:
    """
    A small PolyAI, a bucket, and the state folders of an archive there.

    Attributes:
        state: The state folder in use.
        erased: Conversations that are to be gone, or on their way.
        words: Of a download.
    """

    simulator: Simulator
    folder: Path
    bucket: FolderBucket
    state: Path
    words: tuple[str, ...]
    foreign: dict[str, bytes] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def at(
        cls, folder: Path, *, count: int = 4, words: Sequence[str] = ()
    ) -> AsyncIterator[Self]:
        """Open a ground where `count` calls are wanted, named in a file."""
        calls = Calls(count=count, speech_s=(0.05, 0.3), chat_share=0.0, opt_out_share=0.0)
        async with Simulator(calls=calls, keys=(Key(value=CANARY),)) as simulator:
            csv = folder / "calls.csv"
            csv.write_text("\n".join(["conversation_id", *calls.ids()]) + "\n")
            sides = tuple(word for side in DIRECTIONS for word in ("--direction", side))
            bucket = FolderBucket(URL, folder / "bucket")
            yield cls(
                simulator=simulator,
                folder=folder,
                bucket=bucket,
                state=folder / "state",
                words=("--csv", str(csv), *sides, *words),
            )

    @property
    def truth(self) -> dict[str, bytes]:
        """What the bucket holds of recordings in the end."""
        kept = [id_ for id_ in self.simulator.calls.ids() if id_ not in self.erased]
        return {f"{side}/{id_}.wav": self.wav(side, id_) for id_ in kept for side in DIRECTIONS}

    def wav(self, side: str, id_: str) -> bytes:
        """Return a recording."""
        return self.simulator.expected_bytes(id_, side)

    def asked(self) -> dict[str, int]:
        """How often each recording was asked for so far."""
        counts = self.simulator.requests.recordings()
        return {f"{side}/{id_}.wav": number for (id_, side), number in counts.items()}

    def recordings(self) -> dict[str, bytes]:
        """Return the objects under final names."""
        found = self.bucket.objects().items()
        return {path: content for path, content in found if not path.startswith((".", "metadata"))}

    def rows(self) -> Mapping[tuple[str, str], LedgerLine]:
        """Return what the ledger says."""
        return ledger_rows(self.state)

    def saved(self) -> set[str]:
        """Return the paths that the ledger calls saved."""
        if not (self.state / ".bulkaudio" / "ledger.db").exists():
            return set()
        try:
            rows = self.rows().values()
        except Exception:  # noqa: BLE001  killed before it had a table
            return set()
        return {row.path for row in rows if row.status == "saved" and row.path is not None}

    async def run(
        self,
        *words: str | Path,
        blow: Mapping[str, Any] | None = None,
        fault: Sequence[Any] | None = None,
        is_sound: bool = True,
    ) -> Ended:
        """Run the program, check what always holds, and tell how it ended."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        order = Order(
            arguments=tuple(map(str, words)),
            env={
                "HOME": str(home),
                "PATH": "/usr/bin:/bin",
                "BULKAUDIO_AUDIO_URL": self.simulator.audio_url,
                "BULKAUDIO_CONVERSATIONS_URL": self.simulator.conversations_url,
                "POLYAI_API_KEY": CANARY,
            },
            cwd=self.folder,
            hook="tests.objects.hooks:keep_in_folder",
            hook_arguments=(
                str(self.bucket.folder),
                None if blow is None else dict(blow),
                None if fault is None else list(fault),
            ),
        )
        ended = await run_forked(order)
        check_words(ended)
        check_left(ended)
        check_secret(self.folder)
        if is_sound:
            self.check()
        return ended

    async def looked(self, *words: str | Path) -> Ended:
        """Run the program while something in the bucket is spoilt, by the test."""
        return await self.run(*words, is_sound=False)

    def shelf(self) -> Shelf:
        """Return the parts that there are."""
        return Shelf.of(map(PurePosixPath, self.bucket.objects()))

    async def download(self, *words: str | Path, **kinds: Any) -> Ended:
        """Download into the archive."""
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--out", self.state, "--json")
        return await self.run("download", *scope, *self.words, *words, **kinds)

    async def rebuild(self, *words: str | Path, **kinds: Any) -> Ended:
        """Make the ledger anew."""
        return await self.run("rebuild", self.state, "--json", *words, **kinds)

    async def erase_one(self) -> str:
        """Download, and erase a call; return it."""
        assert (await self.download()).code == 0
        gone = self.simulator.calls.ids()[1]
        self.erased.add(gone)
        ended = await self.run("purge", self.state, "--id", gone, "--yes")
        assert ended.code == 0, ended.stderr
        return gone

    def lose_state(self) -> None:
        """Let the machine's disk be a new one."""
        shutil.rmtree(self.state)

    def check(self) -> None:
        """Hold bucket and ledger to each other (I1, I2, I3), and the manifest to itself."""
        objects = self.recordings()
        for path, content in objects.items():
            side, _, name = path.partition("/")
            wanted = self.foreign.get(path) or self.wav(side, name.removesuffix(".wav"))
            assert content == wanted, path
        if (self.state / ".bulkaudio" / "ledger.db").exists() and self.saved():
            saved = [row for row in self.rows().values() if row.status == "saved"]
            assert len({row.path for row in saved}) == len(saved)
            for row in saved:
                assert row.path in objects, f"{row.path} is called saved and is not there"
                assert hashlib.sha256(objects[row.path]).hexdigest() == row.sha256
        self.told()

    def told(self) -> list[Mapping[str, Any]]:
        """Read the manifest, whose chain is whole; return all of its entries."""
        chain = Chain()
        entries: list[Mapping[str, Any]] = []
        objects = self.bucket.objects()
        for place in Shelf.of(map(PurePosixPath, objects)).told:
            entries += chain.take(place, objects[str(part_path(place))])
        assert not chain.faults, chain.faults
        return entries

    async def heal(self) -> None:
        """
        Run once more: all is there then, and nothing that was uploaded is fetched again.

        Then lose the state folder, and learn everything anew.
        """
        kept, before = set(self.recordings()) - set(self.foreign), self.asked()
        ended = await self.download()
        assert ended.code == 0, ended.stderr
        assert self.recordings() == {**self.truth, **self.foreign}
        assert self.saved() == set(self.truth)
        assert self.temporary() == []
        again = {path for path in kept if self.asked().get(path, 0) > before.get(path, 0)}
        assert not again, f"{again} were there and fetched again"
        await self.settled()
        self.lose_state()
        ended = await self.rebuild()
        assert ended.code == 0, ended.stderr
        assert self.saved() == set(self.truth)
        await self.settled()

    async def settled(self) -> None:
        """Run once more, without one request for a recording."""
        asked = self.asked()
        ended = await self.download()
        assert ended.code == 0, ended.stderr
        assert self.asked() == asked
        assert ended.summary["counts"]["already"] == len(self.truth)

    def details(self, id_: str) -> set[bytes]:
        """Return what betrays a call, beside its id and its start: audio, words, sums, support ids."""
        found = {self.wav(side, id_)[100:164] for side in DIRECTIONS}
        with closing(sqlite3.connect(self.state / ".bulkaudio" / "ledger.db")) as connection:
            rows = connection.execute(
                "SELECT sha256, correlation_id FROM recordings WHERE conversation_id = ?", (id_,)
            ).fetchall()
        assert len(rows) == len(DIRECTIONS)
        found |= {text.encode() for row in rows for text in row if text}
        objects = self.bucket.objects()
        mine = set(objects[f"metadata/{id_}.json"].splitlines())
        others = b"".join(
            text for path, text in objects.items() if path[:9] == "metadata/" and id_ not in path
        )
        found |= {line.strip() for line in mine if line.strip() not in others and b"id" not in line}
        return found

    def check_gone(self, id_: str, details: set[bytes]) -> None:
        """Find nothing of a call, in the bucket or on this machine, but its tombstone."""
        state = [path for path in self.state.rglob("*") if path.is_file()]
        bucket = [path for path in self.bucket.folder.rglob("*") if path.is_file()]
        assert not [path for path in bucket if id_ in path.name]
        for path in (*state, *bucket):
            content = path.read_bytes()
            betrayed = {each for each in details if each in content}
            assert not betrayed, (path, betrayed)
        assert {row.status for (id_of, _), row in self.rows().items() if id_of == id_} == {"purged"}

    def temporary(self) -> list[str]:
        """Name what is left in the temporary folder."""
        return sorted(path.name for path in (self.state / ".bulkaudio" / "tmp").iterdir())


def summary_of(ended: Ended) -> dict[str, Any]:
    """Return the last line of standard output."""
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found
