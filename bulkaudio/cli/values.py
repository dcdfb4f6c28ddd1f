"""Readers of option values that the command line's library does not know."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from cyclopts import Token

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.ping_url import PingUrl
from bulkaudio.quantities import parse_bytes, parse_duration
from bulkaudio.settings import MOST_SLOTS
from bulkaudio.timetable import Timetable, parse_timetable

AUTO = "auto"

T = TypeVar("T")


def size(_type: object, tokens: Sequence[Token]) -> int:
    """Read ``1GB``."""
    return _named(tokens, parse_bytes)


def duration(_type: object, tokens: Sequence[Token]) -> float:
    """Read ``15m``."""
    return _named(tokens, parse_duration)


def concurrency(_type: object, tokens: Sequence[Token]) -> int | str:
    """Read ``auto`` or a number of requests at once."""
    return _named(tokens, _concurrency)


def count(_type: object, tokens: Sequence[Token]) -> int:
    """Read a whole number of at least 1."""
    return _named(tokens, _count)


def rate(_type: object, tokens: Sequence[Token]) -> float:
    """Read requests a second, more than 0."""
    return _named(tokens, _rate)


def bandwidth(_type: object, tokens: Sequence[Token]) -> Timetable:
    """Read ``20M``, or a timetable, by the clocks of UTC."""
    return _named(tokens, parse_timetable)


def ping_url(_type: object, tokens: Sequence[Token]) -> PingUrl:
    """Read an address that is kept out of sight."""
    return _named(tokens, PingUrl.parse)


def words(_type: object, text: str, delimiter: str | None = None) -> list[str]:
    """Split a variable's value that lists several: by commas or spaces."""
    del delimiter
    return text.replace(",", " ").split()


def whole(_type: object, text: str, delimiter: str | None = None) -> list[str]:
    """Take a variable's value for one, blanks included."""
    del delimiter
    return [text]


def origin(token: Token) -> str:
    """Name what a value came from: an option, a variable, or a key and its file."""
    name = token.keyword or "a value"
    return name if token.source in {"", "cli", "environment"} else f"{token.source}: {name}"


def needs_file(option: str, value: str) -> UsageError:
    """Make the error of an option that took the next option for its value."""
    return UsageError(
        f"{option} needs a file name or -, and {printable(value, 40)} is an option",
        fix=f"write {option} FILE, or {option} - for standard input",
    )


def _concurrency(text: str) -> int | str:
    if text.strip().lower() == AUTO:
        return AUTO
    try:
        if (number := _count(text)) <= MOST_SLOTS:
            return number
    except UsageError:
        pass
    raise UsageError(
        f"{text[:40]!r} is neither auto nor a whole number from 1 to {MOST_SLOTS}",
        fix="leave it out: auto finds out what PolyAI can take",
    )


def _count(text: str) -> int:
    digits = text.strip().replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16 and int(digits) > 0):
        raise UsageError(
            f"{text[:40]!r} is not a whole number of at least 1",
            fix="write digits only, such as 100",
        )
    return int(digits)


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(
            f"{text[:40]!r} is not a number of requests a second",
            fix="write a number above 0, such as 20 or 0.5",
        )
    return number


def _named(tokens: Sequence[Token], read: Callable[[str], T]) -> T:
    """Read the value, and name the option, variable or key that it came from when it is wrong."""
    token = tokens[0]
    try:
        return read(token.value)
    except UsageError as error:
        raise UsageError(f"{origin(token)}: {error.message}", fix=error.fix) from error
