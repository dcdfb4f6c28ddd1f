"""The verdict in words, and how a report writes numbers, sizes and times."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import floor

from bulkaudio.interrupted import words
from bulkaudio.model import Status
from bulkaudio.quantities import plural
from bulkaudio.report.figures import Scope, local
from bulkaudio.report.gather import Account


class Tone(Enum):
    """How the verdict looks; never the only thing that says it."""

    WHOLE = "whole"
    WAITING = "waiting"
    LACKING = "lacking"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One sentence, and what has to be known beside it."""

    tone: Tone
    headline: str
    notes: tuple[str, ...]


def verdict(account: Account) -> Verdict:
    """Judge: what is lost or still to come is said first, and complete is said only of what is."""
    figures = account.figures
    failed, missing, waiting = map(figures.count, (Status.FAILED, Status.OPEN, Status.DEFERRED))
    notes = tuple(_notes(account))
    if not figures.listed:
        return Verdict(tone=Tone.EMPTY, headline=_nothing(account.scope), notes=notes)
    if lacking := failed + missing:
        verb = "is" if lacking == 1 else "are"
        parts = [f"{n:,} {word}" for n, word in ((missing, "missing"), (failed, "failed")) if n]
        headline = (
            f"Not complete: {plural(lacking, 'recording')} of {figures.listed:,} {verb} not "
            f"archived ({', '.join(parts)})."
        )
        return Verdict(tone=Tone.LACKING, headline=headline, notes=notes)
    if account.unfinished:
        headline = (
            "Not known to be complete: every recording that was listed is archived, but a listing "
            "did not reach its end."
        )
        return Verdict(tone=Tone.LACKING, headline=headline, notes=notes)
    if not account.runs:
        headline = (
            "Not known to be complete: rebuild made the ledger from the files, which do not tell what is "
            "missing."
        )
        return Verdict(tone=Tone.LACKING, headline=headline, notes=notes)
    if waiting:
        verb = "is" if waiting == 1 else "are"
        headline = f"Complete so far: {plural(waiting, 'recording')} {verb} not ready yet."
        return Verdict(tone=Tone.WAITING, headline=headline, notes=notes)
    erased = figures.count(Status.PURGED)
    but = f", but for {plural(erased, 'that was', 'that were')} erased" if erased else ""
    if account.is_listed:
        headline = f"Complete: every call that has a recording is archived{but}."
    else:
        headline = f"Complete: every recording that was asked for and exists is archived{but}."
    return Verdict(tone=Tone.WHOLE, headline=headline, notes=notes)


def _nothing(scope: Scope) -> str:
    if scope.is_all:
        return "Empty: this archive has not heard of any call yet."
    return "Empty: this archive knows no call of that time."


def _notes(account: Account) -> Iterator[str]:
    figures = account.figures
    if figures.count(Status.FAILED) + figures.count(Status.OPEN):
        yield "The next download tries them again; nothing that is saved is fetched twice."
    if waiting := figures.count(Status.DEFERRED):
        what, verb = plural(waiting, "recording"), "is" if waiting == 1 else "are"
        yield f"{what} {verb} not ready yet: the call was going on or too fresh, and a later run looks again."
    if account.interruption is not None:
        yield words(account.interruption, account.archive)
    yield from _absences(account)
    if figures.listed and not account.is_listed and not account.unfinished:
        yield "No listing has come to its end, so calls that nobody asked for are not known here."
    for row in account.unfinished[:3]:
        since = "the beginning" if row.since is None else time_words(row.since, account.scope)
        until = time_words(row.until, account.scope)
        yield f"Not listed to its end: {since} to {until}. What it would name is in no number here."
    if figures.left_out:
        what = plural(figures.left_out, "recording")
        yield f"{what} of calls without a known start: no window of time can hold them."
    if account.runs and not account.runs[-1].summary:
        yield "The last run ended without a word: it was killed, or the machine went down."
    elif account.runs and account.runs[-1].status == "failed":
        yield "The last run failed: calls since then may not be listed yet."


def _absences(account: Account) -> Iterator[str]:
    """Tell what PolyAI never had from what was erased here."""
    absent, erased = map(account.figures.count, (Status.ABSENT, Status.PURGED))
    if erased:
        verb = "was" if erased == 1 else "were"
        yield f"{plural(erased, 'recording')} {verb} erased here, for good and on purpose."
    if absent:
        verb = "does" if absent == 1 else "do"
        yield f"{plural(absent, 'recording')} {verb} not exist at PolyAI, which is known and no fault: opt-outs, for example."


def share_words(kept: int, of: int) -> str:
    """Write a share in per cent that never rounds up to the whole."""
    if kept == of:
        return "100 %"
    hundredths = floor(kept * 10_000 / of)
    return f"{hundredths / 100:.2f} %" if hundredths >= 9_900 else f"{hundredths / 100:.1f} %"


def day_words(moment: datetime, scope: Scope) -> str:
    """Write the day of a moment, in the reader's zone."""
    there = local(moment, scope.zone)
    return f"{there.day} {there:%b} {there.year}"


def time_words(moment: datetime, scope: Scope) -> str:
    """Write day and minute of a moment, in the reader's zone."""
    return f"{day_words(moment, scope)}, {local(moment, scope.zone):%H:%M}"


def period_words(account: Account) -> str:
    """Say which calls the page is about."""
    scope, figures = account.scope, account.figures
    zone = f" ({scope.zone})"
    if scope.is_all:
        if figures.first is None or figures.last is None:
            return "All calls, none with a known start"
        first, last = day_words(figures.first, scope), day_words(figures.last, scope)
        return ("Calls of " + (first if first == last else f"{first} to {last}")) + zone
    if scope.since and scope.until:
        last = day_words(scope.until.astimezone(UTC) - timedelta(microseconds=1), scope)
        first = day_words(scope.since, scope)
        return ("Calls of " + (first if first == last else f"{first} to {last}")) + zone
    if scope.since:
        return f"Calls since {day_words(scope.since, scope)}{zone}"
    return f"Calls before {time_words(scope.until or datetime.now(UTC), scope)}{zone}"


def hours_words(seconds: float) -> str:
    """Write hours of audio: ``0.4``, ``1,234``."""
    hours = seconds / 3600
    return f"{hours:,.1f}" if hours < 100 else f"{hours:,.0f}"


def length_words(seconds: int) -> str:
    """Write a bound of the histogram: ``30 s``, ``2 min``."""
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
