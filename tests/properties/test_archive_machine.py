"""The archive, driven by a machine that lists, fetches, publishes, commits, kills and waits."""

import errno
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.properties.machine import ArchiveMachine
from tests.properties.nights import Break

SHORT = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=150, stateful_step_count=60)
STEPS_AT_MOST = 100


class LongArchiveMachine(ArchiveMachine):
    """The same for minutes."""


ArchiveMachine.TestCase.settings = SHORT
LongArchiveMachine.TestCase.settings = LONG

TestNights = ArchiveMachine.TestCase
TestManyNights = pytest.mark.slow(pytest.mark.timeout(1200)(LongArchiveMachine.TestCase))


def list_a_page(machine: ArchiveMachine, broken: Break) -> None:
    """Break a page of new calls, one of them still going on."""
    machine.list_a_page(None)
    machine.calls_come_in(count=1, in_progress=True, has_recording=True)
    machine.list_a_page(broken)


def publish(machine: ArchiveMachine, broken: Break) -> None:
    """Break the giving of names."""
    machine.fetch(kinds=["whole"] * 3, is_last_first=False)
    machine.publish(broken)


def settle(machine: ArchiveMachine, broken: Break) -> None:
    """Break what is done about recordings that have names."""
    machine.publish(None)
    machine.settle_published(broken)


def commit(machine: ArchiveMachine, broken: Break) -> None:
    """Break a batch of recordings and failures."""
    machine.fetch(kinds=["whole", "failed", "whole", "later"], is_last_first=False)
    machine.commit(broken)


def recover(machine: ArchiveMachine, broken: Break) -> None:
    """Break the start that finds recordings with names and without."""
    machine.fetch(kinds=["whole"], is_last_first=True)
    machine.commit(None)
    machine.fetch(kinds=["whole"] * 3, is_last_first=False)
    machine.restart(publishes=True, broken=broken)


def break_every_step(
    work: Callable[[ArchiveMachine, Break], None], code: int | None, *, has_links: bool
) -> int:
    """Break step after step, each in an archive of its own; returns how many there were."""
    for number in range(STEPS_AT_MOST):
        machine = ArchiveMachine()
        machine.night.is_exact = True
        try:
            machine.begin(has_links=has_links)
            work(machine, (number, code))
            machine.promises_hold()
            machine.no_page_is_skipped()
        finally:
            machine.teardown()
        if not machine.night.broken:
            return number
    raise AssertionError("it never came to its end")


ALL = [(list_a_page, 3), (publish, 5), (settle, 5), (commit, 10), (recover, 12)]


@pytest.mark.parametrize(("work", "steps_at_least"), ALL)
def test_a_kill_at_any_step_loses_nothing(
    work: Callable[[ArchiveMachine, Break], None], steps_at_least: int
) -> None:
    """One after the other, until none is left; every archive is then brought to its good end."""
    assert break_every_step(work, None, has_links=True) >= steps_at_least


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("code", [None, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize(("work", "steps_at_least"), ALL)
def test_a_fault_at_any_step_loses_nothing(
    work: Callable[[ArchiveMachine, Break], None],
    steps_at_least: int,
    code: int | None,
    *,
    has_links: bool,
) -> None:
    """Kills and errors of the system, on file systems with hard links and without."""
    assert break_every_step(work, code, has_links=has_links) >= steps_at_least
