"""What the command ``rebuild`` did, as a document and as a page; and how far it is meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bulkaudio.cli.counting import Counting
from bulkaudio.cli.findings import (
    DAMAGE_EXIT_CODE,
    MAX_LISTED,
    SHOWN,
    damage_entry,
    damage_table,
    named_faults,
)
from bulkaudio.cli.typed import program
from bulkaudio.found import Progress, Report
from bulkaudio.interrupted import finishing
from bulkaudio.ledger.journal import STORE_PIN
from bulkaudio.model import Direction
from bulkaudio.naming import printable
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import format_bytes, plural
from bulkaudio.remember import LISTING_PIN
from bulkaudio.stores.address import words_of

SCHEMA = "bulkaudio.rebuild/1"

WHOSE = ("region", "account", "agent")
IDENTITY = ("region", "account", "agent", "redacted")


DAMAGED = (
    "The damaged files stay where they are and are not in the ledger: move them out of the archive, then "
    "download them again."
)
MISSING = (
    "What is missing is fetched by the next download: if it was erased since all this was told, erase it "
    "again first. What is damaged stays where it is: move or delete those objects, then download them "
    "again."
)


KNOWN = "What was erased and what is held is known all the same."
FORGOTTEN = (
    "What was erased or held here before may be forgotten: erase and hold it again, from the receipts, "
    "before the next download."
)

RECENTLY = timedelta(minutes=5)
"""A run tells at least this often while it has anything to tell."""


def rebuild_view() -> Counting[Progress]:
    """Make a view of how far rebuilding got."""
    return Counting(opening="looking at the ledger", words=_words)


def _words(now: Progress) -> Sequence[str]:
    words = [f"{plural(now.adopted, 'recording')} taken up", format_bytes(now.bytes)]
    return [*words, f"{now.damaged:,} damaged"] if now.damaged else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """How rebuilding ended."""

    archive: Path
    report: Report

    @property
    def exit_code(self) -> int:
        """0 when every recording was taken up, and everything that had been told beside them."""
        is_whole = self.report.is_clean and not self.report.faults
        return 0 if is_whole else DAMAGE_EXIT_CODE

    def document(self) -> dict[str, Any]:
        """Return what ``rebuild --json`` prints."""
        report = self.report
        known = report.remembered
        return {
            "schema": SCHEMA,
            "archive": str(self.archive),
            "store": known.get(STORE_PIN),
            "exit_code": self.exit_code,
            "layout": known["layout"],
            "adopted": report.adopted,
            "bytes": report.bytes,
            "damaged": [damage_entry(finding) for finding in report.damaged[:MAX_LISTED]],
            "damaged_count": report.damaged_count,
            "unknown": list(report.unknown[:MAX_LISTED]),
            "unknown_count": report.unknown_count,
            "erased_conversations": report.restored.tombstones,
            "held_conversations": report.restored.holds,
            "condemned": report.condemned,
            "set_aside": [str(path) for path in report.set_aside],
            "directions": [direction.value for direction in report.directions],
            "has_metadata": report.has_metadata,
            "listing_known": report.is_listed,
            "manifest_faults": list(report.faults[:MAX_LISTED]),
            "erasures_known": report.is_register_whole,
            "manifest_writer": report.teller and report.teller[0],
            "manifest_written_at": report.teller and utc_text(report.teller[1]),
            "remembered": {name: known[name] for name in IDENTITY if name in known},
        }

    def page(self) -> RenderableType:
        """Lay it out for people."""
        return Trimmed(Group(*self._parts()))

    def _parts(self) -> Iterator[RenderableType]:
        report = self.report
        taken = f"{plural(report.adopted, 'recording')} taken up ({format_bytes(report.bytes)})"
        if report.is_clean:
            yield Text("Made anew", style="bold green").append(f": {taken}, every one whole.")
        else:
            counts = f"{report.damaged_count:,} damaged"
            yield Text("Damage", style="bold red").append(f": {counts}; {taken}.")
            yield Padding(damage_table(report.damaged[:SHOWN]), (0, 0, 0, 2))
            if report.damaged_count > SHOWN:
                yield Text(f"  … and {report.damaged_count - SHOWN:,} more; --json tells more")
            yield Text(MISSING if STORE_PIN in report.remembered else DAMAGED)
        if report.unknown_count:
            names = ", ".join(map(printable, report.unknown[:3]))
            more = " …" if report.unknown_count > 3 else ""
            yield Text(f"{plural(report.unknown_count, 'unknown file')}, left alone: {names}{more}")
        yield from _register_lines(report, self.archive)
        if report.set_aside:
            yield Text(f"The old ledger is kept as {self.archive / report.set_aside[0]}")
        yield from _fault_lines(report)
        if not report.is_register_whole:
            yield Text(FORGOTTEN, style="bold yellow")
        yield from _teller_lines(report, datetime.now(UTC))
        yield from _open_lines(report)
        words = " \\\n      ".join(_words_of_next(self.archive, report))
        # In one piece, however long: it is there to be copied.
        command = f"  $ {program()} download {words}"
        yield Text(command, no_wrap=True, overflow="ignore")
        if again := _again(report):
            yield Text(
                f"What was given before has to be given again, for all later nights, too: {again}."
            )


def _register_lines(report: Report, archive: Path) -> Iterator[Text]:
    """Say what the register of erased and held conversations brought."""
    restored = report.restored
    if restored.tombstones:
        words = plural(
            restored.tombstones, "conversation stays erased", "conversations stay erased"
        )
        yield Text(f"{words}.")
    if restored.holds:
        yield Text(f"{plural(restored.holds, 'conversation')} held, as before.")
    if report.condemned:
        yield Text(
            f"{plural(report.condemned, 'file')} of erased recordings: the next download erases them, "
            f"and the old ledger with them, or: {finishing(archive)}"
        )


def _fault_lines(report: Report) -> Iterator[Text]:
    """Say what was wrong with what the lost ledger had told."""
    if not report.faults:
        return
    named = named_faults(report.faults)
    words = (
        f"What the ledger had told beside the recordings is not whole: {named}. The objects "
        "themselves were looked through, too; the next download tells everything anew."
    )
    yield Text(f"{words} {KNOWN}" if report.is_register_whole else words, style="yellow")


def _teller_lines(report: Report, now: datetime) -> Iterator[Text]:
    """Say who wrote there last: it may be another machine, which goes on."""
    if report.teller is None:
        return
    writer, at = report.teller
    words = f"The last that told of this archive was {printable(writer)}, {utc_text(at)}."
    if now - at < RECENTLY:
        yield Text(
            f"{words} Should a run be going on there, let it end and let only one machine write here.",
            style="yellow",
        )
    else:
        yield Text(words)


def _open_lines(report: Report) -> Iterator[Text]:
    """Say what nobody knows now, and lead over to the next download."""
    if report.is_listed:
        yield Text(
            "What failed, what was put off and how far listings had come was told beside the "
            "recordings, and is known again. Next, to go on from there:"
        )
        return
    told = "Nothing tells of a listing that came to its end"
    files = "The files do not tell what was listed, failed or was left open"
    yield Text(
        f"{told if STORE_PIN in report.remembered else files}: until a download has named the calls "
        "again, nobody knows what is missing."
    )
    yield Text(
        "Next, with T as early as the first call that must not be missed; or with --csv and the file "
        "of ids instead of --since:"
    )


def _words_of_next(archive: Path, report: Report) -> Iterator[str]:
    """Say what the download has to be told that listed until the ledger was lost."""
    yield f"--out {words_of(archive)}"
    whose = [f"--{name} {name.upper()}" for name in WHOSE if name not in report.remembered]
    if whose:
        yield " ".join(whose)
    words = [] if report.is_listed else ["--since T"]
    if LISTING_PIN not in report.remembered:
        sides = ["all"] if len(report.directions) == len(Direction) else report.directions
        words += [f"--direction {side}" for side in sides]
    if words:
        yield " ".join(words)


def _again(report: Report) -> str:
    """Name the options that no file tells of."""
    options = []
    if LISTING_PIN not in report.remembered:
        options = ["--env", "--channel", "--variant"]
        options += ["--metadata basic or full (there are metadata files)"] * report.has_metadata
    if "redacted" not in report.remembered:
        options.append("--redacted")
    *others, last = options or [""]
    return f"{', '.join(others)} and {last}" if others else last
