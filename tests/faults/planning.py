"""``python -m tests.faults.planning FOLDER``: what planning a file of conversations takes."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction
from bulkaudio.sources.csv_file import CsvSource


async def plan(folder: Path) -> int:
    """Plan the conversations of ``calls.csv``; return how many there are to be fetched."""
    source = CsvSource(folder / "calls.csv")
    await source.open()
    ledger = await Ledger.open(folder / "ledger.db", is_new_allowed=True)
    todo = 0
    try:
        async for batch in source.batches():
            found = await ledger.plan(batch, [Direction.COMBINED], datetime.now(UTC))
            todo += len(found.todo)
    finally:
        await ledger.aclose()
        await source.aclose()
    return todo


if __name__ == "__main__":
    planned = asyncio.run(plan(Path(sys.argv[1])))
    # The system's own count: what `resource` says of a child is also the most its parent had.
    peak_kib = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    sys.stdout.write(f"{planned} {peak_kib}\n")
