"""Whether there is something to take conversations from."""

import asyncio
import stat
from pathlib import Path

from bulkaudio.doctor.check import Check, fail_for, ok, skip
from bulkaudio.doctor.ground import LedgerLook
from bulkaudio.doctor.patience import within
from bulkaudio.doctor.subject import Subject
from bulkaudio.errors import BulkAudioError
from bulkaudio.listings import nothing_to_go_on_from
from bulkaudio.naming import printable
from bulkaudio.sources.csv_file import CsvSource

SOURCE_S = 10.0


async def source_check(subject: Subject, ledger: LedgerLook) -> Check:
    """Open the file of ids as far as its first row, or say what a listing would cover."""
    request = subject.request
    if request.csv_is_stdin:
        return skip("source", "--csv -: standard input is left to the download")
    if request.csv is not None:
        return await _csv_check(request.csv, request.id_column)
    if subject.window is not None:
        return ok("source", subject.window)
    return _going_on(ledger)


def _going_on(ledger: LedgerLook) -> Check:
    """Say where a listing without a start of its own would begin."""
    if ledger.contents is not None and ledger.contents.has_listing:
        return ok("source", "the listing, from where the last finished one ended")
    if ledger.holder is not None:
        return skip("source", "the archive knows, and another run holds it")
    if ledger.error is not None:
        return skip("source", "the archive knows, and cannot be read: see archive")
    if ledger.has_no_start:
        return fail_for("source", nothing_to_go_on_from())
    return skip("source", "no --csv and no --since: a first download needs one")


async def _csv_check(path: Path, id_column: str | None) -> Check:
    shown = printable(str(path), 200)
    try:
        if await within(SOURCE_S, lambda: _is_read_once(path)):
            return skip("source", f"{shown} can be read only once: it is left to the download")
        source = CsvSource(path, id_column=id_column)
        async with asyncio.timeout(SOURCE_S):
            await source.open()
        await source.aclose()
    except TimeoutError:
        return skip("source", f"{shown} gave nothing within {SOURCE_S:.0f}s")
    except BulkAudioError as error:
        return fail_for("source", error)
    return ok("source", f"{shown}: conversation ids found")


def _is_read_once(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
