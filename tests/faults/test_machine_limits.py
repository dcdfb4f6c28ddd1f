"""Descriptors, memory and threads that run out: a clear end, never a busy or an endless one."""

import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.steps import Step
from tests.faults.machine import (
    few,
    hook,
    joined,
    lifted,
    limited,
    limited_memory,
    memory_group,
    ordered,
    refused,
    saved,
)
from tests.forked import forked, run_forked
from tests.oracle import trial_on
from tests.plans import Held, Plans, subject, whole
from tests.program import until
from tests.wire import Exchange, WireServer, hangs, says_json

IDS = tuple(f"CA{n}" for n in range(1, 25))

BUSY_S = 5.0
"""A run that is refused takes a tenth of it; one that turns in circles takes all there is."""

EXHAUSTED = ("too many files open", "no room for another connection", "it cannot be opened")


@pytest.mark.parametrize("limit", few(range(7, 46, 2), (9, 35)))
async def test_descriptors(tmp_path: Path, limit: int) -> None:
    """Whether for the loop, the CSV, the ledger, a connection or a file: exit 6, at once."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), "--concurrency", "16")
        ended = await run_forked(ordered(trial, *csv, **hook(limited, "RLIMIT_NOFILE", limit)))
        trial.check(ended)
        if limit < 30 or ended.code != 0:
            refused(ended, *EXHAUSTED)
        assert ended.cpu_s < BUSY_S
        await lifted(trial, *csv)


@pytest.mark.parametrize("mib", few((0, 9, 20, 40, 60, 100), (20,)))
async def test_threads(tmp_path: Path, mib: int) -> None:
    """Where threads find no room for their stacks, that is told, and is no bug."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        ended = await run_forked(ordered(trial, *csv, **hook(limited_memory, mib)))
        # A thread that could not be started takes with it what was meant for it.
        trial.check(replace(ended, descriptors=None, threads=None))
        if mib < 70 or ended.code != 0:
            refused(ended, "no more threads", "no more memory")
        assert ended.cpu_s < BUSY_S
        await lifted(trial, *csv)


def without_memory(step: str, number: int) -> None:
    """Let no memory be left when this process comes to a step for the `number`-th time."""
    left = number

    def refuse(event: str, _: object) -> None:
        nonlocal left
        left -= event == step
        if event == step and left <= 0:
            raise MemoryError

    sys.addaudithook(refuse)


STEPS = (
    *(Step.LOCK_OPEN, Step.LEDGER_OPEN, Step.LEDGER_BEGIN, Step.LEDGER_COMMIT, Step.STAGE_CREATE),
    *(Step.STAGE_WRITE, Step.STAGE_PROVE, Step.STAGE_SYNC, Step.PUBLISH_LINK, Step.PUBLISH_SYNC),
    *(Step.FORGET, Step.SIDECAR_WRITE),
)


@pytest.mark.parametrize("number", few((1, 4), (1,)))
@pytest.mark.parametrize("step", few(STEPS, (Step.STAGE_WRITE, Step.LEDGER_COMMIT)))
async def test_memory(tmp_path: Path, step: Step, number: int) -> None:
    """Wherever memory runs out, that is told, and is no bug; what was durable is kept."""

    async def answer(exchange: Exchange) -> None:
        is_audio = "direction=" in exchange.head.target
        await (whole if is_audio else says_json(200, {"turns": []}))(exchange)

    async with WireServer(answer) as server:
        trial = replace(trial_on(server, tmp_path / "work", *IDS), asked=dict)
        csv = (*trial.csv(*IDS), "--metadata", "full")
        ended = await run_forked(ordered(trial, *csv, **hook(without_memory, step, number)))
        trial.check(ended)
        if number == 1 or ended.code != 0:
            refused(ended, "no more memory")
        assert ended.cpu_s < BUSY_S
        await lifted(trial, *csv)


GREEDY = (
    *(Step.STAGE_CREATE, Step.STAGE_WRITE, Step.STAGE_SYNC, Step.PUBLISH_LINK),
    *(Step.PUBLISH_SYNC, Step.LEDGER_COMMIT, Step.ACKNOWLEDGE, Step.FORGET),
)


def greedy(group: str, step: str, sign: str) -> None:
    """Join a control group, and from a sign on need all its memory at a step."""
    joined(group)

    def eat(event: str, _: object) -> None:
        if event == step and Path(sign).exists():
            eaten = []
            while True:
                eaten.append(b"x" * 2**20)

    sys.addaudithook(eat)


@pytest.mark.parametrize("step", few(GREEDY, (Step.STAGE_WRITE, Step.LEDGER_COMMIT)))
async def test_the_kernel_kills_for_memory(tmp_path: Path, step: Step) -> None:
    """A container that is too small in the midst of a run costs no recording that was saved."""
    script = Held("CA1", "CA2")

    async def answer(exchange: Exchange) -> None:
        # No more than four are under way with the blow, however quick the disk is.
        await (script if subject(exchange.head.target)[0] in IDS[:6] else hangs)(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), "--concurrency", "4")
        sign = tmp_path / "sign"
        with memory_group(64 * 2**20) as group:
            order = ordered(trial, *csv, **hook(greedy, str(group), step, str(sign)))
            async with forked(order) as fork:
                await saved(trial, 2)
                sign.touch()
                script.released.set()
                ended = await fork.wait()
        trial.check(ended)
        assert ended.code == 128 + signal.SIGKILL, ended.stderr
        assert 2 <= len(trial.saved()) <= 6
        server.scripts = (whole,)
        await lifted(trial, *csv)


async def test_a_crash_leaves_no_key_in_a_core_dump(tmp_path: Path) -> None:
    """Memory is written nowhere, neither into a file nor to a program that collects dumps."""
    async with WireServer(hangs) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        unlimited = hook(limited, "RLIMIT_CORE", resource.getrlimit(resource.RLIMIT_CORE)[1])
        order = ordered(trial, *trial.csv("CA1"), **unlimited)
        async with forked(order) as fork:
            await until(lambda: server.targets != [])
            limits = Path(f"/proc/{fork.pid}/limits").read_text().splitlines()
            (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
            assert core[4] in {"0", "1"}
            fork.send(signal.SIGSEGV)
            ended = await fork.wait()
        assert ended.code == 128 + signal.SIGSEGV
        trial.check(ended)
        assert list(trial.cwd.glob("*core*")) == []
