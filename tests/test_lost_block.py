"""Recordings that PolyAI itself has lost do not keep the others from being archived."""

from pathlib import Path

import pytest

from tests.oracle import trial_on
from tests.plans import Plans
from tests.wire import WireServer, says

LOST = [f"LOST{n:03d}" for n in range(140)]
"""More than there are workers, so that no other recording is tried among them."""

THERE = [f"CA{n:02d}" for n in range(20)]


@pytest.mark.slow
async def test_a_block_of_lost_recordings_costs_a_night_or_two(tmp_path: Path) -> None:
    """They look like an outage, and are known for what they are in the runs that follow."""
    plans = Plans(dict.fromkeys(LOST, (says(500),)))
    async with WireServer(plans) as server:
        # A quarter of an hour without one good answer is waited for in fifteen seconds.
        trial = trial_on(server, tmp_path / "work", *THERE, speed=60.0)
        csv = trial.csv(*LOST, *THERE)
        codes = [(await trial.download(*csv)).code]
        while codes[-1] == 5 and len(codes) < 5:
            codes.append((await trial.download(*csv)).code)
    assert codes[0] == 5
    assert codes[-1] == 3, codes
    assert trial.saved() == set(trial.truth)
    statuses = trial.statuses()
    assert {statuses[f"combined/{id_}"] for id_ in LOST} == {("failed", "http_500")}


@pytest.mark.slow
async def test_an_outage_by_its_own_word_is_nobodys_fault(tmp_path: Path) -> None:
    """A 503 says nothing about any recording: all stay open, whether asked for already or not."""
    async with WireServer(says(503)) as server:
        trial = trial_on(server, tmp_path / "work", *THERE, speed=60.0)
        csv = trial.csv(*LOST)
        assert (await trial.download(*csv)).code == 5
    assert set(trial.statuses().values()) == {("open", None), ("open", "http_503")}
