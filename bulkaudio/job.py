"""
From what a person asked for to a run: input, archive, keys, listing; everything checked first.

The order is that of the exit codes people care about: wrong input before a missing key, a missing
key before the disk, and all of them before the first request.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module

from bulkaudio.archive import OpenArchive, check_unclaimed, is_archive, open_archive
from bulkaudio.assembly import connection_of, find_keys, gate_of, require, scope_of
from bulkaudio.conduct import SLOTS_PIN, Muster, RunResult, Watch, Work, conduct, slots_of
from bulkaudio.errors import BulkAudioError, NoCredentialsError, UsageError
from bulkaudio.events import Emit, Noted
from bulkaudio.gate import COLD_SLOTS, Gate
from bulkaudio.identity import Identity, redacted_of
from bulkaudio.ledger.ledger import LEFT, Ledger
from bulkaudio.ledger.rows import ListingRow
from bulkaudio.listings import (
    Errand,
    Listings,
    Memory,
    errands,
    left_behind,
    nothing_to_go_on_from,
)
from bulkaudio.model import Metadata, Status
from bulkaudio.naming import Layout
from bulkaudio.observe.summary import Summary
from bulkaudio.polyai.client import Host, Session
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.remember import LISTING_PIN, Choices, choose, goes_on_words, left_behind_words
from bulkaudio.report.figures import Scope
from bulkaudio.report.gather import gather
from bulkaudio.report.write import write_report
from bulkaudio.retry import Limits
from bulkaudio.run import Backlog, unsettled
from bulkaudio.settings import (
    ClusterWish,
    DownloadRequest,
    ListingQuery,
    Place,
    ReportWish,
    RunOptions,
    Selection,
)
from bulkaudio.sidecars import DetailsWriter
from bulkaudio.sources.base import Source
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.sources.listing import ListingMeans, ListingPlan, ListingSource
from bulkaudio.stopper import Stopper
from bulkaudio.stores.address import words_of


async def run_download(request: DownloadRequest, watch: Watch) -> RunResult:
    """
    Do what the command ``download`` does.

    Raises:
        BulkAudioError: When the run could not begin; what ends it later is in the result.
    """
    region = canonical_region(request.region) if request.region else None
    identity = Identity(
        region=region, account=request.account, agent=request.agent, redacted=request.redacted
    )
    muster = None if request.cluster is None else muster_of(request.cluster)
    csv = await open_csv(request)
    try:
        await check_beginning(request, region)
        keys = await asyncio.to_thread(request.find_keys, region) if region else None
        async with open_archive(
            request.place.out,
            layout=request.place.layout,
            elsewhere=request.place.elsewhere,
        ) as archive:
            if csv is not None:
                check_dates(archive.layout, csv)
            kept = await archive.bind(identity)
            if keys is None:
                keys = await find_keys(request, kept)
            connection = connection_of(request, kept, keys)
            async with Session(connection, slots=slots_of(request.pace)) as session:
                job = _Job(
                    request=request,
                    archive=archive,
                    session=session,
                    kept=kept,
                    csv=csv,
                    stopper=watch.stopper,
                    muster=muster,
                )
                work = await job.work(watch.emit)
                result = await conduct(work, watch)
            if request.report is None:
                return result
            return await _with_report(archive, request.report, result, watch)
    finally:
        if csv is not None:
            await csv.aclose()


async def _with_report(
    archive: OpenArchive, wish: ReportWish, result: RunResult, watch: Watch
) -> RunResult:
    """Write the page about the archive, while it is still this run's, also after a failure."""
    try:
        account = await gather(archive, Scope(zone=wish.zone))
        await asyncio.to_thread(write_report, account, wish.path)
        result = replace(result, report=wish.path)
        text = Summary.of(result, watch.tally).to_json()
        await archive.ledger.finish_run(result.run_id, result.finished_at, text)
    except BulkAudioError as fault:
        return replace(result, report_fault=fault)
    return result


async def check_beginning(request: DownloadRequest, region: str | None) -> bool:
    """
    Refuse what a first run lacks before it leaves so much as a folder behind.

    Returns:
        Whether it is one: nothing was begun on this machine.

    Raises:
        UsageError: Naming what is missing.
        LedgerError: There is an archive in the object store, whose lost ledger remembers that.
        StorageError: Whether there is one, the object store does not say.
    """
    place = request.place
    if await asyncio.to_thread(is_archive, place.out):
        return False
    try:
        _check_first(request, region)
    except UsageError as lacking:
        # Only a nightly line leaves this out.
        raise await _lacking(lacking, place) from None
    return True


async def _lacking(lacking: UsageError, place: Place) -> UsageError:
    """Say what a first run lacks, if it is one; raises what `check_beginning` does."""
    if place.elsewhere is None:
        return lacking
    try:
        await check_unclaimed(place.out, place.elsewhere, is_patient=False)
    except NoCredentialsError as keyless:
        # Mostly nothing is set up yet; where an archive remembers the rest, this is what is amiss.
        return UsageError(
            f"{lacking.message}; whether there is one at {place.elsewhere.url}, nobody could ask: "
            f"{keyless.message}",
            fix=f"{keyless.fix}; in a first run, {lacking.fix}",
        )
    text = f"{lacking.message}; at {place.elsewhere.url} there is no archive yet"
    return UsageError(text, fix=lacking.fix)


def _check_first(request: DownloadRequest, region: str | None) -> None:
    require(region, "--region")
    require(request.agent, "--agent")
    if request.has_csv:
        return
    if region != "studio":
        require(request.account, "--account")
    if request.listing.since is None:
        raise nothing_to_go_on_from()


def muster_of(wish: ClusterWish) -> Muster:
    """
    Say who finds the workers; only now is Dask imported.

    Raises:
        UsageError: It is not installed.
    """
    try:
        cluster = import_module("bulkaudio.cluster.muster")
    except ImportError as error:
        raise UsageError(
            f"--engine dask needs Dask, which cannot be imported ({error})",
            fix="pip install 'bulkaudio[cluster]'",
        ) from error
    return partial(cluster.muster, wish)


async def open_csv(request: DownloadRequest) -> CsvSource | None:
    """Open the file of ids, or standard input; None when the listing is asked for."""
    if not request.has_csv:
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
    muster: Muster | None

    async def work(self, emit: Emit) -> Work:
        """Put the run's work together."""
        request = self.request
        choices = choose(request, self.kept.get(LISTING_PIN))
        learned = int(self.kept.get(SLOTS_PIN, COLD_SLOTS))
        gate = gate_of(self.session, Host.AUDIO, request.pace, emit=emit, start=learned)
        if self.csv is not None:
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
            options=RunOptions(
                selection=selection,
                pace=request.pace,
                budgets=request.budgets,
                fail_on_empty=request.fail_on_empty,
            ),
            scope=scope_of(
                self.session.connection,
                "csv" if self.csv is not None else "listing",
                selection,
                windows,
            ),
            backlog=backlog_of(request, self.archive.ledger, choices),
            muster=self.muster,
            asks_for_details=self.csv is not None,
            min_free_bytes=request.place.min_free_bytes,
        )

    async def _listings(
        self, choices: Choices, gate: Gate, emit: Emit
    ) -> tuple[Listings, tuple[Errand, ...]]:
        connection, ledger, request = self.session.connection, self.archive.ledger, self.request
        hosts = self.session.hosts
        if connection.region != "studio":
            require(connection.account, "--account")
        is_one_host = hosts.name(Host.LISTING) == hosts.name(Host.AUDIO)
        query = choices.query(request.listing)
        scope = choices.scope(connection)
        is_sample = request.limit is not None
        memory = await memory_of(ledger, scope, choices, is_sample=is_sample)
        windows = errands(query, memory, datetime.now(UTC))
        details = None
        if choices.metadata is not Metadata.NONE:
            details = DetailsWriter(
                store=self.archive.store,
                metadata=choices.metadata,
                emit=emit,
                erased=ledger.erasures.erased,
            )
        listing_gate = gate
        if not is_one_host:
            listing_gate = gate_of(self.session, Host.LISTING, request.pace, emit=emit)
            listing_gate.share_bandwidth(gate)
        means = ListingMeans(
            session=self.session,
            gate=listing_gate,
            emit=emit,
            limits=Limits(attempts=request.pace.attempts),
            sleep=self.stopper.sleep,
            on_details=None if details is None else details.take,
        )

        def list_(row: ListingRow, limit: int | None) -> ListingSource:
            return ListingSource(listing_plan(row, query, limit), means)

        if request.listing.since is None:
            emit(Noted(text=goes_on_words(choices, windows), is_routine=True))
        left = left_behind(memory, windows)
        if left is not None:
            named = await asyncio.to_thread(words_of, self.archive.root)
            emit(Noted(text=left_behind_words(left, named)))
        listings = Listings(
            ledger=ledger,
            scope=scope,
            work=windows,
            source_of=list_,
            limit=request.limit,
            details=details,
            to_remember={}
            if is_sample or LISTING_PIN in self.kept
            else {LISTING_PIN: choices.to_json()},
        )
        return listings, windows


def backlog_of(request: DownloadRequest, ledger: Ledger, choices: Choices) -> Backlog | None:
    """
    Say what of earlier runs is to be done first.

    A file names what is wanted: what other files left open or failed is left to them. But a
    recording that was late was called settled for that run, and no other file may name it.
    """
    if request.limit is not None:
        # A sample of a few calls is not the moment to work off what earlier nights left.
        return None
    statuses = (Status.DEFERRED,) if request.has_csv else LEFT
    return unsettled(ledger, choices.directions, statuses)


async def memory_of(ledger: Ledger, scope: str, choices: Choices, *, is_sample: bool) -> Memory:
    """Look up what earlier listings came to; a sample does not go on with them."""
    return Memory(
        unfinished=None if is_sample else await ledger.unfinished_listing(scope),
        high_water=await ledger.high_water(scope, choices.directions),
    )


def listing_plan(row: ListingRow, query: ListingQuery, limit: int | None) -> ListingPlan:
    """Say how a window is listed, from the place that its row names."""
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


def check_dates(layout: Layout, source: Source) -> None:
    """Refuse a source without dates where the layout needs them, before any request."""
    if layout.needs_date and not source.knows_dates:
        raise UsageError(
            f"the layout {layout.template} needs the start of every conversation, "
            "and this source does not have it",
            fix="add a started_at column to the CSV, use the listing (--since), or another --layout",
        )
