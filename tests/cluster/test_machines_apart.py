"""
A scheduler and workers with nothing in common with the run but a bucket.

Each has a folder and an environment of its own; the key of PolyAI is with the workers and the run,
the credentials of the bucket too, and neither is with the scheduler.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

import pytest

from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.objects.bucket import Bucket
from tests.cluster.spread import check_quiet
from tests.cluster.test_scheduler import process
from tests.cluster.test_spread_objects import SHORT, BucketDesk
from tests.objects import gateway
from tests.objects.conftest import Open, _no_clouds, ceph, open_s3, url
from tests.program import Done, environment, ledger_rows, run

__all__ = ["_no_clouds", "ceph", "open_s3", "url"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WRONG = "canary-wrong-secret-77b1"

OLDER = """
import bulkaudio.version
bulkaudio.version.__version__ = "0.0.7"
import bulkaudio
bulkaudio.__version__ = "0.0.7"
import runpy, sys
sys.argv[0] = "dask"
runpy.run_module("dask", run_name="__main__", alter_sys=True)
"""
"""A worker that has another version of the program."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": gateway.KEY_ID,
    "AWS_SECRET_ACCESS_KEY": gateway.SECRET,
    "AWS_ENDPOINT_URL": gateway.ENDPOINT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """A run's machine, and where the scheduler is that it names."""

    desk: BucketDesk
    scheduler: str

    async def download(self) -> Done:
        """Run over everything there is, by the workers."""
        words = self.desk.window("--engine", "dask", "--scheduler", self.scheduler)
        async with asyncio.timeout(150.0):
            return await run(*words, env=self.desk.env(**CREDENTIALS), cwd=self.desk.cwd)


def machine(tmp_path: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Make a folder of its own, which is the home there, and a bare environment."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "tmp").mkdir()
    return folder, environment(HOME=str(folder), TMPDIR=str(folder / "tmp"))


def reach(simulator: Simulator, **cloud: str) -> dict[str, str]:
    """Return what a worker's own environment says."""
    names = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL", "POLYAI_API_KEY")
    return {name: environment(simulator)[name] for name in names} | cloud


@asynccontextmanager
async def machines(
    tmp_path: Path, bucket: Bucket, simulator: Simulator, *workers: Mapping[str, str], old: int = -1
) -> AsyncIterator[Machines]:
    """Run a scheduler and a worker with each of these environments; `old` has another version."""
    async with AsyncExitStack() as stack:
        folder, env = machine(tmp_path, "scheduler")
        file = folder / "scheduler.json"
        words = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
        words += ["--no-dashboard", "--scheduler-file", str(file)]
        await stack.enter_async_context(process(*words, env=env, cwd=folder))
        async with asyncio.timeout(60.0):
            while not file.exists() or not file.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        address: str = json.loads(file.read_text())["address"]
        for number, more in enumerate(workers):
            folder, env = machine(tmp_path, f"worker-{number}")
            dask = ["-c", OLDER] if number == old else ["-m", "dask"]
            words = [sys.executable, *dask, "worker", address, "--no-dashboard", "--no-nanny"]
            words += ["--nthreads", "1", "--local-directory", str(folder / "dask")]
            await stack.enter_async_context(process(*words, env=env | dict(more), cwd=folder))
        folder, _ = machine(tmp_path, "run")
        desk = BucketDesk(
            simulator=simulator, cwd=folder, archive=folder / "state", address=str(bucket.url)
        )
        yield Machines(desk=desk, scheduler=address)


@pytest.fixture
def bucket(ceph: str, open_s3: Open) -> Bucket:
    """Return the gateway's, as the test sees it."""
    return open_s3(ceph)


def names(bucket: Bucket) -> set[str]:
    """Name the objects there are."""
    start = len(bucket.url.prefix) + 1
    return {found.key[start:] for page in bucket.names(bucket.url.prefix) for found in page}


async def all_saved(at: Machines, bucket: Bucket) -> None:
    """See that everything is there and known."""
    recorded = at.desk.simulator.calls.recorded_ids()
    wanted = {f"combined/{id_}.wav" for id_ in recorded}
    there = await asyncio.to_thread(names, bucket)
    assert {name for name in there if name.endswith(".wav")} == wanted
    rows = ledger_rows(at.desk.archive).values()
    assert {row.path for row in rows if row.status == "saved"} == wanted


def check_no_secret(tmp_path: Path, *secrets: str) -> None:
    """Find none of them in any file that any of the machines has written."""
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [each for each in secrets if each.encode() in content], path


async def test_machines_that_share_nothing_but_the_bucket(tmp_path: Path, bucket: Bucket) -> None:
    """No folder, no environment; no secret is in a file of any of them."""
    calls = Calls(count=600, speech_s=SHORT, chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        mine = reach(simulator, **CREDENTIALS)
        async with machines(tmp_path, bucket, simulator, mine, mine) as at:
            ended = await at.download()
            assert ended.code == 0, ended.stderr
            check_quiet(ended)
            await all_saved(at, bucket)
            assert max(simulator.requests.recordings().values()) == 1
        check_no_secret(tmp_path, simulator.key, gateway.SECRET)


CASES = {
    "wrong secret": {**CREDENTIALS, "AWS_SECRET_ACCESS_KEY": WRONG},
    "no credentials": {"AWS_ENDPOINT_URL": gateway.ENDPOINT, "AWS_EC2_METADATA_DISABLED": "true"},
}


@pytest.mark.parametrize("case", CASES)
async def test_a_worker_without_access_to_the_bucket(
    tmp_path: Path, bucket: Bucket, case: str
) -> None:
    """The user is told which machine, what of it and the fix; the run goes on when it is mended."""
    calls = Calls(count=300, speech_s=SHORT, chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        good, bad = reach(simulator, **CREDENTIALS), reach(simulator, **CASES[case])
        (tmp_path / "first").mkdir()
        async with machines(tmp_path / "first", bucket, simulator, good, bad) as at:
            ended = await at.download()
            assert ended.code == 6, ended.stderr
            check_quiet(ended)
            assert f"on the worker {gethostname()}: " in ended.stderr
            assert "Fix: " in ended.stderr
            assert "credentials" in ended.stderr
            assert WRONG not in ended.stderr + ended.stdout
        check_no_secret(tmp_path, WRONG, simulator.key, gateway.SECRET)
        before = await asyncio.to_thread(names, bucket)
        asked = simulator.requests.recordings().copy()
        (tmp_path / "second").mkdir()
        async with machines(tmp_path / "second", bucket, simulator, good, good) as at:
            (tmp_path / "first" / "run" / "state").rename(at.desk.archive)
            again = await at.download()
            assert again.code == 0, again.stderr
            await all_saved(at, bucket)
        after = simulator.requests.recordings()
        twice = {
            f"combined/{id_}.wav" for id_, side in asked if after[id_, side] > asked[id_, side]
        }
        assert not twice & before


async def test_a_worker_of_another_version(tmp_path: Path, bucket: Bucket) -> None:
    """Both versions are said, and what to do; nothing is fetched by it."""
    calls = Calls(count=300, speech_s=SHORT, chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        mine = reach(simulator, **CREDENTIALS)
        async with machines(tmp_path, bucket, simulator, mine, old=0) as at:
            ended = await at.download()
            assert ended.code == 6, ended.stderr
            check_quiet(ended)
            assert f"the worker {gethostname()} has bulkaudio 0.0.7" in ended.stderr
            assert "Fix: install the same version on every worker" in ended.stderr
            assert simulator.requests.recordings().total() == 0
