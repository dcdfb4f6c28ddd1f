"""Counting a whole ledger by day: page after page, so that a million rows take no more memory than a few."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bulkaudio.gaps import Census, Frame
from bulkaudio.ledger.census import WHOLE, Group, Page
from bulkaudio.ledger.faults import translated
from bulkaudio.ledger.ledger import Ledger

PAGE_ROWS = 50_000

Ask = Callable[[Page], Awaitable[Sequence[Group]]]


async def survey(ledger: Ledger, frame: Frame, *, page_rows: int = PAGE_ROWS) -> Census:
    """Count every row of the frame by day and direction."""
    census = Census(zone=frame.zone)
    for after in range(0, await ledger.last_rowid(), page_rows):
        page = Page(
            after=after,
            upto=after + page_rows,
            directions=frame.directions,
            since=frame.since,
            until=frame.until,
        )
        await _count(ledger, census, ledger.groups, page)
        if frame.counts_never_asked:
            await _count(ledger, census, ledger.never_asked, page)
    return census


async def _count(ledger: Ledger, census: Census, ask: Ask, page: Page) -> None:
    groups = await ask(page)
    with translated(ledger.path):
        hours = census.straddling(groups)
        for group in groups:
            if group.start not in hours:
                census.add(group)
    if hours:
        fine = await ask(replace(page, width=WHOLE, hours=tuple(sorted(hours))))
        with translated(ledger.path):
            for group in fine:
                census.add(group)
