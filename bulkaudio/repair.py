"""Fetching again what `verify` found missing or damaged."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from bulkaudio.archive import OpenArchive
from bulkaudio.assembly import connection_of, find_keys, gate_of, scope_of
from bulkaudio.conduct import RunResult, Watch, Work, conduct, slots_of
from bulkaudio.errors import UsageError
from bulkaudio.identity import redacted_of
from bulkaudio.model import Direction, Plan, Recording, Task
from bulkaudio.naming import printable
from bulkaudio.polyai.client import Host, Session
from bulkaudio.settings import DownloadRequest, RunOptions, Selection
from bulkaudio.sources.ids import IdSource


def require_owner(archive: OpenArchive, kept: Mapping[str, str]) -> None:
    """Refuse to repair what the archive does not know the owner of; raises `UsageError`."""
    missing = [name for name in ("region", "agent") if not kept.get(name)]
    if missing:
        options = " and ".join(f"--{name}" for name in missing)
        raise UsageError(
            f"the archive does not remember {' and '.join(missing)}, so nothing can be fetched again",
            fix=f"give {options} to the next download into {printable(str(archive.root), 200)}, which "
            "remembers, and then run verify --repair again",
        )


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
