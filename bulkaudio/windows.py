"""
Times as people name them, and the half-open windows between two of them.

Rules of this file: what decides which recordings are archived is exact or refused. A named
period denotes its first instant; local times are the first instant at which that zone's clocks
show them or have jumped past them, so that consecutive days meet without gap or overlap in every
zone, also where midnight is skipped or comes twice.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.quantities import parse_duration

_AGO = re.compile(r"([0-9]{1,6}) +(minute|hour|day|week)s? +ago")
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_ISO = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)"
    r"(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)? ?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_AGE = re.compile(r"([0-9]{1,5}) ?(d|w|mo|y)")
"""Without minutes: 13m would erase an archive in the place of what is older than 13 months."""
_DAY_WORDS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_EXAMPLES = (
    "2026-11-22, 2026-11-22T08:30, 2026-11-22T08:30Z, 2026-11, 2026-W47, today, yesterday, "
    '"2 days ago", -36h'
)


def parse_zone(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name; raises `UsageError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a folder of zones
        raise UsageError(
            f"{printable(name)!r} is not a time zone this machine knows",
            fix="use an IANA name such as UTC, Europe/London or America/New_York",
        ) from error


def parse_time(text: str, *, now: datetime, tz: tzinfo) -> datetime:
    """
    Read a time, as aware UTC; a period (a day, month or week) denotes its start.

    Args:
        now: Aware; what ``-36h`` and ``yesterday`` are measured from.
        tz: Zone of days and of times that name none.

    Raises:
        UsageError: When it is not one of the forms.
    """
    try:
        instant = _parse(text.strip(), now, tz)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(text) from error
    if instant is None:
        raise _not_a_time(text)
    return instant


def parse_cutoff(text: str, *, now: datetime, tz: tzinfo) -> datetime:
    """
    Read an age, such as ``13mo`` or ``400d``, or a time, as the aware UTC that it lies back to.

    Months and years are those of the calendar in `tz`: a month before the 31st of March is the last
    day of February.

    Raises:
        UsageError: When it is neither, or does not lie in the past.
    """
    age = _AGE.fullmatch(text.strip().lower())
    try:
        instant = parse_time(text, now=now, tz=tz) if age is None else _aged(age, now, tz)
    except (UsageError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{printable(text)!r} is neither an age nor a time",
            fix="write an age such as 13mo, 400d, 8w or 2y, or a day such as 2025-01-01",
        ) from error
    if instant >= now:
        raise UsageError(
            f"{printable(text)!r} does not lie in the past, so that everything would be older",
            fix="write an age such as 13mo, or a day that is over",
        )
    return instant


def _aged(age: re.Match[str], now: datetime, tz: tzinfo) -> datetime:
    count, unit = int(age[1]), age[2]
    if unit in {"d", "w"}:
        return now.astimezone(UTC) - timedelta(days=count * (7 if unit == "w" else 1))
    local = now.astimezone(tz)
    months = local.year * 12 + local.month - 1 - count * (12 if unit == "y" else 1)
    year, month = months // 12, months % 12 + 1
    day = min(local.day, monthrange(year, month)[1])
    return _first_instant(local.replace(year=year, month=month, day=day, tzinfo=None), tz)


def _not_a_time(text: str) -> UsageError:
    return UsageError(f"{printable(text)!r} is not a time", fix=f"write it like {_EXAMPLES}")


def _parse(text: str, now: datetime, tz: tzinfo) -> datetime | None:
    relative = _parse_relative(text.lower(), now, tz)
    if relative is not None:
        return relative
    if month := _MONTH.fullmatch(text):
        return _start_of(date(int(month[1]), int(month[2]), 1), tz)
    if not _ISO.fullmatch(text):
        return None
    moment = datetime.fromisoformat(text.upper().replace(" Z", "Z"))
    return _first_instant(moment, tz) if moment.tzinfo is None else moment.astimezone(UTC)


def _parse_relative(word: str, now: datetime, tz: tzinfo) -> datetime | None:
    if word == "now":
        return now.astimezone(UTC)
    if word in _DAY_WORDS:
        return _start_of(now.astimezone(tz).date() + timedelta(days=_DAY_WORDS[word]), tz)
    if ago := _AGO.fullmatch(word):
        return _ago(int(ago[1]), ago[2], now, tz)
    # A number alone would be seconds to `parse_duration`, and hours to whoever wrote it.
    if word.startswith("-") and word[-1] in "wdhms":
        return now.astimezone(UTC) - timedelta(seconds=parse_duration(word[1:]))
    return None


def _ago(count: int, unit: str, now: datetime, tz: tzinfo) -> datetime:
    if unit in {"minute", "hour"}:
        return now.astimezone(UTC) - timedelta(**{f"{unit}s": count})
    days = count * (7 if unit == "week" else 1)
    return _start_of(now.astimezone(tz).date() - timedelta(days=days), tz)


def _start_of(day: date, tz: tzinfo) -> datetime:
    return _first_instant(datetime.combine(day, time()), tz)


def _first_instant(local: datetime, tz: tzinfo) -> datetime:
    """Return the first instant at which clocks in `tz` show `local` (naive) or later."""
    instant = local.replace(tzinfo=tz).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == local:
        return instant
    # Skipped by a jump: `instant` took the offset before it and so lies behind it. Halving finds
    # the jump; the zone's two offsets alone do not say where it is.
    early, late = local.replace(tzinfo=tz, fold=1).astimezone(UTC), instant
    while late - early > timedelta(microseconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(tz).replace(tzinfo=None) < local:
            early = middle
        else:
            late = middle
    return late


def day_start(day: date, tz: tzinfo) -> datetime:
    """Return the first instant of a calendar day, as aware UTC."""
    return _start_of(day, tz)


def day_of(moment: datetime, tz: tzinfo) -> date:
    """
    Name the calendar day that an aware time lies in: the last one that has begun by then.

    Clocks that are put back over midnight show the day before once more, which is over all the
    same: days meet here as they do in windows.
    """
    try:
        day = moment.astimezone(tz).date()
        following = day + timedelta(days=1)
        return following if day_start(following, tz) <= moment else day
    except OverflowError:  # at either end of the calendar
        return moment.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Window:
    """
    Half-open: from `since` up to, not including, `until`; both aware.

    Raises:
        UsageError: When nothing is in it.
    """

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since >= self.until:
            if self.until < self.since:
                raise UsageError(
                    f"--until {_iso(self.until)} is before --since {_iso(self.since)}",
                    fix="swap the two",
                )
            raise UsageError(
                f"nothing lies between {_iso(self.since)} and {_iso(self.until)}",
                fix="--until is exclusive: for the whole of one day, give the day after as --until",
            )

    def holds(self, moment: datetime) -> bool:
        """Whether `moment` (aware) lies in the window."""
        return self.since <= moment < self.until

    def __str__(self) -> str:
        return f"{_iso(self.since)} up to {_iso(self.until)}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
