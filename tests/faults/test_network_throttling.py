"""Hosts that ask for patience: every form of it, heeded by all or left to a later run."""

import asyncio
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from bulkaudio.crew import WORKERS_PER_SLOT
from tests.faults.answers import LASTING, ONCE, OTHER, SAVED, download_hooked, some
from tests.oracle import Trial, trial_on
from tests.plans import Plans, whole
from tests.wire import Exchange, Script, WireServer, http_head

SPEED = 4.0

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
"""The time of a server whose clock is wrong: only the difference counts."""


def busy(status: int, retry_after: str | None, date: str | None = None) -> Script:
    """Ask for patience, in any letters, and keep the connection."""
    named = (("Retry-After", retry_after), ("Date", date), ("Content-Length", "0"))
    head = http_head(
        status, [(name, v.encode().decode("latin-1")) for name, v in named if v is not None]
    )

    async def script(exchange: Exchange) -> None:
        await exchange.send(head)

    return script


def date_forms(moment: datetime) -> dict[str, str]:
    """Spell a moment in each of HTTP's three ways."""
    return {
        "date": format_datetime(moment, usegmt=True),
        "date of RFC 850": f"{moment:%A, %d-%b-%y %H:%M:%S} GMT",
        "date of asctime": f"{moment:%a %b %e %H:%M:%S %Y}",
    }


NOW = date_forms(LONG_AGO)["date"]
HEEDED: dict[str, tuple[Script, float]] = {
    "429, 2 seconds": (busy(429, "2"), 2.0),
    "503, 2 seconds": (busy(503, "2"), 2.0),
    "with blanks": (busy(429, "  2  "), 2.0),
    "with zeros": (busy(429, "0002"), 2.0),
    **{
        f"{status}, {name}": (busy(status, text, NOW), 2.0)
        for status in (429, 503)
        for name, text in date_forms(LONG_AGO + timedelta(seconds=2)).items()
    },
}


@pytest.mark.parametrize(
    ("script", "wait_s"), some(HEEDED, "429, 2 seconds", "503, date of RFC 850")
)
async def test_all_of_a_host_waits_as_long_as_it_asks(
    script: Script, wait_s: float, tmp_path: Path
) -> None:
    """By the server's clock: not one request in that time, whoever would have made it."""
    ids = [f"CA{number:02}" for number in range(12)]
    arrivals: list[float] = []
    asked_at: list[float] = []
    together = asyncio.Event()

    async def throttles(exchange: Exchange) -> None:
        arrivals.append(asyncio.get_running_loop().time())
        if len(arrivals) > 4:
            await whole(exchange)
            return
        # All four that may be under way at once are, before the first is answered.
        if len(arrivals) == 4:
            together.set()
        await together.wait()
        asked_at.append(asyncio.get_running_loop().time())
        await script(exchange)

    async with WireServer(throttles) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=SPEED)
        words = (*trial.csv(*ids), "--concurrency", "4", "--attempts", "1")
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["counts"]["saved"]) == (0, 12), ended.stderr
        assert len(arrivals) == 12 + 4
        assert min(arrivals[4:]) - max(asked_at) >= wait_s / SPEED - 0.02
        await trial.healed(*words)


NONSENSE: dict[str, str | None] = {
    "nothing": None,
    "empty": "",
    "zero": "0",
    "negative": "-5",
    "fraction": "300.5",
    "other digits": "٣٠٠",
    "superscript": "3²",
    "word": "soon",
    "hex": "0x300",
    "now": NOW,
    "date gone by": format_datetime(LONG_AGO - timedelta(days=1), usegmt=True),
    "no such date": "Sun, 32 Nov 2026 10:00:00 GMT",
    "4 kB": "x" * 4000,
}
UNHEEDED = {
    **{f"429, {name}": (429, text) for name, text in NONSENSE.items()},
    **{f"503, {name}": (503, NONSENSE[name]) for name in ("nothing", "zero", "other digits")},
}


def wait_longest() -> None:
    """Take the chance out of waits: each is as long as it may be."""
    vars(random)["uniform"] = lambda _, longest: longest


@pytest.mark.parametrize(
    ("status", "retry_after"), some(UNHEEDED, "429, negative", "503, other digits")
)
async def test_what_cannot_be_heeded_is_met_with_a_wait_of_our_own(
    status: int, retry_after: str | None, tmp_path: Path
) -> None:
    """A short one: 429 costs no attempt, 503 without a time is trouble like any other."""
    script = busy(status, retry_after, NOW)
    plans = Plans({ONCE: (script, whole), LASTING: (script, script, script, whole)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", ONCE, LASTING, OTHER, speed=10.0)
        words = (
            *trial.csv(ONCE, LASTING, OTHER),
            *("--attempts", "1" if status == 429 else "4"),
            *("--give-up-after", "600", "--concurrency", "1"),
        )
        ended = await download_hooked(trial, wait_longest, (), *words)
        assert ended.code == 0, ended.stderr
        assert plans.asked == {ONCE: 2, LASTING: 4, OTHER: 1}
        times = (plans.times[ONCE], plans.times[LASTING])
        waits = [after - before for each in times for before, after in pairwise(each)]
        # The first wait of our own is one of a second, and none is shorter.
        assert min(waits) > 0.9 / 10.0, waits
        # A day's wait would be one of a day; so would 300 seconds taken from any of these.
        assert max(waits) < 100 / 10.0 + 5.0, waits
        await trial.healed(*words)


LATER = {
    "901 seconds": "901",
    "a day": "86400",
    "a week": "604800",
    "10^20": "1" + "0" * 20,
    "1000 digits": "9" * 1000,
    "a date far away": "Mon, 23 Nov 2099 10:00:00 GMT",
}


def let_time_pass(trial: Trial) -> None:
    """Make everything that was put off due, as time would."""
    with closing(sqlite3.connect(trial.archive / ".bulkaudio" / "ledger.db")) as ledger, ledger:
        past = "2000-01-01T00:00:00.000000+00:00"
        ledger.execute("UPDATE recordings SET next_try_at = ? WHERE next_try_at > ?", (past, past))


@pytest.mark.parametrize(
    ("status", "retry_after"),
    some(
        {
            f"{status}, {name}": (status, text)
            for status in (429, 503)
            for name, text in LATER.items()
        },
        *("429, 901 seconds", "503, 10^20"),
    ),
)
async def test_a_long_wait_is_left_to_a_later_run(
    status: int, retry_after: str, tmp_path: Path
) -> None:
    """Above a quarter of an hour: deferred, exit 0, and not asked for until it is due."""
    plans = Plans({LASTING: (busy(status, retry_after),)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        words = (*trial.csv(LASTING, OTHER), "--attempts", "2")
        for _ in range(2):
            ended = await trial.download(*words)
            assert (ended.code, ended.summary["counts"]["deferred"]) == (0, 1), ended.stderr
            assert trial.statuses() == {
                f"combined/{LASTING}": ("deferred", "throttled"),
                f"combined/{OTHER}": SAVED,
            }
            assert plans.asked == {LASTING: 1, OTHER: 1}
        let_time_pass(trial)
        server.scripts = (whole,)
        await trial.healed(*words)


@pytest.mark.parametrize("ids", [1, 40])
@pytest.mark.parametrize(("concurrency", "most"), [("auto", 8), ("1", 2)])
async def test_a_host_that_puts_everybody_off_ends_the_run(
    ids: int, concurrency: str, most: int, tmp_path: Path
) -> None:
    """Exit 5 at once, said also under --quiet; deferred and open; no crowd before its time."""
    names = [f"CA{number:02}" for number in range(ids)]
    async with WireServer(busy(429, "3600")) as server:
        trial = trial_on(server, tmp_path / "work", *names)
        words = (*trial.csv(*names), "--quiet", "--concurrency", concurrency)
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["status"]) == (5, "failed")
        assert "asks to wait for 1h 00m" in ended.stderr
        counts, asked = ended.summary["counts"], len(server.heads)
        assert asked <= most
        assert counts["deferred"] == counts["put_off"] == asked
        assert (counts["open"], counts["failed"]) == (ids - asked, 0)
        # Nothing of what was put off is asked for before its time.
        await trial.download(*words)
        assert max(trial.asked().values()) == 1
        let_time_pass(trial)
        server.scripts = (whole,)
        await trial.healed(*words)


async def test_a_host_that_begins_to_put_everybody_off_ends_the_run(tmp_path: Path) -> None:
    """A quota that is used up in the middle: what came before stays, no crowd after it."""
    names = [f"CA{number:03}" for number in range(100)]

    async def quota(exchange: Exchange) -> None:
        script = whole if len(server.heads) <= 30 else busy(429, "86400")
        await script(exchange)

    async with WireServer(quota) as server:
        trial = trial_on(server, tmp_path / "work", *names)
        ended = await trial.download(*trial.csv(*names), "--concurrency", "4")
        counts = ended.summary["counts"]
        assert (ended.code, counts["failed"]) == (5, 0), ended.stderr
        # What the other workers had, on its way or being proven, stays open when the run ends.
        assert 30 - (4 * WORKERS_PER_SLOT - 1) <= counts["saved"] <= 30
        assert counts["put_off"] == len(server.heads) - 30 <= 5
        let_time_pass(trial)
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*names))


@pytest.mark.parametrize("throttles", [6, pytest.param(30, marks=pytest.mark.slow)])
async def test_throttling_uses_up_no_attempt(throttles: int, tmp_path: Path) -> None:
    """One attempt is allowed; so many 429 later it is still there."""
    plans = Plans({LASTING: (*(busy(429, "1"),) * throttles, whole)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=20.0)
        words = (*trial.csv(LASTING), "--attempts", "1")
        ended = await trial.download(*words)
        assert ended.code == 0, ended.stderr
        assert plans.asked == {LASTING: throttles + 1}
        await trial.healed(*words)


@pytest.mark.slow
async def test_concurrency_falls_when_the_host_throttles(tmp_path: Path) -> None:
    """A host with three places: nothing is lost, and few requests are turned away."""
    ids = [f"CA{number:03}" for number in range(150)]
    now, refused = 0, 0

    async def places(exchange: Exchange) -> None:
        nonlocal now, refused
        if now >= 3:
            refused += 1
            await busy(429, "1")(exchange)
            return
        now += 1
        try:
            await asyncio.sleep(0.01)
        finally:
            now -= 1
        await whole(exchange)

    async with WireServer(places) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=4.0)
        words = (*trial.csv(*ids), "--attempts", "1")
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["counts"]["saved"]) == (0, 150), ended.stderr
        assert 0 < refused < 50
        assert len(server.heads) == 150 + refused
        await trial.healed(*words)
