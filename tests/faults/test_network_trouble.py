"""Hosts in trouble: 5xx and 408, once, a while, throughout; the circuit; the give-up time."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.answers import LASTING, OTHER, Fault, coded, faults, some, suffer, transient
from tests.forked import forked
from tests.oracle import trial_on
from tests.plans import Plans, whole
from tests.wire import (
    Exchange,
    Script,
    WireServer,
    closes,
    hangs,
    http_head,
    resets,
    says,
    says_raw,
)

STATUSES = (500, 502, 503, 504)

TROUBLE: dict[str, Fault] = {
    **{
        f"{status} {what}": transient(script, f"http_{status}")
        for status in STATUSES
        for what, script in {
            "empty": says(status),
            "html": says(status, b"<html>Bad Gateway</html>", content_type="text/html"),
            "coded": coded(status, "INTERNAL_ERROR"),
        }.items()
    },
    **{f"{status}": transient(says(status), f"http_{status}") for status in (507, 520, 529, 599)},
    "500 cut short": transient(
        says_raw(http_head(500, [("Content-Length", "1000")]) + b"{"), "http_500"
    ),
    "503 reset": transient(
        says_raw(http_head(503, [("Content-Length", "1000")]) + b"{", end=Exchange.reset),
        "http_503",
    ),
    "503 that never ends": transient(
        says_raw(http_head(503, [("Content-Length", "1000")]) + b"{", end=hangs), "http_503"
    ),
    "500 with the recording": transient(says(500, b"RIFF"), "http_500"),
    "408": transient(says(408), "timeout"),
    "408 with a body that never comes": transient(
        says_raw(http_head(408, [("Content-Length", "10")]), end=hangs), "timeout"
    ),
}


@faults(TROUBLE, quick=["502 html", "503 reset"])
async def test_a_host_in_trouble_is_asked_again(fault: Fault, tmp_path: Path) -> None:
    """Whatever it says beside its status, and however that ends."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


GIVEN_UP: dict[str, Script] = {
    "which it closes": says_raw(http_head(408, [("Content-Length", "0")])),
    "and says so": says(408, connection="close"),
    "in the middle": says_raw(http_head(408, [("Content-Length", "99")]) + b"{", end=Exchange.drop),
    "and says no more": says_raw(http_head(408, [("Content-Length", "99")]), end=hangs),
}


@pytest.mark.parametrize("script", some(GIVEN_UP, "and says no more"))
async def test_a_408_is_followed_by_another_connection(script: Script, tmp_path: Path) -> None:
    """The server has given the first one up, and does not have to end it first."""
    plans = Plans({LASTING: (script, whole)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING), "--attempts", "2")
        assert ended.code == 0, ended.stderr
        first, second = server.heads
        assert first.connection != second.connection
        await trial.healed(*trial.csv(LASTING))


ENOUGH = {
    f"{failures} of {attempts}, {name}": (script, failures, attempts)
    for failures, attempts in ((1, 1), (1, 5), (2, 5), (4, 5), (5, 5), (7, 8), (8, 8))
    for name, script in {"502": says(502), "reset": resets}.items()
}


@pytest.mark.parametrize(
    ("script", "failures", "attempts"), some(ENOUGH, "4 of 5, 502", "5 of 5, reset")
)
async def test_a_recording_gets_its_attempts_and_no_more(
    script: Script, failures: int, attempts: int, tmp_path: Path
) -> None:
    """One answer less than the attempts may go wrong; the others are not held up."""
    # The library asks a second time by itself when a connection is lost before the answer.
    per_attempt = 2 if script is resets else 1
    plans = Plans({LASTING: (*(script,) * (failures * per_attempt), whole)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=30.0)
        words = (*trial.csv(LASTING, OTHER), "--attempts", str(attempts))
        ended = await trial.download(*words)
        is_saved = failures < attempts
        assert ended.code == (0 if is_saved else 3), ended.stderr
        wanted = failures * per_attempt + (1 if is_saved else 0)
        assert plans.asked == {LASTING: wanted, OTHER: 1}
        assert f"combined/{OTHER}.wav" in trial.saved()
        server.scripts = (whole,)
        await trial.healed(*words)


IDS = [f"CA{number:02}" for number in range(40)]


class Outage:
    """
    A host that fails so many requests and then is well.

    Attributes:
        most_at_once: Requests under way together while it was down and known to be.
    """

    def __init__(self, script: Script, failures: int, noticed: int) -> None:
        self._script = script
        self._failures = failures
        self._noticed = noticed
        self._now = 0
        self.asked = 0
        self.most_at_once = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        self.asked += 1
        number = self.asked
        self._now += 1
        try:
            if self._noticed < number <= self._failures:
                self.most_at_once = max(self.most_at_once, self._now)
            await asyncio.sleep(0.02)
            await (self._script if number <= self._failures else whole)(exchange)
        finally:
            self._now -= 1


DOWN = {"503": says(503), "500": says(500), "reset": resets, "close": closes}


@pytest.mark.parametrize("script", some(DOWN, "503"))
async def test_an_outage_is_probed_by_one_request_at_a_time(script: Script, tmp_path: Path) -> None:
    """From the twentieth failure on; the first good answer lets all others go on, none failed."""
    # The library asks a second time by itself when a connection is lost before the answer.
    times = 2 if script in {resets, closes} else 1
    # Twenty failures are noticed when those under way with the last of them have come back.
    outage = Outage(script, failures=31 * times, noticed=27 * times)
    async with WireServer(outage) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=20.0)
        ended = await trial.download(*trial.csv(*IDS))
        assert (ended.code, ended.summary["counts"]["saved"]) == (0, 40), ended.stderr
        assert len(server.heads) == 40 + 31 * times
        assert outage.most_at_once == 1
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*IDS))


def is_open(state: tuple[str, str | None]) -> bool:
    """Whether it is left to the next run, asked for already or not."""
    return state[0] == "open"


THROUGHOUT: dict[str, Script] = {
    **{f"{status}": says(status) for status in STATUSES},
    "reset": resets,
    "close": closes,
    "no http": says_raw(b"nonsense\r\n\r\n"),
    "429": says(429),
    "429 with Retry-After": says(429, retry_after="3"),
    "503 with Retry-After": says(503, retry_after="3"),
}


@pytest.mark.parametrize("script", some(THROUGHOUT, "503"))
async def test_a_host_that_stays_down_ends_the_run_with_everything_open(
    script: Script, tmp_path: Path
) -> None:
    """Exit 5 after the give-up time; nothing failed, and the next run brings it all."""
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        words = (*trial.csv(*IDS), "--give-up-after", "10")
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["status"]) == (5, "failed"), ended.stderr
        assert "--give-up-after" in ended.stderr
        states = set(trial.statuses().values())
        assert all(map(is_open, states))
        assert states > {("open", None)}, "what was asked for looks as if it had not been"
        # Twenty until it is noticed, those under way with them, then ever rarer probes; the
        # library may double each.
        assert len(server.heads) <= 2 * 60
        server.scripts = (whole,)
        asked = len(server.heads)
        await trial.healed(*words)
        assert len(server.heads) - asked == 40


@pytest.mark.parametrize("script", some(DOWN, "reset"))
async def test_a_host_that_goes_down_half_way_keeps_what_it_gave(
    script: Script, tmp_path: Path
) -> None:
    """What was saved by then is in the ledger, and only the rest is asked for later."""

    async def half_way(exchange: Exchange) -> None:
        await (whole if len(server.heads) <= 15 else script)(exchange)

    async with WireServer(half_way) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        words = (*trial.csv(*IDS), "--give-up-after", "10", "--attempts", "20")
        ended = await trial.download(*words)
        assert ended.code == 5, ended.stderr
        statuses = list(trial.statuses().values())
        assert statuses.count(("saved", None)) == 15
        assert sum(map(is_open, statuses)) == 25
        server.scripts = (whole,)
        await trial.healed(*words)


@pytest.mark.slow
async def test_a_run_that_waits_for_a_host_can_be_stopped(tmp_path: Path) -> None:
    """A budget of time ends the probing; what was not fetched stays open."""
    async with WireServer(says(503)) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        words = trial.words(*trial.csv(*IDS), "--max-duration", "15s")
        async with forked(trial.order(*words)) as fork:
            ended = await fork.wait()
        trial.check(ended)
        assert ended.code == 8, ended.stderr
        assert set(trial.statuses().values()) == {("open", None)}
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*IDS))


FEW: Sequence[str] = ("CA1", "CA2")


@pytest.mark.parametrize("script", some(DOWN))
async def test_a_few_recordings_of_a_host_that_is_down_fail_and_heal(
    script: Script, tmp_path: Path
) -> None:
    """Too few to tell an outage by: each uses up its attempts, and the next run asks again."""
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *FEW, speed=20.0)
        ended = await trial.download(*trial.csv(*FEW), "--attempts", "3")
        assert ended.code == 3, ended.stderr
        reasons = {reason for _, reason in trial.statuses().values()}
        assert reasons <= {"connection", "http_503", "http_500"}
        assert len(reasons) == 1
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*FEW), "--attempts", "3")
