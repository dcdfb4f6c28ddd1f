"""The command ``status``: how an archive stands, also while a run holds it."""

import json as json_text
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.cli.standing import Standing
    from bulkaudio.ledger.rows import RunRow


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions:
    """How it is told."""

    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False


DEFAULTS = StatusOptions()


def status(
    archive: ArchiveArgument,
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

    Whether a run is going on, its lock says and not the age of what it wrote last; a run that starts
    during the look waits for it.
    """
    import asyncio
    import shutil

    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.standing import Standing
    from bulkaudio.errors import ArchiveBusyError
    from bulkaudio.observe.status_file import read_status

    await asyncio.to_thread(require_archive, archive)
    now = datetime.now(UTC)
    free = (await asyncio.to_thread(shutil.disk_usage, archive)).free
    try:
        return await _from_ledger(archive, now, free)
    except ArchiveBusyError:
        # An account that is missing or old: it is starting, suspended, or another command.
        live = (await asyncio.to_thread(read_status, archive)) or {}
        return Standing(archive=archive, now=now, live=live, free_bytes=free)


async def _from_ledger(archive: Path, now: datetime, free_bytes: int) -> "Standing":
    from bulkaudio.archive import look_into
    from bulkaudio.cli.standing import Standing

    async with look_into(archive) as held:
        ledger = held.ledger
        download, repair = await ledger.last_of_each()
        return Standing(
            archive=archive,
            now=now,
            last_run=_told(download),
            last_repair=_told(repair),
            pins=await ledger.pins(),
            totals=await ledger.totals(),
            oldest_open=await ledger.oldest_open(),
            unfinished=tuple(await ledger.unfinished_listings()),
            free_bytes=free_bytes,
            interruption=await ledger.erasures.interruption(),
        )


def _told(run: "RunRow | None") -> dict[str, Any] | None:
    """Return a run's summary; of one that was killed only what is known."""
    if run is None:
        return None
    known = {
        "run_id": run.run_id,
        "started_at": f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}",
        "finished_at": None,
    }
    return known | (json_text.loads(run.summary) if run.summary else {})
