"""Every promise after a power cut, on real file systems."""

import os

import pytest

from tests.powercuts.launch import launch, missing
from tests.powercuts.simulate import FILE_SYSTEMS, Plan

STATES = int(os.environ.get("POWER_CUT_STATES", "1200"))
SEED = 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file_system", os.environ.get("POWER_CUT_FS", "ext4").split(","))
def test_no_power_cut_breaks_a_promise(
    file_system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved is there and whole, final names lead to whole files, and the next run ends clean."""
    assert file_system in FILE_SYSTEMS
    lacking = missing(file_system)
    if lacking:
        pytest.skip(f"NO POWER CUTS on {file_system}: this machine lacks {lacking}")
    result = launch(Plan(file_system=file_system, states=STATES, seed=SEED))
    with capsys.disabled():
        print(f"\n{result.text}")  # noqa: T201  # the figures are a result, too
    assert result.violations == []
    assert result.transactions >= 20
    assert result.reports >= 100
    assert sum(result.states.values()) == STATES
    assert min(result.states.values()) > STATES / 10
