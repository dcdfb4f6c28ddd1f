"""What the command ``gaps`` found, in words, as a document and as a CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from bulkaudio.cells import harmless, row
from bulkaudio.cli.values import needs_file
from bulkaudio.errors import StorageError, UsageError
from bulkaudio.gaps import LACKING, Cause, Coverage, Line, total
from bulkaudio.inquiry import Gaps
from bulkaudio.interrupted import document
from bulkaudio.naming import printable
from bulkaudio.observe.outlets import is_archives_own, write_whole
from bulkaudio.observe.progress import listing_bar, listing_line
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.tally import Tally
from bulkaudio.quantities import plural
from bulkaudio.stores.address import store_of
from bulkaudio.windows import day_of

SCHEMA = "bulkaudio.gaps/1"
SHORTFALL_EXIT_CODE = 3

STALE = timedelta(days=2)
"""A nightly job lists more often than this."""

COLUMNS = (
    *("day", "direction", "coverage", "listed"),
    *("saved", "absent", "deferred", "failed", "missing", "erased"),
)
"""Of the CSV, and the keys of a day in the document."""


@dataclass(frozen=True, slots=True)
class GapsView:
    """How far a fresh listing was read; a progress view."""

    tally: Tally

    def line(self) -> str:
        """Say it in one line."""
        return listing_line(self._words(), self.tally)

    def render(self) -> RenderableType:
        """Draw it."""
        return listing_bar(self._words(), self.tally)

    def _words(self) -> str:
        return f"{plural(self.tally.snapshot().counts.conversations, 'conversation')} listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    Everything that is told.

    Attributes:
        lines: Every day and direction, in order; those without a known start at the end.
        causes: Why, the most frequent first.
    """

    gaps: Gaps
    tz: str
    lines: Sequence[Line]
    causes: Sequence[Cause]
    total: Line

    @classmethod
    def of(cls, gaps: Gaps, tz: str) -> "Found":
        """Sum it up."""
        lines = tuple(gaps.frame.lines(gaps.census))
        causes = sorted(
            gaps.census.causes.values(),
            key=lambda cause: (cause.column not in LACKING, -cause.count, cause.reason),
        )
        return cls(
            gaps=gaps,
            tz=tz,
            lines=lines,
            causes=causes,
            total=total(lines, gaps.frame.directions[0]),
        )

    @property
    def exit_code(self) -> int:
        """3 when something that should be there is not, or when nobody knows."""
        is_short = self.total.lacking or self.unfinished or self.is_unknown or self.is_unseen
        return SHORTFALL_EXIT_CODE if is_short else 0

    @property
    def is_unknown(self) -> bool:
        """Whether all that is known comes from files, which name nothing that is missing."""
        return self.gaps.is_by_files and self.gaps.relisted is None

    @property
    def is_unseen(self) -> bool:
        """Whether a window was asked for of which no call is known, and no listing saw any of it."""
        frame = self.gaps.frame
        if self.total.listed or (frame.since is None and frame.until is None):
            return False
        return not any(
            (frame.since is None or end > frame.since)
            and (frame.until is None or since is None or since < frame.until)
            for side in frame.directions
            for since, end in frame.windows.get(side, ())
        )

    @property
    def unfinished(self) -> bool:
        """Whether a listing was begun and not ended that may name calls of this window."""
        frame = self.gaps.frame
        return any(
            (frame.until is None or each.since is None or each.since < frame.until)
            and (frame.since is None or each.until > frame.since)
            for each in self.gaps.unfinished
        )

    @property
    def oldest_lacking(self) -> date | None:
        """The first day of which something is missing or failed."""
        return next((line.day for line in self.lines if line.day and line.lacking), None)

    @property
    def unlisted(self) -> Sequence[date]:
        """Days before today that no listing has seen any of; none in an archive of files only."""
        if self.listed_until is None:
            return ()
        return sorted(self._days_unseen - {self.today})

    @property
    def is_today_unseen(self) -> bool:
        """Whether today is among the days that are shown, and no listing has seen any of it."""
        return self.today in self._days_unseen

    @property
    def today(self) -> date:
        """In the zone of the days."""
        return day_of(self.gaps.frame.now, self.gaps.frame.zone)

    @property
    def _days_unseen(self) -> set[date]:
        return {line.day for line in self.lines if line.day and line.coverage is Coverage.NONE}

    @property
    def listed_until(self) -> datetime | None:
        """Where the last listing of these directions ended; None without any."""
        frame = self.gaps.frame
        ends = [end for side in frame.directions for _, end in frame.windows.get(side, ())]
        return max(ends, default=None)

    @property
    def verdict(self) -> str:
        """Say it in words."""
        return _verdict(self)

    def document(self) -> dict[str, Any]:
        """Return what ``gaps --json`` prints."""
        frame, relisted = self.gaps.frame, self.gaps.relisted
        oldest = self.oldest_lacking
        return {
            "schema": SCHEMA,
            "archive": str(self.gaps.archive),
            "store": store_of(self.gaps.archive),
            "at": utc_text(frame.now),
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "tz": self.tz,
            "since": frame.since and utc_text(frame.since),
            "until": frame.until and utc_text(frame.until),
            "directions": [direction.value for direction in frame.directions],
            "relisted": relisted
            and {
                "since": utc_text(relisted.since),
                "until": utc_text(relisted.until),
                "conversations": relisted.conversations,
            },
            "totals": {name: getattr(self.total, name) for name in COLUMNS[3:]},
            "oldest": oldest and oldest.isoformat(),
            "days": [_day(line) for line in self.lines],
            "reasons": [_reason(cause) for cause in self.causes],
            "without_start": self.gaps.left_out,
            "listed_until": self.listed_until and utc_text(self.listed_until),
            "by_files_only": self.gaps.is_by_files,
            "unfinished_listings": [
                {"since": each.since and utc_text(each.since), "until": utc_text(each.until)}
                for each in self.gaps.unfinished
            ],
            "interrupted_erasure": document(self.gaps.interruption),
        }

    def csv(self) -> Iterator[str]:
        """Yield the lines of the CSV."""
        yield row(COLUMNS)
        for line in self.lines:
            yield row([cell(value) for value in _day(line).values()])

    def write_csv(self, path: Path) -> None:
        """Keep it; raises `StorageError`."""
        try:
            write_whole(path, "".join(self.csv()))
        except OSError as error:
            raise StorageError(
                f"the CSV {printable(str(path), 200)} cannot be written: {error.strerror}",
                fix="choose another file for --csv, or - for standard output",
            ) from error


def check_outlet(csv: str | None, archive: Path, *, is_json: bool) -> None:
    """Refuse a CSV that would destroy something, or two results on one stream."""
    if csv is None:
        return
    if csv.startswith("--"):
        raise needs_file("--csv", csv)
    if csv == "-":
        if is_json:
            raise UsageError(
                "--csv - and --json both want standard output", fix="name a file for one of them"
            )
        return
    if is_archives_own(Path(csv).expanduser(), archive):
        raise UsageError(
            f"--csv {printable(csv, 200)} has the name of a recording, or is where an archive keeps "
            "its ledger or its metadata",
            fix="name a file elsewhere; the archive's folder itself is free for it",
        )


def cell(value: object) -> str:
    """Write a value of a day; what is unknown is empty, and a number stays one."""
    if value is None:
        return ""
    is_number = isinstance(value, int | float)
    return str(value) if is_number else harmless(printable(str(value), 1000))


def _day(line: Line) -> dict[str, Any]:
    return {
        "day": None if line.day is None else line.day.isoformat(),
        "direction": line.direction.value,
        "coverage": line.coverage and line.coverage.value,
        **{name: getattr(line, name) for name in COLUMNS[3:]},
    }


def _reason(cause: Cause) -> dict[str, Any]:
    return {
        "status": cause.column.value,
        "reason": cause.reason,
        "recordings": cause.count,
        "example": {
            "id": cause.example,
            "direction": cause.direction.value,
            "correlation_id": cause.correlation_id,
        },
    }


def _verdict(found: Found) -> str:
    summed = found.total
    if summed.lacking:
        return _lacking_words(found)
    windows = found.listed_until is not None
    if found.unfinished:
        return (
            "Not known to be complete: what was listed is archived, but a listing has not come to its "
            "end; the next download goes on with it."
        )
    if not summed.listed and (window := _window_words(found)):
        return _nothing_words(found, window)
    if not windows:
        return _unlisted_words(found)
    later = _later_words(found)
    stale = _stale_words(found)
    if days := _days_words(found):
        return f"Complete as far as was listed{days}.{later}{stale}"
    whole = f"every call that has a recording is archived{_erased_words(found)}.{later}"
    return f"Complete: {whole if summed.listed else 'no calls were listed.'}{stale}"


def _window_words(found: Found) -> str:
    """Name the window that was asked for; nothing where all is looked at."""
    frame = found.gaps.frame
    parts = [
        f"{word} {moment:%Y-%m-%dT%H:%M:%SZ}"
        for word, moment in (("from", frame.since), ("before", frame.until))
        if moment is not None
    ]
    return " and ".join(parts)


def _nothing_words(found: Found, window: str) -> str:
    """Say that a window holds nothing, which is no word on the archive."""
    known = f"No call is known {window}"
    if found.is_unseen:
        known = f"Not known to be complete: no call is known {window}, and no listing saw that time"
    return f"{known}{_days_words(found)}. Without --since and --until, everything is looked at."


def _days_words(found: Found) -> str:
    """Name the days that no listing saw, if there are any."""
    if not (unlisted := found.unlisted):
        return ""
    days = plural(len(unlisted), "day was", "days were")
    today = " (today not counted)" if found.is_today_unseen else ""
    return f": {days} never listed{today}, the first of them {unlisted[0]}"


def _unlisted_words(found: Found) -> str:
    if not found.total.listed:
        return "Nothing is known: nothing was listed and nothing was asked for."
    if found.is_unknown:
        return (
            "Not known to be complete: rebuild made the ledger from the files, which do not tell what is "
            "missing; the next download that lists, or reads the file of ids again, finds out."
        )
    return (
        "Complete: every recording that was asked for and exists is archived"
        f"{_erased_words(found)}. No listing has come to "
        f"its end, so calls that nobody asked for are not known.{_later_words(found)}"
    )


def _erased_words(found: Found) -> str:
    """Name what was erased: it is no gap, and not archived either."""
    erased = found.total.erased
    were = plural(erased, "that was", "that were")
    return f", but for {were} erased" if erased else ""


def _stale_words(found: Found) -> str:
    """Say so when the time since the last listing is nobody's: the nights may have stopped."""
    frame, end = found.gaps.frame, found.listed_until
    if frame.until is not None or end is None or frame.now - end < STALE:
        return ""
    return f" Nothing after {end:%Y-%m-%dT%H:%MZ} was listed."


def _later_words(found: Found) -> str:
    if not found.total.deferred:
        return ""
    oldest = next((line.day for line in found.lines if line.day and line.deferred), None)
    since = f", the oldest from {oldest}" if oldest else ""
    return f" {plural(found.total.deferred, 'recording')} may still come{since}."


def _lacking_words(found: Found) -> str:
    summed, oldest = found.total, found.oldest_lacking
    parts = []
    if summed.missing:
        are = plural(summed.missing, "recording is", "recordings are")
        parts.append(f"{are} missing")
    if summed.failed:
        parts.append(
            f"{summed.failed:,} failed" if parts else plural(summed.failed, "recording") + " failed"
        )
    since = f", the oldest from {oldest}" if oldest else ""
    return f"{' and '.join(parts)}{since}."
