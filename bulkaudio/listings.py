"""
Which windows of time a run lists, so that nothing between two nights is missed.

A listing that was interrupted is finished first, from the page it had reached. Then comes what the
run asks for; without a start it goes on where everything is listed and settled, less the look-back
for calls that arrive late.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bulkaudio.errors import UsageError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.model import Batch
from bulkaudio.settings import ListingQuery
from bulkaudio.sidecars import DetailsWriter
from bulkaudio.sources.base import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """
    What the ledger knows of earlier listings with the same filters.

    Attributes:
        unfinished: Begun and not ended.
        high_water: Before it everything is listed and settled.
    """

    unfinished: ListingRow | None
    high_water: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A half-open window to list; `row` when it was begun before."""

    since: datetime
    until: datetime
    row: ListingRow | None = None


def errands(query: ListingQuery, memory: Memory, now: datetime) -> tuple[Errand, ...]:
    """
    Decide what to list, in order.

    Raises:
        UsageError: When there is no start, neither given nor remembered, or nothing behind it.
    """
    # What is still to come cannot be listed: the next night must not take it for listed.
    until = min(query.until or now, now)
    lookback = timedelta(seconds=query.lookback_s)
    begun = memory.unfinished
    resumable = None if begun is None or begun.since is None else _resume(begun, begun.since)
    if query.since is not None:
        if until <= query.since:
            raise UsageError(
                f"no calls can be listed from {query.since:%Y-%m-%dT%H:%MZ} up to "
                f"{until:%Y-%m-%dT%H:%MZ}",
                fix="give a --since before --until and before now",
            )
        return _named(Errand(since=query.since, until=until), resumable, lookback)
    reached = [memory.high_water] if memory.high_water else []
    reached += [resumable.until] if resumable else []
    if not reached:
        raise nothing_to_go_on_from()
    since = min(reached) - lookback
    if until <= since:
        raise _listed_already(since, query)
    return (*([resumable] if resumable else []), Errand(since=since, until=until))


def left_behind(memory: Memory, windows: Sequence[Errand]) -> ListingRow | None:
    """Return the listing that was begun and that these windows do not finish; None without one."""
    begun = memory.unfinished
    if begun is None or begun.since is None:
        return None
    for window in windows:
        is_inside = window.since <= begun.since and begun.until <= window.until
        if window.row is begun or is_inside:
            return None
    return begun


def nothing_to_go_on_from() -> UsageError:
    """Make the error of a listing without a start, neither given nor remembered."""
    return UsageError(
        "nothing was listed into this archive with these filters yet, so there is no end to "
        "go on from; a sample with --limit does not count as a listing",
        fix="run once with --since and without --limit, for example --since 2026-01-01, or use "
        "--csv",
    )


def _listed_already(since: datetime, query: ListingQuery) -> UsageError:
    if query.until is not None and query.until <= since:
        return UsageError(
            f"everything before {since:%Y-%m-%dT%H:%MZ} is listed already, and --until is earlier",
            fix="leave --until away, or name a window with --since",
        )
    return UsageError(
        f"this archive was listed up to {since:%Y-%m-%dT%H:%MZ} and later, and this machine's "
        "clock says that this is still to come",
        fix="check the clock; if it was ahead at an earlier run, name a window with --since",
    )


def _named(asked: Errand, resumable: Errand | None, lookback: timedelta) -> tuple[Errand, ...]:
    """List a window that was named; the part of it that was begun before is gone on with."""
    if resumable is None or resumable.since != asked.since or resumable.until > asked.until:
        return (asked,)
    if resumable.until == asked.until:
        return (resumable,)
    since = max(asked.since, resumable.until - lookback)
    return (resumable, Errand(since=since, until=asked.until))


def _resume(row: ListingRow, since: datetime) -> Errand:
    return Errand(since=since, until=row.until, row=row)


@dataclass(slots=True, kw_only=True)
class Listings:
    """
    The errands of a run as one source.

    Attributes:
        source_of: Makes the source for a window, at the row's cursor, for so many conversations at
            most.
        details: Where the records' metadata is gathered.
        to_remember: Pinned with the first page: a listing that was refused is no example.
        limit: Conversations at most. Such a run is a sample: it leaves no trace in the ledger's
            memory of listings, because a page cut short must not count as listed.
    """

    ledger: Ledger
    scope: str
    work: tuple[Errand, ...]
    source_of: Callable[[ListingRow, int | None], Source]
    limit: int | None = None
    details: DetailsWriter | None = None
    to_remember: Mapping[str, str] = field(default_factory=dict)
    kind: str = "listing"
    knows_dates: bool = True

    async def open(self) -> None:
        """Nothing to check: the first request does."""

    async def aclose(self) -> None:
        """Nothing is held between pages."""

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield page after page, errand after errand."""
        for errand in self.work:
            source = self.source_of(errand.row or await self._begin(errand), self.limit)
            await source.open()
            try:
                async for batch in source.batches():
                    if self.to_remember:
                        await self.ledger.pin(self.to_remember)
                        self.to_remember = {}
                    if self.details is not None:
                        # Before the page's bookmark is committed, like its ids (I4).
                        await self.details.flush()
                    yield self._cut(batch)
                    if self.limit == 0:
                        return
            finally:
                await source.aclose()

    async def _begin(self, errand: Errand) -> ListingRow:
        if self.limit is None:
            return await self.ledger.start_listing(self.scope, errand.since, errand.until)
        return ListingRow(listing_id=0, scope="", since=errand.since, until=errand.until)

    def _cut(self, batch: Batch) -> Batch:
        if self.limit is None:
            return batch
        kept = batch.conversations[: self.limit]
        self.limit -= len(kept)
        return replace(batch, conversations=kept, bookmark=None)
