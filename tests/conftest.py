"""What every test gets: no blocking call on the loop, and nothing from the user's own environment."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from tests.claims import figures, reports_of, shortfalls
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run be held to figures."""
    parser.addoption(
        "--at-least",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="fail when a figure of the summary is smaller; may be repeated",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when less was proven than is claimed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # A worker has none, and has seen a part only.
    if reporter is not None and session.exitstatus == pytest.ExitCode.OK:
        lacking = shortfalls(reports_of(reporter), session.config.getoption("--at-least"))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if lacking else pytest.ExitCode.OK


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what tests have recorded as figures, and what is missing."""
    reports = reports_of(terminalreporter)
    sums, said = figures(reports)
    if sums or said:
        terminalreporter.section("figures")
        for name, total in sorted(sums.items()):
            terminalreporter.line(f"{total:6,} {name}")
        for line in said:
            terminalreporter.line(line)
    for lacking in shortfalls(reports, config.getoption("--at-least")):
        terminalreporter.line(f"CLAIMED AND NOT SO: {lacking}", red=True)
