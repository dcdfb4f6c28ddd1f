"""Conversations named by an iterable of ids."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from bulkaudio.errors import UsageError
from bulkaudio.model import BareConversations, Batch, Rejected
from bulkaudio.naming import is_conversation_id, printable

_BATCH_ROWS = 1000


class IdSource:
    """
    Ids from Python code; a generator is read as it is consumed, on the event loop.

    What is no conversation id is rejected with its position, counted from 1.

    Args:
        limit: At most so many conversations.
    """

    kind = "ids"
    knows_dates = False

    def __init__(self, ids: Iterable[str], *, limit: int | None = None) -> None:
        if isinstance(ids, str):  # which is an iterable of one-letter ids
            raise UsageError("ids are given as one string", fix="give a list of ids")
        self._numbered = enumerate(ids, 1)
        self._left = limit

    async def open(self) -> None:
        """Do nothing: there is nothing to check before the ids are read."""

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the ids, at most a thousand at a time."""
        while rows := tuple(islice(self._take(), _BATCH_ROWS)):
            yield Batch(
                conversations=BareConversations(
                    ids=tuple(row for row in rows if isinstance(row, str))
                ),
                rejected=tuple(row for row in rows if isinstance(row, Rejected)),
            )

    def _take(self) -> Iterator[str | Rejected]:
        while self._left is None or self._left > 0:
            try:
                number, text = next(self._numbered)
            except StopIteration:
                return
            if isinstance(text, str) and is_conversation_id(text):
                self._left = None if self._left is None else self._left - 1
                yield text
            else:
                where, why = f"id {number}", "it is no conversation id"
                yield Rejected(where=where, text=printable(str(text)), why=why)

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""
