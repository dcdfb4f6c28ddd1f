"""Whatever breaks, and however much is said about it: the key is not in it."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.forked import Order, forked, run_forked
from tests.oracle import CANARY, check_secret, trial_on
from tests.plans import Plans, whole
from tests.program import until
from tests.security.hooks import BROKEN
from tests.wire import Script, WireServer, hangs, resets, says

HOOKS = "tests.security.hooks"

LAYERS = (
    ("bulkaudio.job", "open_archive"),
    ("bulkaudio.job", "connection_of"),
    ("bulkaudio.keys", "KeyFinder.find"),
    ("bulkaudio.archive", "OpenArchive.bind"),
    ("bulkaudio.polyai.client", "Session.__aenter__"),
    ("bulkaudio.polyai.client", "Session._send"),
    ("bulkaudio.polyai.client", "Session._get"),
    ("bulkaudio.polyai.client", "receive"),
    ("bulkaudio.polyai.client", "is_home"),
    ("aiohttp", "ClientSession._request"),
    ("aiohttp.connector", "TCPConnector._create_connection"),
    ("aiohttp.client_reqrep", "ClientRequest.send"),
    ("aiohttp.client_reqrep", "ClientResponse.start"),
    ("bulkaudio.fetch", "Fetcher.fetch"),
    ("bulkaudio.stores.local", "LocalStore.stage"),
    ("bulkaudio.committer", "Committer.submit"),
    ("bulkaudio.ledger.ledger", "Ledger.plan"),
    ("bulkaudio.gate", "Gate.__init__"),
    ("bulkaudio.conduct", "make_means"),
    ("bulkaudio.observe.tally", "Tally.__call__"),
)
"""Where a bug might be: before the key is known, with it in hand, and far from it."""


def verbose(order: Order) -> Order:
    """Return the order, checked for the canary in its own words: a test of nothing otherwise."""
    assert CANARY in order.env["POLYAI_API_KEY"]
    assert CANARY not in " ".join(order.arguments)
    return order


def hooked(order: Order, function: str, *arguments: str) -> Order:
    """Return the order with something done to the program first."""
    return Order(
        arguments=verbose(order).arguments,
        env=order.env,
        cwd=order.cwd,
        hook=f"{HOOKS}:{function}",
        hook_arguments=arguments,
    )


USUAL = {"OpenArchive.bind", "Session._get", "receive", "ClientRequest.send", "Ledger.plan"}


@pytest.mark.parametrize(
    ("module", "path"),
    [
        pytest.param(*layer, id=layer[1], marks=[] if layer[1] in USUAL else pytest.mark.slow)
        for layer in LAYERS
    ],
)
async def test_a_bug_in_any_layer_shows_no_key(module: str, path: str, tmp_path: Path) -> None:
    """Not in its traceback at -vv, not in the variables on the way, not in log or summary."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2")
        files = ("--log-file", trial.cwd / "log", "--summary-file", trial.cwd / "summary")
        words = trial.words(*trial.csv("CA1", "CA2"), "-vv", *files)
        ended = await run_forked(hooked(trial.order(*words), "break_at", module, path))
    assert ended.code == 1, ended.stderr
    assert f"{BROKEN}: {path}" in ended.stderr
    assert "Traceback" in ended.stderr
    assert "LOCALS" in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if CANARY in line]
    assert not lines, lines[0]
    assert CANARY not in ended.stdout
    check_secret(trial.cwd)


TROUBLES: Mapping[str, Mapping[str, Sequence[Script]]] = {
    "plain": {},
    "retried": {"CA1": [resets, says(500), whole], "CA2": [says(429), whole]},
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_debugging_shows_no_key(name: str, tmp_path: Path) -> None:
    """With asyncio's debug mode, which tells of each callback, and every library's own log."""
    async with WireServer(Plans(TROUBLES[name])) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2")
        words = trial.words(*trial.csv("CA1", "CA2"), "-vv")
        ended = await run_forked(hooked(trial.order(*words), "debug_everything"))
    assert ended.code == 0, ended.stderr
    assert ended.stderr.count("Executing <") > 50
    assert CANARY not in ended.stderr + ended.stdout
    check_secret(trial.cwd)


async def test_a_crash_shows_no_key(tmp_path: Path) -> None:
    """What Python's crash handler writes of every thread."""
    async with WireServer(hangs) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        order = hooked(trial.order(*trial.words(*trial.csv("CA1"), "-vv")), "dump_on_abort")
        async with forked(order) as fork:
            await until(lambda: server.targets != [])
            fork.send(signal.SIGABRT)
            ended = await fork.wait()
    assert ended.code == 128 + signal.SIGABRT
    assert "Fatal Python error: Aborted" in ended.stderr
    assert "select" in ended.stderr
    assert CANARY not in ended.stderr + ended.stdout
    check_secret(trial.cwd)
