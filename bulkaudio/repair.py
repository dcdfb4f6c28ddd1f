"""Fetching again what `verify` found missing or damaged."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from bulkaudio.archive import OpenArchive, redacted_of
from bulkaudio.assembly import connection_of, find_keys, gate_of, scope_of
from bulkaudio.conduct import RunResult, Watch, Work, conduct, slots_of
from bulkaudio.model import Direction, Plan, Recording, Task
from bulkaudio.polyai.client import Host, Session
from bulkaudio.settings import DownloadRequest, RunOptions, Selection
from bulkaudio.sources.ids import IdSource


async def refetch(
    archive: OpenArchive,
    recordings: Sequence[Recording],
    request: DownloadRequest,
    watch: Watch,
) -> RunResult:
    """
    Fetch these recordings of an open archive, and nothing else.

    Raises:
        BulkAudioError: When the run could not begin; what ends it later is in the result.
    """
    kept = await archive.remembered()
    connection = connection_of(request, kept, await find_keys(request, kept))
    now = datetime.now(UTC)
    tasks = tuple(Task(recording=recording, first_seen_at=now) for recording in recordings)
    directions = tuple(d for d in Direction if any(t.recording.direction is d for t in tasks))

    async def once() -> AsyncIterator[Plan]:
        conversations = len({recording.conversation_id for recording in recordings})
        yield Plan(
            conversations=conversations, todo=tasks, already=0, absent=0, deferred=0, duplicates=0
        )

    async with Session(connection, slots=slots_of(request.pace)) as session:
        selection = Selection(directions=directions, redacted=redacted_of(kept, None))
        work = Work(
            archive=archive,
            session=session,
            gate=gate_of(session, Host.AUDIO, request.pace, emit=watch.emit),
            source=IdSource(()),
            options=RunOptions(selection=selection, pace=request.pace, budgets=request.budgets),
            scope=scope_of(connection, "ledger", selection, ()),
            backlog=once,
            asks_for_details=False,
            min_free_bytes=request.place.min_free_bytes,
        )
        return await conduct(work, watch)
