"""What the command ``status`` found out, as a document and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bulkaudio.interrupted import document, words
from bulkaudio.ledger.rows import LedgerRow, ListingRow, Total
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.model import Direction, Status
from bulkaudio.observe.columns import Columns, Line
from bulkaudio.observe.page import reason_words
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import format_bytes, format_duration, plural
from bulkaudio.remember import span_words
from bulkaudio.stores.address import store_of, title_of

SCHEMA = "bulkaudio.archive/1"

Totals = Mapping[tuple[Direction, Status], Total]

HEADINGS = {
    Status.SAVED: "saved",
    Status.ABSENT: "no recording",
    Status.DEFERRED: "not yet",
    Status.FAILED: "failed",
    Status.OPEN: "open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    How an archive stands.

    Attributes:
        live: ``status.json`` of the run that holds it; None when none does.
        last_run: The last download's summary; of one that was killed only what is known.
        last_repair: That of a ``verify --repair`` after it.
        pins: What it remembers. Empty, like the totals, while a run holds it.
        unfinished: Listings that were begun and not ended, oldest first.
        interruption: An erasure that was killed: what it had begun with counts as erased.
    """

    archive: Path
    now: datetime
    live: Mapping[str, Any] | None = None
    last_run: Mapping[str, Any] | None = None
    last_repair: Mapping[str, Any] | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)
    oldest_open: LedgerRow | None = None
    unfinished: tuple[ListingRow, ...] = ()
    free_bytes: int = 0
    interruption: Interruption | None = None

    def document(self) -> dict[str, Any]:
        """Return what ``status --json`` prints."""
        oldest = self.oldest_open
        known = ("region", "account", "agent", "layout", "redacted")
        return {
            "schema": SCHEMA,
            "archive": str(self.archive),
            "store": store_of(self.archive),
            "at": utc_text(self.now),
            "running": self.live,
            "last_run": self.last_run,
            "last_repair": self.last_repair,
            "remembered": {name: self.pins[name] for name in known if name in self.pins},
            "totals": [
                {
                    "direction": direction.value,
                    "status": status.value,
                    "recordings": total.count,
                    "bytes": total.bytes,
                    "audio_seconds": round(total.seconds, 3),
                }
                for (direction, status), total in sorted(self.totals.items())
            ],
            "oldest_open": oldest
            and {
                "id": oldest.recording.conversation_id,
                "direction": oldest.recording.direction.value,
                "status": oldest.status.value,
                "since": utc_text(_since(oldest)),
                "reason": oldest.reason,
                "attempts": oldest.attempts,
                "correlation_id": oldest.correlation_id,
            },
            "unfinished_listings": [
                {"since": row.since and utc_text(row.since), "until": utc_text(row.until)}
                for row in self.unfinished
            ],
            "free_bytes": self.free_bytes,
            "interrupted_erasure": document(self.interruption),
        }

    def page(self) -> RenderableType:
        """Lay it out for people."""
        return Trimmed(Group(*self._parts()))

    def _parts(self) -> Iterator[RenderableType]:
        whose = ", ".join(
            f"{name} {self.pins[name]}" for name in ("region", "agent") if name in self.pins
        )
        yield Text(title_of(self.archive) + (f" ({whose})" if whose else ""), style="bold")
        if self.live is not None:
            yield from _live_lines(self.live)
        else:
            yield Text(self._last_run_words())
            if self.last_repair is not None:
                yield Text(
                    _run_words("Repaired since (verify --repair)", self.last_repair, self.now)
                )
            if self.totals:
                yield Text()
                yield Padding(_totals_table(self.totals), (0, 0, 0, 2))
            if self.oldest_open is not None:
                yield Text()
                yield Text(_oldest_words(self.oldest_open, self.now))
            yield from _unfinished_lines(self.unfinished)
            if self.interruption is not None:
                yield Text()
                yield Text(words(self.interruption, self.archive), style="bold yellow")
            yield Text()
        where = "on its disk" if store_of(self.archive) is None else "on the disk of its ledger"
        yield Text(f"Free {where}: {format_bytes(self.free_bytes)}")

    def _last_run_words(self) -> str:
        if self.last_run is not None:
            return _run_words("Last run", self.last_run, self.now)
        if self.totals:
            return (
                "Last run: not known; rebuild made the ledger from the files, which tell of none."
            )
        return "No run has been here yet."


def _live_lines(live: Mapping[str, Any]) -> Iterator[Text]:
    counts: Mapping[str, int] = live.get("counts") or {}
    rate: Mapping[str, float] = live.get("rate") or {}
    yield Text(
        f"A run is going on ({live.get('phase', 'starting')}), process {live.get('pid', '?')}, "
        f"since {live.get('started_at', '?')}"
    )
    total = f"{counts.get('recordings', 0):,}" + ("" if live.get("is_total_known") else "+")
    settled = counts.get("recordings", 0) - counts.get("open", 0)
    parts = [f"{settled:,} of {total} recordings", f"{counts.get('saved', 0):,} saved"]
    if failed := counts.get("failed"):
        parts.append(f"{failed:,} failed")
    if retries := counts.get("retries"):
        parts.append(plural(retries, "retry", "retries"))
    if rate:
        speed = format_bytes(int(rate.get("bytes_per_s", 0)))
        parts.append(f"{rate.get('recordings_per_s', 0):g} files/s, {speed}/s")
    yield Text("  " + ", ".join(parts))
    waiting = live.get("waiting")
    if isinstance(waiting, dict):
        yield Text(f"  waiting {format_duration(waiting['seconds'])}: {waiting['reason']}")


def _run_words(what: str, run: Mapping[str, Any], now: datetime) -> str:
    if run.get("finished_at") is None:
        return (
            f"{what}: {run.get('run_id')}, begun {_ago(run.get('started_at'), now)} ago, ended without "
            "a word: it was killed, or the machine went down."
        )
    counts = dict(run.get("counts") or {})
    # Those of `already` that were erased, where a run told them apart.
    counts["already"] = counts.get("already", 0) - counts.get("erased", 0)
    names = {"saved": "saved", "already": "already there", "erased": "erased"}
    names |= {"failed": "failed", "open": "left open"}
    told = [f"{counts[name]:,} {word}" for name, word in names.items() if counts.get(name)]
    ago = _ago(run["finished_at"], now)
    return f"{what}: {run.get('status')}, {ago} ago" + (f": {', '.join(told)}" if told else "")


def _ago(moment: object, now: datetime) -> str:
    return format_duration((now - datetime.fromisoformat(str(moment))).total_seconds())


def _totals_table(totals: Totals) -> Columns:
    shown = dict(HEADINGS)
    if any(status is Status.PURGED for _, status in totals):
        shown[Status.PURGED] = "erased"
    nothing = Total(count=0, bytes=0, seconds=0.0)
    lines = []
    for direction in Direction:
        if not any(where is direction for where, _ in totals):
            continue
        row = [totals.get((direction, status), nothing) for status in shown]
        counts = [f"{total.count:,}" for total in row]
        sizes = (format_bytes(row[0].bytes), format_duration(row[0].seconds))
        lines.append(Line(label=direction.value, cells=(*counts, *sizes)))
    return Columns(
        first="",
        headings=(*shown.values(), "size", "audio"),
        lines=lines,
        words={"size": "{}", "audio": "{} of audio"},
    )


def _oldest_words(row: LedgerRow, now: datetime) -> str:
    age = format_duration((now - _since(row)).total_seconds())
    words = (
        f"Oldest unsettled: {row.recording.conversation_id} {row.recording.direction.value}, "
        f"{age} old, " + (plural(row.attempts, "attempt") if row.attempts else "not tried yet")
    )
    if row.reason:
        words += f", {reason_words(row.reason)}"
    return words + (f", support id {row.correlation_id}" if row.correlation_id else "")


def _unfinished_lines(rows: Sequence[ListingRow]) -> Iterator[Text]:
    if rows:
        more = f" (and {len(rows) - 1:,} more)" if len(rows) > 1 else ""
        yield Text()
        yield Text(f"Not listed to its end yet: {span_words(rows[0])}{more}")


def _since(row: LedgerRow) -> datetime:
    return row.recording.started_at or row.first_seen_at
