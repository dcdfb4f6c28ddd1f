"""From text to rows, with the physical line on which each begins, in bounded memory."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

MAX_ROW_CHARS = 1024 * 1024
BATCH_ROWS = 1000
_OFTEN_CHARS = 64 * 1024
_SHOWN_CHARS = 100
_BREAK = re.compile(r"\r\n?|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """
    Some rows, parsed when they are read; `numbers` are their first physical lines, from 1.

    Attributes:
        lines: Of the rows, complete.
    """

    numbers: Sequence[int]
    lines: list[str]
    delimiter: str

    def __iter__(self) -> Iterator[list[str]]:
        """Parse; every row is a list of its own, which nothing else holds."""
        return csv.reader(self.lines, delimiter=self.delimiter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A line that cannot be a row: `text` is how it begins."""

    number: int
    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    lines: list[str]
    has_quotes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overlong:
    text: str


def rows_of(texts: Iterable[str], delimiter: str) -> Iterator[Rows | Unreadable]:
    """
    Parse, yielding after each text what is complete, at most a thousand rows at a time.

    A row may span lines inside quotes, up to a mebibyte. A quote that is not closed within that
    costs its own line, not what follows; a longer line is passed over.
    """
    if csv.field_size_limit() < 2 * MAX_ROW_CHARS:
        # The default refuses cells of 128 KiB, and the module has no limit but this global one.
        csv.field_size_limit(2 * MAX_ROW_CHARS)
    parser = _Parser(delimiter=delimiter)
    for item in _cut(texts):
        if isinstance(item, _Overlong):
            yield from parser.finish()
            yield parser.skip(item.text)
        elif parser.pending or item.has_quotes:
            yield from parser.feed(item.lines)
        else:
            yield parser.feed_plain(item.lines)
    yield from parser.finish()


def _cut(texts: Iterable[str]) -> Iterator[_Lines | _Overlong]:
    """Cut texts into runs of whole physical lines; the last may lack its line break."""
    rest, overlong = "", None
    for text in _whole_breaks(texts):
        start = 0
        if overlong is not None:
            start = _after_break(text)
            if not start:
                continue
            yield _Overlong(text=overlong)
            overlong = None
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        whole, rest = (rest + text[start:end], text[end:]) if end else ("", rest + text)
        if len(whole) > MAX_ROW_CHARS and (first := _after_break(whole)) > MAX_ROW_CHARS:
            yield _Overlong(text=whole[:_SHOWN_CHARS])
            whole = whole[first:]
        if whole:
            yield from _runs(whole)
        if len(rest) > MAX_ROW_CHARS:
            overlong, rest = rest[:_SHOWN_CHARS], ""
    if overlong is not None:
        yield _Overlong(text=overlong)
    if rest:
        yield from _runs(rest)


def _whole_breaks(texts: Iterable[str]) -> Iterator[str]:
    """Hold back a carriage return at the end of a text: it may be half of a line break."""
    held = ""
    for text in texts:
        joined = held + text
        held = "\r" if joined.endswith("\r") else ""
        if whole := joined[: len(joined) - len(held)]:
            yield whole
    if held:
        yield held


def _after_break(text: str) -> int:
    """Return where the second line begins; 0 when there is no line break."""
    match = _BREAK.search(text)
    return match.end() if match else 0


def _runs(whole: str) -> Iterator[_Lines]:
    has_quotes = '"' in whole
    # Not `str.splitlines`, which also breaks at characters that are plain text to CSV.
    lines = io.StringIO(whole, newline="")
    while run := list(islice(lines, BATCH_ROWS)):
        yield _Lines(lines=run, has_quotes=has_quotes)


class _Feed:
    """The lines of one `csv.reader`; remembers whether it asked for more than there were."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.ran_out = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.ran_out = True
            raise


@dataclass(slots=True, kw_only=True)
class _Parser:
    """
    Turns lines into rows and knows which physical line comes next.

    Attributes:
        pending: Lines of a row whose quotes are still open.
        number: Of the first pending line, or of the next one.
    """

    delimiter: str
    pending: list[str] = field(default_factory=list)
    number: int = 1
    _tried_chars: int = 0

    def feed_plain(self, lines: list[str]) -> Rows:
        """Take lines without quotes, each of which is a row."""
        first, self.number = self.number, self.number + len(lines)
        return Rows(numbers=range(first, self.number), lines=lines, delimiter=self.delimiter)

    def feed(self, lines: list[str]) -> Iterator[Rows]:
        """Parse what is complete; the rest stays pending."""
        self.pending += lines
        chars = sum(map(len, self.pending))
        if chars > _OFTEN_CHARS and chars < self._tried_chars * 5 // 4:
            return  # a long row in small pieces would be parsed from its start for each of them
        yield from self._parse()
        while sum(map(len, self.pending)) > MAX_ROW_CHARS:
            yield self._parse_alone()
            yield from self._parse()
        self._tried_chars = sum(map(len, self.pending))

    def finish(self) -> Iterator[Rows]:
        """Parse what is pending, although its quotes stay open."""
        yield from self._parse()
        while self.pending:
            yield self._parse_alone()
            yield from self._parse()
        self._tried_chars = 0

    def skip(self, text: str) -> Unreadable:
        """Count a line that was passed over."""
        self.number += 1
        why = f"the line is longer than {MAX_ROW_CHARS} characters"
        return Unreadable(number=self.number - 1, text=text, why=why)

    def _parse(self) -> Iterator[Rows]:
        while rows := self._parse_some():
            yield rows

    def _parse_some(self) -> Rows | None:
        feed = _Feed(self.pending)
        reader = csv.reader(feed, delimiter=self.delimiter)
        numbers: list[int] = []
        at = 0
        while at < len(self.pending) and len(numbers) < BATCH_ROWS:
            next(reader, None)
            if feed.ran_out:
                break
            numbers.append(self.number + at)
            at = reader.line_num
        lines, self.pending = self.pending[:at], self.pending[at:]
        self.number += at
        return Rows(numbers=numbers, lines=lines, delimiter=self.delimiter) if numbers else None

    def _parse_alone(self) -> Rows:
        """Parse the first pending line as a row, its quote closed where the line ends."""
        return self.feed_plain([self.pending.pop(0)])
