"""``gaps``: what is not kept, by day and direction, and why; and its verdict."""

import asyncio
import csv
import io
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.cells import row
from bulkaudio.cli.gaps_found import cell
from bulkaudio.cli.gaps_page import fold
from bulkaudio.gaps import Coverage, Line
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Evidence, Outcome, Recording, Status
from bulkaudio.simulator import Simulator
from tests.forked import Ended
from tests.looks import SINCE, UNTIL, Stall, calls, stall_at, tree
from tests.program import ledger_rows

PARTS = ("saved", "absent", "deferred", "failed", "missing", "erased")


@pytest.fixture
async def stall(tmp_path: Path) -> AsyncIterator[Stall]:
    """Serve a dozen calls of two days: one is going on, two opted out, one is listed late."""
    mixed = calls(12, opt_out_share=0.15, in_progress=1, late=1)
    async with Simulator(calls=mixed) as simulator:
        yield stall_at(tmp_path, simulator)


async def gaps(stall: Stall, *words: str, code: int | None = None) -> dict[str, Any]:
    """Look; every line adds up, and the sums are the lines'."""
    ended = await stall.run("gaps", stall.archive, "--json", *words)
    document = ended.summary
    assert len(ended.stdout.splitlines()) == 1
    assert (document["schema"], document["exit_code"]) == ("bulkaudio.gaps/1", ended.code)
    assert code in {None, ended.code}, ended.stdout
    sums: Counter[str] = Counter()
    for line in (*document["days"], document["totals"]):
        assert line["listed"] == sum(line[part] for part in PARTS)
    for line in document["days"]:
        sums.update({name: line[name] for name in (*PARTS, "listed")})
    assert document["totals"] == {name: sums[name] for name in ("listed", *PARTS)}
    kept_away = document["totals"]["listed"] - document["totals"]["saved"]
    assert sum(each["recordings"] for each in document["reasons"]) == kept_away
    lacks = sums["failed"] + sums["missing"] > 0
    # What an unfinished listing would name is in no line; whether it is of this window, `code` says.
    assert ended.code == 3 or not lacks
    is_unknown = "Not known" in document["verdict"]
    assert lacks or ended.code == 0 or document["unfinished_listings"] or is_unknown
    return document


async def as_status(stall: Stall, document: dict[str, Any]) -> None:
    """Hold the totals to those of ``status``."""
    totals = (await stall.run("status", stall.archive, "--json")).summary["totals"]
    told = Counter[str]()
    for each in totals:
        told["missing" if each["status"] == "open" else each["status"]] += each["recordings"]
    assert {part: document["totals"][part] for part in PARTS} == {p: told[p] for p in PARTS}


@asynccontextmanager
async def ledger_of(stall: Stall) -> AsyncIterator[Ledger]:
    """Open the archive's ledger, to put into it what takes nights to come about."""
    ledger = await Ledger.open(stall.archive / ".bulkaudio" / "ledger.db", is_new_allowed=True)
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def page(stall: Stall, *words: str) -> Ended:
    """Look as a person does."""
    return await stall.run("gaps", stall.archive, *words)


async def test_a_night_from_stop_to_complete(stall: Stall) -> None:
    """What is open is missing; afterwards it is complete, and what may still come is told."""
    words = ("download", *stall.window, *stall.whose, "--direction", "all")
    await stall.run(*words, "--max-recordings", "5", "--quiet")
    document = await gaps(stall, code=3)
    await as_status(stall, document)
    missing = document["totals"]["missing"]
    assert document["totals"]["saved"] == 5
    assert document["oldest"] == "2026-01-05"
    assert document["verdict"] == (f"{missing} recordings are missing, the oldest from 2026-01-05.")
    reason = document["reasons"][0]
    assert (reason["status"], reason["reason"]) == ("missing", "never_tried")
    assert (await page(stall, "--quiet")).stdout

    await stall.run(*words, "--quiet")
    document = await gaps(stall, code=0)
    await as_status(stall, document)
    whole = "Complete: every call that has a recording is archived."
    # The nights may have stopped long ago: what is known ends there.
    assert document["verdict"] == f"{whole} Nothing after 2026-01-07T00:00Z was listed."
    assert (await gaps(stall, *stall.window))["verdict"] == whole
    assert {line["coverage"] for line in document["days"]} == {"whole"}
    shown = await page(stall)
    assert shown.stdout.startswith(whole)
    assert "support id" in shown.stdout
    assert "PolyAI has none and will not have one" in shown.stdout
    assert (await page(stall, "--quiet")).stdout == ""

    absent = [key for key, line in ledger_rows(stall.archive).items() if line.status == "absent"]
    recording = Recording(conversation_id=absent[0][0], direction=Direction(absent[0][1]))
    later = Outcome(recording=recording, status=Status.DEFERRED, reason="not_ready")
    async with ledger_of(stall) as ledger:
        await ledger.settle([later], None, SINCE)
    document = await gaps(stall, code=0)
    await as_status(stall, document)
    assert document["verdict"].startswith(f"{whole} 1 recording may still come, the oldest from ")


async def test_failures_are_told_with_their_support_ids(stall: Stall) -> None:
    """By reason, the most frequent first, with an example that has an id; nothing acts on a terminal."""
    await stall.run("download", *stall.window, *stall.whose, "--max-recordings", "1")
    ids = [key[0] for key, line in ledger_rows(stall.archive).items() if line.status == "open"]
    reasons = ["truncated", "truncated", "\x1b[2J=1+1"]
    async with ledger_of(stall) as ledger:
        outcomes = [
            Outcome(
                recording=Recording(conversation_id=id_, direction=Direction.COMBINED),
                status=Status.FAILED,
                reason=reason,
                evidence=Evidence(correlation_id="cid-7" if number == 1 else None, attempts=5),
            )
            for number, (id_, reason) in enumerate(zip(ids, reasons, strict=False))
        ]
        await ledger.settle(outcomes, None, SINCE)
    document = await gaps(stall, code=3)
    await as_status(stall, document)
    failed = [each for each in document["reasons"] if each["status"] == "failed"]
    assert [each["recordings"] for each in failed] == [2, 1]
    assert failed[0]["example"] == {
        "id": ids[1],
        "direction": "combined",
        "correlation_id": "cid-7",
    }
    shown = await page(stall)
    assert "missing and 3 failed, the oldest from 2026-01-05." in shown.stdout
    assert "the recording was cut short" in shown.stdout
    assert "support id cid-7" in shown.stdout
    assert "\\x1b[2J=1+1" in shown.stdout


async def test_days_are_those_of_the_zone_and_of_the_window(stall: Stall) -> None:
    """Every zone counts the same calls; a window takes those that start in it."""
    await stall.run("download", *stall.window, *stall.whose)
    here = (await gaps(stall))["totals"]
    for zone in ("Asia/Kolkata", "Pacific/Auckland", "America/St_Johns"):
        there = await gaps(stall, "--tz", zone)
        assert (there["totals"], there["tz"]) == (here, zone)
    halves = [
        (await gaps(stall, "--until", "2026-01-06"))["totals"],
        (await gaps(stall, "--since", "2026-01-06", "--until", "2026-01-07"))["totals"],
    ]
    assert {name: halves[0][name] + halves[1][name] for name in here} == here
    assert 0 < halves[0]["listed"] < here["listed"]


async def test_days_that_nobody_listed_are_not_called_empty(stall: Stall) -> None:
    """Listed and without a call is zero; not listed is unknown, and the verdict says so."""
    for since, until in (("2025-12-28", "2025-12-30"), ("2026-01-04", "2026-01-07")):
        window = ("--since", since, "--until", until)
        assert (await stall.run("download", *window, *stall.whose)).code == 0
    document = await gaps(stall, code=0)
    seen = {line["day"]: (line["coverage"], line["listed"] > 0) for line in document["days"]}
    empty, unknown = ("whole", False), ("none", False)
    assert seen == {
        **{f"2025-12-{day}": empty for day in (28, 29)},
        **{f"2025-12-{day}": unknown for day in (30, 31)},
        **{f"2026-01-0{day}": unknown for day in (1, 2, 3)},
        "2026-01-04": empty,
        "2026-01-05": ("whole", True),
        "2026-01-06": ("whole", True),
    }
    assert "Complete as far as was listed: 5 days were never listed" in document["verdict"]
    assert "? no listing saw this day" in (await page(stall)).stdout
    last = await gaps(stall, "--since", "2025-12-30", "--until", "2026-01-01", code=3)
    assert "2 days were never listed, the first of them 2025-12-30" in last["verdict"]
    now = await gaps(stall, "--since", "yesterday", code=3)
    assert "1 day was never listed (today not counted)" in now["verdict"]
    # A listing of one variant has seen that variant only.
    other = ("--since", "2025-12-30", "--until", "2026-01-04", "--variant", "V")
    await stall.run("download", *other, *stall.whose)
    assert "5 days were never listed" in (await gaps(stall))["verdict"]
    east = await gaps(stall, "--tz", "Asia/Tokyo")
    assert {line["coverage"] for line in east["days"]} == {"whole", "part", "none"}


async def test_a_listing_without_an_end_is_never_complete(stall: Stall) -> None:
    """Whatever is saved: what the rest of it names, nobody knows; other windows are as they are."""
    await stall.run("download", *stall.window, *stall.whose)
    assert (await gaps(stall, code=0))["verdict"].startswith("Complete")
    ledger = await Ledger.open(stall.archive / ".bulkaudio" / "ledger.db", is_new_allowed=False)
    await ledger.start_listing("scope", UNTIL, UNTIL + timedelta(days=1))
    await ledger.aclose()
    document = await gaps(stall, code=3)
    assert document["verdict"].startswith("Not known to be complete")
    assert len(document["unfinished_listings"]) == 1
    await gaps(stall, "--until", UNTIL.isoformat(), code=0)


async def test_marks_say_where_a_day_comes_from(stall: Stall) -> None:
    """Seen in part by a listing, named by a file only, or never: each in words of its own."""
    rows = [f"{call.id},{call.started_at.isoformat()}" for call in stall.simulator.calls.all()]
    (stall.cwd / "dated.csv").write_text("\n".join(["conversation_id,started_at", *rows]))
    await stall.run(
        "download", "--since", "2026-01-05T12:00Z", "--until", "2026-01-06", *stall.whose
    )
    await stall.run("download", "--csv", "dated.csv", *stall.whose)
    told = (await page(stall, "--until", "2026-01-08")).stdout
    assert "2026-01-05 *  " in told
    assert "* a listing saw only a part of this day" in told
    assert "2026-01-06 **  " in told
    assert "** no listing saw this day; what is known was named by a file of ids" in told
    assert "start unknown" not in told


async def test_files_know_no_days(stall: Stall) -> None:
    """What a CSV named has a line of its own, and what no file named is not known."""
    ids = stall.simulator.calls.recorded_ids()[:3]
    await stall.run("download", "--csv", stall.csv(ids), *stall.whose)
    document = await gaps(stall, code=0)
    await as_status(stall, document)
    assert [(line["day"], line["saved"]) for line in document["days"]] == [(None, 3)]
    assert "No listing has come to its end" in document["verdict"]
    document = await gaps(stall, "--since", "2026-01-01", code=3)
    assert (document["totals"]["listed"], document["without_start"]) == (0, 3)
    assert (
        "Left out: 3 recordings of calls whose start is not known"
        in (await page(stall, "--since", "2026-01-01")).stdout
    )


async def test_a_direction_that_was_never_asked_for_is_missing(stall: Stall) -> None:
    """Whoever names it wants to have it; whoever does not gets what was asked for."""
    await stall.run("download", *stall.window, *stall.whose)
    listed = (await gaps(stall, code=0))["totals"]["listed"]
    document = await gaps(stall, "--direction", "user", code=3)
    assert document["totals"]["missing"] == document["totals"]["listed"] == listed
    assert document["reasons"][0]["reason"] == "never_asked"
    assert {line["coverage"] for line in document["days"]} == {"whole"}
    shown = (await page(stall, "--direction", "user")).stdout
    assert "--since 2026-01-05 --direction user" in " ".join(shown.split())
    both = await gaps(stall, "--direction", "all", code=3)
    assert both["totals"]["missing"] == 2 * listed


async def test_a_fresh_listing_finds_what_no_listing_had(stall: Stall) -> None:
    """Late arrivals, newer calls, other directions; asked once, and nothing is written down."""
    await stall.run("download", *stall.window, *stall.whose, "--direction", "all")
    before = ledger_rows(stall.archive)
    assert (await gaps(stall, "--relist", code=0))["relisted"]["conversations"] > 0
    late = [call for call in stall.simulator.calls.all() if not call.is_listed]
    stall.simulator.calls.catch_up()
    assert (await gaps(stall, code=0))["relisted"] is None
    document = await gaps(stall, "--relist", code=3)
    assert document["totals"]["missing"] == 3 * len(late)
    assert document["reasons"][0]["reason"] == "never_listed"
    assert document["reasons"][0]["example"]["id"] == late[0].id
    document = await gaps(stall, "--relist", "--direction", "user", code=3)
    assert document["totals"]["missing"] == len(late)
    assert ledger_rows(stall.archive) == before
    shown = await page(stall, "--relist", "--progress", "on")
    assert "Compared with what PolyAI lists now" in shown.stdout
    await stall.run("download", *stall.window, *stall.whose)
    assert (await gaps(stall, "--relist"))["totals"]["missing"] == 0


async def test_a_fresh_listing_beyond_the_last_one(stall: Stall) -> None:
    """Time that no run has listed yet is told apart; pages may name a call twice."""
    window = ("--since", "2026-01-05", "--until", "2026-01-06")
    await stall.run("download", *window, *stall.whose)
    document = await gaps(stall, "--relist", "--since", "2026-01-05", code=3)
    day = next(line for line in document["days"] if line["day"] == "2026-01-06")
    assert (day["missing"] > 0, day["coverage"]) == (True, "whole")
    reasons = {each["reason"] for each in document["reasons"] if each["status"] == "missing"}
    assert reasons == {"not_listed_yet"}
    # What is going on now is not due.
    assert day["deferred"] == 1


async def test_an_archive_of_files_is_compared_when_the_rest_is_told(stall: Stall) -> None:
    """Without a listing there is no window; without an account nobody to ask; and keys are keys."""
    ids = stall.simulator.calls.recorded_ids()
    whose = ("--region", "uk", "--agent", stall.simulator.agent, "--out", str(stall.archive))
    await stall.run("download", "--csv", stall.csv(ids[:3]), *whose)
    ended = await page(stall, "--relist")
    assert (ended.code, "--since" in ended.stderr) == (2, True)
    since = ("--relist", "--since", SINCE.isoformat(), "--until", UNTIL.isoformat())
    ended = await page(stall, *since)
    assert (ended.code, "--account" in ended.stderr) == (2, True)
    account = ("--account", stall.simulator.account)
    assert (await gaps(stall, *since, *account, code=3))["totals"]["missing"] > 0
    ended = await page(stall, *since, *account, "--agent", "PROJECT-9")
    assert (ended.code, "--agent" in ended.stderr) == (2, True)
    ended = await stall.run("gaps", stall.archive, *since, *account, POLYAI_API_KEY="")
    assert ended.code == 4


async def test_the_csv_is_a_table(stall: Stall) -> None:
    """Of every day and direction, on standard output or in a file; never over what matters."""
    await stall.run("download", *stall.window, *stall.whose, "--max-recordings", "2")
    document = await gaps(stall, code=3)
    printed = await page(stall, "--csv", "-")
    assert printed.code == 3
    table = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [each["day"] for each in table] == [line["day"] for line in document["days"]]
    assert sum(int(each["missing"]) for each in table) == document["totals"]["missing"]
    # The variable is another command's: a file to read.
    calls_csv = stall.cwd / "ids.csv"
    calls_csv.write_text("conversation_id\nCA1\n")
    config = stall.cwd / "bulkaudio.toml"
    config.write_text(f'csv = "{calls_csv}"\n')
    words = ("gaps", stall.archive, "--config", str(config), "--csv", "out.csv")
    done = await stall.run(*words, "--json", BULKAUDIO_CSV=str(calls_csv))
    assert done.code == 3
    assert calls_csv.read_text() == "conversation_id\nCA1\n"
    assert (stall.cwd / "out.csv").read_text() == printed.stdout
    await stall.run("gaps", stall.archive, "--config", str(config), BULKAUDIO_CSV=str(calls_csv))
    assert calls_csv.read_text() == "conversation_id\nCA1\n"
    ended = await page(stall, "--csv", "no/such/folder.csv")
    assert ended.code == 6


NONSENSE = {
    ("--tz", "Mars/Base"): "Mars/Base",
    ("--since", "never"): "--since",
    ("--since", "2026-01-06", "--until", "2026-01-05"): "--until",
    ("--csv", "-", "--json"): "--json",
    ("--csv", "--json"): "--csv",
    ("--csv", "archive/.bulkaudio/ledger.db"): "ledger",
    ("--csv", "archive/combined/CA1.wav"): "recording",
}


async def test_what_makes_no_sense_is_refused(stall: Stall) -> None:
    """With a sentence, before anything is looked at."""
    await stall.run("download", "--csv", stall.csv(["CA404"]), *stall.whose)
    before = tree(stall.cwd)
    for words, said in NONSENSE.items():
        ended = await page(stall, *words)
        assert ended.code == 2
        assert not ended.stdout or ended.summary["schema"] == "bulkaudio.error/1"
        assert said in ended.stderr
    assert tree(stall.cwd) == before


async def test_a_start_that_is_none_is_damage(stall: Stall) -> None:
    """It is told as such, with 6, and not taken for a day or for a bug."""
    await stall.run("download", "--csv", stall.csv(["CA404"]), *stall.whose)

    def spoil() -> None:
        with closing(sqlite3.connect(stall.archive / ".bulkaudio" / "ledger.db")) as connection:
            connection.execute("UPDATE recordings SET started_at = '2026-13-45T25'")
            connection.commit()

    await asyncio.to_thread(spoil)
    ended = await page(stall)
    assert (ended.code, ended.stdout) == (6, "")
    assert "is damaged" in ended.stderr


async def test_a_folder_that_is_no_archive_stays_one(stall: Stall) -> None:
    """And an archive that has nothing says that nothing is known."""
    ended = await stall.run("gaps", stall.cwd)
    assert (ended.code, "not an archive" in ended.stderr) == (2, True)
    assert not (stall.cwd / ".bulkaudio").exists()
    await stall.run("download", "--csv", stall.csv(["no id"]), *stall.whose)
    document = await gaps(stall, code=0)
    assert document["verdict"].startswith("Nothing is known")


def line(day: int, **counts: int) -> Line:
    """Make a day's line."""
    coverage = Coverage(["none", "whole"][counts.pop("whole", 1)])
    first = date(2026, 1, 1)
    return Line(
        day=first + timedelta(days=day), direction=Direction.USER, coverage=coverage, **counts
    )


def test_days_in_a_row_that_lack_nothing_are_folded() -> None:
    """Whole days with calls, whole days without, unknown days; what lacks something stands alone."""
    lines = [
        *(line(0, saved=3), line(1, saved=2, absent=1), line(2), line(3)),
        *(line(4, whole=0), line(5, whole=0), line(6, saved=1, missing=1), line(7, missing=1)),
        line(8, saved=1),
    ]
    stretches = fold(lines)
    assert [each.days for each in stretches] == [2, 2, 2, 1, 1, 1]
    assert [each.sum.listed for each in stretches] == [6, 0, 0, 2, 1, 1]
    assert sum(each.sum.saved for each in stretches) == sum(each.saved for each in lines)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("combined", "combined"),
        ("=1+1", "'=1+1"),
        ("+44", "'+44"),
        ("-x", "'-x"),
        ("@SUM", "'@SUM"),
        (" =1", "' =1"),
        ("\t=1", "\\t=1"),
        ("a\nb", "a\\nb"),
        ("a,b", '"a,b"'),
        (-5, "-5"),
        (None, ""),
    ],
)
def test_no_cell_is_a_formula(value: object, written: str) -> None:
    """Nor does any break its line; numbers stay numbers."""
    assert row([cell(value), "x"]) == f"{written},x\n"


async def test_no_variable_and_no_file_narrows_it(stall: Stall) -> None:
    """What is set for the nightly job would hide what is missing; only a flag narrows."""
    words = ("download", *stall.window, *stall.whose, "--direction", "all")
    await stall.run(*words, "--max-recordings", "5", "--quiet")
    whole = await gaps(stall, code=3)
    (stall.cwd / "own.toml").write_text('since = "2040-01-01"\ndirection = ["user"]\n')
    by_file = await gaps(stall, "--config", "own.toml")
    ended = await stall.run(
        *("gaps", stall.archive, "--json"),
        BULKAUDIO_SINCE="2040-01-01",
        BULKAUDIO_UNTIL="2040-01-02",
        BULKAUDIO_DIRECTION="user",
    )
    for told in (by_file, ended.summary):
        names = ("since", "until", "directions", "totals", "exit_code")
        assert {name: told[name] for name in names} == {name: whole[name] for name in names}


async def test_a_window_that_holds_no_call(stall: Stall) -> None:
    """It is named, and nothing is called complete; where no listing looked, nobody knows: 3."""
    window = ("--since", "2026-01-04", "--until", "2026-01-07")
    await stall.run("download", *window, *stall.whose, "--max-recordings", "5", "--quiet")
    await stall.run("download", *window, *stall.whose, "--quiet")
    for words in (("--since", "2040-01-01"), ("--until", "2001-01-01")):
        told = await gaps(stall, *words, code=3)
        assert told["verdict"].startswith("Not known to be complete: no call is known")
        assert words[1] in told["verdict"]
    told = await gaps(stall, "--since", "2026-01-04", "--until", "2026-01-05", code=0)
    named = "from 2026-01-04T00:00:00Z and before 2026-01-05T00:00:00Z"
    assert told["verdict"].startswith(f"No call is known {named}. ")
