"""What the command ``plan`` found out, as a document and as a page; and how far it is meanwhile."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bulkaudio import interrupted
from bulkaudio.forecast import CALL_S, Basis, Share
from bulkaudio.foretold import Foretold, Span
from bulkaudio.observe.columns import Columns, Line
from bulkaudio.observe.progress import listing_bar, listing_line
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.tally import Tally
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import format_bytes, format_duration, plural
from bulkaudio.stores.address import store_of, title_of

SCHEMA = "bulkaudio.plan/1"

GROUNDS = {
    Basis.SAVED: "the mean of what is saved",
    Basis.OTHER_DIRECTIONS: "the mean of what is saved of other directions",
    Basis.NAMED: "the mean of those calls",
    Basis.ASSUMED: f"{format_duration(CALL_S)} a call, an assumption",
}
"""Where the length of a call comes from that nobody tells."""

HEADINGS = ("recordings", "already", "no recording", "not yet", "to fetch", "size", "audio", "time")
ERASED, ERASED_AT = "erased", 2
"""A heading more, where anything was erased, and its place."""

WORDS = {
    "already": "{} there already",
    "no recording": "{} without a recording",
    "size": "{}",
    "audio": "{} of audio",
    "time": "{} to take",
}
"""How a cell is said in a window that is too narrow for columns."""


@dataclass(frozen=True, slots=True)
class PlanView:
    """How far the source was read; a progress view."""

    tally: Tally

    def line(self) -> str:
        """Say it in one line."""
        return listing_line(self._words(), self.tally)

    def render(self) -> RenderableType:
        """Draw it."""
        return listing_bar(self._words(), self.tally)

    def _words(self) -> str:
        counts = self.tally.snapshot().counts
        found = plural(counts.conversations, "conversation")
        return f"{found}, {plural(counts.open, 'recording')} to fetch"


def document(plan: Foretold) -> dict[str, Any]:
    """Return what ``plan --json`` prints."""
    counts = plan.counts
    return {
        "schema": SCHEMA,
        "archive": str(plan.archive),
        "store": store_of(plan.archive, plan.elsewhere),
        "is_new": plan.is_new,
        "scope": {
            name: utc_text(value) if isinstance(value, datetime) else value
            for name, value in plan.scope.items()
        },
        "counts": {
            "conversations": counts.conversations,
            "recordings": counts.recordings,
            "already": counts.already,
            "absent": counts.absent,
            "deferred": counts.deferred,
            "to_fetch": counts.open,
            "backlog": plan.backlog,
            "rejected": counts.rejected,
            "skipped": counts.skipped,
            "erased": counts.erased,
        },
        "directions": {share.direction.value: _share(share) for share in plan.shares},
        "bytes": plan.bytes,
        "audio_seconds": round(plan.audio_seconds, 3),
        "duration_s": _rounded(plan.duration_s),
        "is_pace_measured": plan.limits.is_measured,
        "first_call": plan.named and utc_text(plan.named.first),
        "last_call": plan.named and utc_text(plan.named.last),
        "backlog_first_call": plan.left and utc_text(plan.left.first),
        "backlog_last_call": plan.left and utc_text(plan.left.last),
        "free_bytes": plan.free_bytes,
        "min_free_bytes": plan.min_free_bytes,
        "fits": plan.fits,
        "stops_at": plan.stops_at,
        "notes": list(plan.notes),
        "interrupted_erasure": interrupted.document(plan.interruption),
    }


def _share(share: Share) -> dict[str, Any]:
    rates = share.rates
    return {
        "recordings": share.recordings,
        "already": share.already,
        "absent": share.absent,
        "deferred": share.deferred,
        "to_fetch": share.load.recordings,
        "backlog": share.backlog,
        "bytes": share.estimate.bytes,
        "audio_seconds": round(share.estimate.audio_seconds, 3),
        "duration_s": _rounded(share.duration_s),
        "bytes_per_audio_second": round(rates.bytes_per_audio_second, 3),
        "audio_per_call_second": round(rates.audio_per_call_second, 4),
        "length_known": share.load.known,
        "mean_audio_seconds": round(rates.mean_audio_seconds, 3),
        "mean_basis": rates.basis.value,
        "is_size_measured": rates.is_size_measured,
        "erased": share.erased,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def page(plan: Foretold) -> RenderableType:
    """Lay it out for people."""
    return Trimmed(Group(*_parts(plan)))


def _parts(plan: Foretold) -> Iterator[RenderableType]:
    yield _headline(plan)
    if plan.counts.recordings:
        yield Padding(_table(plan), (0, 0, 0, 2))
        yield Text()
    yield from _details(plan)
    yield _disk(plan)
    if plan.stops_at:
        yield Text(f"This run would stop at {plan.stops_at}; what is left is for the next ones.")
    for note in plan.notes:
        yield Text(f"Note: {note}")
    if plan.interruption is not None:
        yield Text(interrupted.words(plan.interruption, plan.archive), style="bold yellow")
    title = title_of(plan.archive, plan.elsewhere)
    yield Text(f"Archive: {title}" + (", not begun yet" if plan.is_new else ""))
    yield Text("Nothing was written. The same options after download do it.")


def _headline(plan: Foretold) -> Text:
    counts = plan.counts
    if not counts.recordings:
        return Text("Nothing to do", style="bold").append(": no conversation was found.")
    if not counts.open:
        rest = f": nothing of {plural(counts.recordings, 'recording')} is to be fetched."
        return Text("Nothing to do", style="bold green").append(rest)
    line = Text(f"{plural(counts.open, 'recording')} to fetch", style="bold")
    about = f"about {format_bytes(plan.bytes)}, {format_duration(plan.audio_seconds)} of audio"
    line.append(f" of {plural(counts.conversations, 'conversation')}: {about}")
    if plan.duration_s is None:
        return line.append("; how long it takes, the first run will show.")
    word = "about" if plan.limits.is_measured else "at least"
    return line.append(f", {word} {format_duration(plan.duration_s)}.")


def _table(plan: Foretold) -> Columns:
    headings, has_erased = list(HEADINGS), plan.counts.erased > 0
    if has_erased:
        headings.insert(ERASED_AT, ERASED)
    lines = [_line(share, has_erased=has_erased) for share in plan.shares]
    return Columns(first="", headings=headings, lines=lines, words=WORDS)


def _line(share: Share, *, has_erased: bool) -> Line:
    seconds = share.duration_s
    cells = (
        f"{share.recordings:,}",
        f"{share.already - share.erased:,}",
        *([f"{share.erased:,}"] if has_erased else []),
        f"{share.absent:,}",
        f"{share.deferred:,}",
        f"{share.load.recordings:,}",
        format_bytes(share.estimate.bytes),
        format_duration(share.estimate.audio_seconds),
        "-" if seconds is None else format_duration(seconds),
    )
    return Line(label=share.direction.value, cells=cells)


def _details(plan: Foretold) -> Iterator[Text]:
    counts = plan.counts
    if plan.backlog:
        left = f"Left over from earlier runs: {plural(plan.backlog, 'recording')} of these"
        yield Text(left + (f"; {_calls(plan.left)}." if plan.left else "."))
    if plan.named is not None:
        where = "the file" if plan.scope["source"] == "csv" else "the window"
        yield Text(f"Of {where}: {_calls(plan.named)}.")
    if counts.open:
        yield Text(f"Sizes rest on {'; '.join(_grounds(plan.shares))}.")
    if counts.skipped:
        has = "it has" if counts.skipped == 1 else "they have"
        yield Text(f"{plural(counts.skipped, 'chat')} left out: {has} no recording.")
    if counts.rejected:
        yield Text(
            f"{plural(counts.rejected, 'row')} rejected: no conversation ids. download names their "
            "lines and ends with exit code 3.",
            style="yellow",
        )


def _calls(span: Span) -> str:
    first, last = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (span.first, span.last))
    return f"first call {first}, last {last}"


def _grounds(shares: Sequence[Share]) -> Iterator[str]:
    """Say what the estimates were taken from, all directions together."""
    known = sum(share.load.known for share in shares)
    if known:
        yield f"the calls' lengths, for {plural(known, 'recording')}"
    unknown = Counter[Basis]()
    for share in shares:
        unknown[share.rates.basis] += share.load.recordings - share.load.known
    for basis, count in unknown.items():
        if count:
            yield f"{GROUNDS[basis]}, for {plural(count, 'other' if known else 'recording')}"
    if not all(share.rates.is_size_measured for share in shares if share.load.recordings):
        yield "telephony's 16 kB a second, where nothing is saved yet"


def _disk(plan: Foretold) -> Text:
    free = f"{format_bytes(plan.free_bytes)} are free"
    keep = f"{format_bytes(plan.min_free_bytes)} are to stay free (--min-free)"
    if plan.elsewhere is not None:
        return _staging(plan, f"{free}, {keep}")
    if plan.fits:
        return Text(f"The disk will hold it: {free}, {keep}.")
    lacking = plan.bytes - (plan.free_bytes - plan.min_free_bytes)
    return Text("The disk will not hold it", style="bold red").append(
        f": {free}, {keep}, so about {format_bytes(lacking)} are lacking."
    )


def _staging(plan: Foretold, room: str) -> Text:
    """Say it of a disk that recordings only pass through."""
    url = plan.elsewhere and plan.elsewhere.url
    if plan.fits:
        return Text(
            f"The recordings go to {url}; this machine's disk holds the ledger and what is on its "
            f"way: {room}."
        )
    return Text("The disk has no room for what is on its way", style="bold red").append(
        f" to {url}: {room}."
    )
