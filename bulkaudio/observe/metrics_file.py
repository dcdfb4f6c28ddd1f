"""
``--metrics-file``: the run and its archive for Prometheus's textfile collector.

Replaced atomically every few seconds while a run goes on, and when it has ended, however it did. The
ledger is asked, not the old file: what it knows survives runs that fail.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.errors import LedgerError
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import RunRow
from bulkaudio.observe.exposition import Ended, Facts, Holdings, RunFigures, exposition
from bulkaudio.observe.outlets import write_whole
from bulkaudio.observe.tally import Tally

EVERY_S = 15.0
"""Collectors are asked about as often."""

LEISURE = 100.0
"""Sums over the whole ledger take at most one part in so many of its thread's time."""

MODE = 0o644
"""Counts only, for a collector that is another user: who may enter its folder may read it."""


@dataclass(slots=True, kw_only=True)
class MetricsFile:
    """
    Writes the file.

    Attributes:
        clock: Wall clock; aware.
    """

    path: Path
    archive: Path
    tally: Tally
    every_s: float = EVERY_S
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _holdings: Holdings | None = None
    _pause_until: float = float("-inf")

    async def keep_fresh(self, ledger: Ledger) -> None:
        """Write again and again, until cancelled; trouble is told at the end of the run."""
        while True:
            await self.look(ledger, at_leisure=True)
            # A machine without threads or space has worse troubles than stale metrics.
            with suppress(OSError, RuntimeError):
                await asyncio.to_thread(self._write_live)
            await asyncio.sleep(self.every_s)

    async def look(self, ledger: Ledger, *, at_leisure: bool = False) -> None:
        """
        Ask the ledger; where it cannot tell, what it said last is kept.

        Args:
            at_leisure: Not if that was dear, and not long ago.
        """
        began = time.monotonic()
        if at_leisure and began < self._pause_until:
            return
        # The run meets the trouble itself, and says so.
        with suppress(LedgerError):
            self._holdings = await _holdings_of(ledger)
        ended = time.monotonic()
        self._pause_until = ended + LEISURE * (ended - began)

    def finish(self, ended: Ended) -> None:
        """Write how the run ended; raises `OSError` with a `strerror` for people."""
        self._write(ended, started_at=ended.started_at, in_progress=False)

    def _write_live(self) -> None:
        started = self.tally.snapshot().started
        if started is not None:
            last = None if self._holdings is None else self._holdings.last
            self._write(last, started_at=started.started_at, in_progress=True)

    def _write(self, ended: Ended | None, *, started_at: datetime, in_progress: bool) -> None:
        now, details = self.tally.snapshot(), self.tally.details()
        run = RunFigures(
            started_at=started_at,
            counts=now.counts,
            saved_bytes=now.saved_bytes,
            received_bytes=now.received_bytes,
            audio_seconds=now.audio_seconds,
            http=details.http,
        )
        facts = Facts(
            archive=os.path.abspath(self.archive),  # noqa: PTH100  no link is to be followed
            now=self.clock(),
            in_progress=in_progress,
            ended=ended,
            run=run,
            holdings=self._holdings,
        )
        write_whole(self.path, exposition(facts), mode=MODE)


async def _holdings_of(ledger: Ledger) -> Holdings:
    oldest, last = await ledger.oldest_open(), await ledger.last_ended_run()
    return Holdings(
        totals=await ledger.totals(),
        oldest_open=None if oldest is None else oldest.recording.started_at or oldest.first_seen_at,
        successes=await ledger.last_successes(),
        last=None if last is None else _ended(last),
    )


def _ended(row: RunRow) -> Ended | None:
    exit_code = json.loads(row.summary or "{}").get("exit_code")
    if row.finished_at is None or not isinstance(exit_code, int):
        return None
    return Ended(started_at=row.started_at, finished_at=row.finished_at, exit_code=exit_code)
