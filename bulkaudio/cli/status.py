"""The command ``status``: how an archive stands, also while a run holds it."""

import json as json_text
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from bulkaudio.cli.standing import Standing


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions:
    """How it is told."""

    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False


DEFAULTS = StatusOptions()


def status(
    archive: Annotated[Path, Parameter(help="The archive's folder.")],
    /,
    options: StatusOptions = DEFAULTS,
) -> int:
    """Tell what an archive holds and how its last run went."""
    import asyncio

    from bulkaudio.observe.terminal import console

    standing = asyncio.run(look(archive))
    if options.json:
        print(json_text.dumps(standing.document(), separators=(",", ":")), flush=True)
    else:
        console(sys.stdout).print(standing.page())
    return 0


async def look(archive: Path) -> "Standing":
    """
    Find out how an archive stands.

    A live run's own account is believed before the lock is tried: taking it, even for a moment,
    could turn away a run that is just about to start.
    """
    import asyncio
    import shutil

    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.standing import Standing
    from bulkaudio.errors import ArchiveBusyError
    from bulkaudio.observe.status_file import is_live, read_status

    await asyncio.to_thread(require_archive, archive)
    now = datetime.now(UTC)
    free = (await asyncio.to_thread(shutil.disk_usage, archive)).free
    written = await asyncio.to_thread(read_status, archive)
    if written is not None and is_live(written, now):
        return Standing(archive=archive, now=now, live=written, free_bytes=free)
    try:
        return await _from_ledger(archive, now, free)
    except ArchiveBusyError:
        # Held, and its account is missing or old: it is starting, suspended, or another command.
        live = (await asyncio.to_thread(read_status, archive)) or {}
        return Standing(archive=archive, now=now, live=live, free_bytes=free)


async def _from_ledger(archive: Path, now: datetime, free_bytes: int) -> "Standing":
    from bulkaudio.archive import open_archive
    from bulkaudio.cli.standing import Standing

    async with open_archive(archive, is_brief=True) as held:
        ledger = held.ledger
        run = await ledger.last_run()
        last: dict[str, Any] | None = None
        if run is not None:
            last = {
                "run_id": run.run_id,
                "started_at": f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}",
                "finished_at": None,
            }
            last |= json_text.loads(run.summary) if run.summary else {}
        return Standing(
            archive=archive,
            now=now,
            last_run=last,
            pins=await ledger.pins(),
            totals=await ledger.totals(),
            oldest_open=await ledger.oldest_open(),
            free_bytes=free_bytes,
        )
