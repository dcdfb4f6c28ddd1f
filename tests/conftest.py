"""What every test gets: no blocking call on the loop, and nothing from the user's own environment."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from tests.inside import Inside

# A busy machine is no reason to fail, and a change does not wait for another change's luck: CI
# always draws the same examples, everybody else new ones.
settings.register_profile(
    "bulkaudio",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("bulkaudio")

# A shell starts what it puts into the background deaf to Ctrl-C, and `nohup` to SIGHUP; children
# inherit that, and bulkaudio respects it. The tests of signals are not about who runs them.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail the test when bulkaudio blocks the event loop."""
    with blockbuster_ctx("bulkaudio") as detector:
        yield detector


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide keys, proxies, settings and terminals of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith(("POLY", "BULKAUDIO_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("CREDENTIALS_DIRECTORY", "NO_COLOR", "FORCE_COLOR", "CI", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inside:
    """Return the program, at home in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Inside(folder, monkeypatch, capsys)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded as figures: the sum of each number, and every text."""
    sums: Counter[str] = Counter()
    said: list[str] = []
    for report in chain.from_iterable(terminalreporter.stats.values()):
        # The last of a test's three reports has all of its figures.
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            for name, value in report.user_properties:
                if isinstance(value, int):
                    sums[name] += value
                else:
                    said.append(f"{report.nodeid}: {name}: {value}")
    if sums or said:
        terminalreporter.section("figures")
        for name, total in sorted(sums.items()):
            terminalreporter.line(f"{total:6,} {name}")
        for line in said:
            terminalreporter.line(line)
