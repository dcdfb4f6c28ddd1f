"""
What a download would do, found out without doing any of it.

The way is that of `bulkaudio.job`, with a ledger that is only read: the same checks in the same order,
the same windows, the same planning. Nothing is written, not even a lock.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkaudio import forecast
from bulkaudio.archive import check_unclaimed
from bulkaudio.assembly import connection_of, find_keys, require
from bulkaudio.conduct import SLOTS_PIN
from bulkaudio.errors import UsageError
from bulkaudio.events import Emit, Noted, Planned
from bulkaudio.forecast import Held, Limits
from bulkaudio.foretold import Foretold, Gathering, lengths_of
from bulkaudio.gate import COLD_SLOTS
from bulkaudio.identity import Identity, begins_anew, check_pins, layout_of, redacted_of
from bulkaudio.job import backlog_of, check_beginning, check_dates, memory_of, open_csv
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.listings import Errand, errands, left_behind
from bulkaudio.model import Batch, Direction, Plan, Status
from bulkaudio.naming import Layout
from bulkaudio.observe.tally import Counts, Tally
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.quantities import format_bytes, format_duration
from bulkaudio.relist import glanced, listing_session, listings_of
from bulkaudio.remember import LISTING_PIN, Choices, choose, goes_on_words, left_behind_words
from bulkaudio.run import dated, dated_tasks
from bulkaudio.settings import DownloadRequest, Elsewhere
from bulkaudio.sources.base import Source
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.stores.address import words_of
from bulkaudio.stores.disk import STATE_FOLDER, TEMPORARY_FOLDER
from bulkaudio.stores.opening import find_elsewhere
from bulkaudio.told import faults_of

RUNS = 5
"""So many of the latest runs say how fast it goes."""

PAIRS = 200
"""So many saved calls of a batch are looked up, to see how much of a call is recorded."""


async def rehearse(request: DownloadRequest, tally: Tally, emit: Emit) -> Foretold:
    """
    Say what the command ``download`` would do.

    Raises:
        BulkAudioError: What would keep a download from beginning, or its source from being read.
    """
    region = canonical_region(request.region) if request.region else None
    identity = Identity(
        region=region, account=request.account, agent=request.agent, redacted=request.redacted
    )
    csv = await open_csv(request)
    async with AsyncExitStack() as stack:
        if csv is not None:
            stack.push_async_callback(csv.aclose)
        is_new = await check_beginning(request, region)
        elsewhere = await find_elsewhere(request.place.out, request.place.elsewhere)
        is_begun = await check_unclaimed(request.place.out, elsewhere)
        ledger = await stack.enter_async_context(glanced(request.place.out))
        if elsewhere is not None and is_begun:
            await asyncio.to_thread(faults_of, request.place.out, elsewhere)
        pins = await ledger.pins()
        check_pins(pins, ledger.path)
        has_saved = await ledger.has_saved()
        root = request.place.out
        layout = layout_of(pins, request.place.layout, root, has_saved=has_saved)
        if csv is not None:
            check_dates(layout, csv)
        if begins_anew(pins, identity, root, has_saved=has_saved):
            # A download would forget all of it, and so does this.
            ledger = await ReadOnlyLedger.reading(root / "none", is_new_allowed=True)
            stack.push_async_callback(ledger.aclose)
            pins = {}
        rehearsal = _Rehearsal(
            request=request,
            ledger=ledger,
            kept=identity.asked() | pins,
            layout=layout,
            csv=csv,
            is_new=is_new,
            elsewhere=elsewhere,
            gathering=Gathering(tally=tally, emit=emit),
        )
        return await rehearsal.foretell(stack)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rehearsal:
    """Everything that is known before the source is read."""

    request: DownloadRequest
    ledger: ReadOnlyLedger
    kept: Mapping[str, str]
    layout: Layout
    csv: CsvSource | None
    is_new: bool
    elsewhere: Elsewhere | None
    gathering: Gathering

    async def foretell(self, stack: AsyncExitStack) -> Foretold:
        """Read the backlog and the source, and sum up."""
        request, gathering = self.request, self.gathering
        choices = choose(request, self.kept.get(LISTING_PIN))
        for name in ("region", "agent"):
            require(self.kept.get(name), f"--{name}")
        source, windows = await self._source(choices, stack)
        await self._measure()
        await self._read(source, choices.directions, choices)
        limits = await self._limits()
        shares = [gathering.share(direction, limits) for direction in choices.directions]
        counts = gathering.tally.snapshot().counts
        size = sum(share.estimate.bytes for share in shares)
        seconds = forecast.duration_s(counts.open, size, limits)
        place = request.place
        return Foretold(
            archive=place.out,
            is_new=self.is_new,
            scope=self._scope(choices, windows),
            counts=counts,
            shares=shares,
            duration_s=seconds,
            limits=limits,
            named=gathering.named,
            left=gathering.left,
            elsewhere=self.elsewhere,
            free_bytes=await asyncio.to_thread(free_bytes, place.out),
            min_free_bytes=place.min_free_bytes,
            stops_at=self._stop(counts, size, seconds),
            notes=gathering.tally.details().notes,
            interruption=await self.ledger.erasures.interruption(),
        )

    async def _source(
        self, choices: Choices, stack: AsyncExitStack
    ) -> tuple[Source, tuple[Errand, ...]]:
        gathering, request = self.gathering, self.request
        was_clean = await self.ledger.was_clean()
        if not was_clean or await asyncio.to_thread(_has_traces, request.place.out):
            gathering.emit(Noted(text=KILLED))
        if self.csv is not None:
            return self.csv, ()
        connection = connection_of(request, self.kept, await find_keys(request, self.kept))
        scope = choices.scope(connection)
        is_sample = request.limit is not None
        memory = await memory_of(self.ledger, scope, choices, is_sample=is_sample)
        query = choices.query(request.listing)
        windows = errands(query, memory, datetime.now(UTC))
        if request.listing.since is None:
            gathering.emit(Noted(text=goes_on_words(choices, windows), is_routine=True))
        if (left := left_behind(memory, windows)) is not None:
            named = await asyncio.to_thread(words_of, request.place.out)
            gathering.emit(Noted(text=left_behind_words(left, named)))
        session = await stack.enter_async_context(listing_session(connection, request))
        listings = listings_of(session, request, choices, ledger=self.ledger, emit=gathering.emit)
        listings.work = windows
        return listings, windows

    async def _read(
        self, source: Source, directions: Sequence[Direction], choices: Choices
    ) -> None:
        gathering, needs_dates = self.gathering, self.layout.needs_date
        backlog = backlog_of(self.request, self.ledger, choices)
        async for left in backlog() if backlog is not None else _nothing():
            plan, undated = dated_tasks(left) if needs_dates else (left, ())
            gathering.emit(Planned(plan=plan, rejected=undated, from_backlog=True))
            gathering.take_left(plan)
        async for read in source.batches():
            batch = dated(read) if needs_dates else read
            found = await self.ledger.rehearse(batch, directions, datetime.now(UTC))
            gathering.emit(Planned(plan=found.plan, rejected=batch.rejected, skipped=batch.skipped))
            gathering.take(batch, found)
            await self._pair(batch, directions)

    async def _measure(self) -> None:
        """Look up what the archive holds already, also of directions that are not asked for."""
        for (direction, status), total in (await self.ledger.totals()).items():
            if status is Status.SAVED:
                self.gathering.held[direction] = Held(
                    recordings=total.count, bytes=total.bytes, audio_seconds=total.seconds
                )

    async def _pair(self, batch: Batch, directions: Sequence[Direction]) -> None:
        """Compare calls' lengths with those of their recordings, of a few that are saved."""
        lengths = lengths_of(batch)
        if not lengths or not self.gathering.held:
            return
        held = self.gathering.held
        for found in await self.ledger.measured([*lengths][:PAIRS], directions):
            before = held[found.direction]
            held[found.direction] = Held(
                recordings=before.recordings,
                bytes=before.bytes,
                audio_seconds=before.audio_seconds,
                paired_audio_seconds=before.paired_audio_seconds + found.seconds,
                paired_call_seconds=before.paired_call_seconds + lengths[found.conversation_id],
            )

    async def _limits(self) -> Limits:
        pace = self.request.pace
        learned = int(self.kept.get(SLOTS_PIN, COLD_SLOTS))
        summaries = [json.loads(text) for text in await self.ledger.summaries(RUNS)]
        return forecast.limits(
            summaries,
            slots=(pace.concurrency or learned) / learned,
            max_rate=pace.max_rate,
            bandwidth=pace.bandwidth.limit_at(datetime.now(UTC)),
        )

    def _scope(self, choices: Choices, windows: Sequence[Errand]) -> Mapping[str, Any]:
        redacted = redacted_of(self.kept, self.request.redacted)
        return {
            "region": self.kept.get("region"),
            "account": self.kept.get("account"),
            "agent": self.kept.get("agent"),
            "source": "csv" if self.csv is not None else "listing",
            "since": windows[0].since if windows else None,
            "until": windows[-1].until if windows else None,
            "directions": [direction.value for direction in choices.directions],
            "redaction_requested": bool(redacted),
        }

    def _stop(self, counts: Counts, size: int, seconds: float | None) -> str | None:
        budgets = self.request.budgets
        if budgets.max_recordings is not None and counts.open > budgets.max_recordings:
            return f"--max-recordings {budgets.max_recordings}"
        if budgets.max_bytes is not None and size > budgets.max_bytes:
            return f"--max-bytes {format_bytes(budgets.max_bytes)}"
        if budgets.max_duration_s is not None and (seconds or 0.0) > budgets.max_duration_s:
            return f"--max-duration {format_duration(budgets.max_duration_s)}"
        return None


KILLED = (
    "An earlier run was killed here. What it had saved and not yet noted is counted as still to fetch; "
    "the next download takes it up by itself."
)


async def _nothing() -> AsyncIterator[Plan]:
    return
    yield


def _has_traces(root: Path) -> bool:
    try:
        return any((root / STATE_FOLDER / TEMPORARY_FOLDER).iterdir())
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Return the space left where a folder is, or would be made."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError as error:
        raise UsageError(
            f"the space left at {place} cannot be told: {error.strerror}", fix="check --out"
        ) from error
