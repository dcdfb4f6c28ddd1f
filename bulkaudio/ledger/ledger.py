"""
The ledger: what is known of every recording, and the only thing that says what is saved.

Rules of this package: nobody else knows SQLite; every method is one transaction; what a method
has returned from is durable.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from bulkaudio.errors import LedgerError
from bulkaudio.ledger import calls, census, listings, planning, settling, tree
from bulkaudio.ledger.database import Database, check_whole
from bulkaudio.ledger.erasing import Erasures
from bulkaudio.ledger.holds import Holds
from bulkaudio.ledger.journal import Journal
from bulkaudio.ledger.migrations import UNSETTLED
from bulkaudio.ledger.registered import Registered
from bulkaudio.ledger.restoring import Restoring
from bulkaudio.ledger.rows import (
    IS_DOWNLOAD,
    SELECT,
    SELECT_RUNS,
    SELECT_SUCCESSES,
    LedgerRow,
    ListingRow,
    RunRow,
    Total,
    instant_of,
    row_of,
    run_of,
    text_of,
    time_of,
)
from bulkaudio.model import Batch, Direction, Outcome, Plan, Recording, Status

LEFT = (Status.OPEN, Status.FAILED, Status.DEFERRED)
"""What a run may leave for a later one."""

ALL = tuple(status for status in Status if status is not Status.ALREADY)


class Ledger:
    """
    An open ledger; made by `open`.

    Every method raises `LedgerError` when this machine cannot do what it says.

    Attributes:
        erasures: What is erased, and what keeps it from coming back.
        holds: What must not be erased.
        journal: What is to be told elsewhere, for archives whose recordings are.
        registered: What of `erasures` and `holds` the register beside the ledger tells.
        restoring: What was told there, for a ledger made anew.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self.erasures, self.holds = Erasures(database), Holds(database)
        self.journal, self.restoring = Journal(database), Restoring(database)
        self.registered = Registered(database)
        self._seen = planning.Seen()

    @classmethod
    async def open(cls, path: Path, *, is_new_allowed: bool) -> "Ledger":
        """
        Open, check and bring up to date the ledger at ``ARCHIVE/.bulkaudio/ledger.db``.

        Args:
            is_new_allowed: False when the archive holds recordings: a ledger that is missing
                beside them is an error, never a new beginning.
        """
        return cls(path, await Database.open(path, is_new_allowed=is_new_allowed))

    async def aclose(self) -> None:
        """Let what was asked for before end, then close; safe to call again."""
        await self._database.aclose()

    async def check(self) -> None:
        """Walk every page and hold every index to its table, which opening has no time for."""
        await self._database.read(
            lambda connection: check_whole(connection, self.path, "integrity_check")
        )

    async def check_values(self) -> None:
        """Read every row: what no sum of SQLite's protects may be no value of ours any more."""

        def read(connection: sqlite3.Connection) -> None:
            for values in connection.execute(SELECT):
                row_of(values)
            for values in connection.execute(SELECT_RUNS):
                run_of(values)
            for since, until in connection.execute("SELECT since, until FROM listings"):
                time_of(since)
                instant_of(until)

        await self._database.read(read)

    async def pins(self) -> dict[str, str]:
        """Everything the archive remembers about itself."""
        return await self._database.read(
            lambda connection: dict(connection.execute("SELECT name, value FROM archive"))
        )

    async def pin(self, values: Mapping[str, str]) -> None:
        """Remember these values, in place of older ones of the same names."""
        await self._database.change(
            lambda connection: connection.executemany(
                "INSERT INTO archive (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                list(values.items()),
            )
        )

    async def has_saved(self) -> bool:
        """Whether any recording is saved, or is to stay erased, or held."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM recordings WHERE status IN ('saved', 'purged')) "
            "OR EXISTS (SELECT 1 FROM tombstones) OR EXISTS (SELECT 1 FROM holds)"
        )
        return await self._database.read(
            lambda connection: connection.execute(query).fetchone()[0] == 1
        )

    async def begin_anew(self) -> None:
        """
        Forget recordings, listings and pins; raises `LedgerError` when a recording is saved.

        For an archive whose first run had a wrong agent or region: what it knows so far is of
        somebody else's calls, or of none.
        """
        if await self.has_saved():
            raise LedgerError("an archive with saved recordings does not begin anew")
        await self._database.change(tree.clear)

    async def start_run(self, run_id: str, started_at: datetime, scope_json: str) -> None:
        """Note that a run begins; from here on, what counts as a duplicate starts anew."""
        self._seen = planning.Seen()
        await self._database.change(
            lambda connection: connection.execute(
                "INSERT INTO runs (run_id, started_at, scope) VALUES (?, ?, ?)",
                (run_id, text_of(started_at), scope_json),
            )
        )

    async def finish_run(self, run_id: str, finished_at: datetime, summary_json: str) -> None:
        """Note that a run ended in order, and how."""
        await self._database.change(
            lambda connection: connection.execute(
                "UPDATE runs SET finished_at = ?, summary = ? WHERE run_id = ?",
                (text_of(finished_at), summary_json, run_id),
            )
        )

    async def last_run(self) -> RunRow | None:
        """Return the run that was started last."""

        def find(connection: sqlite3.Connection) -> RunRow | None:
            row = connection.execute(f"{SELECT_RUNS} ORDER BY number DESC LIMIT 1").fetchone()
            return None if row is None else run_of(row)

        return await self._database.read(find)

    async def last_of_each(self) -> tuple[RunRow | None, RunRow | None]:
        """Return the download that was started last, and the last repair if it was started later."""
        return await self._database.read(calls.last_of_each)

    async def last_ended_run(self) -> RunRow | None:
        """Return the download that came to its end last; repairs are none."""

        def find(connection: sqlite3.Connection) -> RunRow | None:
            row = connection.execute(
                f"{SELECT_RUNS} WHERE finished_at IS NOT NULL AND {IS_DOWNLOAD} "
                "ORDER BY number DESC LIMIT 1"
            ).fetchone()
            return None if row is None else run_of(row)

        return await self._database.read(find)

    async def last_successes(self) -> Mapping[str, datetime]:
        """Say when the last download with exit code 0 ended, for each kind of source."""
        rows = await self._database.read(
            lambda connection: connection.execute(SELECT_SUCCESSES).fetchall()
        )
        return {str(source): instant_of(finished_at) for source, finished_at in rows}

    async def last_runs(self, limit: int) -> Sequence[RunRow]:
        """Return the runs that were started last, newest first."""
        return await self._database.read(partial(calls.last_runs, limit=limit))

    async def was_clean(self) -> bool:
        """Whether the last run came to its end; asked before `start_run`."""
        last = await self.last_run()
        return last is None or last.finished_at is not None

    async def plan(self, batch: Batch, directions: Sequence[Direction], now: datetime) -> Plan:
        """
        Say what is to be done about a batch.

        New recordings and the batch's bookmark are kept in the same transaction: a listing never
        moves past a page whose conversations are not in the ledger.
        """
        return await self._database.change(
            lambda connection: planning.Planner(connection, directions, now, self._seen).plan(batch)
        )

    async def backlog(
        self,
        directions: Sequence[Direction],
        now: datetime,
        *,
        after: int,
        limit: int,
        statuses: Sequence[Status] = LEFT,
    ) -> tuple[Plan, int]:
        """
        Take up to `limit` recordings that earlier runs left open, failed or deferred until now.

        Returns:
            The plan, whose `todo` is empty at the end, and the `after` of the next page.
        """
        page = planning.Backlog(directions, statuses, now, after, limit)
        return await self._database.read(
            lambda connection: planning.backlog(connection, page, self._seen)
        )

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """
        Keep how recordings ended; a row that says ``saved`` stays as it is.

        Attempts are added to those of earlier runs; everything else is the latest outcome's.
        """
        settlement = settling.Settlement(outcomes=outcomes, run_id=run_id, now=now)
        await self._database.change(settlement.write)

    async def take_up(self, outcomes: Sequence[Outcome], now: datetime) -> Sequence[Outcome]:
        """Keep files found in the archive, one for each recording; return the surplus."""
        return await self._database.change(
            lambda connection: settling.take_up(connection, outcomes, now)
        )

    async def reopen(self, recordings: Sequence[Recording], reason: str) -> None:
        """Take recordings back to open, saved ones too, so that a run fetches them again."""
        await self._database.change(
            lambda connection: settling.reopen(connection, recordings, reason)
        )

    async def unsaved(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Return those that are known and may be saved, with the start that the ledger knows."""
        query = (
            "SELECT started_at FROM recordings "
            "WHERE conversation_id = ? AND direction = ? AND status NOT IN ('saved', 'purged')"
        )

        def find(connection: sqlite3.Connection) -> Sequence[Recording]:
            rows = [
                connection.execute(query, (r.conversation_id, r.direction)).fetchone()
                for r in recordings
            ]
            pairs = zip(recordings, rows, strict=True)
            return [replace(r, started_at=time_of(row[0])) for r, row in pairs if row is not None]

        return await self._database.read(find)

    async def start_listing(
        self, scope: str, since: datetime | None, until: datetime
    ) -> ListingRow:
        """Begin to list a half-open window; unfinished listings inside it are superseded."""
        return await self._database.change(
            partial(listings.start, scope=scope, window=(since, until))
        )

    async def unfinished_listing(self, scope: str) -> ListingRow | None:
        """Return the oldest listing of that scope that was begun and not finished."""
        return await self._database.read(partial(listings.unfinished, scope=scope))

    async def unfinished_listings(self) -> Sequence[ListingRow]:
        """Return those of every scope, oldest first."""
        return await self._database.read(listings.all_unfinished)

    async def high_water(
        self, scope: str, directions: Sequence[Direction] = tuple(Direction)
    ) -> datetime | None:
        """
        Return the time before which everything is listed and settled.

        The end of what finished listings cover without a gap, or the start of the oldest
        conversation that is still open or deferred in one of these directions, if that is earlier.
        """
        return await self._database.read(
            partial(listings.high_water, scope=scope, directions=directions)
        )

    async def totals(self) -> Mapping[tuple[Direction, Status], Total]:
        """Sum up by direction and status; walks the whole table."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT direction, status, count(*), coalesce(sum(bytes), 0), "
                "coalesce(sum(audio_seconds), 0.0) FROM recordings GROUP BY direction, status"
            ).fetchall()
        )
        return {
            (Direction(row[0]), Status(row[1])): Total(count=row[2], bytes=row[3], seconds=row[4])
            for row in rows
        }

    async def groups(self, page: census.Page) -> Sequence[census.Group]:
        """Count a page of rows; see `bulkaudio.ledger.census`."""
        return await self._database.read(partial(census.groups, page=page))

    async def never_asked(self, page: census.Page) -> Sequence[census.Group]:
        """Count a page's conversations that lack a row for a direction."""
        return await self._database.read(partial(census.never_asked, page=page))

    async def last_rowid(self) -> int:
        """Return the rowid of the latest row; 0 without any."""
        return await self._database.read(census.last_rowid)

    async def undated(self, directions: Sequence[Direction]) -> int:
        """Count rows without a start."""
        return await self._database.read(partial(census.undated, directions=directions))

    async def directions(self) -> Sequence[Direction]:
        """Name the directions that any row has."""
        return await self._database.read(census.directions)

    async def finished_listings(self) -> Sequence[census.Listed]:
        """Return every window that was listed to its end."""
        return await self._database.read(census.finished)

    async def summaries(self, limit: int) -> Sequence[str]:
        """Return the summaries of the latest runs that ended in order, the last one first."""

        def find(connection: sqlite3.Connection) -> Sequence[str]:
            rows = connection.execute(
                f"{SELECT_RUNS} WHERE summary IS NOT NULL ORDER BY number DESC LIMIT ?", (limit,)
            )
            return [run_of(row).summary or "{}" for row in rows]

        return await self._database.read(find)

    async def oldest_open(self) -> LedgerRow | None:
        """Return the unsettled recording whose call, or first sight, is the longest ago."""

        def find(connection: sqlite3.Connection) -> LedgerRow | None:
            row = connection.execute(
                f"{SELECT} INDEXED BY unsettled WHERE {UNSETTLED} "
                "ORDER BY coalesce(started_at, first_seen_at), id LIMIT 1"
            ).fetchone()
            return None if row is None else row_of(row)

        return await self._database.read(find)

    async def rows_after(
        self, rowid: int, limit: int, statuses: Sequence[Status] = ALL
    ) -> Sequence[LedgerRow]:
        """Return a page of rows in the order they were first seen; empty at the end."""

        def find(connection: sqlite3.Connection) -> Sequence[LedgerRow]:
            rows = connection.execute(
                f"{SELECT} WHERE id > ? AND instr(?, status) ORDER BY id LIMIT ?",
                (rowid, " ".join(statuses), limit),
            )
            return [row_of(row) for row in rows]

        return await self._database.read(find)

    async def calls_after(self, conversation_id: str, limit: int) -> Sequence[calls.Call]:
        """Return whole calls of about `limit` rows, by conversation id; empty at the end."""
        return await self._database.read(
            partial(calls.calls_after, conversation_id=conversation_id, limit=limit)
        )

    async def saved_after(self, rowid: int, limit: int) -> Sequence[LedgerRow]:
        """Return a page of saved rows; empty at the end."""
        return await self.rows_after(rowid, limit, (Status.SAVED,))

    async def note_files(self, paths: Sequence[str]) -> None:
        """Collect names found in the archive, for `unknown_files`."""
        await self._database.read(partial(tree.note_files, paths=paths))

    async def unknown_files(self, limit: int) -> tuple[int, Sequence[str]]:
        """Count the collected names that no saved row has, and return the first of them."""
        return await self._database.read(partial(tree.unknown_files, limit=limit))
