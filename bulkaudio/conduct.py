"""
One run of an open archive, from its first event to its exit code.

What the command line and the Python interface have in common: the parts are put together here, the
ledger's record of the run is opened and closed here, and an error becomes a result here.
"""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bulkaudio.archive import OpenArchive
from bulkaudio.budget import Budget
from bulkaudio.committer import Committer
from bulkaudio.crew import BUDGET_EXIT_CODE, WORKERS_PER_SLOT, Crew, Hands
from bulkaudio.erasure import finished
from bulkaudio.errors import ArchiveBusyError, BulkAudioError, StorageError, UsageError
from bulkaudio.events import Emit, Event, Noted, Started
from bulkaudio.fetch import Fetcher, Means
from bulkaudio.gate import Gate
from bulkaudio.ledger.erasing import Doom
from bulkaudio.model import Metadata, Outcome
from bulkaudio.observe.metrics_file import MetricsFile
from bulkaudio.observe.status_file import StatusFile
from bulkaudio.observe.summary import Summary
from bulkaudio.observe.tally import Tally
from bulkaudio.polyai.client import Host, Session
from bulkaudio.purge import finish
from bulkaudio.retry import Limits
from bulkaudio.run import Attend, Backlog, Parts, Run
from bulkaudio.settings import MAX_SLOTS, Pace, RunOptions
from bulkaudio.sidecars import Sidecars
from bulkaudio.sources.base import Source
from bulkaudio.stopper import Stopper
from bulkaudio.tombstones import reminding
from bulkaudio.verdicts import Verdicts, Wording

SLOTS_PIN = "slots"
SHORTFALL_EXIT_CODE = 3
IDS_TOLD = 100
"""So many conversations of a finished erasure are named; the register has all."""

BATCH = 64
BATCH_OF_SHARDS = 512
"""Outcomes that come by hundreds, with files that are on the disk already, share a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """
    How a run ended; its numbers are the observers' business.

    Attributes:
        status: ``complete``, ``partial``, ``stopped``, ``failed`` or ``interrupted``.
        error: What ended it early.
        scope: What was asked for, as the summary shows it.
        store: Address of the object store that the recordings are in; None: they are in `archive`.
        report: The page that was written about the archive, where one was wanted.
        report_fault: Why it was not; the run itself ended as it did.
    """

    status: str
    exit_code: int
    error: BulkAudioError | None
    run_id: str
    started_at: datetime
    finished_at: datetime
    scope: dict[str, Any]
    archive: Path
    store: str | None = None
    report: Path | None = None
    report_fault: BulkAudioError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """
    Who follows a run and who may stop it.

    Attributes:
        metrics: Kept fresh while the run goes on, and shown the ledger at its end.
    """

    tally: Tally
    observers: Sequence[Emit]
    stopper: Stopper
    metrics: MetricsFile | None = None

    @property
    def emit(self) -> Emit:
        """Tell all of them."""
        return fan_out([self.tally, *self.observers])


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """
    What a run works on.

    Attributes:
        gate: Of the recordings' host.
        backlog: What earlier runs left open, when it is to come first.
        asks_for_details: Metadata comes from the conversation endpoint, one request each.
        on_outcome: Awaited for each settled recording, in order; a slow one slows the run.
        muster: Finds who fetches; None: this process does.
    """

    archive: OpenArchive
    session: Session
    gate: Gate
    source: Source
    options: RunOptions
    scope: dict[str, Any]
    backlog: Backlog | None
    asks_for_details: bool
    min_free_bytes: int
    on_outcome: Callable[[Outcome], Awaitable[None]] | None = None
    muster: "Muster | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiring:
    """What a crew is given to work with; `work` says on what."""

    work: Work
    run_id: str
    emit: Emit
    stopper: Stopper
    budget: Budget
    committer: Committer


@dataclass(frozen=True, slots=True, kw_only=True)
class Hired:
    """A crew, and what goes on beside the run for it."""

    crew: Crew
    attendants: Sequence[Callable[[], Coroutine[None, None, None]]] = ()


Muster = Callable[[Hiring], AbstractAsyncContextManager[Hired]]
"""Finds a crew, and lets it go when the run is over."""


def fan_out(observers: Sequence[Emit]) -> Emit:
    """Make one `Emit` of several."""

    def emit(event: Event) -> None:
        for observer in observers:
            observer(event)

    return emit


def new_run_id(now: datetime) -> str:
    """Name a run: sortable by time, unique on any machine."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def slots_of(pace: Pace) -> int:
    """Return the most requests that may be under way at once."""
    return pace.concurrency or MAX_SLOTS


def make_means(work: Work, emit: Emit, stopper: Stopper) -> Means:
    """Put together what every request of the run needs."""
    session = work.session
    if work.gate.bandwidth.has_ceilings:
        session.keep_buffers_small()
    verdicts = Verdicts(
        Wording(
            agent=session.connection.agent,
            key_source=session.connection.api_key.source,
            right_host=session.hosts.right_host_hint(Host.AUDIO),
        ),
        reread_key=lambda: session.reread_key(Host.AUDIO),
    )
    return Means(
        session=session,
        gate=work.gate,
        verdicts=verdicts,
        store=work.archive.store,
        emit=emit,
        sleep=stopper.sleep,
    )


async def conduct(work: Work, watch: Watch) -> RunResult:
    """
    Run to the end, the stop or the error; what is durable by then is in the ledger.

    What ends it early is in the result.

    Raises:
        UsageError: When another run of this archive is going on in this process.
    """
    if work.archive.is_running:
        raise UsageError(
            "a run of this archive is going on already", fix="read its outcomes to their end first"
        )
    work.archive.is_running = True
    try:
        return await _conduct(work, watch)
    finally:
        work.archive.is_running = False


async def _conduct(work: Work, watch: Watch) -> RunResult:
    started_at = datetime.now(UTC)
    run_id = new_run_id(started_at)
    status_file = StatusFile(tally=watch.tally)
    emit = fan_out([watch.emit, status_file])
    ledger = work.archive.ledger
    error: BulkAudioError | None = None
    root, elsewhere = work.archive.root, work.archive.store.elsewhere
    try:
        await ledger.start_run(run_id, started_at, json.dumps(work.scope))
        emit(Started(run_id=run_id, started_at=started_at, archive=root, scope=work.scope))
        for note in (*work.archive.store.notes, *work.archive.mended()):
            emit(Noted(text=note))
        with status_file.writing():
            await _finish_erasure(work.archive, emit)
            async with (
                reminding(ledger, root, emit),
                _assembled(work, run_id, emit, watch) as run,
            ):
                await run.execute()
            if not watch.stopper.is_stopping:
                error = run.put_off()
        if work.options.pace.concurrency is None and work.muster is None:
            await ledger.pin({SLOTS_PIN: str(work.gate.learned_slots)})
    except BulkAudioError as end:
        error = end
    error = await _shared(work.archive, error)
    for note in work.session.clock_notes():
        emit(Noted(text=note))
    status, exit_code = _ending(error, watch.stopper, watch.tally)
    if work.options.fail_on_empty and status == "complete" and not watch.tally.details().named:
        status, exit_code = "partial", SHORTFALL_EXIT_CODE
        emit(Noted(text=empty_words(work.scope)))
    result = RunResult(
        status=status,
        exit_code=exit_code,
        error=error,
        run_id=run_id,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        scope=work.scope,
        archive=root,
        store=None if elsewhere is None else str(elsewhere.url),
    )
    try:
        text = Summary.of(result, watch.tally).to_json()
        await ledger.finish_run(run_id, result.finished_at, text)
    except BulkAudioError as end:
        failure = error or end
        result = replace(result, status="failed", exit_code=failure.exit_code, error=failure)
    if watch.metrics is not None:
        await watch.metrics.look(ledger)
    return result


async def _finish_erasure(archive: OpenArchive, emit: Emit) -> None:
    """Erase what a killed erasure had begun with, and say so: nobody else may look for long."""
    first: list[str] = []

    def name(dooms: Sequence[Doom]) -> None:
        first.extend(doom.conversation_id for doom in dooms[: IDS_TOLD - len(first)])

    report = await finish(archive.ledger, archive.store, name)
    event = None if report is None else finished(report, first)
    if event is not None:
        emit(event)


async def _shared(archive: OpenArchive, error: BulkAudioError | None) -> BulkAudioError | None:
    """Tell the ledger to wherever the recordings are, also after an error that leaves that possible."""
    if isinstance(error, StorageError | ArchiveBusyError):
        return error
    try:
        await archive.store.share_ledger()
    except BulkAudioError as end:
        return error or end
    return error


def empty_words(scope: Mapping[str, Any]) -> str:
    """Say that a source had nothing, and what may be the reason."""
    if scope["source"] != "listing":
        return "There was no conversation at all, and --fail-on-empty calls that a failure."
    return (
        f"No call was listed from {scope['since']} up to {scope['until']}, and --fail-on-empty calls "
        "that a failure: were there calls, and are --agent, --env, --channel and --variant right?"
    )


@asynccontextmanager
async def _assembled(work: Work, run_id: str, emit: Emit, watch: Watch) -> AsyncIterator[Run]:
    """Put the run together, with a crew that is there for the block."""
    hiring = Hiring(
        work=work,
        run_id=run_id,
        emit=emit,
        stopper=watch.stopper,
        budget=Budget(limits=work.options.budgets),
        committer=Committer(
            work.archive.store,
            work.archive.ledger,
            run_id=run_id,
            emit=emit,
            deliver=work.on_outcome,
            batch=BATCH if work.muster is None else BATCH_OF_SHARDS,
        ),
    )
    means = make_means(work, emit, watch.stopper)
    sidecars = _sidecars(work, means)
    async with (
        _hands(hiring, means, sidecars) if work.muster is None else work.muster(hiring) as hired
    ):
        parts = Parts(
            source=work.source,
            ledger=work.archive.ledger,
            store=work.archive.store,
            gate=work.gate,
            crew=hired.crew,
            committer=hiring.committer,
            sidecars=sidecars,
            backlog=work.backlog,
            min_free_bytes=work.min_free_bytes,
            needs_dates=work.archive.layout.needs_date,
            attendants=[*hired.attendants, *_attendants(work.archive, watch)],
        )
        yield Run(parts, work.options, emit=emit, stopper=watch.stopper)


@asynccontextmanager
async def _hands(hiring: Hiring, means: Means, sidecars: Sidecars | None) -> AsyncIterator[Hired]:
    """Fetch in this process."""
    work, options = hiring.work, hiring.work.options
    limits = Limits(attempts=options.pace.attempts)
    hands = Hands(
        fetcher=Fetcher(means, redacted=options.selection.redacted, limits=limits),
        committer=hiring.committer,
        sidecars=sidecars,
        budget=hiring.budget,
        stopper=hiring.stopper,
        gate=work.gate,
        size=slots_of(options.pace) * WORKERS_PER_SLOT,
    )
    yield Hired(crew=hands)


def _attendants(archive: OpenArchive, watch: Watch) -> Sequence[Attend]:
    attendants: list[Attend] = [archive.store.keep_sharing]
    if watch.metrics is not None:
        attendants.append(partial(watch.metrics.keep_fresh, archive.ledger))
    return attendants


def _sidecars(work: Work, means: Means) -> Sidecars | None:
    """Say who asks for metadata; None where none is wanted, or the listing brings it."""
    if work.options.selection.metadata is Metadata.NONE or not work.asks_for_details:
        return None
    return Sidecars(
        means,
        work.options.selection.metadata,
        limits=Limits(attempts=work.options.pace.attempts),
        erased=work.archive.ledger.erasures.erased,
    )


def _ending(error: BulkAudioError | None, stopper: Stopper, tally: Tally) -> tuple[str, int]:
    """Name the status and the exit code: an error before a stop, a stop before a shortfall."""
    if error is not None:
        return "failed", error.exit_code
    if stopper.is_stopping:
        is_budget = stopper.exit_code == BUDGET_EXIT_CODE
        return ("stopped" if is_budget else "interrupted"), stopper.exit_code
    counts = tally.snapshot().counts
    # Nothing may be open after a run that nobody stopped: should it be so, nobody is told otherwise.
    if counts.open or counts.failed or counts.rejected or tally.details().sidecars.failed:
        return "partial", SHORTFALL_EXIT_CODE
    return "complete", 0
