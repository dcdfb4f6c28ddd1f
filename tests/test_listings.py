"""Which windows a run lists: nothing between two nights is missed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.errors import UsageError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.listings import Errand, Listings, Memory, errands
from bulkaudio.model import Batch, Bookmark, Conversation
from bulkaudio.settings import ListingQuery

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = Memory(unfinished=None, high_water=None)


def row(since: datetime, until: datetime) -> ListingRow:
    """Make an unfinished listing that had reached page 700."""
    return ListingRow(listing_id=7, scope="s", since=since, until=until, cursor="page-700")


def test_a_named_window_is_listed_as_named() -> None:
    """Without memory, and to now where no end is given."""
    query = ListingQuery(since=NOW - DAY)

    assert errands(query, NOTHING, NOW) == (Errand(since=NOW - DAY, until=NOW),)


def test_without_a_start_it_goes_on_with_the_look_back() -> None:
    """Where everything is listed and settled, less 48 hours."""
    memory = Memory(unfinished=None, high_water=NOW - DAY)

    assert errands(ListingQuery(), memory, NOW) == (Errand(since=NOW - 3 * DAY, until=NOW),)


def test_without_a_start_and_memory_it_asks_for_one() -> None:
    """Nobody lists ten years by accident."""
    with pytest.raises(UsageError, match="--since"):
        errands(ListingQuery(), NOTHING, NOW)


def test_an_end_before_what_is_listed_is_refused() -> None:
    """An empty window would look like a night without calls."""
    memory = Memory(unfinished=None, high_water=NOW)
    with pytest.raises(UsageError, match="--until"):
        errands(ListingQuery(until=NOW - 9 * DAY), memory, NOW)


def test_nothing_that_is_still_to_come_counts_as_listed() -> None:
    """Listing all of December on its 22nd must not make the nights until January skip the rest."""
    query = ListingQuery(since=NOW - 21 * DAY, until=NOW + 9 * DAY)

    assert errands(query, NOTHING, NOW) == (Errand(since=NOW - 21 * DAY, until=NOW),)


def test_a_window_that_has_not_begun_is_refused() -> None:
    """An empty window would look like a night without calls."""
    query = ListingQuery(since=NOW + DAY, until=NOW + 2 * DAY)
    with pytest.raises(UsageError, match="--since"):
        errands(query, NOTHING, NOW)


def test_a_memory_from_the_future_names_the_clock() -> None:
    """A clock that was ahead is not the fault of an option that nobody gave."""
    memory = Memory(unfinished=None, high_water=NOW + 9 * DAY)
    with pytest.raises(UsageError, match="clock"):
        errands(ListingQuery(), memory, NOW)


def test_an_interrupted_listing_is_finished_first() -> None:
    """From its page, and then on to now."""
    begun = row(NOW - 9 * DAY, NOW - DAY)
    memory = Memory(unfinished=begun, high_water=NOW - 9 * DAY)

    first, second = errands(ListingQuery(), memory, NOW)
    assert (first.row, first.since, first.until) == (begun, begun.since, begun.until)
    assert second == Errand(since=NOW - 11 * DAY, until=NOW)


def test_the_same_named_window_is_resumed() -> None:
    """A backfill that was killed at page 700 goes on there."""
    begun = row(NOW - 9 * DAY, NOW - DAY)
    query = ListingQuery(since=NOW - 9 * DAY, until=NOW - DAY)

    (only,) = errands(query, Memory(unfinished=begun, high_water=None), NOW)
    assert only.row == begun


def test_the_same_start_with_a_later_end_is_resumed_and_continued() -> None:
    """As in a run without --until that was killed yesterday."""
    begun = row(NOW - 9 * DAY, NOW - DAY)
    query = ListingQuery(since=NOW - 9 * DAY)

    first, second = errands(query, Memory(unfinished=begun, high_water=None), NOW)
    assert first.row == begun
    assert second == Errand(since=NOW - 3 * DAY, until=NOW)


def test_another_window_is_not_mixed_up_with_the_unfinished_one() -> None:
    """It stays unfinished for a later run."""
    begun = row(NOW - 9 * DAY, NOW - DAY)
    query = ListingQuery(since=NOW - 30 * DAY, until=NOW - 20 * DAY)

    (only,) = errands(query, Memory(unfinished=begun, high_water=None), NOW)
    assert only.row is None


class Pages:
    """A source of three pages of two conversations."""

    kind = "listing"
    knows_dates = True

    def __init__(self, begun: ListingRow, limit: int | None) -> None:
        self.begun = begun
        self.limit = limit

    async def open(self) -> None:
        """Nothing to check."""

    async def aclose(self) -> None:
        """Nothing is held."""

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the pages, each with its bookmark."""
        for page in range(3):
            calls = tuple(Conversation(id=f"CA{page}{n}") for n in range(2))
            mark = Bookmark(listing_id=self.begun.listing_id, cursor=f"{page}", is_last=page == 2)
            yield Batch(conversations=calls, bookmark=mark)


async def read(source: Listings) -> list[Batch]:
    """Read a source to its end."""
    return [batch async for batch in source.batches()]


async def test_a_listing_is_in_the_ledger_before_its_first_page(tmp_path: Path) -> None:
    """So that a run killed in the middle knows where to go on."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        work = (Errand(since=NOW - DAY, until=NOW),)
        batches = await read(Listings(ledger=ledger, scope="s", work=work, source_of=Pages))

        begun = await ledger.unfinished_listing("s")
        assert begun is not None
        assert {batch.bookmark.listing_id for batch in batches if batch.bookmark} == {
            begun.listing_id
        }
    finally:
        await ledger.aclose()


async def test_a_sample_leaves_no_trace_in_the_memory_of_listings(tmp_path: Path) -> None:
    """A page that was cut short by --limit must not count as listed."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        work = (Errand(since=NOW - DAY, until=NOW),)
        batches = await read(
            Listings(ledger=ledger, scope="s", work=work, source_of=Pages, limit=3)
        )

        assert [call.id for b in batches for call in b.conversations] == ["CA00", "CA01", "CA10"]
        assert all(batch.bookmark is None for batch in batches)
        assert await ledger.unfinished_listing("s") is None
    finally:
        await ledger.aclose()
