"""The command ``report``, its numbers, and the page after a download."""

import asyncio
import json
import os
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bulkaudio.archive import open_archive
from bulkaudio.gaps import Column, Frame
from bulkaudio.ledger.burying import Burial
from bulkaudio.model import Direction, Status
from bulkaudio.report import count as count_module
from bulkaudio.report.callers import masked, read_callers
from bulkaudio.report.charts import day_class
from bulkaudio.report.figures import Scope
from bulkaudio.report.gather import Account, gather
from bulkaudio.report.page import MOST_BYTES, render
from bulkaudio.report.words import Tone, share_words, verdict
from bulkaudio.stores.lock import ArchiveLock
from bulkaudio.survey import survey
from tests.archives import EVERYWHERE, NOW, Sketch, make_archive
from tests.inside import Inside

LONDON = ZoneInfo("Europe/London")
SUMMER = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
"""In London it is the second of July already, half past midnight."""

MIXED = {Direction.COMBINED: Status.SAVED, Direction.USER: Status.FAILED}


def one(status: Status, name: str = "CA1", **more: object) -> Sketch:
    """Sketch a call whose only recording is so."""
    return Sketch(id=name, statuses={Direction.COMBINED: status}, **more)  # type: ignore[arg-type]


async def account_of(root: Path, scope: Scope | None = None) -> Account:
    """Gather an archive's account."""
    async with open_archive(root) as held:
        return await gather(held, scope or Scope())


CALLS = [
    Sketch(id="CA1", statuses=EVERYWHERE, seconds=10.0),
    Sketch(id="CA2", statuses=MIXED, reason="truncated", seconds=70.0),
    one(Status.OPEN, "CA3", started_at=SUMMER),
    one(Status.DEFERRED, "CA4", reason="not_ready"),
    one(Status.ABSENT, "CA5", reason="no_recording"),
    one(Status.SAVED, "CA6", started_at=None),
]


async def test_numbers_are_those_of_status(tmp_path: Path) -> None:
    """Every sum of recordings, bytes and hours equals the ledger's own; days and hours add up."""
    root = tmp_path / "archive"
    await make_archive(root, CALLS)
    account = await account_of(root, Scope(zone=LONDON))
    figures = account.figures
    async with open_archive(root) as held:
        totals = await held.ledger.totals()
    by_status: Counter[Status] = Counter()
    for (_, status), total in totals.items():
        by_status[status] += total.count
    assert {s: figures.count(s) for s in by_status} == by_status
    assert figures.listed == sum(by_status.values()) == 9
    saved = [t for (_, status), t in totals.items() if status is Status.SAVED]
    assert figures.bytes == sum(t.bytes for t in saved)
    assert figures.seconds == pytest.approx(sum(t.seconds for t in saved))
    assert sum(map(sum, figures.days.values())) + sum(figures.undated) == figures.listed
    assert figures.days[date(2026, 7, 2)] == (0, 0, 0, 0, 1, 0)
    assert figures.hours[0] == (0, 0, 0, 0, 1, 0)
    # By calls: one saved everywhere, one that failed on one side, one of each other kind.
    assert figures.calls == (2, 1, 1, 1, 1, 0)
    assert sum(figures.lengths) == 3


async def test_a_window_holds_what_began_in_it(tmp_path: Path) -> None:
    """Half-open; calls without a start are in no window, and the page says how many they are."""
    root = tmp_path / "archive"
    await make_archive(root, CALLS)
    scope = Scope(since=SUMMER, until=SUMMER + timedelta(seconds=1))
    account = await account_of(root, scope)
    assert (account.figures.listed, account.figures.left_out) == (1, 1)
    assert "without a known start" in " ".join(verdict(account).notes)
    empty = await account_of(root, Scope(since=SUMMER - timedelta(days=1), until=SUMMER))
    assert verdict(empty).tone is Tone.EMPTY


@pytest.mark.parametrize(
    ("calls", "tone", "words"),
    [
        ([], Tone.EMPTY, "Empty: this archive has not heard of any call yet."),
        (
            [one(Status.SAVED), one(Status.ABSENT, "CA2")],
            Tone.WHOLE,
            "Complete: every recording that was asked for and exists is archived.",
        ),
        (
            [one(Status.SAVED), one(Status.DEFERRED, "CA2")],
            Tone.WAITING,
            "Complete so far: 1 recording is not ready yet.",
        ),
        (
            [one(Status.DEFERRED), one(Status.FAILED, "CA2"), one(Status.OPEN, "CA3")],
            Tone.LACKING,
            "Not complete: 2 recordings of 3 are not archived (1 missing, 1 failed).",
        ),
    ],
)
async def test_the_verdict_is_said_in_words(
    calls: list[Sketch], tone: Tone, words: str, tmp_path: Path
) -> None:
    """Complete is said only where nothing is missing, failed or to come."""
    await make_archive(tmp_path / "archive", calls, has_files=False)
    account = await account_of(tmp_path / "archive")
    found = verdict(account)
    assert (found.tone, found.headline) == (tone, words)
    assert words in unescape(await asyncio.to_thread(render, account, {}, ""))


async def test_every_call_is_said_only_of_what_was_listed(tmp_path: Path) -> None:
    """A file, or the first five of a listing, leave calls that nobody asked for."""
    await make_archive(tmp_path / "archive", [one(Status.SAVED)], has_files=False)
    account = await account_of(tmp_path / "archive")
    assert not account.is_listed
    assert "calls that nobody asked for" in " ".join(verdict(account).notes)
    listed = verdict(replace(account, is_listed=True))
    assert listed.headline == "Complete: every call that has a recording is archived."
    assert "nobody asked for" not in " ".join(listed.notes)


async def test_what_was_erased_is_told_from_what_never_was(tmp_path: Path) -> None:
    """Each has a place of its own, on the page and in every sum, whatever window is asked for."""
    calls = [one(Status.SAVED), one(Status.ABSENT, "CA2")]
    root = tmp_path / "archive"
    await make_archive(root, calls, has_files=False)
    async with open_archive(root) as held:
        burial = Burial(
            conversation_id="CA3",
            rows=((Direction.COMBINED, SUMMER, SUMMER),),
            is_whole=True,
            at=SUMMER,
        )
        await held.ledger.erasures.bury([burial])
    account = await account_of(root)
    figures = account.figures
    assert figures.recordings == (1, 1, 0, 0, 0, 1)
    assert figures.calls == figures.recordings
    assert figures.days[SUMMER.date()] == (0, 0, 0, 0, 0, 1)
    assert day_class(figures.days[SUMMER.date()]) == "e"
    notes = " ".join(verdict(account).notes)
    assert "1 recording was erased here" in notes
    assert "1 recording does not exist at PolyAI" in notes
    page = render(account, {}, "")
    assert "<dt>Erased</dt><dd>1<small>" in page
    assert "1 known: 1 erased" in page
    assert "100 % of 1 to be kept" in page
    month = verdict(
        await account_of(root, Scope(since=SUMMER, until=SUMMER + timedelta(seconds=1)))
    ).notes
    assert "1 recording was erased here" in " ".join(month)
    assert "PolyAI" not in " ".join(month)


async def test_a_listing_without_an_end_is_never_complete(tmp_path: Path) -> None:
    """Whatever is saved: what the rest of it would have named, nobody knows."""
    root = tmp_path / "archive"
    await make_archive(root, [one(Status.SAVED)])
    async with open_archive(root) as held:
        await held.ledger.start_listing("scope", SUMMER, SUMMER + timedelta(days=1))
    found = verdict(await account_of(root))
    assert found.tone is Tone.LACKING
    assert found.headline.startswith("Not known to be complete")
    assert "1 Jul 2026, 23:30 to 2 Jul 2026, 23:30" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("kept", "of", "words"),
    [(1, 1, "100 %"), (999_999, 1_000_000, "99.99 %"), (1, 3, "33.3 %"), (0, 5, "0.0 %")],
)
def test_no_share_rounds_up_to_the_whole(kept: int, of: int, words: str) -> None:
    """One missing in a million is not a hundred per cent."""
    assert share_words(kept, of) == words


async def test_wrong_years_draw_no_centuries(tmp_path: Path) -> None:
    """Calls of the first and of the last day of the calendar, in a zone that goes beyond both."""
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    calls = [one(Status.SAVED, f"CA{n}", started_at=end) for n, end in enumerate(ends)]
    await make_archive(tmp_path / "archive", calls, has_files=False)
    for zone in ("Asia/Tokyo", "America/New_York"):
        scope = Scope(zone=await asyncio.to_thread(ZoneInfo, zone))
        account = await account_of(tmp_path / "archive", scope)
        page = await asyncio.to_thread(render, account, {}, "")
        assert page.count('<figure class="month">') == 2
        assert sum(map(sum, account.figures.days.values())) == 2


async def test_a_run_that_summed_up_strangely_is_shown_all_the_same(tmp_path: Path) -> None:
    """What another version wrote: no numbers, no object."""
    await make_archive(tmp_path / "archive", CALLS, has_files=False)
    async with open_archive(tmp_path / "archive") as held:
        for number, text in enumerate(('{"duration_s":"x","http":[],"counts":7}', "[]")):
            await held.ledger.start_run(f"odd-{number}", SUMMER, "{}")
            await held.ledger.finish_run(f"odd-{number}", SUMMER, text)
    account = await account_of(tmp_path / "archive")
    assert [run.seconds for run in account.runs] == [3600.0, 0.0, 0.0]
    assert "no word" in await asyncio.to_thread(render, account, {}, "")


def data_of(page: str) -> dict[str, object]:
    """Return what the script is told."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


async def test_what_lacks_something_comes_before_what_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the most that a table holds: the troubled first, then the newest; all are counted."""
    monkeypatch.setattr(count_module, "MOST_CALLS", 5)
    monkeypatch.setattr(count_module, "MOST_TROUBLED", 2)
    old = [one(Status.FAILED, f"CAf{n}", started_at=SUMMER - timedelta(n)) for n in range(1, 4)]
    new = [one(Status.SAVED, f"CAs{n}", started_at=SUMMER + timedelta(n)) for n in range(9)]
    await make_archive(tmp_path / "archive", [*old, *new], has_files=False)
    account = await account_of(tmp_path / "archive")
    shown = [line.id for line in account.figures.lines]
    assert shown == ["CAs8", "CAs7", "CAs6", "CAf1", "CAf2"]
    page = await asyncio.to_thread(render, account, {}, "")
    assert "The table holds 5 calls" in page
    assert "7 more are in every number above" in page


async def test_a_page_of_long_ids_and_reasons_stays_below_a_megabyte(tmp_path: Path) -> None:
    """Where the calls do not fit, fewer are shown, and that is said."""
    calls = [
        one(Status.FAILED, f"{n:05d}" + "x" * 120, reason=f"reason-{n}-" + "<&>" * 30)
        for n in range(4000)
    ]
    await make_archive(tmp_path / "archive", calls, has_files=False)
    account = await account_of(tmp_path / "archive")
    page = await asyncio.to_thread(render, account, {}, "")
    assert MOST_BYTES * 0.7 < len(page.encode()) <= MOST_BYTES
    assert "more are in every number above" in page
    assert "<&" not in page.partition("<body>")[2].replace("<!DOCTYPE", "")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_twenty_thousand_calls_of_three_directions_fit(tmp_path: Path) -> None:
    """With years of days, callers and every call of them in the table."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    calls = [
        Sketch(
            id=f"CA{hash((n, 7)) & (2**128 - 1):032x}",
            started_at=begin + timedelta(seconds=4573 * n),
            statuses=EVERYWHERE,
            seconds=n * 37 % 1800,
            codec="mulaw" if n % 3 else "pcm",
        )
        for n in range(20_000)
    ]
    await make_archive(tmp_path / "archive", calls, has_files=False)
    account = await account_of(tmp_path / "archive")
    callers = {call.id: f"…{n % 1000:03d}" for n, call in enumerate(calls)}
    page = await asyncio.to_thread(render, account, callers, "")
    assert len(page.encode()) < 1_000_000
    assert "20,000" in page
    assert "The table holds" not in page


# The command.


def archived(root: Path, calls: list[Sketch]) -> None:
    """Make an archive, in a test without a loop."""
    asyncio.run(make_archive(root, calls))


def test_the_page_is_the_owners_alone_and_replaces_the_last(inside: Inside) -> None:
    """The line of JSON has the numbers and names it; nothing else is left in the folder."""
    archived(inside.archive, CALLS)
    path = inside.archive / "report.html"
    path.write_text("an older one")
    path.chmod(0o644)
    before = {each.name for each in inside.archive.iterdir()}
    done = inside.run("report", inside.archive, "--json")
    assert (done.code, done.stderr) == (0, "")
    assert done.summary["schema"] == "bulkaudio.report/1"
    numbers = {name: done.summary[name] for name in ("saved", "absent", "deferred", "failed")}
    assert numbers == {"saved": 5, "absent": 1, "deferred": 1, "failed": 1}
    assert done.summary["listed"] == sum(numbers.values()) + done.summary["missing"]
    assert done.summary["report"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert {each.name for each in inside.archive.iterdir()} == before


def test_people_are_told_the_verdict_and_the_place(inside: Inside) -> None:
    """Words first, then where the page is; with --quiet nothing."""
    archived(inside.archive, CALLS)
    done = inside.run("report", inside.archive)
    lines = done.stdout.splitlines()
    assert lines[0] == "Not complete: 2 recordings of 9 are not archived (1 missing, 1 failed)."
    assert lines[-1].endswith(f"{inside.archive}/report.html")
    assert inside.run("report", inside.archive, "-q").stdout == ""


def test_an_archive_that_is_held_is_left_alone(inside: Inside) -> None:
    """Exit code 75, with the holder named, and no page."""
    archived(inside.archive, CALLS)
    with ArchiveLock(inside.archive / ".bulkaudio" / "lock"):
        done = inside.run("report", inside.archive)
    assert done.code == 75
    assert "another run holds" in done.stderr
    assert not (inside.archive / "report.html").exists()


def test_what_is_no_archive_is_refused(inside: Inside) -> None:
    """A folder without one, no folder, a ledger that is gone, a ledger that is junk."""
    assert inside.run("report", inside.folder).code == 2
    assert inside.run("report", inside.folder / "nowhere").code == 2
    archived(inside.archive, CALLS)
    ledger = inside.archive / ".bulkaudio" / "ledger.db"
    ledger.write_bytes(b"junk" * 4096)
    assert inside.run("report", inside.archive).code == 6
    ledger.unlink()
    done = inside.run("report", inside.archive)
    assert (done.code, "rebuild" in done.stderr) == (6, True)
    assert not (inside.archive / "report.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "never"),
        ("--tz", "Europe/Nowhere"),
        ("--since", "2026-11-02", "--until", "2026-11-01"),
        ("--output", "archive/combined/CA1.wav"),
        ("--output", "archive/metadata/x.html"),
        ("--output", "archive/.bulkaudio/ledger.db"),
    ],
)
def test_bad_words_touch_nothing(words: tuple[str, ...], inside: Inside) -> None:
    """Refused with exit code 2; the archive's own names above all."""
    archived(inside.archive, CALLS)
    before = (inside.archive / "combined" / "CA1.wav").read_bytes()
    assert inside.run("report", inside.archive, *words).code == 2
    assert (inside.archive / "combined" / "CA1.wav").read_bytes() == before
    assert not (inside.archive / "report.html").exists()


def test_a_page_that_cannot_be_written_is_told(inside: Inside) -> None:
    """No folder, a folder under its name, a link: exit code 6, and nothing is written through."""
    archived(inside.archive, CALLS)
    (inside.folder / "link.html").symlink_to("elsewhere.html")
    for place in ("nowhere/report.html", "home", "link.html"):
        (inside.folder / "home").mkdir(exist_ok=True)
        done = inside.run("report", inside.archive, "--output", place)
        assert done.code == 6, place
        assert f"the report {place} cannot be written" in done.stderr
    assert not (inside.folder / "elsewhere.html").exists()


NUMBER = "+447700900123"


@pytest.mark.parametrize("is_asked", [False, True])
def test_numbers_are_masked_unless_asked_for(is_asked: bool, inside: Inside) -> None:  # noqa: FBT001
    """Masked in every part of the page; of a call without metadata, nothing at all is said."""
    archived(inside.archive, [one(Status.SAVED, "CA1"), one(Status.SAVED, "CA2")])
    (inside.archive / "metadata").mkdir()
    text = json.dumps({"from_number": NUMBER, "turns": ["secret"]}, indent=2, sort_keys=True)
    (inside.archive / "metadata" / "CA1.json").write_text(text)
    assert inside.run("report", inside.archive, *["--show-numbers"][:is_asked]).code == 0
    page = (inside.archive / "report.html").read_text()
    calls = data_of(page)["calls"]
    assert isinstance(calls, dict)
    assert calls["names"] == ([NUMBER] if is_asked else ["\N{HORIZONTAL ELLIPSIS}123"])
    assert sorted(calls["callers"]) == [-1, 0]
    assert (NUMBER[1:] in page) == is_asked
    assert "secret" not in page


def test_without_metadata_there_are_no_callers(inside: Inside) -> None:
    """The table has no such column then."""
    archived(inside.archive, CALLS)
    assert inside.run("report", inside.archive, "--show-numbers").code == 0
    calls = data_of((inside.archive / "report.html").read_text())["calls"]
    assert isinstance(calls, dict)
    assert (calls["names"], calls["callers"]) == ([], [])


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (NUMBER, "…123"),
        ("sip:+447700900123@example.com", "…123"),
        ("anonymous", "hidden"),
        ("12345", "hidden"),
    ],
)
def test_masks_leave_three_digits(number: str, shown: str) -> None:
    """Of what is no number, not even that."""
    assert masked(number) == shown


@pytest.mark.parametrize(
    "text",
    [
        '{"from_number": "x"}',
        '{\n  "state": {\n    "from_number": "+447700900123"\n  }\n}',
        '{\n  "from_number": 5\n}',
        '{\n  "from_number": "\\ud800 broken',
        "",
    ],
)
def test_files_that_tell_no_caller(text: str, tmp_path: Path) -> None:
    """Not ours, an inner object's number, another type, cut off: nobody is named."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "CA1.json").write_text(text)
    assert read_callers(tmp_path, ["CA1"], are_shown=True) == {}


def test_links_and_pipes_for_metadata_are_not_read(tmp_path: Path) -> None:
    """Nor waited for."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "secret").write_text(json.dumps({"from_number": NUMBER}, indent=2))
    (tmp_path / "metadata" / "CA1.json").symlink_to("../secret")
    os.mkfifo(tmp_path / "metadata" / "CA2.json")
    assert read_callers(tmp_path, ["CA1", "CA2"], are_shown=True) == {}


async def test_days_and_sums_are_those_of_gaps(tmp_path: Path) -> None:
    """Both count the same recordings into the same days and columns, where clocks change too."""
    autumn = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    calls = [
        one(status, f"CA{n}{status}", started_at=autumn + timedelta(minutes=n * 47))
        for n in range(60)
        for status in (Status.SAVED, Status.OPEN, Status.FAILED, Status.DEFERRED, Status.ABSENT)
    ]
    await make_archive(tmp_path / "archive", [*calls, *CALLS], has_files=False)
    for zone in ("Europe/London", "America/Havana", "Asia/Kathmandu"):
        there = await asyncio.to_thread(ZoneInfo, zone)
        figures = (await account_of(tmp_path / "archive", Scope(zone=there))).figures
        async with open_archive(tmp_path / "archive") as held:
            frame = Frame(zone=there, now=NOW, directions=tuple(Direction))
            census = await survey(held.ledger, frame)
        columns = [census.counts[key] for key in census.counts]
        by_day: dict[date | None, Counter[Column]] = {}
        for (day, _), counted in census.counts.items():
            by_day.setdefault(day, Counter()).update(counted)
        assert sum(columns, Counter()).total() == figures.listed
        ours = {None: figures.undated} | figures.days
        assert {day: tuple(by_day[day][c] for c in Column) for day in by_day} == ours


async def test_no_variable_narrows_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is set for the nightly job would leave out what is missing."""
    inside = Inside(tmp_path, monkeypatch, capsys)
    await make_archive(inside.archive, CALLS)
    (tmp_path / "own.toml").write_text('until = "2001-01-01"\n')
    inside.env("BULKAUDIO_SINCE", "2040-01-01")
    words = ("report", inside.archive, "--json", "--config", "own.toml")
    told = (await asyncio.to_thread(inside.run, *words)).summary
    assert (told["since"], told["until"]) == (None, None)
    assert told["missing"] == 1
