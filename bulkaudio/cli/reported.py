"""What the command ``report`` says of the page that it wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bulkaudio.interrupted import document
from bulkaudio.model import Status
from bulkaudio.observe.progress import bar_row
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.report.figures import PLACES
from bulkaudio.report.gather import Account
from bulkaudio.report.words import Tone, verdict

SCHEMA = "bulkaudio.report/1"

KEYS = {"saved": Status.SAVED, "absent": Status.ABSENT, "deferred": Status.DEFERRED}
KEYS |= {"failed": Status.FAILED, "missing": Status.OPEN, "erased": Status.PURGED}

STYLES = {Tone.WHOLE: "bold green", Tone.LACKING: "bold red"}


@dataclass(slots=True)
class ReportView:
    """How far counting is; a progress view."""

    done: int = 0
    of: int | None = None

    def see(self, done: int, of: int) -> None:
        """Remember the last state."""
        self.done, self.of = done, of

    def line(self) -> str:
        """Say it in one line."""
        return ", ".join(self._words())

    def render(self) -> RenderableType:
        """Draw it."""
        total = None if self.of is None else float(max(1, self.of))
        return bar_row(total, self.done, *self._words())

    def _words(self) -> Sequence[str]:
        if self.of is None:
            return ("opening the archive",)
        return (f"{self.done:,} of {self.of:,} recordings counted",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A page that was written."""

    account: Account
    path: Path

    def document(self) -> dict[str, Any]:
        """Return what ``report --json`` prints."""
        account, figures = self.account, self.account.figures
        found, scope = verdict(account), account.scope
        return {
            "schema": SCHEMA,
            "archive": str(account.archive),
            "store": account.store,
            "report": str(self.path),
            "at": utc_text(account.at),
            "since": scope.since and utc_text(scope.since),
            "until": scope.until and utc_text(scope.until),
            "tz": str(scope.zone),
            "verdict": found.tone.value,
            "headline": found.headline,
            "notes": list(found.notes),
            "calls": sum(figures.calls),
            "listed": figures.listed,
            **{name: figures.recordings[PLACES[status]] for name, status in KEYS.items()},
            "bytes": figures.bytes,
            "audio_seconds": round(figures.seconds, 3),
            "interrupted_erasure": document(account.interruption),
        }

    def page(self) -> RenderableType:
        """Lay it out for people."""
        found = verdict(self.account)
        word, colon, rest = found.headline.partition(":")
        headline = Text(word, style=STYLES.get(found.tone, "bold yellow")).append(
            colon + rest, style="not bold default"
        )
        return Trimmed(Group(headline, *map(Text, found.notes), Text(f"Report: {self.path}")))
