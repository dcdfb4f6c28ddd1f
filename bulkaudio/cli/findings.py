"""What the command ``verify`` found, as a document and as a page; and how far it is meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bulkaudio.interrupted import document, words
from bulkaudio.naming import printable
from bulkaudio.observe.progress import View, bar_row
from bulkaudio.observe.summary import Summary
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import format_bytes, plural
from bulkaudio.stores.address import store_of
from bulkaudio.verify import Damage, Finding, Progress, Report

SCHEMA = "bulkaudio.verify/1"
MAX_LISTED = 100
SHOWN = 10

DAMAGE_EXIT_CODE = 7

WORDS = {
    "missing": "the file is gone",
    "not_a_file": "something else has its name",
    "unreadable": "it cannot be read",
    "size": "its size has changed",
    "content": "its bytes have changed",
    "proof": "it is no whole recording",
}


@dataclass(slots=True)
class VerifyView:
    """
    How far verifying got, and then the repair; a progress view.

    Attributes:
        repair: The view of fetching again, once that has begun.
    """

    now: Progress | None = None
    repair: View | None = None

    def see(self, progress: Progress) -> None:
        """Remember the last state."""
        self.now = progress

    def line(self) -> str:
        """Say it in one line."""
        return self.repair.line() if self.repair else ", ".join(self._words())

    def render(self) -> RenderableType:
        """Draw it."""
        if self.repair is not None:
            return self.repair.render()
        total, checked = (float(max(1, self.now.of)), self.now.checked) if self.now else (None, 0)
        return bar_row(total, checked, *self._words())

    def _words(self) -> Sequence[str]:
        if self.now is None:
            return ("opening the archive",)
        now = self.now
        words = [f"{now.checked:,} of {now.of:,} recordings checked", format_bytes(now.bytes)]
        return [*words, f"{now.damaged:,} damaged"] if now.damaged else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """
    How verifying, and repairing where asked for, ended.

    Attributes:
        set_aside: Where damaged files were moved to, relative to the archive.
        refetch: The run that fetched them again; None without --repair, or with nothing to do.
        is_told_anew: What the ledger tells beside the recordings was repaired.
        condemned: So many of the files that came back are going to be erased again.
    """

    archive: Path
    report: Report
    set_aside: Sequence[PurePosixPath] = ()
    refetch: Summary | None = None
    is_told_anew: bool = False
    condemned: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing at all was found to be wrong."""
        report = self.report
        return report.is_clean and not report.told_faults and not report.returned_count

    @property
    def exit_code(self) -> int:
        """0 when everything is whole, or whole again, and nothing went wrong on the way."""
        if self.report.told_faults and not self.is_told_anew:
            return DAMAGE_EXIT_CODE
        if self.report.returned_count > self.condemned:
            return DAMAGE_EXIT_CODE
        if self.report.is_clean:
            return 0
        if self.refetch is None or self.report.is_truncated:
            return DAMAGE_EXIT_CODE
        # Also what was found to have no recording any more, or not yet, is still damage.
        is_whole = self.refetch.counts.saved == len(self.report.findings)
        if is_whole and self.refetch.error is None:
            return 0
        return self.refetch.exit_code or DAMAGE_EXIT_CODE

    def document(self) -> dict[str, Any]:
        """Return what ``verify --json`` prints."""
        report = self.report
        return {
            "schema": SCHEMA,
            "archive": str(self.archive),
            "store": store_of(self.archive),
            "exit_code": self.exit_code,
            "checked": report.checked,
            "bytes": report.bytes,
            "damaged": [damage_entry(finding) for finding in report.damaged[:MAX_LISTED]],
            "damaged_count": len(report.damaged),
            "missing": [damage_entry(finding) for finding in report.missing[:MAX_LISTED]],
            "missing_count": len(report.missing),
            "unknown": list(report.unknown[:MAX_LISTED]),
            "unknown_count": report.unknown_count,
            "truncated": report.is_truncated,
            "set_aside": [str(path) for path in self.set_aside[:MAX_LISTED]],
            "refetch": self.refetch.document() if self.refetch else None,
            "erased": [str(each.path) for each in report.returned[:MAX_LISTED]],
            "erased_count": report.returned_count,
            "reports": list(report.pages),
            "manifest_faults": list(report.told_faults[:MAX_LISTED]),
            "manifest_told_anew": self.is_told_anew,
            "interrupted_erasure": document(report.interruption),
        }

    def page(self) -> RenderableType:
        """Lay it out for people."""
        return Trimmed(Group(*self._parts()))

    def _parts(self) -> Iterator[RenderableType]:
        report = self.report
        read = f"{plural(report.checked, 'recording')} checked ({format_bytes(report.bytes)})"
        if report.is_clean:
            colour = "green" if self.exit_code == 0 else "yellow"
            yield Text("Whole", style=f"bold {colour}").append(
                f": {read}, every one as it was saved."
            )
        else:
            counts = f"{len(report.damaged):,} damaged, {len(report.missing):,} missing"
            yield Text("Damage", style="bold red").append(f": {counts}; {read}.")
            yield Padding(damage_table(report.findings[:SHOWN]), (0, 0, 0, 2))
            if len(report.findings) > SHOWN:
                yield Text(f"  … and {len(report.findings) - SHOWN:,} more; --json tells more")
        if report.unknown_count:
            names = ", ".join(report.unknown[:3]) + (" …" if report.unknown_count > 3 else "")
            yield Text(f"{plural(report.unknown_count, 'unknown file')}, left alone: {names}")
        if report.returned_count:
            yield Text(self._returned_words(), style="bold yellow")
        if report.told_faults:
            yield Text(
                _told_words(report.told_faults, is_repaired=self.is_told_anew), style="yellow"
            )
        if report.interruption is not None:
            yield Text(words(report.interruption, self.archive), style="bold yellow")
        if self.set_aside:
            kept = self.set_aside[0].parent
            yield Text(f"{plural(len(self.set_aside), 'damaged file')} moved to {kept}")
        if self.refetch is not None:
            yield Text(_refetch_words(self.refetch, len(report.findings)))
        elif not report.is_clean:
            yield Text("Run verify again with --repair to fetch damaged and missing ones again.")

    def _returned_words(self) -> str:
        count = self.report.returned_count
        names = ", ".join(str(each.path) for each in self.report.returned[:3])
        more = " …" if count > 3 else ""
        text = f"{plural(count, 'file')} of erased recordings came back: {names}{more}."
        if count == self.condemned:
            return text
        if self.condemned:
            return (
                f"{text} The next download erases {self.condemned:,} of them; run verify --repair once "
                "more after that."
            )
        return f"{text} Run verify --repair, after which the next download erases them."


def named_faults(faults: Sequence[str]) -> str:
    """Name the first of what is wrong with what a ledger has told."""
    named = "; ".join(printable(fault, 200) for fault in faults[:SHOWN])
    return named + (" …" if len(faults) > SHOWN else "")


def _told_words(faults: Sequence[str], *, is_repaired: bool) -> str:
    text = f"What the ledger has told beside the recordings was not whole: {named_faults(faults)}."
    if is_repaired:
        return f"{text} All of it was told anew."
    return f"{text} Run verify again with --repair to tell it anew, while the ledger is there."


def _refetch_words(refetch: Summary, wanted: int) -> str:
    counts = refetch.counts
    text = f"{counts.saved:,} of {plural(wanted, 'recording')} fetched again"
    others = (
        (counts.failed, "failed"),
        (counts.absent, "have no recording any more"),
        (counts.deferred, "have none yet"),
        (counts.open, "left open"),
    )
    return ", ".join([text, *(f"{count:,} {words}" for count, words in others if count)]) + "."


def damage_table(findings: Sequence[Finding]) -> Table:
    """Lay damage out for people, a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        what = WORDS.get(finding.damage.value, finding.damage.value)
        # Two digests side by side tell a person nothing; --json has them.
        is_told = finding.detail and finding.damage is not Damage.CONTENT
        detail = f" ({finding.detail})" if is_told else ""
        direction = finding.recording.direction.value
        table.add_row(finding.recording.conversation_id, direction, what + detail)
    return table


def damage_entry(finding: Finding) -> dict[str, Any]:
    """Write one finding for ``--json``."""
    return {
        "id": finding.recording.conversation_id,
        "direction": finding.recording.direction.value,
        "path": str(finding.path),
        "damage": finding.damage.value,
        "detail": finding.detail,
    }
