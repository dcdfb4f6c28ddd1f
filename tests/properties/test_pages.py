"""Pages of a listing, however they arrive and wherever they break."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkaudio.polyai.pages import BrokenPage, PageEnd, PageParser

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS = st.lists(
    st.fixed_dictionaries({"id": st.text(max_size=6)}, optional={"turns": VALUES, "state": VALUES})
    | VALUES,
    max_size=5,
)
ENVELOPES = st.fixed_dictionaries(
    {}, optional={"cursor": st.text(min_size=1, max_size=5), "meta": VALUES, "total": st.integers()}
)


def spell(records: list[Any], envelope: dict[str, Any], *, is_first: bool, gap: str) -> bytes:
    """Write a page, its envelope before or behind its records, with blanks where they may be."""
    parts = [{"conversations": records}, envelope]
    page: dict[str, Any] = {}
    for part in parts if is_first else reversed(parts):
        page |= part
    text = json.dumps(page, ensure_ascii=len(gap) == 0, separators=(f",{gap}", f":{gap}"))
    return text.encode("utf-8", "surrogatepass") if gap else text.encode()


def parse(data: bytes, cuts: list[int]) -> tuple[list[Any], PageEnd | None, list[Any]]:
    """Feed it piece by piece: the records of a whole page, its end, and all that was handed out."""
    parser, handed = PageParser(None), []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(places):
            if start < end:
                handed += parser.feed(data[start:end])
        last, page_end = parser.finish()
    except BrokenPage:
        return [], None, handed
    return handed + last, page_end, handed + last


PAGES = st.builds(
    lambda records, envelope, is_first: (records, envelope, is_first),
    RECORDS,
    ENVELOPES,
    st.booleans(),
)
CUTS = st.lists(st.integers(0, 5000), max_size=12)


@given(PAGES, CUTS, CUTS)
def test_pieces_do_not_matter(
    page: tuple[list[Any], dict[str, Any], bool], one: list[int], other: list[int]
) -> None:
    """However it is cut, also within a character: the same records and the same end."""
    records, envelope, is_first = page
    data = spell(records, envelope, is_first=is_first, gap="")
    first, second = parse(data, one), parse(data, other)
    assert first == second
    assert first[0] == records
    assert first[1] == PageEnd(cursor=envelope.get("cursor"))


@settings(max_examples=40)
@given(PAGES)
def test_a_page_that_breaks_off_is_never_whole(
    page: tuple[list[Any], dict[str, Any], bool],
) -> None:
    """At every byte: it is broken, and what it had handed out were whole records, in order."""
    records, envelope, is_first = page
    data = spell(records, envelope, is_first=is_first, gap="")
    for kept in range(len(data)):
        whole, end, handed = parse(data[:kept], [kept // 2])
        assert (whole, end) == ([], None), kept
        assert handed == records[: len(handed)], kept


@given(PAGES, st.integers(0, 5000), st.binary(min_size=1, max_size=3), CUTS)
def test_noise_breaks_a_page_or_changes_values(
    page: tuple[list[Any], dict[str, Any], bool], at: int, noise: bytes, cuts: list[int]
) -> None:
    """Nothing else is raised, and a page that is still one is one however it arrives."""
    records, envelope, is_first = page
    data = spell(records, envelope, is_first=is_first, gap="")
    place = at % (len(data) + 1)
    spoilt = data[:place] + noise + data[place + len(noise) :]
    assert parse(spoilt, cuts)[:2] == parse(spoilt, [])[:2]
