"""The listing as a source of conversations, against servers that page, throttle, lie and break."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bulkaudio.errors import KeyRefusedError, ListingError, UsageError, WrongHostError
from bulkaudio.events import Answered, Event, Noted, Retrying
from bulkaudio.gate import Draining, Gate, GateOptions
from bulkaudio.model import Batch, Bookmark, Conversation
from bulkaudio.polyai.client import Session
from bulkaudio.retry import Limits
from bulkaudio.settings import ApiKey, Connection, ListingQuery, Secret
from bulkaudio.sources.base import Source
from bulkaudio.sources.listing import LISTED_ANEW, ListingMeans, ListingPlan, ListingSource
from tests.sessions import LISTING_CANARY, QUICK, connection_to
from tests.wire import (
    Exchange,
    Script,
    WireServer,
    chunked,
    http_head,
    resets,
    says,
    says_json,
    says_raw,
)

SINCE = datetime(2026, 11, 21, tzinfo=UTC)
WIDE = replace(QUICK, max_body_bytes=10**8)
UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
PLAN = ListingPlan(listing_id=7, since=SINCE, until=UNTIL, query=ListingQuery(page_size=2))


def record(name: str, **changes: Any) -> dict[str, Any]:
    """Return a listed call."""
    call = {"id": name, "started_at": "2026-11-21T10:00:00Z", "channel": "VOICE-SIP"}
    return {**call, "in_progress": False, "total_duration": 60, **changes}


def page(*records: object, **envelope: object) -> Script:
    """Answer with a page."""
    found = [record(each) if isinstance(each, str) else each for each in records]
    return says_json(200, {"conversations": found, **envelope})


@dataclass(kw_only=True)
class Listed:
    """What came out of a listing."""

    batches: list[Batch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    details: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def ids(self) -> list[str]:
        """Every conversation, in order."""
        return [c.id for batch in self.batches for c in batch.conversations]

    @property
    def bookmarks(self) -> list[Bookmark | None]:
        """One for each batch."""
        return [batch.bookmark for batch in self.batches]

    async def keep(self, conversation: Conversation, raw: Mapping[str, Any]) -> None:
        """Take details as a sidecar writer does."""
        self.details.append((conversation.id, raw))


async def no_sleep(_: float) -> None:
    """Try again at once."""


@asynccontextmanager
async def source_of(
    server: WireServer, plan: ListingPlan, listed: Listed, **changes: Any
) -> AsyncIterator[ListingSource]:
    """Make a source whose host is the server."""
    connection: Connection = replace(connection_to(server.url()), **changes.pop("connection", {}))
    async with Session(connection, slots=2, limits=WIDE) as session:
        means = ListingMeans(
            session=session,
            gate=Gate("listing", GateOptions(give_up_s=5.0), emit=listed.events.append),
            emit=listed.events.append,
            sleep=no_sleep,
            **changes,
        )
        yield ListingSource(plan, means)


async def listing(
    *scripts: Script, plan: ListingPlan = PLAN, **changes: Any
) -> tuple[Listed, WireServer]:
    """List to the end or to the error."""
    listed = Listed()
    if changes.pop("wants_details", False):
        changes["on_details"] = listed.keep
    async with WireServer(*scripts) as server, source_of(server, plan, listed, **changes) as source:
        await source.open()
        try:
            async for batch in source.batches():
                listed.batches.append(batch)
        except Exception as error:  # noqa: BLE001  the test looks at it
            listed.error = error
        await source.aclose()
    return listed, server


STUDIO = {"region": "studio", "account": None}


async def test_is_a_source() -> None:
    """It has the Protocol's shape, and knows dates."""
    async with WireServer() as server, source_of(server, PLAN, Listed()) as listing_source:
        source: Source = listing_source
        assert source.kind == "listing"
        assert source.knows_dates


async def test_lists_page_after_page_with_a_bookmark_behind_each() -> None:
    """Every page is a batch; the last bookmark says that the end was reached."""
    listed, server = await listing(
        page("CA1", "CA2", cursor="a/b"), page("CA3", cursor="c"), page("CA4", cursor=None)
    )
    assert listed.error is None
    assert listed.ids == ["CA1", "CA2", "CA3", "CA4"]
    assert listed.bookmarks == [
        Bookmark(listing_id=7, cursor="a/b"),
        Bookmark(listing_id=7, cursor="c"),
        Bookmark(listing_id=7, is_last=True),
    ]
    first = server.targets[0]
    assert first == (
        "/v3/ws-1/PROJECT-1/conversations?start_time=2026-11-21T00%3A00%3A00Z"
        "&end_time=2026-11-22T00%3A00%3A00Z&limit=2&client_env=live"
    )
    assert server.targets[1:] == [f"{first}&cursor=a%2Fb", f"{first}&cursor=c"]
    assert {head.header("x-api-key") for head in server.heads} == {LISTING_CANARY}
    assert {head.header("Accept") for head in server.heads} == {"application/json"}
    assert sum(isinstance(event, Answered) for event in listed.events) == 3


async def test_goes_on_from_a_bookmark() -> None:
    """A listing that stopped at page 700 begins there."""
    listed, server = await listing(page("CA9"), plan=replace(PLAN, cursor="page-700"))
    assert server.targets[0].endswith("&cursor=page-700")
    assert listed.bookmarks == [Bookmark(listing_id=7, is_last=True)]


async def test_a_forgotten_bookmark_starts_the_window_anew() -> None:
    """A cursor that PolyAI no longer knows must not block the archive for ever; nothing is lost."""
    listed, server = await listing(
        says_json(400, {"error_code": "CONVERSATIONS_VALIDATION_FAILED"}),
        page("CA1"),
        plan=replace(PLAN, cursor="old"),
    )
    assert listed.ids == ["CA1"]
    assert "cursor" not in server.targets[1]
    assert Noted(text=LISTED_ANEW) in listed.events


async def test_reads_what_every_record_says() -> None:
    """Progress, channel and length come along; chats are counted; bad records are set aside."""
    listed, _ = await listing(
        page(
            record("CA1", in_progress=True),
            record("CA2", channel="WEBCHAT"),
            record("CA3", channel="CHAT"),
            record("CA4", started_at=None),
            {"started_at": "2026-11-21T10:00:00Z"},
            "CA5",
        )
    )
    (batch,) = listed.batches
    assert batch.conversations == (
        Conversation(
            id="CA1",
            started_at=SINCE + timedelta(hours=10),
            channel="VOICE-SIP",
            in_progress=True,
            duration_s=60.0,
        ),
        Conversation(
            id="CA5", started_at=SINCE + timedelta(hours=10), channel="VOICE-SIP", duration_s=60.0
        ),
    )
    assert batch.skipped == 2
    assert [(each.where, each.why) for each in batch.rejected] == [
        ("page 1, record 4", "has no start"),
        ("page 1, record 5", "has no id"),
    ]


async def test_keeps_only_the_channels_asked_for() -> None:
    """A channel is matched by its beginning; one that is not told is kept."""
    query = replace(PLAN.query, channels=("voice-s",))
    listed, _ = await listing(
        page(
            "CA1",
            record("CA2", channel="VOICE-WEB"),
            record("CA3", channel=None),
            record("CA4", channel="CHAT"),
        ),
        plan=replace(PLAN, query=query),
    )
    assert listed.ids == ["CA1", "CA3"]


async def test_the_window_is_half_open() -> None:
    """A call at the very end is the next listing's; the server's own start is trusted."""
    listed, _ = await listing(
        page(
            record("CA1", started_at="2026-11-20T23:59:59Z"),
            record("CA2", started_at="2026-11-21T00:00:00Z"),
            record("CA3", started_at="2026-11-21T23:59:59.999Z"),
            record("CA4", started_at="2026-11-22T00:00:00Z"),
            record("CA5", started_at="2026-11-22T01:00:00+02:00"),
        )
    )
    assert listed.ids == ["CA1", "CA2", "CA3", "CA5"]


async def test_the_studio_region_is_filtered_here() -> None:
    """Its endpoint knows no window: every page is read, by offset, to an empty one."""
    calls = [
        {"conversationId": f"CA{n}", "startedAt": f"2026-11-{n}T00:00:00Z", "channel": "VOICE"}
        for n in (20, 21, 22)
    ]
    listed, server = await listing(
        page(*calls[:2], count=2, limit=2, offset=0),
        page(*calls[2:], count=1, limit=2, offset=2),
        page(count=0, limit=2, offset=3),
        connection=STUDIO,
    )
    assert listed.ids == ["CA21"]
    assert [target.partition("?")[2] for target in server.targets] == [
        "limit=2&offset=0",
        "limit=2&offset=2",
        "limit=2&offset=3",
    ]
    assert server.targets[0].startswith("/v1/agents/PROJECT-1/conversations?")
    assert listed.bookmarks[0] == Bookmark(listing_id=7, offset=2)


@pytest.mark.parametrize(("limit", "ids", "pages"), [(0, [], 0), (1, ["CA1"], 1), (3, ["CA1", "CA2", "CA4"], 2)])  # fmt: skip
async def test_a_limit_stops_without_a_bookmark_behind_what_was_not_taken(
    limit: int, ids: list[str], pages: int
) -> None:
    """A page that is cut short does not count as listed."""
    scripts = (page("CA1", "CA2", record("CA3", channel="CHAT"), cursor="a"), page("CA4", "CA5"))
    listed, server = await listing(*scripts, plan=replace(PLAN, limit=limit))
    assert listed.ids == ids
    assert len(server.heads) == pages
    assert all(bookmark != Bookmark(listing_id=7, is_last=True) for bookmark in listed.bookmarks)


@pytest.mark.parametrize("circle", [["a", "a"], ["a", "b", "a"]])
async def test_a_circle_is_an_error_after_one_request_too_many(circle: list[str]) -> None:
    """What its pages held is kept; only the way on is missing."""
    pages = [page(f"CA{n}", cursor=cursor) for n, cursor in enumerate(circle)]
    listed, server = await listing(*pages)
    assert isinstance(listed.error, ListingError)
    assert len(server.heads) == len(circle)
    assert listed.ids == [f"CA{n}" for n in range(len(circle))]
    assert listed.bookmarks[-1] is None


async def test_empty_pages_with_a_cursor_are_passed() -> None:
    """They are no end."""
    listed, _ = await listing(page(cursor="a"), page(cursor="b"), page("CA1"))
    assert listed.ids == ["CA1"]
    assert listed.error is None


BROKEN = [
    says(200, b'{"conversations": [' + json.dumps(record("CA1")).encode() + b', {"id": NaN}]}'),
    says(200, b'{"conversations": [' + json.dumps(record("CA1")).encode()),
    says(200, b"<html>log in</html>", content_type="text/html"),
    says(200, b""),
    says_json(200, {"data": []}),
    says_raw(http_head(200, [("Content-Length", "9999")]) + b'{"conversations": [{"id"'),
    says_raw(http_head(200, [("Transfer-Encoding", "chunked")]) + chunked(b"[]")[:-5]),
    says_raw(http_head(200, [("Connection", "close")]) + b'{"conversations": [{"id"'),
    resets,
    says(503),
    says_json(500, {}),
    says(404),
]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_page_is_read_again_as_a_whole(broken: Script) -> None:
    """Nothing of it is handed on by half, and the listing goes on behind it."""
    listed, _ = await listing(page("CA0", cursor="a"), broken, page("CA1", "CA2"))
    assert listed.error is None
    assert listed.ids == ["CA0", "CA1", "CA2"]
    assert len(listed.batches) == 2
    retried = [event for event in listed.events if isinstance(event, Retrying)]
    assert {event.what for event in retried} <= {"listing"}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_page_that_stays_broken_ends_the_listing(broken: Script) -> None:
    """After few attempts, with what was whole handed on and its bookmark behind it."""
    listed, server = await listing(page("CA0", cursor="a"), broken, limits=Limits(attempts=3))
    assert isinstance(listed.error, ListingError | WrongHostError)
    assert listed.ids == ["CA0"]
    assert listed.bookmarks == [Bookmark(listing_id=7, cursor="a")]
    # aiohttp tries a reset GET a second time by itself.
    assert len(server.heads) <= 7


async def test_throttling_is_waited_out() -> None:
    """The gate waits for all; no attempt is used up."""
    throttled = says(429, b"", retry_after="1")
    began = time.monotonic()
    listed, server = await listing(throttled, page("CA1"), limits=Limits(attempts=1))
    assert listed.ids == ["CA1"]
    assert len(server.heads) == 2
    assert time.monotonic() - began >= 1.0


async def test_a_wait_of_hours_ends_the_listing() -> None:
    """It stays where it is, and the run says so."""
    listed, server = await listing(says(429, b"", retry_after="7200"))
    assert isinstance(listed.error, ListingError)
    assert "120 minutes" in listed.error.message
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("script", "kind", "words", "requests"),
    [
        (says_json(401, {"error_code": "AUTH_USER_INVALID_TOKEN"}), KeyRefusedError,
         ["--conversations-key-file k", "401", "--region"], 1),
        (says_json(403, {"error_code": "USER_ACCESS_FORBIDDEN"}), KeyRefusedError,
         ["403", "--conversations-key-file FILE"], 1),
        (says_json(404, {"message": "no Route matched with those values"}), WrongHostError,
         ["127.0.0.1", "https://api.uk-1.platform.polyai.app"], 3),
        (says(404, b"<html>"), WrongHostError, ["BULKAUDIO_CONVERSATIONS_URL"], 3),
        (says_json(404, {"error_code": "PROJECT_NOT_FOUND"}), WrongHostError,
         ["'PROJECT-1'", "'ws-1'"], 1),
        (says_json(404, {"error_code": 15001}), WrongHostError, ["'PROJECT-1'"], 1),
        (says_json(400, {"error_code": "CONVERSATIONS_VALIDATION_FAILED",
                         "error_message": "bad \x1b[31m start_time"}), ListingError,
         ["400", "CONVERSATIONS_VALIDATION_FAILED", "bad \\x1b[31m start_time", "--since"], 1),
        (says(200, b"[]", content_encoding="gzip"), ListingError, ["200"], 1),
        (says(302, b"", location="http://10.0.0.1/"), ListingError, ["redirect"], 1),
        (says(501), ListingError, ["501"], 1),
    ],
)  # fmt: skip
async def test_a_refusal_ends_the_listing_and_says_what_to_do(
    script: Script, kind: type[Exception], words: list[str], requests: int
) -> None:
    """Each kind by its own class and exit code, with the support id and without the key."""
    listed, server = await listing(script)
    assert type(listed.error) is kind
    for word in words:
        assert word in str(listed.error)
    assert "\x1b" not in str(listed.error)
    assert LISTING_CANARY not in str(listed.error)
    assert "Support id" in str(listed.error)
    assert len(server.heads) == requests


async def test_a_rotated_key_is_read_again() -> None:
    """Once: the listing goes on with the new one, and ends when that is refused too."""

    async def answer(exchange: Exchange) -> None:
        fresh = exchange.head.header("x-api-key") == "fresh"
        await (page("CA1") if fresh else says(401))(exchange)

    key = ApiKey(value=Secret("old"), source="key.txt", reread=lambda: Secret("fresh"))
    listed, server = await listing(answer, connection={"conversations_key": key})
    assert listed.ids == ["CA1"]
    assert [head.header("x-api-key") for head in server.heads] == ["old", "fresh"]
    listed, server = await listing(says(401), connection={"conversations_key": key})
    assert isinstance(listed.error, KeyRefusedError)
    assert len(server.heads) == 2


async def test_details_are_handed_on_while_the_page_is_read() -> None:
    """Whole, for finished calls that were asked for; a page never holds them."""
    turns = [{"text": "hello", "at": 1.5}]
    listed, _ = await listing(
        page(
            record("CA1", turns=turns),
            record("CA2", turns=turns, in_progress=True),
            record("CA3", turns=turns, channel="CHAT"),
            record("CA4", started_at="2026-11-23T00:00:00Z"),
        ),
        wants_details=True,
    )
    assert listed.details == [("CA1", record("CA1", turns=turns))]
    assert listed.ids == ["CA1", "CA2"]
    assert all(c.details is None for batch in listed.batches for c in batch.conversations)


async def test_a_page_larger_than_asked_for_is_taken_whole() -> None:
    """A server that ignores the limit loses nothing."""
    listed, _ = await listing(page(*(f"CA{n}" for n in range(1500)), cursor=None))
    assert len(listed.ids) == 1500


async def test_other_tasks_run_while_a_large_page_is_parsed() -> None:
    """Parsing never holds the loop for long."""
    turns = [{"text": "hello " * 20, "at": 1.5}] * 500
    large = page(*(record(f"CA{n}", turns=turns) for n in range(100)))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        listed, _ = await listing(large)
        ticking.cancel()
    assert len(listed.ids) == 100
    assert ticks > 100


async def test_needs_an_account() -> None:
    """Said before any request, except where the endpoint has none."""
    listed = Listed()
    async with WireServer(page()) as server:
        async with source_of(server, PLAN, listed, connection={"account": None}) as source:
            with pytest.raises(UsageError, match="--account"):
                await source.open()
        async with source_of(server, PLAN, listed, connection=STUDIO) as source:
            await source.open()
    assert server.heads == []


@pytest.mark.parametrize(
    ("plan", "connection"),
    [
        (replace(PLAN, query=ListingQuery(page_size=0)), {}),
        (replace(PLAN, query=ListingQuery(page_size=1001)), {}),
        (PLAN, {"account": ".."}),
        (PLAN, {"agent": "."}),
    ],
)
async def test_refuses_what_cannot_be_asked(plan: ListingPlan, connection: dict[str, Any]) -> None:
    """Before any request."""
    async with (
        WireServer(page()) as server,
        source_of(server, plan, Listed(), connection=connection) as source,
    ):
        with pytest.raises(UsageError):
            await source.open()
    assert server.heads == []


async def test_a_draining_run_stops_listing() -> None:
    """A closed gate ends it as what it is, between two pages."""
    listed = Listed()
    async with (
        WireServer(page("CA1", cursor="a"), page("CA2")) as server,
        source_of(server, PLAN, listed) as source,
    ):
        batches = source.batches()
        await anext(batches)
        source._means.gate.close()
        with pytest.raises(Draining):
            await anext(batches)
    assert len(server.heads) == 1


async def test_a_slow_parser_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ijson's compiled parser a person should know why listing is slow."""
    monkeypatch.setattr("bulkaudio.sources.listing.is_parser_slow", True)
    listed, _ = await listing(page("CA1"))
    assert sum(isinstance(event, Noted) for event in listed.events) == 1
