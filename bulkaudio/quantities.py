"""Durations, sizes and counts, as people write and read them."""

import re
from decimal import Decimal

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable

_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(
    r"\s*".join(["", *(rf"(?:{_NUMBER}\s*{unit})?" for unit in "wdhms"), ""]), re.IGNORECASE
)
_SECONDS = (7 * 86400, 86400, 3600, 60, 1)
_BARE = re.compile(_NUMBER)
_LONGEST_S = 36525 * 86400

_SIZE = re.compile(rf"{_NUMBER}\s*(?:([kmgtp])(i?))?(b?)", re.IGNORECASE)
_PREFIXES = "kMGTP"
_LARGEST_BYTES = 2**63 - 1


def parse_duration(text: str) -> float:
    """Read ``48h``, ``1h30m``, ``1.5h`` or a bare number of seconds; raises `UsageError`."""
    text = text.strip()
    if _BARE.fullmatch(text):
        seconds = Decimal(text)
    else:
        parts = _DURATION.fullmatch(text)
        if parts is None or not any(parts.groups()):
            raise UsageError(
                f"{printable(text)!r} is not a duration",
                fix="write it like 20s, 15m, 48h, 1d, 1h30m, or as a number of seconds",
            )
        values = zip(parts.groups(), _SECONDS, strict=True)
        seconds = sum((Decimal(n) * unit for n, unit in values if n), Decimal(0))
    if seconds > _LONGEST_S:
        raise UsageError(f"{printable(text)!r} is too long", fix="stay below 100 years")
    return float(seconds)


def parse_bytes(text: str) -> int:
    """Read ``1GB`` (10⁹), ``1GiB`` (2³⁰), ``500MB`` or a bare number of bytes; raises `UsageError`."""
    text = text.strip()
    match = _SIZE.fullmatch(text)
    # A letter alone is 10⁶ to some programs and 2²⁰ to others: a budget must not guess.
    if match is None or (match[2] and not match[4]):
        raise UsageError(
            f"{printable(text)!r} is not a size",
            fix="write it like 500MB, 1GB (a thousand million), 1GiB (2 to the 30th), or as a "
            "number of bytes",
        )
    power = _PREFIXES.lower().index(match[2].lower()) + 1 if match[2] else 0
    size = int(Decimal(match[1]) * (1024 if match[3] else 1000) ** power)
    if size > _LARGEST_BYTES:
        raise UsageError(f"{printable(text)!r} is too large", fix="stay below 8 EiB")
    return size


def format_bytes(size: int) -> str:
    """Write a size for people: three digits and a decimal prefix, ``870 MB``, ``1.25 GB``."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for prefix in _PREFIXES:
        value /= 1000
        # What would be rounded up to 1000 belongs to the next prefix.
        if value < 999.5 or prefix == _PREFIXES[-1]:
            break
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {prefix}B"


def format_duration(seconds: float) -> str:
    """Write a duration for people, in its two largest units: ``0.4s``, ``3m 12s``, ``2h 05m``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write ``1 recording``, ``1,200 recordings``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
