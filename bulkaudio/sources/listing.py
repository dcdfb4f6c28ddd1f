"""
Conversations from the list endpoint, page by page.

A page is read to its end before anything of it is handed on, with the bookmark behind it (I4): a
page that breaks off is read again as a whole, and nothing of it is committed twice or by half.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bulkaudio.clocks import believed
from bulkaudio.errors import UsageError
from bulkaudio.events import Answered, Emit, Noted, Retrying
from bulkaudio.gate import NO_SUCH_HOST, Gate
from bulkaudio.model import Batch, Bookmark, Conversation
from bulkaudio.policy import Action, Reason, rule
from bulkaudio.polyai.client import PermanentFailure, Response, Session
from bulkaudio.polyai.conversations import READ_KEYS, Listing, Position, page_request
from bulkaudio.polyai.pages import BrokenPage, PageParser, is_parser_slow
from bulkaudio.polyai.paging import LostWay, Pager
from bulkaudio.polyai.request import url_of
from bulkaudio.retry import AttemptFailed, Limits, Retry, retrying
from bulkaudio.settings import ListingQuery
from bulkaudio.sources.listed_page import ListedPage, Wanted
from bulkaudio.sources.refusals import Refusals
from bulkaudio.ticket import Ticket

SLICE_BYTES = 64 * 1024
"""Parsed at once, before other tasks get their turn."""

LISTED_ANEW = (
    "The listing cannot go on where it stopped (PolyAI no longer knows the place, or --page-size is "
    "another): its window is listed again from the start."
)

OnDetails = Callable[[Conversation, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPlan:
    """
    One listing, from its beginning or from where an earlier run left it.

    Attributes:
        since, until: Half-open, aware.
        cursor, offset: Of the bookmark to go on from.
        limit: Conversations at most. A page that is cut short gets no bookmark.
    """

    listing_id: int
    since: datetime
    until: datetime
    query: ListingQuery = field(default_factory=ListingQuery)
    cursor: str | None = None
    offset: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingMeans:
    """
    What listing needs.

    Attributes:
        gate: Of the listing's host.
        sleep: Waits between attempts; raises `bulkaudio.gate.Draining` when the run is stopping.
        on_details: Gets each finished call as the server told it, while its page is being read;
            again when the page is read again. None: details are not even built.
    """

    session: Session
    gate: Gate
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    on_details: OnDetails | None = None


class ListingSource:
    """The conversations of one listing; see `bulkaudio.sources.base.Source`."""

    kind = "listing"
    knows_dates = True

    def __init__(self, plan: ListingPlan, means: ListingMeans) -> None:
        connection, hosts = means.session.connection, means.session.hosts
        self._plan = plan
        self._means = means
        self._is_studio = hosts.region == "studio"
        self._listing = Listing(
            account=None if self._is_studio else connection.account,
            agent=connection.agent,
            since=plan.since,
            until=plan.until,
            query=plan.query,
        )
        self._wanted = Wanted(
            since=plan.since if self._is_studio else None,
            until=plan.until,
            channels=plan.query.channels,
        )
        self._refusals = Refusals(means.session)
        self._room = plan.limit

    async def open(self) -> None:
        """Check what can be checked without a request; raises `UsageError`."""
        if not self._is_studio and not self._listing.account:
            raise UsageError(
                "listing conversations needs the account",
                fix="give --account: it stands in the address of Agent Studio, "
                "https://studio.REGION.poly.ai/ACCOUNT/AGENT/",
            )
        if not 1 <= self._plan.query.page_size <= 1000:
            raise UsageError("a page has 1 to 1000 conversations", fix="give --page-size 1000")
        # What cannot be spelled as a URL is the user's to correct, before the first page.
        url_of("", page_request(self._listing, Position()))
        if is_parser_slow:
            self._means.emit(
                Noted(text="Listing pages are parsed slowly: ijson has no compiled parser here.")
            )

    async def aclose(self) -> None:
        """Nothing is held between pages."""

    async def batches(self) -> AsyncIterator[Batch]:
        """
        Yield page after page, each whole.

        Raises:
            ListingError: When the end cannot be reached.
            WrongHostError, KeyRefusedError: When the listing cannot even begin.
        """
        start = Position(cursor=self._plan.cursor, offset=self._plan.offset)
        pager = self._pager(start)
        while self._room != 0:
            self._refusals.page_number += 1
            try:
                page = await self._page(pager.position)
            except _StaleCursor:
                self._means.emit(Noted(text=LISTED_ANEW))
                pager = self._pager(Position())
                continue
            if page.is_cut:
                yield page.batch(None)
                return
            try:
                is_last = not pager.advance(page.facts)
            except LostWay as lost:
                # What the page itself holds is good; only the way on is not.
                yield page.batch(None)
                raise self._refusals.trouble(str(lost)) from lost
            bookmark = self._bookmark(pager.position, is_last=is_last)
            yield page.batch(replace(bookmark, known_until=page.known_until))
            if is_last:
                return

    def _pager(self, start: Position) -> Pager:
        return Pager(start, page_size=self._plan.query.page_size, is_offset_only=self._is_studio)

    def _bookmark(self, position: Position, *, is_last: bool) -> Bookmark:
        return Bookmark(
            listing_id=self._plan.listing_id,
            cursor=None if is_last else position.cursor,
            offset=None if is_last else position.offset,
            is_last=is_last,
        )

    async def _page(self, position: Position) -> ListedPage:
        """Read one page, again and again if need be."""

        async def attempt(_: int) -> ListedPage:
            return await self._attempt(position)

        means = self._means
        try:
            page = await retrying(attempt, means.limits, on_retry=self._report, sleep=means.sleep)
        except AttemptFailed as failure:
            raise self._refusals.exhausted(failure) from failure
        if self._room is not None:
            self._room -= len(page.conversations)
        return page

    def _report(self, retry: Retry) -> None:
        evidence = retry.failure.evidence
        self._means.emit(
            Retrying(
                what="listing",
                reason=retry.failure.reason,
                attempt=retry.attempt,
                wait_s=retry.wait_s,
                http_status=evidence.http_status,
                correlation_id=evidence.correlation_id,
            )
        )

    async def _attempt(self, position: Position) -> ListedPage:
        async with self._means.gate.admit() as ticket:
            try:
                return await self._request(position, ticket)
            except AttemptFailed as failure:
                _tell_gate(ticket, failure)
                raise
            except PermanentFailure as failure:
                raise self._refusals.trouble(
                    f"its answer cannot be used ({failure})", failure.evidence.correlation_id
                ) from failure

    async def _request(self, position: Position, ticket: Ticket) -> ListedPage:
        means = self._means
        async with means.session.get(page_request(self._listing, position)) as response:
            means.emit(
                Answered(
                    host=means.gate.host,
                    http_status=response.answer.http_status,
                    first_byte_s=response.first_byte_s,
                )
            )
            ruling = rule(response.answer)
            if ruling.action is not Action.SAVE:
                if self._is_stale(position, response):
                    raise _StaleCursor
                raise self._refusals.judge(response, ruling)
            self._refusals.accepted()
            page = await self._read(response)
            ticket.succeeded(response.first_byte_s)
            return page

    def _is_stale(self, position: Position, response: Response) -> bool:
        """Whether the server does not know the place any more at which an earlier run stopped."""
        is_remembered = position.cursor is not None and position.cursor == self._plan.cursor
        return is_remembered and response.answer.http_status == 400

    async def _read(self, response: Response) -> ListedPage:
        """Parse the body as it comes."""
        parser = PageParser(READ_KEYS if self._means.on_details is None else None)
        page = ListedPage(
            number=self._refusals.page_number, room=self._room, known_until=_known_until(response)
        )
        try:
            async for chunk in response.chunks(self._means.gate.bandwidth):
                for start in range(0, len(chunk), SLICE_BYTES):
                    await self._take(page, parser.feed(chunk[start : start + SLICE_BYTES]))
                    if page.is_cut:
                        return page
                    await asyncio.sleep(0)
            records, page.end = parser.finish()
            await self._take(page, records)
        except BrokenPage as broken:
            raise AttemptFailed(Reason.PROTOCOL, evidence=response.evidence) from broken
        return page

    async def _take(self, page: ListedPage, records: list[Any]) -> None:
        on_details = self._means.on_details
        for record in records:
            conversation = page.take(record, self._wanted.holds)
            if page.is_cut:
                return
            if conversation is None or conversation.in_progress or on_details is None:
                continue
            await on_details(conversation, record)


def _known_until(response: Response) -> datetime | None:
    here = response.answer.received_at
    known = None if here is None else believed(here, response.answer.date)
    return None if known == here else known


class _StaleCursor(Exception):  # noqa: N818  a signal
    """The bookmark of an earlier run leads nowhere."""


_TROUBLE = {Reason.CONNECTION, Reason.TIMEOUT, Reason.STALLED, NO_SUCH_HOST}


def _tell_gate(ticket: Ticket, failure: AttemptFailed) -> None:
    """Report a failed attempt; a page that arrived and is broken says nothing about the host."""
    if failure.reason == Reason.THROTTLED:
        ticket.throttled(failure.retry_after_s)
    elif failure.reason in _TROUBLE or (failure.evidence.http_status or 0) >= 500:
        ticket.failed(failure.reason)
        failure.is_throttle = failure.is_throttle or ticket.is_hosts_fault
