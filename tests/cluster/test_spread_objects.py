"""A run by two workers into a bucket of a real gateway, from the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.cluster.shards import MOST
from bulkaudio.object_url import ObjectUrl
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.objects.bucket import Bucket
from tests.cluster.spread import Going, check_quiet, spread, twice, workers_of
from tests.objects import gateway
from tests.objects.conftest import Open, _no_clouds, ceph, open_s3, url
from tests.program import Desk, Done, ledger_rows, run, until

__all__ = ["_no_clouds", "ceph", "open_s3", "url"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHORT = (0.2, 0.4)
SHARDS = ".bulkaudio/shards/"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketDesk(Desk):
    """A desk whose archive is a state folder."""

    address: str

    def words(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """Return the words of a run into the bucket."""
        whose = ("--region", self.region, "--agent", self.simulator.agent)
        where = ("--out", self.address, "--state-dir", self.archive)
        return ("download", *arguments, *whose, *where, "--json")


@dataclass(frozen=True, kw_only=True)
class Bay:
    """A simulated PolyAI, a bucket, and where the state folder is."""

    desk: Desk
    url: ObjectUrl
    bucket: Bucket
    scratch: Path

    @property
    def env(self) -> dict[str, str]:
        """What the program finds around it, beside PolyAI."""
        return {
            "AWS_ACCESS_KEY_ID": gateway.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": gateway.SECRET,
            "AWS_ENDPOINT_URL": gateway.ENDPOINT,
            "TMPDIR": str(self.scratch),
        }

    def spread(self, *arguments: str) -> Any:
        """Start a run by two workers."""
        return spread(self.desk, *arguments, **self.env)

    async def done(self, *arguments: str) -> Done:
        """Run by two workers to the end."""
        async with self.spread(*arguments) as going:
            ended: Done = await going.end()
            return ended

    async def say(self, *arguments: str) -> Done:
        """Run another command."""
        return await run(*arguments, env=self.desk.env(**self.env), cwd=self.desk.cwd)

    def names(self) -> set[str]:
        """Name the objects there are."""
        start = len(self.url.prefix) + 1
        pages = self.bucket.names(self.url.prefix)
        return {found.key[start:] for page in pages for found in page}

    def kept(self) -> set[str]:
        """Name the recordings."""
        return {name for name in self.names() if name.endswith(".wav")}

    def check(self) -> set[str]:
        """Hold every object to what was served, and the ledger to them; return what it calls saved."""
        names = self.names()
        kept = {name for name in names if name.endswith(".wav")}
        for name in kept:
            id_ = name.removeprefix("combined/").removesuffix(".wav")
            content = b"".join(self.bucket.read(f"{self.url.prefix}/{name}"))
            assert content == self.desk.simulator.expected_bytes(id_, "combined"), name
        rows = ledger_rows(self.desk.archive).values()
        saved = {row.path for row in rows if row.status == "saved" and row.path}
        assert saved <= kept
        return saved

    async def settled(self) -> None:
        """See that everything is there and known, that nothing is left over, and nothing to do."""
        saved = await asyncio.to_thread(self.check)
        recorded = self.desk.simulator.calls.recorded_ids()
        assert saved == {f"combined/{id_}.wav" for id_ in recorded}
        names = await asyncio.to_thread(self.names)
        assert not {name for name in names if name.startswith(SHARDS)}
        asked = self.desk.simulator.requests.recordings().total()
        again = await self.done()
        assert again.code == 0, again.stderr
        assert again.summary["counts"]["already"] == len(recorded)
        assert self.desk.simulator.requests.recordings().total() == asked
        verified = await self.say("verify", str(self.desk.archive), "--json")
        assert verified.code == 0, verified.stderr
        assert json.loads(verified.stdout.splitlines()[-1])["unknown"] == []


@asynccontextmanager
async def bay(tmp_path: Path, bucket: Bucket, count: int) -> AsyncIterator[Bay]:
    """Have everything for the block."""
    calls = Calls(count=count, speech_s=SHORT, chat_share=0.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with Simulator(calls=calls) as simulator:
        state = tmp_path / "state"
        desk = BucketDesk(simulator=simulator, cwd=tmp_path, archive=state, address=str(bucket.url))
        yield Bay(desk=desk, url=bucket.url, bucket=bucket, scratch=scratch)


@pytest.fixture
def bucket(ceph: str, open_s3: Open) -> Bucket:
    """Return the gateway's, as the test sees it."""
    return open_s3(ceph)


async def left(going: Going) -> None:
    """Wait until a killed run's workers are gone, too."""
    workers = workers_of(going.process.pid)
    going.process.kill()
    await going.process.wait()
    await until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))


async def test_a_killed_worker_loses_nothing(tmp_path: Path, bucket: Bucket) -> None:
    """Every object is byte-exact, the ledger equals the store, few recordings are fetched twice."""
    async with bay(tmp_path, bucket, 3000) as at:
        async with at.spread("--max-rate", "300") as going:
            await going.until(900)
            await going.lose_a_worker()
            ended = await going.end()
        assert ended.code == 0, ended.stderr
        check_quiet(ended)
        assert ended.summary["counts"]["open"] == 0
        recorded = at.desk.simulator.calls.recorded_ids()
        assert ended.summary["counts"]["saved"] == len(recorded)
        assert twice(at.desk.simulator) <= MOST, twice(at.desk.simulator)
        # What the killed one had on its way lies there for a minute at least.
        assert len(list(at.scratch.glob("bulkaudio-worker-*"))) <= 1
        await at.settled()


async def test_after_a_killed_run_the_next_one_adopts(tmp_path: Path, bucket: Bucket) -> None:
    """What workers had kept and nobody wrote into the ledger is not fetched again."""
    async with bay(tmp_path, bucket, 2500) as at:
        async with at.spread("--max-rate", "250") as going:
            await going.until(900)
            await left(going)
        kept = await asyncio.to_thread(at.kept)
        before = dict(at.desk.simulator.requests.recordings())
        rows = ledger_rows(at.desk.archive).values()
        known = {row.path for row in rows if row.status == "saved"}
        names = await asyncio.to_thread(at.names)
        assert {name for name in names if name.startswith(SHARDS)}
        assert kept - known
        ended = await at.done()
        assert ended.code == 0, ended.stderr
        after = at.desk.simulator.requests.recordings()
        again = {
            f"combined/{id_}.wav" for (id_, side), n in before.items() if after[id_, side] > n
        } & kept
        # Kept in the last moment, and not noted yet.
        assert len(again) < len(kept - known) / 2, (len(again), len(kept), len(known))
        await at.settled()


async def test_a_stop_drains_and_leaves_a_ledger_that_equals_the_store(
    tmp_path: Path, bucket: Bucket
) -> None:
    """With the exit code of the signal; what is told beside the recordings is enough to go on."""
    async with bay(tmp_path, bucket, 2000) as at:
        async with at.spread("--max-rate", "200") as going:
            await going.until(500)
            going.process.terminate()
            ended = await going.end(30.0)
        assert ended.code == 143, ended.stderr
        check_quiet(ended)
        saved = await asyncio.to_thread(at.check)
        assert saved == await asyncio.to_thread(at.kept)
        assert list(at.scratch.glob("bulkaudio-worker-*")) == []
        again = await at.done()
        assert again.code == 0, again.stderr
        assert twice(at.desk.simulator) == 0
        await at.settled()
