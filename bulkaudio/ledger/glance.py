"""
A look at a ledger that leaves no trace: nothing is written, locked, migrated or recovered.

For a diagnosis, which has to be bounded in time: everything happens in the caller's thread. Whoever
reads so while a run begins may see half of it, so what is found counts only when the file was the
same before and after; `bulkaudio.ledger.readonly`, whose way of opening this is, sees to that by
itself.
"""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.ledger.database import check_header, check_identity, check_whole, is_absent
from bulkaudio.ledger.faults import translated
from bulkaudio.ledger.journal import mark_in
from bulkaudio.ledger.ledger import LEFT
from bulkaudio.ledger.readonly import has_log, readable
from bulkaudio.ledger.tombs import Interruption, has_entries, interruption
from bulkaudio.model import Status

STEPS_BETWEEN_LOOKS = 10_000
"""Of SQLite's own machine, between two looks at the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """
    What a ledger says of its archive.

    Attributes:
        unsettled: Recordings that a later run takes up.
        has_listing: One was finished, or begun, for a run without a start to go on from.
        interruption: An erasure that was killed.
        mark: How far it was told elsewhere.
        has_register: Something was erased or is held, so that a register has to be there.
    """

    pins: Mapping[str, str]
    saved: int
    saved_bytes: int
    unsettled: int
    has_listing: bool
    interruption: Interruption | None = None
    mark: str | None = None
    has_register: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """
    What a look found.

    Attributes:
        contents: None where there is no ledger yet, or none that may be looked into.
        is_checked: Every page and every index was; False when the time did not suffice.
        was_killed: A run ended without closing it; the next one takes up what it left.
    """

    contents: Contents | None = None
    is_checked: bool = False
    was_killed: bool = False


def is_there(path: Path) -> bool:
    """Whether there is a ledger at ``ARCHIVE/.bulkaudio/ledger.db``; raises `LedgerError`."""
    with translated(path):
        return not is_absent(path)


def glance(path: Path, *, check_s: float) -> Glance:
    """
    Look at the ledger at ``ARCHIVE/.bulkaudio/ledger.db``; blocks.

    Args:
        check_s: How long walking every page and index may take; 0 leaves it out.

    Raises:
        LedgerError: It is damaged, somebody else's, or newer than this program.
    """
    with translated(path):
        if is_absent(path):
            return Glance()
        check_header(path)
        was_killed = has_log(path)
        with closing(readable(path)) as reading:
            connection = reading.connection
            check_identity(connection, path, is_new_allowed=True)
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return Glance(was_killed=was_killed)
            is_checked = _is_whole(connection, path, check_s)
            return Glance(
                contents=_contents(connection), is_checked=is_checked, was_killed=was_killed
            )


def _is_whole(connection: sqlite3.Connection, path: Path, check_s: float) -> bool:
    if check_s <= 0:
        return False
    give_up_at = time.monotonic() + check_s
    connection.set_progress_handler(lambda: int(time.monotonic() > give_up_at), STEPS_BETWEEN_LOOKS)
    try:
        check_whole(connection, path, "integrity_check")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return False
    finally:
        connection.set_progress_handler(None, 0)
    return True


def _contents(connection: sqlite3.Connection) -> Contents:
    rows = connection.execute(
        "SELECT status, count(*), coalesce(sum(bytes), 0) FROM recordings GROUP BY status"
    )
    totals = {status: (count, size) for status, count, size in rows}
    saved, saved_bytes = totals.get(Status.SAVED, (0, 0))
    (has_listing,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM listings WHERE state IN ('finished', 'open'))"
    ).fetchone()
    return Contents(
        pins=dict(connection.execute("SELECT name, value FROM archive")),
        saved=saved,
        saved_bytes=saved_bytes,
        unsettled=sum(totals.get(status, (0, 0))[0] for status in LEFT),
        has_listing=bool(has_listing),
        interruption=interruption(connection),
        mark=mark_in(connection),
        has_register=Status.PURGED in totals or has_entries(connection),
    )
