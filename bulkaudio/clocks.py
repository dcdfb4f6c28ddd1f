"""
Two clocks, this machine's and PolyAI's, and which of them may be believed.

A clock that is ahead makes everything look older than it is: a recording that is not ready yet
would count as absent for good, and hours that are still to come as listed. So where they differ,
the earlier one decides; the worst that can come of it is a second look.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from bulkaudio.quantities import format_duration

TOLERANCE = timedelta(minutes=2)
"""``Date`` has whole seconds, and an answer may have been on its way for a while."""


@lru_cache(maxsize=16)
def http_date(raw: str | None) -> datetime | None:
    """
    Read any of the three HTTP date forms; a date without a zone is UTC.

    Hundreds of answers a second bear the same one, so the last few are remembered.
    """
    if not raw:
        return None
    try:
        date = parsedate_to_datetime(raw)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def ahead(here: datetime | None, date: str | None) -> timedelta:
    """How far this machine's time is ahead of a ``Date``; nothing within the tolerance."""
    there = http_date(date)
    if here is None or there is None:
        return timedelta()
    difference = here - there
    return difference if abs(difference) > TOLERANCE else timedelta()


def believed(here: datetime, date: str | None) -> datetime:
    """Return the earlier of this machine's time and a ``Date``."""
    return here - max(ahead(here, date), timedelta())


def skew_words(host: str, skew: timedelta) -> str:
    """Say what is wrong with the clock, and what came of it."""
    side = "ahead of" if skew > timedelta() else "behind"
    return (
        f"This machine's clock is {format_duration(abs(skew).total_seconds())} {side} {host}'s: "
        "set it right. What the earlier of the two could not know as listed or absent stays open."
    )
