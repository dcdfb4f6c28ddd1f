"""Which rows of the ledger a catalogue has, and how they get there in constant memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bulkaudio.catalogue.columns import known
from bulkaudio.ledger.ledger import ALL, Ledger
from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Direction, Status

PAGE = 2000


class Writer(Protocol):
    """One form of the catalogue, on its way into a file; both methods block."""

    def write(self, rows: Sequence[LedgerRow]) -> None:
        """Add rows."""
        ...

    def close(self) -> None:
        """Write what comes after the last row; the file stays open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """
    Which recordings are wanted.

    Attributes:
        since, until: By the call's start, or by first sight where no source knew it; half-open.
    """

    since: datetime | None = None
    until: datetime | None = None
    directions: tuple[Direction, ...] = tuple(Direction)
    statuses: tuple[Status, ...] = ALL

    def holds(self, row: LedgerRow) -> bool:
        """Whether a recording is one of them; its status was looked at before."""
        if row.recording.direction not in self.directions:
            return False
        moment = row.recording.started_at or row.first_seen_at
        return (self.since is None or self.since <= moment) and (
            self.until is None or moment < self.until
        )


async def export(ledger: Ledger, cut: Cut, writer: Writer) -> int:
    """Write every recording that is wanted, in the order of first sight; return how many."""
    position, count = 0, 0
    while page := await ledger.rows_after(position, PAGE, cut.statuses):
        position = page[-1].rowid
        rows = [known(row) for row in page if cut.holds(row)]
        await asyncio.to_thread(writer.write, rows)
        count += len(rows)
    await asyncio.to_thread(writer.close)
    return count
