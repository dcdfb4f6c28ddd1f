"""The whole program and a real store that goes away: for a while, for good, in the midst of a part."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.upload import SINGLE_BYTES
from tests.objects.conftest import Open
from tests.objects.outages import Door, door, gateway_env
from tests.objects.uploads import uploads_of
from tests.program import Done, environment, ledger_rows, run, started, temporary_files, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

LONG = (2200.0, 2400.0)
"""Seconds that make recordings of more than one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shore:
    """A simulated PolyAI, a state folder, and a bucket behind a door; `bucket` is its other one."""

    simulator: Simulator
    cwd: Path
    door: Door
    url: ObjectUrl
    bucket: Bucket
    more: tuple[str, ...] = field(default=())

    @property
    def state(self) -> Path:
        """Where the ledger is."""
        return self.cwd / "state"

    @property
    def env(self) -> dict[str, str]:
        """What the program finds around it."""
        home = {"HOME": str(self.cwd)}
        return environment(self.simulator, **gateway_env(self.door.endpoint), **home)

    def words(self) -> tuple[str | Path, ...]:
        """Return the words of a download of everything there is."""
        calls = self.simulator.calls
        when = ("--since", calls.since.isoformat(), "--until", calls.until.isoformat())
        whose = ("--account", self.simulator.account, "--agent", self.simulator.agent)
        where = ("--region", "uk", "--out", str(self.url), "--state-dir", self.state)
        return ("download", *when, *whose, *where, "--json", *self.more)

    def going(self) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """Start a download."""
        return started(*self.words(), env=self.env, cwd=self.cwd)

    async def say(self, *words: str | Path) -> Done:
        """Run another command to its end."""
        return await run(*words, env=self.env, cwd=self.cwd)

    def objects(self) -> dict[str, int]:
        """Name the recordings that are there, with their sizes."""
        start = len(self.url.prefix) + 1
        pages = self.bucket.names(self.url.prefix)
        found = {each.key[start:]: each.size for page in pages for each in page}
        return {name: size for name, size in found.items() if name.endswith(".wav")}

    def saved(self) -> set[str]:
        """Name what the ledger calls saved."""
        rows = ledger_rows(self.state).values()
        return {row.path for row in rows if row.status == "saved" and row.path}

    def check(self) -> set[str]:
        """Hold every object to what was served, and the ledger to them; return what it calls saved."""
        names = set(self.objects())
        for name in names:
            id_ = name.removeprefix("combined/").removesuffix(".wav")
            content = b"".join(self.bucket.read(f"{self.url.prefix}/{name}"))
            assert content == self.simulator.expected_bytes(id_, "combined"), name
        saved = self.saved()
        assert saved <= names
        return saved

    async def healed(self) -> None:
        """Run once more: everything is there then, nothing that was there is fetched again."""
        kept, before = set(self.objects()), dict(self.simulator.requests.recordings())
        ended = await self.say(*self.words())
        assert ended.code == 0, ended.stderr
        after = self.simulator.requests.recordings()
        again = {id_ for id_, side in before if after[id_, side] > before[id_, side]}
        assert not {f"combined/{id_}.wav" for id_ in again} & kept
        recorded = self.simulator.calls.recorded_ids()
        assert self.check() == {f"combined/{id_}.wav" for id_ in recorded} == set(self.objects())
        assert temporary_files(self.state) == []
        verified = await self.say("verify", self.state, "--json")
        assert verified.code == 0, verified.stderr
        assert json.loads(verified.stdout.splitlines()[-1])["unknown"] == []


@asynccontextmanager
async def shore(tmp_path: Path, bucket: Bucket, calls: Calls, *more: str) -> AsyncIterator[Shore]:
    """Have everything for the block."""
    async with Simulator(calls=calls) as simulator:
        with door(tmp_path / "door") as opened:
            yield Shore(
                simulator=simulator,
                cwd=tmp_path,
                door=opened,
                url=bucket.url,
                bucket=bucket,
                more=more,
            )
        found = [each.key for page in bucket.names(bucket.url.prefix) for each in page]
        await asyncio.to_thread(bucket.delete, found)


@pytest.fixture
def bucket(ceph: str, open_s3: Open) -> Bucket:
    """Return the gateway's, by its own door."""
    return open_s3(ceph)


def short(count: int) -> Calls:
    """Return calls of a moment each."""
    return Calls(count=count, speech_s=(0.2, 0.4), chat_share=0.0)


async def among_parts(at: Shore, process: asyncio.subprocess.Process) -> None:
    """Wait until an upload in parts is under way."""
    async with asyncio.timeout(120.0):
        while not await asyncio.to_thread(uploads_of, at.url):
            assert process.returncode is None


async def test_a_store_that_comes_back_costs_time_only(tmp_path: Path, bucket: Bucket) -> None:
    """It is killed with uploads on their way, and is away for some seconds."""
    async with shore(tmp_path, bucket, short(900), "--max-rate", "100") as at:
        async with at.going() as process:
            await until(lambda: len(at.objects()) > 200, process)
            await asyncio.to_thread(at.door.slam)
            await asyncio.sleep(6.0)
            assert process.returncode is None
            await asyncio.to_thread(at.door.open)
            async with asyncio.timeout(180.0):
                _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert b"Traceback" not in stderr
        recorded = at.simulator.calls.recorded_ids()
        assert at.check() == {f"combined/{id_}.wav" for id_ in recorded}
        assert max(at.simulator.requests.recordings().values()) == 1
        await at.healed()


async def test_a_store_that_stays_away_ends_the_run_and_loses_nothing(
    tmp_path: Path, bucket: Bucket
) -> None:
    """In a bounded time, with what to do; what was fetched meanwhile and not kept is fetched again."""
    async with shore(tmp_path, bucket, short(900), "--max-rate", "100") as at:
        async with at.going() as process:
            await until(lambda: len(at.objects()) > 200, process)
            await asyncio.to_thread(at.door.slam)
            began = time.monotonic()
            async with asyncio.timeout(400.0):
                stdout, stderr = await process.communicate()
        took = time.monotonic() - began
        assert process.returncode == 6, stderr.decode()
        assert b"Fix: see whether the store can be reached" in stderr
        assert b"Traceback" not in stderr
        assert json.loads(stdout.splitlines()[-1])["exit_code"] == 6
        assert took < 330.0
        fetched = at.simulator.requests.recordings().total()
        # A few batches wait for their uploads; unbounded, it would have been all 700 that were left.
        assert fetched < len(at.objects()) + 400, "it went on fetching what it could not keep"
        again = await at.say(*at.words())
        assert again.code == 6, again.stderr
        assert at.simulator.requests.recordings().total() == fetched
        await asyncio.to_thread(at.door.open)
        await at.healed()


async def test_a_run_killed_in_the_midst_of_parts(tmp_path: Path, bucket: Bucket) -> None:
    """Nothing half is seen; the next run sends those again; then proof and erasure."""
    calls = Calls(count=6, speech_s=LONG, chat_share=0.0, opt_out_share=0.0)
    async with shore(tmp_path, bucket, calls) as at:
        async with at.going() as process:
            await among_parts(at, process)
            process.kill()
            await process.wait()
        assert uploads_of(at.url)
        at.check()
        await at.healed()
        assert min(at.objects().values()) > SINGLE_BYTES
        id_ = at.simulator.calls.recorded_ids()[0]
        gone = await at.say("purge", at.state, "--id", id_, "--yes", "--json")
        assert gone.code == 0, gone.stderr
        assert f"combined/{id_}.wav" not in at.objects()
        verified = await at.say("verify", at.state, "--json")
        assert verified.code == 0, verified.stderr


async def test_a_store_that_dies_in_the_midst_of_parts(tmp_path: Path, bucket: Bucket) -> None:
    """And comes back: they arrive whole."""
    calls = Calls(count=6, speech_s=LONG, chat_share=0.0, opt_out_share=0.0)
    async with shore(tmp_path, bucket, calls) as at:
        async with at.going() as process:
            await among_parts(at, process)
            await asyncio.to_thread(at.door.slam)
            await asyncio.sleep(4.0)
            await asyncio.to_thread(at.door.open)
            async with asyncio.timeout(240.0):
                _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert max(at.simulator.requests.recordings().values()) == 1
        await at.healed()
