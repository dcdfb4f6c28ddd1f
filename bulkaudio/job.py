"""
From what a person asked for to a run: input, archive, keys, listing; everything checked first.

The order is that of the exit codes people care about: wrong input before a missing key, a missing
key before the disk, and all of them before the first request.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bulkaudio.archive import Identity, OpenArchive, open_archive, redacted_of
from bulkaudio.conduct import SLOTS_PIN, RunResult, Work, conduct, fan_out, require, slots_of
from bulkaudio.errors import UsageError
from bulkaudio.events import Emit
from bulkaudio.gate import COLD_SLOTS, Gate, GateOptions
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.listings import Errand, Listings, Memory, errands
from bulkaudio.model import Direction, Metadata
from bulkaudio.observe.tally import Tally
from bulkaudio.polyai.client import Host, Session
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.retry import Limits
from bulkaudio.settings import Connection, DownloadRequest, ListingQuery, RunOptions, Selection
from bulkaudio.sidecars import details_writer
from bulkaudio.sources.base import Source
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.sources.listing import ListingMeans, ListingPlan, ListingSource
from bulkaudio.stopper import Stopper

LISTING_PIN = "listing"
"""The choices of the last listing run, which a run without its own goes on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a listing run chose, and the next one without choices of its own goes on with."""

    directions: tuple[Direction, ...]
    metadata: Metadata
    env: str
    channels: tuple[str, ...]
    variant: str | None

    def to_json(self) -> str:
        """Write it for the ledger."""
        return json.dumps(
            {
                "directions": self.directions,
                "metadata": self.metadata,
                "env": self.env,
                "channels": self.channels,
                "variant": self.variant,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Choices":
        """Read what `to_json` wrote."""
        kept: dict[str, Any] = json.loads(text)
        return cls(
            directions=tuple(Direction(d) for d in kept["directions"]),
            metadata=Metadata(kept["metadata"]),
            env=kept["env"],
            channels=tuple(kept["channels"]),
            variant=kept["variant"],
        )

    def scope(self, connection: Connection) -> str:
        """Name what a listing covers: only a finished one of the same scope moves its end."""
        filters = json.loads(self.to_json())
        del filters["metadata"]
        filters["directions"].sort()
        return json.dumps(
            filters | {"account": connection.account, "agent": connection.agent}, sort_keys=True
        )


def choose(request: DownloadRequest, remembered: str | None) -> Choices:
    """
    Fill in what the request leaves open.

    Only a listing without a start goes on with what an earlier one chose: whoever names a window
    or a file says all of it.
    """
    asked, old = request.listing, None
    goes_on = not _has_csv(request) and asked.since is None
    if goes_on and remembered is not None:
        old = Choices.from_json(remembered)
    usual = ListingQuery()
    has_own = (asked.env, asked.channels, asked.variant) != (usual.env, (), None)
    filters = None if has_own else old
    return Choices(
        directions=request.directions or (old and old.directions) or (Direction.COMBINED,),
        metadata=request.metadata or (old.metadata if old else Metadata.NONE),
        env=filters.env if filters else asked.env,
        channels=filters.channels if filters else asked.channels,
        variant=filters.variant if filters else asked.variant,
    )


def _has_csv(request: DownloadRequest) -> bool:
    return request.csv is not None or request.csv_is_stdin


async def run_download(
    request: DownloadRequest, *, tally: Tally, observers: Sequence[Emit], stopper: Stopper
) -> RunResult:
    """
    Do what the command ``download`` does.

    Raises:
        BulkAudioError: When the run could not begin; what ends it later is in the result.
    """
    region = canonical_region(request.region) if request.region else None
    csv = await _open_csv(request)
    try:
        keys = await asyncio.to_thread(request.find_keys, region) if region else None
        async with open_archive(request.place.out, layout=request.place.layout) as archive:
            kept = await archive.bind(
                Identity(
                    region=region,
                    account=request.account,
                    agent=request.agent,
                    redacted=request.redacted,
                )
            )
            region = require(kept.get("region"), "--region")
            if keys is None:
                keys = await asyncio.to_thread(request.find_keys, region)
            api_key, listing_key = keys
            connection = Connection(
                region=region,
                account=kept.get("account"),
                agent=require(kept.get("agent"), "--agent"),
                api_key=api_key,
                conversations_key=listing_key,
                audio_url=request.audio_url,
                conversations_url=request.conversations_url,
                ca_bundle=request.ca_bundle,
                proxy=request.proxy,
            )
            async with Session(connection, slots=slots_of(request.pace)) as session:
                job = _Job(
                    request=request,
                    archive=archive,
                    session=session,
                    kept=kept,
                    csv=csv,
                    stopper=stopper,
                )
                work = await job.work(fan_out([tally, *observers]))
                return await conduct(work, tally=tally, observers=observers, stopper=stopper)
    finally:
        if csv is not None:
            await csv.aclose()


async def _open_csv(request: DownloadRequest) -> CsvSource | None:
    if not _has_csv(request):
        return None
    source = CsvSource(request.csv, id_column=request.id_column, limit=request.limit)
    await source.open()
    return source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """An opened archive and session with the request that wants them."""

    request: DownloadRequest
    archive: OpenArchive
    session: Session
    kept: Mapping[str, str]
    csv: CsvSource | None
    stopper: Stopper

    async def work(self, emit: Emit) -> Work:
        """Put the run's work together."""
        request = self.request
        choices = choose(request, self.kept.get(LISTING_PIN))
        gate = self._gate(Host.AUDIO, int(self.kept.get(SLOTS_PIN, COLD_SLOTS)), emit)
        if self.csv is not None:
            check_dates(self.archive, self.csv)
            source: Source = self.csv
            windows: tuple[Errand, ...] = ()
        else:
            source, windows = await self._listings(choices, gate, emit)
        selection = Selection(
            directions=choices.directions,
            redacted=redacted_of(self.kept, request.redacted),
            metadata=choices.metadata,
            limit=request.limit,
        )
        return Work(
            archive=self.archive,
            session=self.session,
            gate=gate,
            source=source,
            options=RunOptions(selection=selection, pace=request.pace, budgets=request.budgets),
            scope=self._scope(selection, windows),
            # A sample of a few calls is not the moment to work off what earlier nights left.
            takes_backlog=self.csv is None and request.limit is None,
            asks_for_details=self.csv is not None,
            min_free_bytes=request.place.min_free_bytes,
        )

    def _gate(self, host: Host, start: int, emit: Emit) -> Gate:
        pace = self.request.pace
        options = GateOptions(
            fixed=pace.concurrency,
            start=start,
            max_rate=pace.max_rate,
            give_up_s=pace.give_up_after_s,
        )
        return Gate(self.session.hosts.name(host), options, emit=emit)

    async def _listings(
        self, choices: Choices, gate: Gate, emit: Emit
    ) -> tuple[Listings, tuple[Errand, ...]]:
        connection, ledger, request = self.session.connection, self.archive.ledger, self.request
        hosts = self.session.hosts
        if connection.region != "studio":
            require(connection.account, "--account")
        is_one_host = hosts.name(Host.LISTING) == hosts.name(Host.AUDIO)
        query = replace(
            request.listing, env=choices.env, channels=choices.channels, variant=choices.variant
        )
        scope = choices.scope(connection)
        is_sample = request.limit is not None
        memory = Memory(
            unfinished=None if is_sample else await ledger.unfinished_listing(scope),
            high_water=await ledger.high_water(scope),
        )
        windows = errands(query, memory, datetime.now(UTC))
        means = ListingMeans(
            session=self.session,
            gate=gate if is_one_host else self._gate(Host.LISTING, COLD_SLOTS, emit),
            emit=emit,
            limits=Limits(attempts=request.pace.attempts),
            sleep=self.stopper.sleep,
            on_details=None
            if choices.metadata is Metadata.NONE
            else details_writer(self.archive.store, choices.metadata, emit),
        )

        def list_(row: ListingRow, limit: int | None) -> ListingSource:
            return ListingSource(_plan_of(row, query, limit), means)

        if not is_sample:
            await ledger.pin({LISTING_PIN: choices.to_json()})
        return Listings(ledger, scope, windows, list_, limit=request.limit), windows

    def _scope(self, selection: Selection, windows: Sequence[Errand]) -> dict[str, Any]:
        connection = self.session.connection
        return {
            "region": connection.region,
            "account": connection.account,
            "agent": connection.agent,
            "source": "listing" if self.csv is None else "csv",
            "since": _text(windows[0].since) if windows else None,
            "until": _text(windows[-1].until) if windows else None,
            "directions": [direction.value for direction in selection.directions],
            "redaction_requested": bool(selection.redacted),
        }


def _plan_of(row: ListingRow, query: ListingQuery, limit: int | None) -> ListingPlan:
    if row.since is None:
        raise AssertionError("every window that bulkaudio lists has a start")
    return ListingPlan(
        listing_id=row.listing_id,
        since=row.since,
        until=row.until,
        query=query,
        cursor=row.cursor,
        offset=row.offset,
        limit=limit,
    )


def check_dates(archive: OpenArchive, source: Source) -> None:
    """Refuse a source without dates where the layout needs them, before any request."""
    if archive.layout.needs_date and not source.knows_dates:
        raise UsageError(
            f"the layout {archive.layout.template} needs the start of every conversation, "
            "and this source does not have it",
            fix="add a started_at column to the CSV, use the listing (--since), or another --layout",
        )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
