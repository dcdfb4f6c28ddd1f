"""What a report tells, taken from an archive that is looked at."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from bulkaudio.archive import SeenArchive
from bulkaudio.ledger.journal import STORE_PIN
from bulkaudio.ledger.rows import ListingRow, RunRow
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.report.count import Count
from bulkaudio.report.figures import Figures, Scope

ROWS_PER_PAGE = 500
RUNS_SHOWN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run as it summed itself up; `summary` is empty when it ended without a word."""

    run_id: str
    started_at: datetime
    summary: Mapping[str, Any]

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.summary.get("status") or "no word")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return _number(self.summary.get("duration_s"))

    @property
    def bytes(self) -> int:
        """How much it saved."""
        return int(_number(self.summary.get("bytes")))

    @property
    def throttled(self) -> int:
        """How often PolyAI answered that it was asked too much."""
        return int(_number(_in(self.summary.get("http"), "429")))

    def count(self, name: str) -> int:
        """One of the summary's counts."""
        return int(_number(_in(self.summary.get("counts"), name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    Everything that the page tells, except who called.

    Attributes:
        template: The archive's layout, from which the page makes its links.
        unfinished: Listings that were begun and not ended: what they would name, nobody knows.
        runs: The last ones, oldest first.
        is_listed: A listing came to its end; else only what was asked for is known.
        interruption: An erasure that was killed: what it had begun with counts as erased.
    """

    archive: Path
    at: datetime
    scope: Scope
    figures: Figures
    pins: Mapping[str, str]
    template: str
    unfinished: tuple[ListingRow, ...]
    runs: tuple[RunLine, ...]
    is_listed: bool = True
    interruption: Interruption | None = None

    @property
    def store(self) -> str | None:
        """The address that the recordings are at; None: they are in the archive's folder."""
        return self.pins.get(STORE_PIN)


def _in(values: object, name: str) -> object:
    return values.get(name) if isinstance(values, dict) else None


def _number(value: object) -> float:
    """Take a value of a summary for a number; what another version wrote there is none."""
    is_number = isinstance(value, (int, float)) and isfinite(value)
    return float(value) if is_number else 0.0  # type: ignore[arg-type]


def ignore(_done: int, _of: int) -> None:
    """Watch nothing."""


async def gather(
    held: SeenArchive, scope: Scope, *, on_progress: Callable[[int, int], None] = ignore
) -> Account:
    """
    Count the whole ledger, page by page.

    Args:
        on_progress: Called with recordings counted and recordings there are.

    Raises:
        LedgerError: It cannot be read.
    """
    ledger, template = held.ledger, held.layout.template
    totals = await ledger.totals()
    of = sum(total.count for total in totals.values())
    count, position, done = Count(scope, template), "", 0
    while page := await ledger.calls_after(position, ROWS_PER_PAGE):
        for call in page:
            count.add(call)
            done += len(call)
        position = page[-1][0].recording.conversation_id
        on_progress(done, of)
    runs = await ledger.last_runs(RUNS_SHOWN)
    return Account(
        archive=held.root,
        at=datetime.now(UTC),
        scope=scope,
        figures=count.figures(),
        pins=await ledger.pins(),
        template=template,
        unfinished=tuple(await ledger.unfinished_listings()),
        runs=tuple(_run_line(run) for run in reversed(runs)),
        is_listed=bool(await ledger.finished_listings()),
        interruption=await ledger.erasures.interruption(),
    )


def _run_line(run: RunRow) -> RunLine:
    summary = json.loads(run.summary or "{}")
    return RunLine(
        run_id=run.run_id,
        started_at=run.started_at,
        summary=summary if isinstance(summary, dict) else {},
    )
