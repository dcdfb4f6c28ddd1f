"""``plan``: what a download would do is what it then does; and nothing is touched meanwhile."""

import io
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bulkaudio.cli.gaps_found import GapsView
from bulkaudio.cli.plan_page import PlanView
from bulkaudio.errors import ArchiveBusyError
from bulkaudio.events import GateMoved
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.observe import terminal
from bulkaudio.observe.progress import View
from bulkaudio.observe.tally import Tally
from bulkaudio.quantities import parse_duration
from bulkaudio.simulator import Simulator
from bulkaudio.stores.lock import ArchiveLock
from tests.forked import run_forked
from tests.inside import Inside
from tests.looks import Stall, calls, stall_at, tree
from tests.program import ledger_rows, until, wavs, write_csv


@pytest.fixture
async def stall(tmp_path: Path) -> AsyncIterator[Stall]:
    """Serve calls with chats, opt-outs and one that is going on, two pages of them."""
    mixed = calls(24, chat_share=0.1, opt_out_share=0.1, in_progress=1)
    async with Simulator(calls=mixed) as simulator:
        yield stall_at(tmp_path, simulator)


async def foretold(stall: Stall, *words: str, code: int = 0) -> dict[str, Any]:
    """Plan; nothing in the folder may look otherwise afterwards, whatever came of it."""
    before = tree(stall.cwd)
    ended = await stall.run("plan", *words, "--json")
    assert tree(stall.cwd) == before
    assert ended.code == code, ended.stderr
    assert len(ended.stdout.splitlines()) == (code == 0)
    return ended.summary if code == 0 else {}


async def kept(stall: Stall, *words: str) -> None:
    """Plan, then download with the same words: the numbers are the same."""
    plan = await foretold(stall, *words)
    before = (
        {key for key, row in ledger_rows(stall.archive).items() if row.status == "saved"}
        if stall.archive.exists()
        else set()
    )
    size = sum(map(len, wavs(stall.archive).values())) if stall.archive.exists() else 0
    done = (await stall.run("download", *words, "--json")).summary
    counts, told = done["counts"], plan["counts"]
    same = ("conversations", "recordings", "already", "rejected", "skipped")
    assert {name: told[name] for name in same} == {name: counts[name] for name in same}
    settled = counts["recordings"] - counts["already"] - told["absent"] - told["deferred"]
    assert told["to_fetch"] == settled
    assert plan["scope"]["directions"] == done["scope"]["directions"]
    assert (plan["scope"]["source"], plan["scope"]["agent"]) == (
        done["scope"]["source"],
        done["scope"]["agent"],
    )
    for direction, share in plan["directions"].items():
        assert share["already"] <= len([key for key in before if key[1] == direction])
        parts = ("already", "absent", "deferred", "to_fetch")
        assert share["recordings"] == sum(share[part] for part in parts)
    for name in ("recordings", "already", "absent", "deferred", "to_fetch", "backlog"):
        assert told[name] == sum(share[name] for share in plan["directions"].values())
    if counts["saved"] == told["to_fetch"] and plan["is_pace_measured"]:
        grown = sum(map(len, wavs(stall.archive).values())) - size
        assert plan["bytes"] == pytest.approx(grown, rel=0.3)


@pytest.mark.parametrize(
    "sides",
    [
        ("--direction", "all"),
        pytest.param((), marks=pytest.mark.slow),
        pytest.param(("--direction", "user", "--direction", "agent"), marks=pytest.mark.slow),
    ],
)
async def test_a_listing_does_what_was_foretold(stall: Stall, sides: Sequence[str]) -> None:
    """The first time, in portions, once more with other directions, and when all is there."""
    words = (*stall.window, *stall.whose, *sides, "--page-size", "10")
    plan = await foretold(stall, *words)
    assert (plan["schema"], plan["is_new"]) == ("bulkaudio.plan/1", True)
    assert not stall.archive.exists()
    await stall.run("download", *words, "--max-recordings", "5")
    await kept(stall, *words, "--limit", "9")
    await kept(stall, *words)
    await kept(stall, *words)
    await kept(stall, *words, "--direction", "all")
    # Nightly, from where the last listing ended; and once more with what is late.
    stall.simulator.calls.catch_up()
    await kept(stall, "--out", str(stall.archive), "--lookback", "100000h")
    await kept(stall, "--out", str(stall.archive), "--lookback", "100000h")


async def test_a_file_does_what_was_foretold(stall: Stall) -> None:
    """Duplicates, rows that are none, ids that nobody knows; on top of what is there."""
    ids = stall.simulator.calls.ids()
    first = stall.csv([*ids[:9], *ids[:4], "no id"], "first.csv")
    await kept(stall, "--csv", first, *stall.whose)
    await kept(stall, "--csv", first, *stall.whose, "--direction", "all")
    second = stall.csv([*ids[4:20], *ids[10:20], "CA404"], "second.csv")
    await kept(stall, "--csv", second, *stall.whose)
    await kept(stall, "--csv", second, *stall.whose, "--limit", "3")


async def test_a_file_needs_no_key_and_no_host(stall: Stall) -> None:
    """It is compared with the ledger; PolyAI has nothing to do with that."""
    csv = stall.csv(["CA1", "CA2"])
    asked = stall.simulator.requests.total
    ended = await stall.run("plan", "--csv", csv, *stall.whose, "--json", POLYAI_API_KEY="")
    assert (ended.code, ended.summary["counts"]["to_fetch"]) == (0, 2)
    assert stall.simulator.requests.total == asked
    # No length and no archive to learn from: three minutes of telephony each.
    assert ended.summary["bytes"] == 2 * 180 * 16_000
    assert ended.summary["duration_s"] is None
    ended = await stall.run("plan", "--csv", csv, *stall.whose, "--json", "--max-rate", "2")
    assert ended.summary["duration_s"] == 1.0
    ended = await stall.run("plan", "--csv", csv, *stall.whose, "--json", "--bandwidth", "1M")
    assert ended.summary["duration_s"] == pytest.approx(5.76, rel=0.01)


async def test_what_was_seen_is_believed(stall: Stall) -> None:
    """After a part of them, size and length of the others are told within a tenth."""
    words = (*stall.window, *stall.whose, "--direction", "all")
    await stall.run("download", *words, "--max-recordings", "30")
    plan = await foretold(stall, *words)
    before = sum(map(len, wavs(stall.archive).values()))
    done = (await stall.run("download", *words, "--json")).summary
    grown = sum(map(len, wavs(stall.archive).values())) - before
    absent = done["counts"]["absent"]
    share = done["counts"]["saved"] / (done["counts"]["saved"] + absent)
    assert plan["bytes"] * share == pytest.approx(grown, rel=0.1)
    assert plan["is_pace_measured"]
    assert plan["duration_s"] > 0
    assert plan["first_call"] < plan["last_call"]


async def test_what_earlier_runs_left_has_the_length_that_the_listing_tells(stall: Stall) -> None:
    """It is considered before the listing is read, and is no guess for that."""
    words = (*stall.window, *stall.whose, "--direction", "all")
    fresh = await foretold(stall, *words)
    await stall.run("download", *words, "--max-recordings", "1", "--concurrency", "1")
    plan = await foretold(stall, *words)
    counts = plan["counts"]
    assert 0 < counts["backlog"] <= counts["to_fetch"] < fresh["counts"]["to_fetch"]
    for share in plan["directions"].values():
        assert share["length_known"] == share["to_fetch"] > 0
    assert plan["audio_seconds"] == pytest.approx(fresh["audio_seconds"], rel=0.2)
    assert plan["audio_seconds"] < fresh["audio_seconds"]
    page = (await stall.run("plan", *words)).stdout
    assert f"Sizes rest on the calls' lengths, for {counts['to_fetch']} recordings;" in page


async def test_what_no_source_names_has_the_mean_of_what_is_saved(stall: Stall) -> None:
    """Of its direction, else of the others; else it is a guess, and says so."""
    calls = stall.simulator.calls
    ids = calls.recorded_ids()
    await stall.run("download", *stall.window, *stall.whose, "--max-recordings", "12")
    late = (*stall.whose, "--since", (calls.until - timedelta(minutes=1)).isoformat())
    page = (await stall.run("plan", *late)).stdout
    assert "the mean of what is saved, for" in page
    csv = stall.csv(ids)
    other = (await stall.run("plan", "--csv", csv, *stall.whose, "--direction", "user")).stdout
    assert f"the mean of what is saved of other directions, for {len(ids)} recordings" in other
    away = ("--csv", csv, *stall.whose[:-1], str(stall.cwd / "new"))
    assert (
        f"3m 00s a call, an assumption, for {len(ids)} recordings; telephony's"
        in (await stall.run("plan", *away)).stdout
    )


async def test_calls_of_the_backlog_are_told_from_those_of_the_window(stall: Stall) -> None:
    """A first call before ``--since`` would look like a mistake."""
    calls = stall.simulator.calls
    await stall.run("download", *stall.window, *stall.whose, "--max-recordings", "2")
    since = calls.since + (calls.until - calls.since) / 2
    words = (*stall.whose, "--since", since.isoformat(), "--until", calls.until.isoformat())
    plan = await foretold(stall, *words)
    assert datetime.fromisoformat(plan["backlog_first_call"]) < since
    assert since <= datetime.fromisoformat(plan["first_call"])
    page = (await stall.run("plan", *words)).stdout
    assert re.search(r"Left over from earlier runs: \d+ recordings of these; first call 2026", page)
    assert "Of the window: first call 2026" in page


async def test_after_a_kill_nothing_is_mended_by_looking(tmp_path: Path) -> None:
    """The log beside the ledger is read, and stays; so does what the run left behind."""
    async with Simulator(calls=calls(200), latency_s=0.02) as simulator:
        stall = stall_at(tmp_path, simulator)
        words = (*stall.window, *stall.whose, "--direction", "all")
        async with stall.running("download", *words, "--concurrency", "4") as fork:
            await until(lambda: stall.archive.exists() and len(wavs(stall.archive)) > 70)
            fork.send(signal.SIGKILL)
            await fork.wait()
        assert (stall.archive / ".bulkaudio" / "ledger.db-wal").stat().st_size > 0
        plan = await foretold(stall, *words)
        saved = [row for row in ledger_rows(stall.archive).values() if row.status == "saved"]
        assert plan["counts"]["already"] + plan["counts"]["to_fetch"] == 600
        assert plan["counts"]["already"] == len(saved)
        assert any("was killed" in note for note in plan["notes"])


@pytest.mark.parametrize(("given", "waits_s"), [((), 60.0), (("--give-up-after", "5s"), 5.0)])
async def test_a_look_does_not_wait_as_long_as_a_night(
    stall: Stall, given: tuple[str, ...], waits_s: float
) -> None:
    """A host that is down ends it after a minute, or as it was told; a download waits longer."""
    await stall.run("download", *stall.window, *stall.whose)
    looks = [("plan", *stall.window, *stall.whose), ("gaps", str(stall.archive), "--relist")]
    for words in looks:
        order = stall.order(*words, *given, BULKAUDIO_CONVERSATIONS_URL="http://127.0.0.1:9")
        ended = await run_forked(replace(order, speed=30.0))
        assert (ended.code, ended.stdout) == (5, ""), ended.stderr
        told = re.search(r"gave no good answer for ([^,]+),", ended.stderr)
        assert told is not None, ended.stderr
        # A busy machine is late, and thirty times as late where the clock runs that much faster.
        assert waits_s <= parse_duration(told[1].replace(" ", "")) < waits_s * 10
        assert "--give-up-after sets how long to wait" in ended.stderr


@pytest.mark.parametrize("view", [PlanView, GapsView])
def test_a_look_says_that_it_waits(view: Callable[[Tally], View]) -> None:
    """And for what, in the line of every minute and below the bar."""
    tally = Tally()
    shown = view(tally)
    assert "waiting" not in shown.line()
    moved = GateMoved(host="h", slots=1, closed_s=25.0, reason="the connection failed")
    tally(moved)
    for text in (shown.line(), drawn(shown)):
        assert "waiting 25s: the connection failed" in text
        assert "at once" not in text, "a listing is asked page by page"


def drawn(view: View) -> str:
    """Draw it on a narrow terminal."""
    screen = Console(width=80, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(view.render())
    return captured.get()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_look_says_on_stderr_that_it_waits(stall: Stall) -> None:
    """Before it gives up, also where stderr is no terminal."""
    words = ("plan", *stall.window, *stall.whose)
    ended = await stall.run(*words, BULKAUDIO_CONVERSATIONS_URL="http://127.0.0.1:9")
    assert ended.code == 5
    line = next(line for line in ended.stderr.splitlines() if "retries" in line)
    assert "0 conversations, 0 recordings to fetch, " in line


async def test_another_run_is_not_disturbed(stall: Stall) -> None:
    """Whoever holds the archive is named, with 75."""
    csv = stall.csv(stall.simulator.calls.ids())
    await stall.run("download", "--csv", csv, *stall.whose)
    with ArchiveLock(stall.archive / ".bulkaudio" / "lock"):
        before = tree(stall.cwd)
        ended = await stall.run("plan", "--csv", csv, *stall.whose)
        assert (ended.code, ended.stdout) == (75, "")
        assert "another run holds" in ended.stderr
        assert tree(stall.cwd) == before


REFUSED = {
    ("--csv", "none.csv"): "none.csv",
    ("--csv", "calls.csv", "--redacted"): "--redacted",
    ("--csv", "calls.csv", "--layout", "{date}/{direction}-{id}.wav"): "--layout",
    (): "--since",
    ("--since", "2026-01-01", "--csv", "calls.csv"): "--csv",
}


async def test_what_a_download_refuses_is_refused(stall: Stall) -> None:
    """With the same words and without a trace."""
    csv = stall.csv(stall.simulator.calls.recorded_ids()[:2])
    await stall.run("download", "--csv", csv, *stall.whose)
    for words, said in REFUSED.items():
        before = tree(stall.cwd)
        ended = await stall.run("plan", *stall.whose, *words)
        assert tree(stall.cwd) == before
        assert (ended.code, ended.stdout) == (2, "")
        assert said in ended.stderr
        other = await stall.run("download", *stall.whose, *words)
        assert ended.stderr.splitlines()[-2:] == other.stderr.splitlines()[-2:]


async def test_a_first_run_that_lacks_something_leaves_nothing(stall: Stall) -> None:
    """Region and agent are asked for before anything else."""
    ended = await stall.run("plan", "--csv", stall.csv(["CA1"]), "--out", "archive")
    assert (ended.code, "--region" in ended.stderr) == (2, True)
    assert not stall.archive.exists()


async def test_an_archive_of_a_wrong_agent_begins_anew_in_the_plan_only(stall: Stall) -> None:
    """With nothing saved, a download would forget what is remembered: the plan sees it so."""
    csv = stall.csv(["CA404"])
    wrong = ("--region", "uk", "--agent", "PROJECT-9", "--out", str(stall.archive))
    await stall.run("download", "--csv", csv, *wrong)
    await kept(stall, "--csv", csv, *stall.whose)


@pytest.mark.parametrize("spoil", ["lost", "junk"])
async def test_a_ledger_that_cannot_be_read_is_told(stall: Stall, spoil: str) -> None:
    """Lost beside recordings, or no ledger: 6, with the command that mends it."""
    csv = stall.csv(stall.simulator.calls.recorded_ids()[:2])
    await stall.run("download", "--csv", csv, *stall.whose)
    ledger = stall.archive / ".bulkaudio" / "ledger.db"
    if spoil == "lost":
        ledger.unlink()
    else:
        ledger.write_bytes(b"junk" * 5000)
    for words in (("plan", "--csv", csv, *stall.whose), ("gaps", str(stall.archive))):
        ended = await stall.run(*words)
        assert (ended.code, ended.stdout) == (6, "")
        assert "rebuild" in ended.stderr


async def test_a_disk_that_will_not_hold_it_is_a_warning(stall: Stall) -> None:
    """The plan is advice: exit code 0, ``fits`` is false, and the words say so."""
    words = ("--csv", stall.csv(["CA1"]), *stall.whose, "--min-free", "8000000TB")
    assert (await foretold(stall, *words))["fits"] is False
    ended = await stall.run("plan", *words)
    assert ended.code == 0
    assert "The disk will not hold it" in ended.stdout
    quiet = await stall.run("plan", *words, "--quiet")
    assert "The disk will not hold it" in quiet.stdout


async def test_files_of_a_run_are_not_made(stall: Stall) -> None:
    """Log and summary are the download's; a listing that fails leaves nothing either."""
    files = ("--log-file", "run.log", "--summary-file", "run.json", "-v")
    plan = await foretold(stall, *stall.window, *stall.whose, *files)
    assert plan["counts"]["conversations"] > 0
    wrong = ("--region", "uk", "--agent", "PROJECT-9", "--account", "ws-9", "--out", "archive")
    before = tree(stall.cwd)
    ended = await stall.run("plan", *stall.window, *wrong)
    assert ended.code != 0
    assert tree(stall.cwd) == before


async def test_ids_come_from_a_pipe_and_words_go_to_people(stall: Stall) -> None:
    """``--csv -``, and a page that begins with what matters."""
    order = stall.order("plan", "--csv", "-", *stall.whose, "--limit", "1")
    ended = await run_forked(replace(order, stdin=b"CA1\nCA2\n"))
    assert ended.code == 0, ended.stderr
    assert ended.stdout.startswith("1 recording to fetch of 1 conversation: about 2.88 MB, 3m 00s")
    assert "Nothing was written." in ended.stdout


async def test_a_budget_is_told(stall: Stall) -> None:
    """Where the run would stop, and that the rest is for later ones."""
    words = ("--csv", stall.csv(["CA1", "CA2"]), *stall.whose, "--max-recordings", "1")
    assert (await foretold(stall, *words))["stops_at"] == "--max-recordings 1"


async def test_a_ledger_that_changes_meanwhile_is_noticed(stall: Stall) -> None:
    """A run that begins and ends between two looks is not half seen."""
    csv = stall.csv(stall.simulator.calls.recorded_ids()[:2])
    await stall.run("download", "--csv", csv, *stall.whose)
    path = stall.archive / ".bulkaudio" / "ledger.db"
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
    try:
        assert await ledger.has_saved()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE archive SET value = value || ' '")
            connection.commit()
        with pytest.raises(ArchiveBusyError):
            await ledger.pins()
    finally:
        await ledger.aclose()


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (40, "391 recordings, 391 to fetch, 1.13 GB, 19h 33m of audio"),
        (60, "391 391 1.13 GB 19h 33m"),
    ],
)
def test_a_narrow_window_cuts_no_number(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, width: int, line: str
) -> None:
    """Columns of nothing go first, and where that is not enough all is said in words."""
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
    csv = write_csv(inside.folder / "calls.csv", [f"CA{number:03}" for number in range(391)])
    options = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
    done = inside.run("plan", "--csv", csv, "--direction", "all", *options)
    assert done.code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert said.count(line) == 3
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
