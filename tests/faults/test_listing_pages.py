"""Listings whose pages do not lead where they should: nothing is lost, and nothing goes on for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked import run_forked
from tests.listed import (
    DAY,
    Book,
    chapters,
    check_bookmark,
    listed,
    listing_lines,
    listing_trial,
    page,
    record,
    told_by,
)
from tests.program import ledger_rows
from tests.wire import Script, WireServer, says_json

HEALTHY = (("CA1", "CA2"), ("CA3",), ("CA4", "CA5"))
IDS = tuple(id_ for ids in HEALTHY for id_ in ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One way of paging.

    Attributes:
        pages: What is said, by place.
        told: The ids of each place.
        requests: For pages.
        error: What the run says of it; empty when it ends in order.
        mended: What is said later; None: the same, by a way that leads to an end.
    """

    pages: Mapping[str, Script | Sequence[Script]]
    told: Mapping[str, Sequence[str]]
    requests: int
    error: str = ""
    options: tuple[str, ...] = ()
    mended: Mapping[str, Script] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Every conversation that it tells."""
        return tuple(dict.fromkeys(id_ for ids in self.told.values() for id_ in ids))


def one(*ids: str, requests: int = 1, error: str = "", **envelope: object) -> Case:
    """Tell everything on the first page; what follows it is told by the envelope."""
    return Case(pages={"": page(*ids, **envelope)}, told={"": ids}, requests=requests, error=error)


def ring(*cursors: str) -> Case:
    """Give these cursors, one after the other, of which the last was given before."""
    places = ("", *cursors[:-1])
    pages = {place: page(f"CA{n}", cursor=cursors[n]) for n, place in enumerate(places)}
    told = {place: (f"CA{n}",) for n, place in enumerate(places)}
    return Case(pages=pages, told=told, requests=len(pages), error="gave before")


def by_offset(*pages: Sequence[str], last: object = None, **spelling: str) -> Case:
    """Page by offset; `last` is what the last page says of the next."""
    key = spelling.get("key", "next_offset")
    said: dict[str, Script] = {}
    told: dict[str, Sequence[str]] = {}
    at = 0
    for number, ids in enumerate(pages):
        place = f"@{at}" if number else ""
        at += len(ids)
        said[place] = page(*ids, **{key: at if number < len(pages) - 1 else last})
        told[place] = ids
    return Case(pages=said, told=told, requests=len(pages))


def bare(*ids: str) -> Script:
    """Answer with an array that has no envelope."""
    return says_json(200, [record(id_) for id_ in ids])


def empties(count: int, error: str = "") -> Case:
    """Announce so many empty pages; behind them is a conversation, unless nobody gets there."""
    places = ("", *(f"e{n}" for n in range(1, count + 1)))
    ids = () if error else ("CA1",)
    pages = {place: page(cursor=f"e{n}") for n, place in enumerate(places[:-1], start=1)}
    return Case(
        pages={**pages, places[-1]: page(*ids)},
        told={**dict.fromkeys(places, ()), places[-1]: ids},
        requests=count if error else count + 1,
        error=error,
        mended={"": page(), places[-2]: page()} if error else None,
    )


ENDS: dict[str, dict[str, object]] = {
    "null": {"cursor": None},
    "missing": {},
    "empty": {"cursor": ""},
    "null_offset": {"cursor": None, "next_offset": None},
}

NO_CURSORS = {
    "object": {"id": "c1"},
    "array": ["c1"],
    "true": True,
    "false": False,
    "fraction": 1.5,
    "long": "c" * 8193,
}

CASES = {
    "same_cursor_again": ring("a", "a"),
    "two_in_a_ring": ring("a", "b", "a"),
    "late_ring": ring("a", "b", "c", "d", "b"),
    "duplicates_within_a_page": one("CA1", "CA2", "CA1", "CA1", cursor=None),
    "duplicates_across_pages": Case(
        pages=chapters(("CA1", "CA2"), ("CA2", "CA3"), ("CA3", "CA1")),
        told=told_by(("CA1", "CA2"), ("CA2", "CA3"), ("CA3", "CA1")),
        requests=3,
    ),
    "same_page_under_new_cursors": Case(
        pages=chapters(("CA1",), ("CA1",), ("CA1",)), told=told_by(("CA1",)), requests=3
    ),
    "page_larger_than_asked": Case(
        pages=chapters(IDS, ("CA6",)), told=told_by(IDS, ("CA6",)), requests=2,
        options=("--page-size", "2"),
    ),
    **{f"end_{name}": Case(pages={"": page("CA1", "CA2", **end)}, told={"": ("CA1", "CA2")}, requests=1) for name, end in ENDS.items()},
    **{
        f"cursor_{name}": one("CA1", requests=2, error="page 1", cursor=cursor)
        for name, cursor in NO_CURSORS.items()
    },
    "cursor_number": Case(
        pages={"": page("CA1", cursor=17), "17": page("CA2")},
        told={"": ("CA1",), "17": ("CA2",)},
        requests=2,
    ),
    "cursor_of_url_signs": Case(
        pages={"": page("CA1", cursor="a/b?c=d&e#f g%2F+é"), "a/b?c=d&e#f g%2F+é": page("CA2")},
        told={"": ("CA1",), "a/b?c=d&e#f g%2F+é": ("CA2",)},
        requests=2,
    ),
    "cursor_beats_offset": Case(
        pages={"": page("CA1", cursor="c1", next_offset=1), "c1": page("CA2", next_offset=2)},
        told=told_by(("CA1",), ("CA2",)),
        requests=2,
    ),
    "offsets": by_offset(("CA1", "CA2"), ("CA3",), ("CA4",)),
    "offsets_in_camel_case": by_offset(("CA1", "CA2"), ("CA3",), key="nextOffset"),
    "offset_as_text": Case(
        pages={"": page("CA1", next_offset="1"), "@1": page("CA2")},
        told={"": ("CA1",), "@1": ("CA2",)},
        requests=2,
    ),
    "offset_beyond_the_end": by_offset(("CA1",), ("CA2",), (), last=2),
    "offset_stands_still": one("CA1", error="does not lead on", next_offset=0),
    "offset_goes_back": Case(
        pages={"": page("CA1", next_offset=5), "@5": page("CA2", next_offset=1)},
        told={"": ("CA1",), "@5": ("CA2",)},
        requests=2,
        error="does not lead on",
    ),
    "offset_negative": one("CA1", requests=2, error="page 1", next_offset=-1),
    "offset_ignored": Case(
        pages={"": page("CA1", next_offset=1), "@1": page("CA1", next_offset=2)},
        told={"": ("CA1",), "@1": ("CA1",)},
        requests=2,
        error="same page again",
    ),
    "bare_array": Case(pages={"": bare("CA1", "CA2")}, told={"": ("CA1", "CA2")}, requests=1),
    "full_bare_arrays": Case(
        pages={"": bare("CA1", "CA2"), "@2": bare("CA3", "CA4"), "@4": bare()},
        told={"": ("CA1", "CA2"), "@2": ("CA3", "CA4"), "@4": ()},
        requests=3,
        options=("--page-size", "2"),
    ),
    "empty_listing": one(cursor=None),
    "empty_pages": empties(5),
    "empty_pages_to_the_cap": empties(100, error="empty"),
}  # fmt: skip

BRIEF = (
    *("same_cursor_again", "two_in_a_ring", "duplicates_across_pages", "page_larger_than_asked"),
    *("end_missing", "end_empty", "cursor_object", "cursor_number", "cursor_of_url_signs"),
    *("offsets", "offset_stands_still", "bare_array", "full_bare_arrays", "empty_pages_to_the_cap"),
)
"""The cases that everybody runs; CI runs the others, too."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in BRIEF else pytest.mark.slow) for name in CASES],
)
async def test_each_way_of_paging(name: str, tmp_path: Path) -> None:
    """All that was told is saved; a way that does not lead on is an error, and mended later."""
    case = CASES[name]
    book = Book(case.pages)
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *case.ids, speed=20.0)
        ended = await listed(trial, case.told, *case.options)
        assert len(book.places) == case.requests
        assert ended.code == (5 if case.error else 0), ended.stderr
        assert case.error in ended.stderr
        is_lost = case.requests == 2 and case.error == "page 1"
        known = {id_ for id_, _ in ledger_rows(trial.archive)}
        assert known == (set() if is_lost else set(case.ids))
        if not case.error:
            assert trial.saved() == set(trial.truth)
        assert all(count == 1 for count in book.asked.values())
        [line] = listing_lines(trial.archive)
        assert line.state == ("open" if case.error else "finished")
        book.mend(case.mended or mended(case))
        await trial.healed(*DAY, *case.options)
        check_bookmark(trial.archive, case.told)
        assert {each.state for each in listing_lines(trial.archive)} == {"finished"}


def mended(case: Case) -> Mapping[str, Script]:
    """Return pages that tell the same and lead to an end, from wherever one begins."""
    places = list(case.told)
    following = [*places[1:], None]
    return {
        place: page(*case.told[place], **way_to(then))
        for place, then in zip(places, following, strict=True)
    }


def way_to(place: str | None) -> dict[str, object]:
    """Spell in an envelope where the next page is."""
    if place is not None and place.startswith("@"):
        return {"next_offset": int(place[1:])}
    return {"cursor": place}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("failing", "count"),
    [
        pytest.param(2, 5, id="page_3_of_5"),
        pytest.param(0, 3, id="page_1_of_3", marks=pytest.mark.slow),
        pytest.param(1, 4, id="page_2_of_4", marks=pytest.mark.slow),
        pytest.param(39, 42, id="page_40_of_42", marks=pytest.mark.slow),
        pytest.param(699, 1000, id="page_700_of_1000", marks=pytest.mark.slow),
    ],
)
async def test_a_listing_goes_on_from_the_page_that_failed(
    failing: int, count: int, tmp_path: Path
) -> None:
    """The pages before it are not asked for again, and every page once behind it."""
    pages = tuple((f"CA{n}",) for n in range(count))
    healthy = chapters(*pages)
    place = list(healthy)[failing]
    book = Book({**healthy, place: says_json(500, {})})
    async with WireServer(book) as server:
        ids = tuple(f"CA{n}" for n in range(count))
        trial = listing_trial(server, book, tmp_path / "work", *ids, speed=600.0)
        ended = await listed(trial, told_by(*pages))
        assert ended.code == 5, ended.stderr
        assert trial.saved() == {f"combined/CA{n}.wav" for n in range(failing)}
        assert [each for each in book.places if each != place] == list(healthy)[:failing]
        book.mend(healthy)
        again = await listed(trial, told_by(*pages))
        assert again.code == 0, again.stderr
        assert book.places == list(healthy)[failing:]
        await trial.healed(*DAY)


async def test_a_forgotten_place_is_listed_anew_and_fetches_nothing_twice(tmp_path: Path) -> None:
    """A cursor that expired between two runs costs requests for pages, not for recordings."""
    healthy = chapters(*HEALTHY)
    book = Book({**healthy, "c1": says_json(500, {})})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *IDS, speed=600.0)
        assert (await listed(trial, told_by(*HEALTHY))).code == 5
        moved = {"": page("CA1", "CA2", cursor="d1"), "d1": page("CA3", "CA4", "CA5")}
        book.mend(
            {**moved, "c1": says_json(400, {"error_code": "CONVERSATIONS_VALIDATION_FAILED"})}
        )
        ended = await trial.download(*DAY)
        assert ended.code == 0, ended.stderr
        assert book.places == ["c1", "", "d1"]
        check_bookmark(trial.archive, {"": ("CA1", "CA2"), "d1": ("CA3", "CA4", "CA5")})
        await trial.healed(*DAY)


@pytest.mark.slow
async def test_the_studio_region_ends_at_an_empty_page(tmp_path: Path) -> None:
    """Its endpoint says neither cursor nor next offset: a short page is no end."""
    calls = [
        {"conversationId": f"CA{n}", "startedAt": "2026-11-10T08:00:00Z", "channel": "VOICE"}
        for n in range(4)
    ]
    book = Book({"@0": page(*calls[:2]), "@2": page(calls[2]), "@3": page(calls[3]), "@4": page()})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *(f"CA{n}" for n in range(4)))
        words = [each if each != "uk" else "studio" for each in trial.words(*DAY)]
        for _ in range(2):
            book.places.clear()
            ended = await run_forked(trial.order(*words))
            trial.check(ended)
            assert ended.code == 0, ended.stderr
            assert book.places == ["@0", "@2", "@3", "@4"]
            assert trial.saved() == set(trial.truth)
        assert all(count == 1 for count in book.asked.values())
