"""Conversations named by a CSV file, or by lines on standard input."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from bulkaudio.errors import UsageError
from bulkaudio.model import Batch
from bulkaudio.sources.csv_rows import read_batches
from bulkaudio.sources.csv_text import texts
from bulkaudio.sources.offload import ClosedError, InputFile, Offload


class CsvSource:
    """
    A CSV file, gzipped or not; a FIFO; standard input.

    Delimiter, encoding and id column are told from its head. Rows are yielded as they arrive, in
    constant memory, and read in a thread of its own, so that a silent pipe holds nothing up.

    Args:
        path: None: standard input.
        id_column: The header of the id column; None looks for the usual ones.
        limit: At most so many conversations.
    """

    kind = "csv"

    def __init__(
        self, path: Path | None, *, id_column: str | None = None, limit: int | None = None
    ) -> None:
        self._path = path
        self._file: InputFile | None = None
        self._id_column = id_column
        self._left = limit
        self._offload = Offload()
        self._batches: Iterator[Batch] = iter(())
        self._first: Batch | None = None
        self._knows_dates = False

    @property
    def knows_dates(self) -> bool:
        """Whether there is a column of starts, and the first rows' can be read."""
        return self._knows_dates

    async def open(self) -> None:
        """
        Read as far as the first rows.

        Raises:
            UsageError: When the file cannot be read, is empty, or has no id column.
        """
        self._file = file = InputFile(self._path)
        try:
            await self._offload.run(lambda: self._open(file))
        except BaseException:
            await self.aclose()
            raise

    async def batches(self) -> AsyncIterator[Batch]:
        """
        Yield the rows that follow one another, at most about a thousand at a time.

        Raises:
            UsageError: Where the file stops being text in its encoding, or whole gzip.
            StorageError: When the disk fails.
        """
        batch = self._first
        while batch is not None and self._left != 0:
            if self._left is not None:
                kept = batch.conversations[: self._left]
                self._left -= len(kept)
                batch = replace(batch, conversations=kept)
            yield batch
            batch = await self._offload.run(self._next)

    async def aclose(self) -> None:
        """Close the file, and end its thread unless the disk holds it."""
        if self._file is not None:
            self._file.interrupt()
            await self._offload.aclose(self._file.close)

    def _open(self, file: InputFile) -> None:
        file.open()
        self._batches = read_batches(texts(file.read, file.name), self._id_column, file.name)
        self._first = next(self._batches, None)
        if self._first is None:
            raise UsageError(
                f"{file.name} has a header line and nothing below it",
                fix="export the conversation ids again",
            )
        self._knows_dates = any(c.started_at for c in self._first.conversations)

    def _next(self) -> Batch | None:
        try:
            return next(self._batches, None)
        except ClosedError:
            return None
