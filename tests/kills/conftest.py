"""Every kill and every error is counted; the sums are printed at the end."""

from collections.abc import Callable, Iterator

import pytest

from tests.kills.ground import BLOWS


@pytest.fixture(autouse=True)
def _counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    before = BLOWS.copy()
    yield
    for name, number in (BLOWS - before).items():
        record_property(f"blows: {name}", number)
