"""Requests for conversations, the records they bring, the pages they come in."""

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.model import Conversation, Rejected
from bulkaudio.polyai.conversations import (
    READ_KEYS,
    Listing,
    Position,
    conversation_request,
    page_request,
    read_record,
)
from bulkaudio.polyai.hosts import Host
from bulkaudio.polyai.pages import MAX_DEPTH, BrokenPage, PageEnd, PageParser
from bulkaudio.polyai.paging import MAX_EMPTY_PAGES, LostWay, PageFacts, Pager
from bulkaudio.polyai.request import url_of
from bulkaudio.settings import ListingQuery

LISTING = Listing(
    account="ws-1",
    agent="PROJECT-1",
    since=datetime(2026, 11, 21, tzinfo=UTC),
    until=datetime(2026, 11, 22, 1, 30, tzinfo=timezone(timedelta(hours=1))),
    query=ListingQuery(page_size=500),
)

RECORD = {
    "id": "CA1",
    "started_at": "2026-11-21T10:00:00Z",
    "channel": "VOICE-SIP",
    "in_progress": False,
    "total_duration": 61.5,
}


def target(listing: Listing, position: Position | None = None) -> str:
    """Return path and query of a page's request."""
    return str(url_of("", page_request(listing, position or Position())))


def test_the_first_page_names_window_size_and_environment() -> None:
    """Everything that has a default on the server is said, in UTC."""
    assert target(LISTING) == (
        "/v3/ws-1/PROJECT-1/conversations?start_time=2026-11-21T00%3A00%3A00Z"
        "&end_time=2026-11-22T00%3A30%3A00Z&limit=500&client_env=live"
    )


@pytest.mark.parametrize(
    ("position", "tail"),
    [
        (Position(cursor="a/b+c="), "&cursor=a%2Fb%2Bc%3D"),
        (Position(offset=1000), "&offset=1000"),
        (Position(offset=0), "&offset=0"),
    ],
)
def test_later_pages_differ_by_their_place_only(position: Position, tail: str) -> None:
    """The server wants every other parameter identical."""
    assert target(LISTING, position) == target(LISTING) + tail


@pytest.mark.parametrize(
    ("channels", "asked"),
    [
        ((), ""),
        (("VOICE",), "&channel=voice"),
        (("voice", "chat", "voice"), "&channel=voice&channel=chat"),
        (("VOICE-SIP",), ""),
        (("voice", "WEBCHAT"), ""),
    ],
)
def test_only_documented_channels_are_asked_for(channels: tuple[str, ...], asked: str) -> None:
    """A channel the server may not know is filtered here, lest an empty answer look complete."""
    query = replace(LISTING.query, channels=channels)
    assert target(replace(LISTING, query=query)) == target(LISTING) + asked


def test_variant_and_environment_are_passed_on() -> None:
    """As the user gave them, encoded."""
    query = replace(LISTING.query, env="pre-release", variant="a&b")
    found = target(replace(LISTING, query=query))
    assert found.endswith("&client_env=pre-release&variant_id=a%26b")


def test_the_studio_region_lists_by_offset() -> None:
    """Its endpoint knows neither account nor time."""
    listing = replace(LISTING, account=None)
    assert target(listing) == "/v1/agents/PROJECT-1/conversations?limit=500&offset=0"
    assert target(listing, Position(offset=500)).endswith("?limit=500&offset=500")


def test_one_conversation_is_asked_of_the_recordings_host() -> None:
    """For identifiers that came from a CSV."""
    request = conversation_request("PROJECT-1", "CA1")
    assert request.host is Host.AUDIO
    assert str(url_of("", request)) == "/v1/agents/PROJECT-1/conversations/CA1"


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        {
            "conversationId": "CA1",
            "id": "row-7",
            "startedAt": "2026-11-21T11:00:00+01:00",
            "channel": "VOICE-SIP",
            "inProgress": False,
            "totalDuration": 61.5,
        },
        {**RECORD, "started_at": "2026-11-21T10:00:00"},
        {**RECORD, "in_progress": None},
        {key: value for key, value in RECORD.items() if key != "in_progress"},
    ],
)
def test_every_spelling_of_a_record_is_the_same(record: dict[str, Any]) -> None:
    """Snake and camel case, zones and none, with or without its progress."""
    assert read_record(record, "") == Conversation(
        id="CA1",
        started_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
        channel="VOICE-SIP",
        in_progress=False,
        duration_s=61.5,
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": None}, "has no id"),
        ({"id": ""}, "has an id of another form"),
        ({"id": 7}, "has an id of another form"),
        ({"id": ["CA1"]}, "has an id of another form"),
        ({"id": "../../etc/x"}, "has an id of another form"),
        ({"id": "{conversationId}"}, "has an id of another form"),
        ({"started_at": None}, "has no start"),
        ({"started_at": 1790000000}, "has a start that is no time"),
        ({"started_at": "soon"}, "has a start that is no time"),
        ({"started_at": "0001-01-01T00:00:00+14:00"}, "has a start that is no time"),
        ({"in_progress": "yes"}, "is neither in progress nor finished"),
        ({"in_progress": 0}, "is neither in progress nor finished"),
    ],
)
def test_a_record_that_cannot_be_used_is_set_aside(change: dict[str, Any], why: str) -> None:
    """It is named by its place and says why."""
    found = read_record({**RECORD, **change}, "page 3, record 12")
    assert isinstance(found, Rejected)
    assert (found.where, found.why) == ("page 3, record 12", why)


@pytest.mark.parametrize("value", [None, "CA1", 7, [], True])
def test_a_record_that_is_no_object_is_set_aside(value: object) -> None:
    """Whatever else a list may hold."""
    assert isinstance(read_record(value, "page 1, record 1"), Rejected)


@pytest.mark.parametrize("duration", [None, "61", -1, True, 10**400, [], {}])
def test_a_duration_that_is_none_is_dropped(duration: object) -> None:
    """It only describes: the conversation stays."""
    found = read_record({**RECORD, "total_duration": duration, "channel": 7}, "")
    assert isinstance(found, Conversation)
    assert (found.duration_s, found.channel) == (None, None)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(READ_KEYS)), JSON))
def test_any_record_is_read_or_set_aside(record: dict[str, Any]) -> None:
    """Nothing that JSON can hold makes reading fail."""
    assert isinstance(read_record(record, ""), Conversation | Rejected)


def parse(data: bytes, *, keys: frozenset[str] | None = None, step: int = 7) -> tuple[Any, PageEnd]:
    """Parse a whole page in small steps."""
    parser = PageParser(keys)
    records = []
    for start in range(0, len(data), step):
        records += parser.feed(data[start : start + step])
    last, end = parser.finish()
    return records + last, end


@given(st.lists(JSON, max_size=5), st.dictionaries(st.text(), JSON, max_size=3), st.integers(1, 64))
def test_a_page_holds_what_was_sent(records: list[Any], extra: dict[str, Any], step: int) -> None:
    """Whatever stands in the envelope, before or after the records, and however it is cut."""
    before = {f"a{key}": value for key, value in extra.items()}
    after = {f"b{key}": value for key, value in extra.items()}
    page = {**before, "conversations": records, **after, "cursor": "next"}
    found, end = parse(json.dumps(page).encode(), step=step)
    assert found == records
    assert end == PageEnd(cursor="next")


@given(st.lists(st.dictionaries(st.sampled_from(["id", "turns", "channel"]), JSON), max_size=5))
def test_a_page_without_details_keeps_the_fields_that_are_read(records: list[Any]) -> None:
    """The rest is walked through, not built."""
    found, _ = parse(json.dumps({"conversations": records}).encode(), keys=READ_KEYS)
    kept = [{k: v for k, v in record.items() if k in READ_KEYS} for record in records]
    assert found == kept


def test_a_bare_array_is_a_page() -> None:
    """One document shows it so."""
    found, end = parse(json.dumps([RECORD, RECORD]).encode())
    assert found == [RECORD, RECORD]
    assert end == PageEnd(is_bare=True)


@pytest.mark.parametrize(
    ("envelope", "end"),
    [
        ({}, PageEnd()),
        ({"cursor": None}, PageEnd()),
        ({"cursor": ""}, PageEnd()),
        ({"cursor": "abc"}, PageEnd(cursor="abc")),
        ({"cursor": 17}, PageEnd(cursor="17")),
        ({"cursor": 0}, PageEnd(cursor="0")),
        ({"next_cursor": "abc"}, PageEnd(cursor="abc")),
        ({"cursor": None, "nextCursor": "abc"}, PageEnd(cursor="abc")),
        ({"next_offset": 1000}, PageEnd(next_offset=1000)),
        ({"next_offset": "1000"}, PageEnd(next_offset=1000)),
        ({"next_offset": None}, PageEnd()),
        ({"meta": {"cursor": "not this"}}, PageEnd()),
        ({"cursor": "a", "next_offset": 5}, PageEnd(cursor="a", next_offset=5)),
    ],
)
def test_an_envelope_says_where_to_go_on(envelope: dict[str, Any], end: PageEnd) -> None:
    """In each of the forms that servers use."""
    assert parse(json.dumps({"conversations": [], **envelope}).encode()) == ([], end)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b'"text"',
        b"{}",
        b'{"success": false}',
        b'{"conversations": {}}',
        b'{"conversations": "none"}',
        b'{"conversations": [',
        b'{"conversations": [{"id": "CA1"}',
        b'{"conversations": []',
        b'{"conversations": []} x',
        b'{"conversations": [{"id": NaN}]}',
        b'{"conversations": [{"id": "\xed\xa0\x80"}]}',
        b'{"conversations": [' + b"[" * 1000,
        b'{"conversations": [{"state": ' + b'{"a":' * (MAX_DEPTH + 1),
        b'{"other": ' + b"[" * 1000,
        b'{"conversations": [], "cursor": true}',
        b'{"conversations": [], "cursor": {"a": 1}}',
        b'{"conversations": [], "cursor": ["a"]}',
        b'{"conversations": [], "next_offset": -1}',
        b'{"conversations": [], "next_offset": 1.5}',
        b'{"conversations": [], "cursor": "' + b"x" * 9000 + b'"}',
        b"<html>",
    ],
)
def test_what_is_no_page_is_broken(data: bytes) -> None:
    """Bytes that break off, nest without end or mean something else are never half a page."""
    with pytest.raises(BrokenPage):
        parse(data, step=64)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_any_bytes_are_a_page_or_broken(noise: bytes, cut: int) -> None:
    """There is no third end."""
    page = json.dumps({"conversations": [RECORD], "cursor": 1}).encode()
    for data in (noise, page[:cut] + noise + page[cut:]):
        try:
            parse(data)
        except BrokenPage:
            continue


def test_odd_values_survive() -> None:
    """Escaped half characters, huge numbers and long fractions are no reason to lose a page."""
    data = b'{"conversations": [{"id": "CA1", "a": "\\ud800", "b": 1e400, "c": 0.1, "d": 99999999999999999999}]}'
    (record,), _ = parse(data)
    assert record == {"id": "CA1", "a": record["a"], "b": None, "c": 0.1, "d": 99999999999999999999}
    json.dumps(record, allow_nan=False).encode()


def test_an_endless_value_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A string that never ends is given up long before the memory is full."""
    monkeypatch.setattr("bulkaudio.polyai.pages.MAX_TOKEN_BYTES", 10_000)
    parser = PageParser(None)
    parser.feed(b'{"conversations": [{"id": "')
    for _ in range(10):
        parser.feed(b"x" * 1000)
    with pytest.raises(BrokenPage):
        parser.feed(b"x" * 1000)


def large_page(records: int) -> Iterator[bytes]:
    """Yield a page whose records carry 100 kB of transcript each."""
    turns = [{"role": "user", "text": "hello " * 15, "at": 1.25}] * 800
    record = json.dumps({**RECORD, "turns": turns}).encode()
    yield b'{"conversations":['
    for number in range(records):
        yield (b"," if number else b"") + record
    yield b"]}"


@pytest.mark.parametrize("keys", [READ_KEYS, None])
def test_memory_does_not_grow_with_the_page(keys: frozenset[str] | None) -> None:
    """A large page costs no more than one of its records."""

    def peak(records: int) -> int:
        parser, count = PageParser(keys), 0
        tracemalloc.start()
        for piece in large_page(records):
            count += len(parser.feed(piece))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == records
        return used

    assert peak(16) < peak(2) + 200_000


def facts(records: int = 2, end: PageEnd | None = None, fingerprint: int = 1) -> PageFacts:
    """Describe a page."""
    return PageFacts(
        records=records, fingerprint=fingerprint if records else None, end=end or PageEnd()
    )


def pager(start: Position | None = None, *, is_offset_only: bool = False) -> Pager:
    """Page with two records at a time."""
    return Pager(start or Position(), page_size=2, is_offset_only=is_offset_only)


def test_cursors_lead_on_until_there_is_none() -> None:
    """Absence is the documented end, also behind a resumed page and beside an offset."""
    pages = pager(Position(cursor="start"))
    assert pages.advance(facts(end=PageEnd(cursor="a")))
    assert pages.position == Position(cursor="a")
    assert not pages.advance(facts(end=PageEnd(next_offset=4)))


@pytest.mark.parametrize("circle", [["a", "a"], ["a", "b", "a"], ["start"]])
def test_a_cursor_that_comes_again_is_noticed_at_once(circle: list[str]) -> None:
    """One request too many at most."""
    pages = pager(Position(cursor="start"))
    for cursor in circle[:-1]:
        assert pages.advance(facts(end=PageEnd(cursor=cursor)))
    with pytest.raises(LostWay):
        pages.advance(facts(end=PageEnd(cursor=circle[-1])))


def test_empty_pages_are_passed_to_a_cap() -> None:
    """A hundred in a row is no filter any more; one record starts the count anew."""
    pages = pager()
    for number in range(MAX_EMPTY_PAGES - 1):
        assert pages.advance(facts(0, PageEnd(cursor=f"a{number}")))
    assert pages.advance(facts(1, PageEnd(cursor="b")))
    for number in range(MAX_EMPTY_PAGES - 1):
        assert pages.advance(facts(0, PageEnd(cursor=f"c{number}")))
    with pytest.raises(LostWay):
        pages.advance(facts(0, PageEnd(cursor="d")))


def test_offsets_are_followed_where_no_cursor_comes() -> None:
    """To a page without one, or without records."""
    pages = pager()
    assert pages.advance(facts(end=PageEnd(next_offset=2), fingerprint=1))
    assert pages.position == Position(offset=2)
    assert pages.advance(facts(end=PageEnd(next_offset=4), fingerprint=2))
    assert not pages.advance(facts(0, PageEnd(next_offset=4)))
    assert not pager().advance(facts())


def test_an_offset_that_stands_still_is_an_error() -> None:
    """The same place again would never end."""
    pages = pager(Position(offset=2))
    with pytest.raises(LostWay):
        pages.advance(facts(end=PageEnd(next_offset=2)))


def test_the_studio_region_is_read_to_an_empty_page() -> None:
    """Its count may be the page's or the total: it is not believed."""
    pages = pager(is_offset_only=True)
    assert pages.advance(facts(2, fingerprint=1))
    assert pages.advance(facts(1, fingerprint=2))
    assert pages.position == Position(offset=3)
    assert not pages.advance(facts(0))


def test_a_server_that_ignores_offsets_is_noticed() -> None:
    """The same ids again for another offset lead nowhere."""
    pages = pager(is_offset_only=True)
    assert pages.advance(facts())
    with pytest.raises(LostWay):
        pages.advance(facts())


def test_a_full_bare_array_may_not_be_all() -> None:
    """A short one is; behind a full one is looked; one larger than asked for was everything."""
    bare = PageEnd(is_bare=True)
    assert not pager().advance(facts(1, bare))
    full = pager()
    assert full.advance(facts(2, bare, fingerprint=1))
    assert not full.advance(facts(0, bare))
    everything = pager()
    assert everything.advance(facts(5, bare))
    assert not everything.advance(facts(5, bare))
