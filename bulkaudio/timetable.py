"""
How many bytes a second may arrive, and when: one ceiling, or one that follows the clock.

Rules of this file: pure. A moment is an instant, and the zone says what its clocks show then, so an
hour that comes twice is one hour twice, and one that is skipped is nobody's.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Self

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.quantities import parse_bytes

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60

OFF = "off"
LEAST_BYTES_PER_S = 1000
"""Less is a forgotten unit: no recording would ever end."""

FIX = (
    "write bytes a second like 20M or 500kB, off for no ceiling, or a timetable like "
    "08:00-18:00=20M,off or Mon-Fri 08:00-18:00=20M,Sat-Sun=50M,off"
)

_DAY = "|".join(DAYS)
_ENTRY = re.compile(
    rf"(?:({_DAY})(?:\s*-\s*({_DAY}))?)?\s*"
    r"(?:([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2}))?\s*=\s*(.*)"
)
_LETTER_ALONE = re.compile(r".*[0-9]\s*[kmgt]i?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One line of a timetable.

    Attributes:
        days: 0 is Monday; those on which it begins.
        begin, end: Minutes since midnight, half-open. An end that is not after the beginning is the
            next day's.
        limit: Bytes a second; None: no ceiling.
    """

    days: frozenset[int] = frozenset(range(7))
    begin: int = 0
    end: int = DAY_MINUTES
    limit: int | None

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether it applies when the clocks show that."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        yesterday = (weekday - 1) % 7
        return (weekday in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """
    A ceiling for every moment: that of the first entry that holds, else `otherwise`.

    Attributes:
        otherwise: Bytes a second; None: no ceiling.
        zone: Whose clocks the entries are about.
    """

    entries: tuple[Entry, ...] = ()
    otherwise: int | None = None
    zone: tzinfo = UTC

    @property
    def has_ceilings(self) -> bool:
        """Whether there is a moment with one."""
        limits = [self.otherwise, *(entry.limit for entry in self.entries)]
        return any(limit is not None for limit in limits)

    def limit_at(self, moment: datetime) -> int | None:
        """Return bytes a second at an aware moment; None: no ceiling."""
        if not self.entries:
            return self.otherwise
        local = moment.astimezone(self.zone)
        weekday, minute = local.weekday(), local.hour * 60 + local.minute
        for entry in self.entries:
            if entry.holds(weekday, minute):
                return entry.limit
        return self.otherwise

    def within(self, zone: tzinfo) -> Self:
        """Return the same, by the clocks of another zone."""
        return replace(self, zone=zone)


NO_CEILING = Timetable()


def parse_timetable(text: str) -> Timetable:
    """Read ``20M``, ``off``, or ``Mon-Fri 08:00-18:00=20M,off``, in UTC; raises `UsageError`."""
    entries: list[Entry] = []
    otherwise: list[int | None] = []
    for part in text.split(","):
        word = part.strip().lower()
        if otherwise:
            raise _wrong(text, "what holds for the rest of the time comes last, and once")
        if "=" in word:
            entries.append(_entry(text, word))
        else:
            otherwise.append(_limit(text, word))
    return Timetable(entries=tuple(entries), otherwise=otherwise[0] if otherwise else None)


def _entry(text: str, word: str) -> Entry:
    match = _ENTRY.fullmatch(word)
    if match is None or not (match[1] or match[3]):
        raise _wrong(text, f"{printable(word)!r} names neither days nor hours")
    begin, end = 0, DAY_MINUTES
    if match[3]:
        begin, end = _minute(text, match[3], match[4]), _minute(text, match[5], match[6])
        if begin in {end, DAY_MINUTES}:
            raise _wrong(text, f"no time lies in {printable(word)!r}")
    return Entry(days=_days(match[1], match[2]), begin=begin, end=end, limit=_limit(text, match[7]))


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _minute(text: str, hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MINUTES:
        raise _wrong(text, f"no clock shows {hours}:{minutes}")
    return minute


def _limit(text: str, word: str) -> int | None:
    if word == OFF:
        return None
    size = word.removesuffix("/s")
    if _LETTER_ALONE.fullmatch(size):
        # A ceiling may be read as the lower of what its letter stands for; a budget may not.
        size += "b"
    try:
        limit = parse_bytes(size)
    except UsageError:
        raise _wrong(text, f"{_part(text, word)} is no number of bytes a second") from None
    if limit < LEAST_BYTES_PER_S:
        raise _wrong(text, f"{_part(text, word)} is less than a kilobyte a second")
    return limit


def _part(text: str, word: str) -> str:
    return "it" if word == text.strip().lower() else repr(printable(word))


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"{printable(text)!r} is not a bandwidth: {why}", fix=FIX)
