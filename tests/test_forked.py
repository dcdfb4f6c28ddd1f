"""The forked program is as good as one that was started, and the oracle notices what it should."""

import _thread
import asyncio
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.forked import forked, run_forked
from tests.oracle import CANARY, check_words, trial_on
from tests.plans import Plans, whole
from tests.program import until
from tests.wire import WireServer, hangs, says


async def test_a_minute_of_silence_passes_in_seconds(tmp_path: Path) -> None:
    """A request that is never answered is given up and made again; then all promises hold."""
    plans = Plans({"CA1": [hangs, whole], "CA2": [says(500), whole]})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2", speed=60.0)
        csv = trial.csv("CA1", "CA2")
        ended = await trial.download(*csv)
        assert (ended.code, ended.summary["counts"]["saved"]) == (0, 2)
        assert ended.summary["counts"]["retries"] == 2
        await trial.healed(*csv)


async def test_a_forked_program_is_a_process_of_its_own(tmp_path: Path) -> None:
    """It can be killed; its archive is locked while it lives and free afterwards."""
    async with WireServer(hangs) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        words = trial.words(*trial.csv("CA1"))
        async with forked(trial.order(*words)) as fork:
            await until(lambda: server.targets != [])
            assert (await trial.download(*trial.csv("CA1"))).code == 75
            fork.send(signal.SIGKILL)
            assert (await fork.wait()).code == 137
        server.scripts = (whole,)
        await trial.healed(*trial.csv("CA1"))


async def test_oracle_notices(tmp_path: Path) -> None:
    """A damaged, an unknown and a vanished file, a key in a file, and open permissions all fail."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        ended = await trial.download(*trial.csv("CA1"))
        saved = trial.archive / "combined" / "CA1.wav"
        content = saved.read_bytes()

        def fails(match: str) -> None:
            with pytest.raises(AssertionError, match=match):
                trial.check(ended)

        saved.write_bytes(content[:-1])
        fails("damaged")
        saved.rename(saved.with_name("CA9.wav"))
        fails("no business")
        saved.with_name("CA9.wav").unlink()
        fails("not there")
        saved.write_bytes(content)
        fails("combined/CA1.wav")
        saved.chmod(0o600)
        trial.check(ended)
        note = trial.cwd / "note.txt"
        note.write_text(f"it is {CANARY}")
        fails("note.txt")
        with pytest.raises(AssertionError):
            check_words(await trial.download("--no-such-option", CANARY))


@pytest.mark.parametrize(("held_s", "left"), [(0.2, 0), (60.0, 1)])
async def test_what_stays_open_is_told_from_what_is_being_closed(
    tmp_path: Path, held_s: float, left: int
) -> None:
    """A thread that Python knows no more may still close its file; one that does not is a leak."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        order = replace(
            trial.order(*trial.words(*trial.csv("CA1"))),
            hook="tests.test_forked:hold_file",
            hook_arguments=(held_s,),
        )
        ended = await run_forked(order)
    assert ended.code == 0, ended.stderr
    assert ended.descriptors is not None
    assert [os.devnull in each for each in ended.descriptors] == [True] * left


def hold_file(held_s: float) -> None:
    """Let a thread that is none of `threading`'s have a file open, from the first request on."""

    def hold() -> None:
        opened = os.open(os.devnull, os.O_RDONLY)
        time.sleep(held_s)
        os.close(opened)

    def hook(event: str, _: object) -> None:
        if event == "bulkaudio.acknowledge":
            _thread.start_new_thread(hold, ())

    sys.addaudithook(hook)


@pytest.mark.parametrize("kind", ["tasks", "threads"])
async def test_a_task_and_a_thread_that_nobody_ends_are_noticed(tmp_path: Path, kind: str) -> None:
    """Neither `asyncio.run`, which cancels the one, nor the interpreter's end hides them."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        order = replace(
            trial.order(*trial.words(*trial.csv("CA1"))),
            hook="tests.test_forked:leak",
            hook_arguments=(kind,),
        )
        ended = await run_forked(order)
        assert ended.code == 0, ended.stderr
        found = {"tasks": ended.tasks, "threads": ended.threads}
        assert found == {"tasks": (), "threads": (), kind: ("planted",)}
        with pytest.raises(AssertionError, match="planted"):
            trial.check(ended)


def leak(kind: str) -> None:
    """Let the loop, or a daemon thread, have something to do for an hour."""

    def hook(event: str, _: object) -> None:
        if event != "bulkaudio.acknowledge":
            return
        if kind == "tasks":
            planted.append(asyncio.create_task(asyncio.sleep(3600), name="planted"))
        else:
            threading.Thread(target=time.sleep, args=(3600,), name="planted", daemon=True).start()

    planted: list[asyncio.Task[None]] = []
    sys.addaudithook(hook)
