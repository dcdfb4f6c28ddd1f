"""A scheduler and workers that were there before the run, and what is seen at the scheduler."""

import asyncio
import json
import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from bulkaudio.simulator import Calls, Simulator
from bulkaudio.simulator.answers import Key
from tests.program import Desk, check_archive, expected, started, wavs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CANARY = "canary-9e1b-scheduler-key"


@asynccontextmanager
async def process(*words: str, env: dict[str, str], cwd: Path) -> AsyncIterator[None]:
    """Have a program of Dask's run for the block."""
    child = await asyncio.create_subprocess_exec(
        *words,
        env=env,
        cwd=cwd,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


@asynccontextmanager
async def cluster(desk: Desk, *, key: str) -> AsyncIterator[str]:
    """Run a scheduler, and workers that have the key in their environment, and no nanny."""
    env = desk.env()
    del env["POLYAI_API_KEY"]
    file = desk.cwd / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    async with AsyncExitStack() as stack:
        words = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        words += ["--scheduler-file", str(file)]
        await stack.enter_async_context(process(*words, env=env, cwd=desk.cwd))
        async with asyncio.timeout(60.0):
            while not file.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for _ in range(2):
            words = [*dask, "worker", "--scheduler-file", str(file), "--no-dashboard", "--no-nanny"]
            words += ["--nthreads", "1", "--local-directory", str(desk.cwd / "scratch")]
            mine = env | {"POLYAI_API_KEY": key}
            await stack.enter_async_context(process(*words, env=mine, cwd=desk.cwd))
        address: str = json.loads(file.read_text())["address"]
        yield address


def state_of(dask_scheduler: Any) -> bytes:
    """Return all that a scheduler knows, and shows in its pages, as bytes."""
    seen: list[Any] = []
    for name, task in dask_scheduler.tasks.items():
        seen += [name, repr(task), repr(task.run_spec), repr(task.annotations)]
        run_spec = task.run_spec
        for each in (run_spec, getattr(run_spec, "args", None), getattr(run_spec, "kwargs", None)):
            try:
                seen.append(pickle.dumps(each))
            except Exception:  # noqa: BLE001
                seen.append(repr(each))
        frames = getattr(getattr(run_spec, "_serialized", run_spec), "frames", None)
        seen += list(frames or ())
    seen += [repr(dask_scheduler.identity(n_workers=-1)), repr(dask_scheduler.get_events())]
    seen += [repr(worker.identity()) for worker in dask_scheduler.workers.values()]
    for extension in dask_scheduler.extensions.values():
        seen.append(repr(vars(extension)))
    return b"\n".join(
        bytes(each) if isinstance(each, (bytes, bytearray, memoryview)) else str(each).encode()
        for each in seen
    )


def names_of(dask_scheduler: Any) -> list[str]:
    """Return what a run has left at a scheduler."""
    extensions = dask_scheduler.extensions
    names = [*extensions["variables"].variables, *extensions["events"]._events]
    return [*map(str, names), *map(str, dask_scheduler.tasks)]


async def test_workers_elsewhere_use_their_own_key_and_the_scheduler_sees_none(
    tmp_path: Path,
) -> None:
    """Its tasks, their arguments, its events, variables and pages are looked through meanwhile."""
    calls = Calls(count=700, speech_s=(0.2, 0.4), chat_share=0.0)
    async with Simulator(calls=calls, keys=(Key(value=CANARY),)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with cluster(desk, key=CANARY) as address:
            words = desk.window("--engine", "dask", "--scheduler", address, "--max-rate", "150")
            async with (
                Client(address, asynchronous=True, set_as_default=False) as client,
                started(*words, env=desk.env(), cwd=tmp_path) as run,
            ):
                looks = 0
                ending = asyncio.create_task(run.communicate())
                while not ending.done():
                    state: bytes = await client.run_on_scheduler(state_of)
                    # What else travels is seen, so that the key would be, too.
                    looks += b"PROJECT-1" in state
                    assert CANARY.encode() not in state
                    await asyncio.sleep(0.3)
                stdout, stderr = await ending
                left: list[str] = await client.run_on_scheduler(names_of)
            assert run.returncode == 0, stderr.decode()
            assert looks > 3
            assert left == []
        assert CANARY not in stdout.decode() + stderr.decode()
        assert "distributed" not in stderr.decode()
        check_archive(desk.archive, simulator)
        recorded = simulator.calls.recorded_ids()
        assert wavs(desk.archive) == expected(simulator, recorded, ["combined"])


async def test_a_driver_that_dies_leaves_its_workers_to_finish_and_the_next_run_adopts(
    tmp_path: Path,
) -> None:
    """What workers elsewhere store after that is found by the next run, which goes on at once."""
    calls = Calls(count=1500, speech_s=(0.2, 0.4), chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with cluster(desk, key=simulator.key) as address:
            words = desk.window("--engine", "dask", "--scheduler", address, "--max-rate", "200")
            async with started(*words, env=desk.env(), cwd=tmp_path) as first:
                async with asyncio.timeout(60.0):
                    while simulator.requests.total < 400:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                first.kill()
                await first.wait()
            async with started(*words, env=desk.env(), cwd=tmp_path) as second:
                async with asyncio.timeout(120.0):
                    _, stderr = await second.communicate()
            assert second.returncode == 0, stderr.decode()
        check_archive(desk.archive, simulator)
        recorded = simulator.calls.recorded_ids()
        assert wavs(desk.archive) == expected(simulator, recorded, ["combined"])
        extra = sum(n - 1 for n in simulator.requests.recordings().values())
        assert extra <= 6 * 256
