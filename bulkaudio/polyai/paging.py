"""
From page to page, to the documented end and no further.

Rules of this file: pure. A listing that ends too early loses recordings, one that never ends loses
the night: what is neither documented as the end nor leads on is an error.
"""

from dataclasses import dataclass

from bulkaudio.polyai.conversations import Position
from bulkaudio.polyai.pages import PageEnd

MAX_EMPTY_PAGES = 100
"""In a row. A filter applied after paging leaves pages empty, but not a hundred of them."""


class LostWay(ValueError):  # noqa: N818  the word for it
    """The pages do not lead to an end; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """
    What paging needs to know of a page that was read.

    Attributes:
        records: How many it held, usable or not.
        fingerprint: Equal for pages with the same ids in the same order; None without ids.
    """

    records: int
    fingerprint: int | None
    end: PageEnd


class Pager:
    """
    Knows where the next page begins.

    Args:
        start: Of the first page.
        page_size: As asked for.
        is_offset_only: The endpoint knows no cursor and does not say where its end is.
    """

    def __init__(self, start: Position, *, page_size: int, is_offset_only: bool) -> None:
        self.position = start
        self._page_size = page_size
        self._is_offset_only = is_offset_only
        self._seen = {hash(start.cursor)} if start.cursor is not None else set()
        self._empty_pages = 0
        self._last_fingerprint: int | None = None

    def advance(self, page: PageFacts) -> bool:
        """
        Move behind the page that was read; False when it was the last.

        Raises:
            LostWay: When there is no way on that has not been walked before.
        """
        self._empty_pages = 0 if page.records else self._empty_pages + 1
        if page.end.cursor is not None:
            self._move_to_cursor(page.end.cursor)
            return True
        if self.position.cursor is not None:
            return False
        is_repeated = page.fingerprint is not None and page.fingerprint == self._last_fingerprint
        self._last_fingerprint = page.fingerprint
        offset = self._next_offset(page)
        if offset is None:
            return False
        if is_repeated:
            if page.end.is_bare and page.records > self._page_size:
                # It gives everything at once, whatever it is asked.
                return False
            raise LostWay("the server gives the same page again for another offset")
        self.position = Position(offset=offset)
        return True

    def _move_to_cursor(self, cursor: str) -> None:
        if hash(cursor) in self._seen:
            raise LostWay("the server gives a cursor again that it gave before")
        if self._empty_pages >= MAX_EMPTY_PAGES:
            raise LostWay(f"{MAX_EMPTY_PAGES} pages in a row were empty, with more announced")
        self._seen.add(hash(cursor))
        self.position = Position(cursor=cursor)

    def _next_offset(self, page: PageFacts) -> int | None:
        """Find where the older paging goes on; an empty page ends it, whatever it announces."""
        here = self.position.offset or 0
        if page.records == 0:
            return None
        if page.end.next_offset is not None:
            if page.end.next_offset <= here:
                raise LostWay("the server's next offset does not lead on")
            return page.end.next_offset
        is_full = page.records >= self._page_size
        if self._is_offset_only or (page.end.is_bare and is_full):
            return here + page.records
        return None
