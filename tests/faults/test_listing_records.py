"""Records of a listing that are odd, hostile, unfinished or late: the others proceed."""

from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.listed import (
    DAY,
    Book,
    check_bookmark,
    listed,
    listing_lines,
    listing_trial,
    page,
    record,
)
from tests.program import ledger_rows
from tests.wire import WireServer, says_json

GOOD = ("CA1", "CA2")

ODD: dict[str, object] = {
    "no_id": {"started_at": "2026-11-10T10:00:00Z"},
    "id_null": record("CA9", id=None),
    "id_number": record("CA9", id=17),
    "id_array": record("CA9", id=["CA9"]),
    "id_empty": record(""),
    "start_null": record("CA9", started_at=None),
    "start_missing": {"id": "CA9", "channel": "VOICE"},
    "start_number": record("CA9", started_at=1762768800),
    "start_text": record("CA9", started_at="yesterday"),
    "start_of_a_calendar_with_no_such_day": record("CA9", started_at="2026-02-30T10:00:00Z"),
    "progress_text": record("CA9", in_progress="no"),
    "null": None,
    "number": 17,
    "text": "a text",
    "array": ["CA9"],
    "empty_object": {},
}
HOSTILE = (
    *(
        "../../etc/escaped",
        "/etc/escaped",
        "..\\..\\escaped",
        "%2e%2e/escaped",
        "..",
        ".",
        ".hidden",
    ),
    *("CA9?direction=user", "CA9#x", "CA9&redacted=true", "CA9 x", "CA9/audio", "a/b", "CA9%00"),
    *("CA9\x00", "CA9\nCA8", "CA9\r\nX-Evil: 1", "\x1b[31mred", "CA9\u202egpj", "{conversationId}"),
    *("-rf", "=1+1", "~root", "\uff23\uff21\uff19", "x" * 129, "x" * 1_000_000),
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in {"no_id", "start_null"} else pytest.mark.slow)
        for name in ODD
    ],
)
async def test_one_record_that_cannot_be_used_is_set_aside(name: str, tmp_path: Path) -> None:
    """It is counted and told; the records around it and the pages behind it proceed; exit 3."""
    told = {"": ("CA1",), "c1": ("CA2",)}
    book = Book({"": says_json(200, {"conversations": [ODD[name], record("CA1")], "cursor": "c1"}),
                 "c1": page("CA2")})  # fmt: skip
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *GOOD)
        ended = await listed(trial, told, "-v")
        assert ended.code == 3, ended.stderr
        counts = ended.summary["counts"]
        assert (counts["rejected"], counts["saved"], counts["conversations"]) == (1, 2, 2)
        assert "page 1, record 1" in ended.stderr
        assert trial.saved() == set(trial.truth)
        assert listing_lines(trial.archive)[0].state == "finished"
        book.mend({"": page(*GOOD)})
        await trial.healed(*DAY)


async def test_hostile_ids_of_a_listing_lead_nowhere(tmp_path: Path) -> None:
    """No request names them, no file is made of them, and nothing of them reaches the terminal."""
    records = [record(id_) for id_ in (*HOSTILE, *GOOD)]
    book = Book({"": says_json(200, {"conversations": records})})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *GOOD)
        before = set(tmp_path.rglob("*"))
        ended = await listed(trial, {"": GOOD})
        assert ended.code == 3, ended.stderr
        assert ended.summary["counts"]["rejected"] == len(HOSTILE)
        assert trial.saved() == set(trial.truth)
        assert {target.split("?")[0] for target in server.targets} == {
            "/v3/ws-1/PROJECT-1/conversations",
            *(f"/v1/agents/PROJECT-1/conversations/{id_}/audio" for id_ in GOOD),
        }
        outside = set(tmp_path.rglob("*")) - before
        assert all(trial.archive in (path, *path.parents) for path in outside)
        assert "\u202e" not in ended.stdout + ended.stderr


@pytest.mark.slow
async def test_case_twins_of_a_listing_keep_their_files_apart(tmp_path: Path) -> None:
    """Ids that differ by case alone never share a path, also where the file system folds case."""
    twins = ("CA1a", "ca1A", "cA1a", "Ca1A")
    book = Book({"": page(*twins)})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *twins)
        ended = await listed(trial, {"": twins})
        assert ended.code == 0, ended.stderr
        assert len({path.casefold() for path in trial.saved()}) == len(twins)
        await trial.healed(*DAY)


def starts(target: str) -> tuple[str, str]:
    """Return the window that a request for a page names."""
    query = parse_qs(urlsplit(target).query)
    return query["start_time"][0], query["end_time"][0]


async def test_a_call_in_progress_is_fetched_when_it_has_ended(tmp_path: Path) -> None:
    """It is not asked for and no failure; the next night begins before it, whatever came since."""
    at_ten = "2026-11-10T10:00:00Z"
    book = Book({"": page("CA1", record("CA2", in_progress=True, started_at=at_ten))})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", "CA1", "CA2")
        ended = await listed(trial, {"": ("CA1", "CA2")})
        assert ended.code == 0, ended.stderr
        counts = ended.summary["counts"]
        assert (counts["saved"], counts["deferred"], counts["failed"]) == (1, 1, 0)
        assert trial.statuses()["combined/CA2"] == ("deferred", "in_progress")
        assert "combined/CA2.wav" not in book.asked
        book.mend({"": page("CA1", record("CA2", started_at=at_ten))})
        nightly = await trial.download()
        assert nightly.code == 0, nightly.stderr
        assert starts(book.targets[0])[0] == "2026-11-08T10:00:00Z"
        await trial.healed(*DAY)


@pytest.mark.parametrize(
    ("lookback", "since"),
    [
        pytest.param("48h", "2026-11-09T00:00:00Z"),
        pytest.param("90m", "2026-11-10T22:30:00Z", marks=pytest.mark.slow),
        pytest.param("3d", "2026-11-08T00:00:00Z", marks=pytest.mark.slow),
    ],
)
async def test_a_late_arrival_is_found_by_the_next_night(
    lookback: str, since: str, tmp_path: Path
) -> None:
    """A closed window is looked at again, as far back as was asked; nothing is fetched twice."""
    book = Book({"": page("CA1")})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", "CA1", "CA2")
        assert (await listed(trial, {"": ("CA1",)}, "--lookback", lookback)).code == 0
        book.mend({"": page("CA1", record("CA2", started_at="2026-11-10T23:00:00Z"))})
        ended = await trial.download("--lookback", lookback)
        assert ended.code == 0, ended.stderr
        assert starts(book.targets[0])[0] == since
        assert trial.saved() == set(trial.truth)
        assert all(count == 1 for count in book.asked.values())


EDGES = {
    "first": "2026-11-10T00:00:00Z",
    "first_offset": "2026-11-10T00:00:00+00:00",
    "first_naive": "2026-11-10T00:00:00",
    "first_elsewhere": "2026-11-09T19:00:00-05:00",
    "blank": "2026-11-10 12:00:00.123",
    "basic": "20261110T120000Z",
    "last": "2026-11-10T23:59:59.999999Z",
    "last_elsewhere": "2026-11-11T01:59:59+02:00",
    "next": "2026-11-11T00:00:00Z",
    "next_offset": "2026-11-11T00:00:00+00:00",
    "next_naive": "2026-11-11T00:00:00",
    "next_elsewhere": "2026-11-11T02:00:00+02:00",
}


async def test_windows_are_half_open_in_every_spelling(tmp_path: Path) -> None:
    """Two days that meet take every call once: at midnight, it is the later day's."""
    day = tuple(id_ for id_ in EDGES if not id_.startswith("next"))
    calls = [record(id_, started_at=start) for id_, start in EDGES.items()]
    book = Book({"": page(*calls)})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *EDGES)
        assert (await listed(trial, {"": day})).code == 0
        assert {id_ for id_, _ in ledger_rows(trial.archive)} == set(day)
        book.mend({"": page(*(call for call in calls if str(call["id"]).startswith("next")))})
        night = ("--account", "ws-1", "--since", "2026-11-11", "--until", "2026-11-12")
        ended = await trial.download(*night)
        assert ended.code == 0, ended.stderr
        check_bookmark(trial.archive, {"": tuple(EDGES)})
        assert trial.saved() == set(trial.truth)
        assert all(count == 1 for count in book.asked.values())


DAYS = [
    ("Europe/London", "2026-03-29", "2026-03-29T00:00:00Z", "2026-03-29T23:00:00Z"),
    ("Europe/London", "2026-10-25", "2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z"),
    ("America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
    ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"),
    ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    ("Asia/Kathmandu", "2026-11-10", "2026-11-09T18:15:00Z", "2026-11-10T18:15:00Z"),
    ("UTC", "2026-11-10", "2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"),
]
"""A zone, a day there, and its two ends: of 23, 25, 23, 25, 24½, 23, 24 and 24 hours."""


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [
        pytest.param(*each[:2], each[2:], marks=() if at < 2 else pytest.mark.slow)
        for at, each in enumerate(DAYS)
    ],
)
async def test_a_day_is_a_calendar_day_of_its_zone(
    zone: str, day: str, ends: tuple[str, str], tmp_path: Path
) -> None:
    """The server is asked for all of it and no more, and a call at its very end is not taken."""
    inside, after = (record(f"CA{n}", started_at=end) for n, end in enumerate(ends, start=1))
    book = Book({"": page(inside, after)})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", "CA1")
        tomorrow = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        window = ("--account", "ws-1", "--since", day, "--until", tomorrow, "--tz", zone)
        ended = await trial.download(*window)
        assert ended.code == 0, ended.stderr
        assert starts(book.targets[0]) == ends
        assert trial.saved() == {"combined/CA1.wav"}
        assert ends[0] in ended.stderr
