"""The archive, driven by a machine that lists, fetches, publishes, commits, kills and waits."""

import pytest
from hypothesis import HealthCheck, settings

from tests.properties.machine import ArchiveMachine

SHORT = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=250, stateful_step_count=60)


class LongArchiveMachine(ArchiveMachine):
    """The same for minutes."""


ArchiveMachine.TestCase.settings = SHORT
LongArchiveMachine.TestCase.settings = LONG

TestNights = ArchiveMachine.TestCase
TestManyNights = pytest.mark.slow(pytest.mark.timeout(1200)(LongArchiveMachine.TestCase))
