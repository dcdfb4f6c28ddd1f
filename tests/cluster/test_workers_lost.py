"""Workers that die, one way or another, cost time and nothing else."""

import os
import signal
import time
from pathlib import Path

import pytest

from bulkaudio.cluster.shards import MOST
from bulkaudio.simulator import Calls, Simulator
from tests.cluster.spread import check_quiet, done, settled, spread, twice
from tests.program import Desk, check_archive, expected, temporary_files, wavs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHORT = (0.2, 0.4)

UNTOLD = 200
"""Requests of half a second of both lost workers, and what they had under way."""


async def test_a_killed_a_terminated_and_a_frozen_worker_lose_nothing(tmp_path: Path) -> None:
    """Every recording arrives byte for byte, few are fetched twice, and all of it is counted once."""
    calls = Calls(count=5000, speech_s=SHORT, chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        async with spread(desk, "--max-rate", "300") as going:
            await going.until(900)
            first, killed_at = going.workers(), time.monotonic()
            await going.lose_a_worker()
            assert time.monotonic() - killed_at < 10.0
            await going.until(1900)
            second = going.workers()
            os.kill(next(each for each in second if each == first[1]), signal.SIGTERM)
            await going.until(2900)
            frozen = going.workers()[0]
            os.kill(frozen, signal.SIGSTOP)
            ended = await going.end()
        assert ended.code == 0, ended.stderr
        check_quiet(ended)
        rows = check_archive(desk.archive, simulator)
        wanted = {c.id for c in calls.all() if c.has_recording and c.is_listed}
        assert wavs(desk.archive) == expected(simulator, sorted(wanted), ["combined"])
        assert {id_ for (id_, _), row in rows.items() if row.status == "saved"} == wanted
        assert ended.summary["counts"]["open"] == 0
        assert ended.summary["counts"]["saved"] == len(wanted)
        assert settled(ended.summary) == ended.summary["counts"]["recordings"]
        assert temporary_files(desk.archive) == []
        assert twice(simulator) <= MOST, twice(simulator)
        untold = simulator.requests.total - sum(ended.summary["http"].values())
        assert 0 <= untold <= UNTOLD, untold
        before = simulator.requests.recordings().total()
        again = await done(desk)
        assert again.code == 0
        assert again.summary["counts"]["already"] == len(wanted)
        assert simulator.requests.recordings().total() == before
