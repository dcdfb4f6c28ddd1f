"""
A page of conversations, read as it arrives.

A page may be 200 MB of transcripts: it is parsed event by event, each record is handed out as soon
as it is whole, and of a record whose details nobody wants only a handful of fields is ever built.

Rules of this file: no I/O; bytes in, records out; whatever the bytes are, memory stays bounded by
one record, and what is not a page is a `BrokenPage`.
"""

import math
from collections.abc import Container
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ijson

MAX_DEPTH = 100
MAX_TOKEN_BYTES = 16 * 1024 * 1024
"""
So many bytes without one finished JSON token are no page.

The parser looks at a token from its beginning with every piece: this much takes it a second, four
times as much twenty.
"""

MAX_CURSOR = 8192
"""Characters; a longer one could not be sent back."""

CURSORS = ("cursor", "next_cursor", "nextCursor")
OFFSETS = ("next_offset", "nextOffset")
ENVELOPE_KEYS = frozenset((*CURSORS, *OFFSETS))
RECORDS_KEY = "conversations"

_UNPARSABLE = (ijson.JSONError, ValueError, ArithmeticError, SystemError)
"""The last: what ijson's compiled parser makes of an integer too long for Python to read."""

is_parser_slow: bool = ijson.backend == "python"
"""ijson found no compiled parser: right, and some twenty times slower."""


class BrokenPage(ValueError):  # noqa: N818  the word for it
    """Bytes that are no page of conversations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEnd:
    """
    What a page says about the one after it.

    Attributes:
        is_bare: The page is an array without an envelope, which can say nothing.
    """

    cursor: str | None = None
    next_offset: int | None = None
    is_bare: bool = False


class PageParser:
    """
    Parses one page, fed piece by piece.

    Args:
        keys: Fields of a record to build; None builds all of it.
    """

    def __init__(self, keys: Container[str] | None) -> None:
        self._events: Any = ijson.sendable_list()
        self._parser: Any = ijson.basic_parse_coro(self._events)
        self._keys = keys
        self._depth = 0
        self._records_depth = 0
        """Depth at which records stand; 0 before their array and after it."""
        self._is_bare = False
        self._has_records = False
        self._key = ""
        self._ending: dict[str, Any] = {}
        self._value: _Value | None = None
        self._records: list[Any] = []
        self._silent_bytes = 0

    def feed(self, data: bytes) -> list[Any]:
        """
        Take the next bytes and return the records they complete.

        Raises:
            BrokenPage: When they cannot be part of a page.
        """
        try:
            self._parser.send(data)
        except (*_UNPARSABLE, StopIteration) as error:
            raise BrokenPage("broken JSON") from error
        self._silent_bytes = 0 if self._events else self._silent_bytes + len(data)
        if self._silent_bytes > MAX_TOKEN_BYTES:
            raise BrokenPage("a value without an end")
        return self._take()

    def finish(self) -> tuple[list[Any], PageEnd]:
        """
        Return the last records and what the page said about the next.

        Raises:
            BrokenPage: When the page is not whole.
        """
        try:
            self._parser.close()
        except _UNPARSABLE as error:
            raise BrokenPage("JSON that breaks off") from error
        records = self._take()
        if not self._has_records:
            raise BrokenPage("no conversations in it")
        return records, PageEnd(
            cursor=_cursor(self._ending),
            next_offset=_offset(self._ending),
            is_bare=self._is_bare,
        )

    def _take(self) -> list[Any]:
        for event, value in self._events:
            if self._value is None:
                self._step(event, value)
            elif self._value.add(event, value):
                self._end_value()
        self._events.clear()
        records, self._records = self._records, []
        return records

    def _step(self, event: str, value: Any) -> None:
        if self._depth and self._depth == self._records_depth:
            if event == "end_array":
                self._records_depth = 0
                self._depth -= 1
            else:
                self._begin_value(self._keys, event, value)
        elif self._depth == 0:
            self._open_page(event)
        elif event == "map_key":
            self._key = value
        elif event == "end_map":
            self._depth -= 1
        else:
            self._step_in_envelope(event, value)

    def _open_page(self, event: str) -> None:
        if event not in {"start_map", "start_array"}:
            raise BrokenPage("neither an object nor an array")
        self._depth = 1
        if event == "start_array":
            self._is_bare = self._has_records = True
            self._records_depth = 1

    def _step_in_envelope(self, event: str, value: Any) -> None:
        if self._key != RECORDS_KEY:
            # Of a container nothing is built: it is only walked through.
            self._begin_value((), event, value)
            return
        if event == "start_array":
            self._depth += 1
            self._records_depth = self._depth
        elif event != "null":
            raise BrokenPage(f"{RECORDS_KEY} that are no array")
        self._has_records = True

    def _begin_value(self, keys: Container[str] | None, event: str, value: Any) -> None:
        self._value = _Value(keys)
        if self._value.add(event, value):
            self._end_value()

    def _end_value(self) -> None:
        assert self._value is not None, "a value that ends has begun"  # noqa: S101
        whole, self._value = self._value.whole, None
        if self._records_depth:
            self._records.append(whole)
        elif self._key in ENVELOPE_KEYS:
            self._ending[self._key] = whole


_STEPS = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}


class _Value:
    """
    One JSON value being built.

    Args:
        keys: Members to build where the value is an object; None builds all.
    """

    __slots__ = ("_depth", "_key", "_keys", "_skipped", "_stack", "whole")

    def __init__(self, keys: Container[str] | None) -> None:
        self.whole: Any = None
        self._keys = keys
        self._stack: list[Any] = []
        self._key = ""
        self._skipped = 0
        """Containers open inside a member that is not built."""

    def add(self, event: str, value: Any) -> bool:
        """Take an event; True when the value is whole."""
        if self._skipped:
            # Most events of a page pass here: transcripts that nobody wants.
            step = _STEPS.get(event)
            if step is None:
                return False
            self._skipped += step
            self._check_depth()
        elif event == "map_key":
            self._key = value
        elif event in {"end_map", "end_array"}:
            self._stack.pop()
        elif event in {"start_map", "start_array"}:
            if self._is_wanted():
                self._open({} if event == "start_map" else [])
            else:
                self._skipped = 1
        elif self._is_wanted():
            self._attach(_number(value) if isinstance(value, Decimal) else value)
        return not self._stack and not self._skipped

    def _is_wanted(self) -> bool:
        if self._keys is None or len(self._stack) > 1:
            return True
        if not self._stack:
            return True
        return isinstance(self._stack[0], dict) and self._key in self._keys

    def _open(self, container: Any) -> None:
        self._attach(container)
        self._stack.append(container)
        self._check_depth()

    def _attach(self, value: Any) -> None:
        if not self._stack:
            self.whole = value
        elif isinstance(self._stack[-1], dict):
            self._stack[-1][self._key] = value
        else:
            self._stack[-1].append(value)

    def _check_depth(self) -> None:
        if len(self._stack) + self._skipped > MAX_DEPTH:
            raise BrokenPage("objects nested too deep")


def _number(value: Decimal) -> float | None:
    """Make it a float; beyond the range of floats it could not be written as JSON again."""
    number = float(value)
    return number if math.isfinite(number) else None


def _cursor(ending: dict[str, Any]) -> str | None:
    """Read the cursor: null, absent and empty are the end, a number is one as good as any."""
    value = next((ending[key] for key in CURSORS if ending.get(key) is not None), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_CURSOR:
        raise BrokenPage("a cursor that is no text")
    return value


def _offset(ending: dict[str, Any]) -> int | None:
    value = next((ending[key] for key in OFFSETS if ending.get(key) is not None), None)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**15:
        raise BrokenPage("an offset that is no number")
    return value
