"""bulkaudio for programs: one blocking call, and an archive whose outcomes can be streamed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.assembly import gate_of, scope_of
from bulkaudio.choices import (
    ConnectionOptions,
    DownloadChoices,
    RunChoices,
    connection_of,
    download_request,
    min_free_bytes,
    refuse_unknown,
    run_options,
)
from bulkaudio.conduct import RunResult, Watch, Work, conduct
from bulkaudio.errors import UsageError
from bulkaudio.identity import Identity, redacted_of
from bulkaudio.job import check_dates, run_download
from bulkaudio.model import Outcome
from bulkaudio.observe.summary import Summary
from bulkaudio.observe.tally import Tally
from bulkaudio.place import archive_place
from bulkaudio.polyai.client import Host, Session
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.settings import MOST_SLOTS, Elsewhere
from bulkaudio.sources.base import Source
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.sources.ids import IdSource
from bulkaudio.stopper import Stopper

WAITING_OUTCOMES = 64
"""A consumer that is so many behind slows the run instead of filling memory."""


def from_csv(path: str | Path, *, id_column: str | None = None) -> CsvSource:
    """Read conversation ids from a CSV file, as ``--csv`` does."""
    return CsvSource(Path(path), id_column=id_column)


def from_ids(ids: Iterable[str]) -> IdSource:
    """Take conversation ids from a program."""
    return IdSource(ids)


def download(
    *,
    out: str | Path,
    csv: str | Path | None = None,
    since: datetime | date | str | None = None,
    **choices: Unpack[DownloadChoices],
) -> Summary:
    """
    Download recordings and wait for the end, as the command ``download`` does.

    Args:
        out: A folder, or the address of an object store such as ``s3://BUCKET/PREFIX``; for that one,
            `state_dir` is the folder of lock and ledger, else one in the user's home.
        csv: Conversation ids; None lists them.
        since: Start of the window to list; None goes on where the last listing ended. Naive times
            and texts are in `tz`, UTC when that is not given.

    Returns:
        The summary, also when some recordings failed: look at `exit_code` and `counts.failed`.

    Raises:
        BulkAudioError: When the run could not begin or was ended by an error; what was saved by
            then stays saved, and running again goes on.
    """
    refuse_unknown(choices, DownloadChoices, "out", "csv", "since")
    _refuse_running_loop()
    request = download_request(out, csv, since, choices)

    async def main() -> Summary:
        watch = Watch(tally=Tally(), observers=(), stopper=Stopper())
        result = await run_download(request, watch)
        if result.error is not None:
            raise result.error
        return Summary.of(result, watch.tally)

    return asyncio.run(main())


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "bulkaudio.download() waits for the end and would block the running event loop",
        fix="use bulkaudio.Archive.open(...).download(...) in asynchronous code",
    )


class Client(Session):
    """
    A connection to PolyAI, as an asynchronous context manager.

    Args:
        api_key: Where not given, the key is looked up as the command line does.

    Raises:
        UsageError, KeyRefusedError: For values that cannot be used.
    """

    def __init__(self, *, region: str, agent: str, **options: Unpack[ConnectionOptions]) -> None:
        refuse_unknown(options, ConnectionOptions, "region", "agent")
        connection = connection_of(canonical_region(region), agent, options)
        super().__init__(connection, slots=MOST_SLOTS)
        self._runs: list[Outcomes] = []

    def carry(self, outcomes: "Outcomes") -> None:
        """Stop this run, too, before the connection is closed."""
        self._runs.append(outcomes)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The archive, opened first, closes last: a run that nobody reads any more would go on
        # without its connection until then.
        for outcomes in self._runs:
            await outcomes.aclose()
        await super().__aexit__(kind, error, trace)


class Archive:
    """An archive on disk, held until its ``async with`` ends. Made by `open`."""

    def __init__(self, opened: OpenArchive) -> None:
        self._opened = opened
        self._running: list[Outcomes] = []

    def __repr__(self) -> str:
        return f"<Archive {self._opened.root}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: str | Path,
        *,
        layout: str | None = None,
        state_dir: str | Path | None = None,
    ) -> "AsyncIterator[Self]":
        """
        Take the archive's lock and open it, making it where it is not there yet.

        Args:
            root: A folder, or the address of an object store such as ``s3://BUCKET/PREFIX``.
            layout: Of a new archive; an existing one refuses another than its own.
            state_dir: The folder of lock and ledger for an address; else one in the user's home.

        Raises:
            ArchiveBusyError, StorageError, LedgerError, UsageError: See `bulkaudio.errors`.
        """
        folder, url = archive_place(str(root), None if state_dir is None else Path(state_dir))
        elsewhere = None if url is None else Elsewhere(url=url)
        async with open_archive(folder, layout=layout, elsewhere=elsewhere) as opened:
            archive = cls(opened)
            try:
                yield archive
            finally:
                for outcomes in archive._running:
                    await outcomes.aclose()

    def download(self, client: Client, source: Source, **choices: Unpack[RunChoices]) -> "Outcomes":
        """
        Fetch what `source` names and the archive does not have yet.

        Returns:
            An asynchronous iterator of what this run settles, in the order it becomes durable;
            recordings saved earlier are not among them. Its `summary` is there after the end.

        Raises:
            UsageError: For an argument that it does not know, or a value that cannot be.
        """
        refuse_unknown(choices, RunChoices)
        outcomes = Outcomes(self._opened, client, source, choices)
        client.carry(outcomes)
        self._running.append(outcomes)
        return outcomes


class Outcomes:
    """
    The outcomes of one run, as they become durable; an asynchronous iterator.

    The run begins with the first outcome asked for. Leaving the loop early and closing the client or
    the archive (or calling `aclose`) stops it; what was not reached stays open in the ledger. What
    was being saved at that moment is saved and not handed over, then or later: recordings of
    earlier runs are no outcomes of this one.
    """

    def __init__(
        self, archive: OpenArchive, client: Session, source: Source, choices: RunChoices
    ) -> None:
        self._archive = archive
        self._client = client
        self._source = source
        self._options = run_options(choices)
        self._min_free_bytes = min_free_bytes(choices)
        self._queue: asyncio.Queue[Outcome | None] = asyncio.Queue(maxsize=WAITING_OUTCOMES)
        self._watch = Watch(tally=Tally(), observers=(), stopper=Stopper())
        self._task: asyncio.Task[RunResult] | None = None
        self._is_closed = False

    @property
    def summary(self) -> Summary:
        """How the run ended; raises `UsageError` before its end."""
        if self._task is None or not self._task.done():
            raise UsageError("the run has not ended yet", fix="read the outcomes to their end")
        return Summary.of(self._task.result(), self._watch.tally)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._task is None and not self._is_closed:
            # Owned by this object: `aclose` stops and awaits it, and the archive calls that.
            self._task = asyncio.create_task(self._run())
        if self._task is None or (self._task.done() and self._queue.empty()):
            raise StopAsyncIteration
        outcome = await self._queue.get()
        if outcome is not None:
            return outcome
        result = await self._task
        if result.error is not None:
            raise result.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop the run and wait until what is durable is committed; safe to call again."""
        self._is_closed = True
        if self._task is None:
            return
        self._watch.stopper.stop("the outcomes are no longer read", 0, now=True)
        while not self._queue.empty():
            self._queue.get_nowait()
        await asyncio.wait([self._task])
        if self._queue.empty():
            # For another task that may be waiting for an outcome meanwhile.
            self._queue.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _hand_over(self, outcome: Outcome) -> None:
        path = outcome.path and self._archive.store.place / outcome.path
        await self._put(replace(outcome, path=path))

    async def _put(self, outcome: Outcome | None) -> None:
        if not self._is_closed:
            await self._queue.put(outcome)

    async def _run(self) -> RunResult:
        try:
            await self._source.open()
            try:
                work = await self._work()
                return await conduct(work, self._watch)
            finally:
                await self._source.aclose()
        finally:
            await self._put(None)

    async def _work(self) -> Work:
        connection = self._client.connection
        options = self._options
        kept = await self._archive.bind(
            Identity(
                region=connection.region,
                account=connection.account,
                agent=connection.agent,
                redacted=options.selection.redacted,
            )
        )
        check_dates(self._archive.layout, self._source)
        redacted = redacted_of(kept, options.selection.redacted)
        options = replace(options, selection=replace(options.selection, redacted=redacted))
        return Work(
            archive=self._archive,
            session=self._client,
            gate=gate_of(self._client, Host.AUDIO, options.pace, emit=self._watch.emit),
            source=self._source,
            options=options,
            scope=scope_of(connection, self._source.kind, options.selection, ()),
            backlog=None,
            asks_for_details=True,
            min_free_bytes=self._min_free_bytes,
            on_outcome=self._hand_over,
        )
