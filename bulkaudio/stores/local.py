"""
Recordings on a local disk.

Rules of this package: a final name only ever leads to a whole, proven, synced recording; nothing
is replaced and no link is followed; every error of the system is a `StorageError`; and nothing
blocks the loop, because all of it happens in the store's own threads. The default executor also
resolves host names: a slow disk must not hold those back.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout, file_stem
from bulkaudio.settings import Elsewhere
from bulkaudio.steps import Step, reach
from bulkaudio.stores import benches, publishing, recovery, register
from bulkaudio.stores.base import Published, PublishError, SidecarsKept, Staged
from bulkaudio.stores.disk import (
    NO_ROOM,
    SIDECAR_FOLDER,
    STATE_FOLDER,
    TEMPORARY_FOLDER,
    Folders,
    create_file,
    let_go,
    make_root,
    translated,
    unlink_if_there,
)
from bulkaudio.stores.durability import durable_of
from bulkaudio.stores.erasing import Eraser, Removal, Removed
from bulkaudio.stores.reading import LocalReader
from bulkaudio.stores.staging import LocalStaging, Workbench


class LocalStore(LocalReader):
    """Implements `bulkaudio.stores.archive.ArchiveStore`; made by `open`, used under the archive's lock."""

    _is_reading = False
    notes: tuple[str, ...] = ()
    elsewhere: Elsewhere | None = None

    def __init__(self, folders: Folders, bench: Workbench, layout: Layout) -> None:
        super().__init__(folders, bench.pool, layout)
        self._bench = bench

    @staticmethod
    async def prepare(root: Path, *, is_freeing: bool = False) -> Path:
        """
        Create the archive's folders where they are missing, and prove that they can be written.

        Args:
            is_freeing: Whoever asks makes room, so that a full disk is no obstacle yet.

        Returns:
            The folder of lock and ledger.
        """
        await asyncio.to_thread(_prepare, root, is_freeing=is_freeing)
        return root / STATE_FOLDER

    @classmethod
    async def open(
        cls, root: Path, *, layout: Layout, executor_threads: int = 8, is_freeing: bool = False
    ) -> "LocalStore":
        """
        Open an archive's folders, making them where they are missing.

        Args:
            is_freeing: As with `prepare`.

        Raises:
            StorageError: The destination is a file, or cannot be written.
        """
        folders, bench_fd = await asyncio.to_thread(_open, root, is_freeing=is_freeing)
        bench = Workbench(
            folder=root / STATE_FOLDER / TEMPORARY_FOLDER,
            folder_fd=bench_fd,
            pool=ThreadPoolExecutor(executor_threads, thread_name_prefix="store"),
        )
        return cls(folders, bench, layout)

    @property
    def place(self) -> Path:
        """The root."""
        return self.root

    @property
    def bench(self) -> Workbench:
        """Where its temporary files are made."""
        return self._bench

    async def stage(self, recording: Recording) -> LocalStaging:
        """Begin a temporary file; a recording that the layout has no path for is refused here."""
        if self.layout.needs_date:
            self.layout.path(recording)
        self._check_open()
        return LocalStaging(self._bench, recording)

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """Give final names to a batch; see `bulkaudio.stores.base.Store.publish`."""
        durable, unsynced = await durable_of(batch)
        publisher = publishing.Publisher(self._folders, self._bench, self.layout)
        published, fault = await self._run(lambda: publisher.publish(durable))
        first = unsynced or fault
        if first is not None:
            raise PublishError(first, published) from first
        return published

    async def forget(self, batch: Sequence[Published]) -> None:
        """Drop the temporary names of a batch that is in the ledger."""
        await self._run(partial(publishing.forget, self._bench, batch))

    async def recover(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """
        Bring the ledger what an earlier run had published when it was killed; clear the rest.

        Call it under the lock and before anything is staged. It may itself be killed anywhere:
        traces are removed only when the ledger has what they lead to.
        """
        bench_fd = self._bench.folder_fd
        traces = await self._run(lambda: self._told(lambda: recovery.find_traces(bench_fd)))
        outcomes = await self._adopt(traces, catalogue)
        if traces:
            await self._run(lambda: self._told(lambda: recovery.clear(bench_fd)))
        gathered = await self.gather_in(catalogue)
        return [*outcomes, *gathered] if gathered else outcomes

    async def gather_in(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """Bring the ledger what workers of other processes had published when they ended."""
        traces = await self.within(benches.left_behind)
        outcomes = await self._adopt(traces, catalogue)
        await self.within(benches.tidy_up)
        return outcomes

    async def strike_out(self, bench: str, shard: str) -> None:
        """Remove a worker's list of a shard: the ledger has it."""
        await self.within(lambda folders: benches.strike_out(folders, bench, shard))

    async def _adopt(
        self, traces: recovery.Traces, catalogue: recovery.Catalogue
    ) -> Sequence[Outcome]:
        if not traces:
            return ()
        unsaved = await catalogue.unsaved([recording for recording, _ in traces.values()])
        known = [(each, traces[each.conversation_id, each.direction][1]) for each in unsaved]
        outcomes = await self._run(
            lambda: self._told(lambda: recovery.recovered(self._folders, self.layout, known))
        )
        await catalogue.settle(outcomes, None, datetime.now(UTC))
        return outcomes

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        """Replace conversations' metadata files; see `bulkaudio.stores.base.Store`."""
        if not texts:
            return SidecarsKept()
        return await self._run(lambda: self._told(lambda: self._write_sidecars(texts)))

    async def listed(self) -> AsyncIterator[Sequence[tuple[str, int | None]]]:
        """Yield the same names; their sizes would take a look at each file."""
        async for page in self.names():
            yield [(name, None) for name in page]

    async def has_metadata(self) -> bool:
        """Whether there is a folder of metadata."""
        return await self.within(lambda folders: (folders.root / SIDECAR_FOLDER).is_dir())

    async def erase(self, batch: Sequence[Removal]) -> Removed:
        """Remove everything of a batch."""
        return await self.within(lambda folders: Eraser(folders).erase(batch))

    async def note(self, entries: Sequence[register.Entry]) -> None:
        """Put entries into the register."""
        await self.within(lambda folders: register.append(folders, entries))

    def hurry(self) -> None:
        """Do nothing: a disk is never waited for."""

    async def share_ledger(self) -> None:
        """Do nothing: the ledger lies beside the recordings, as in the next two."""

    async def share_ledger_anew(self) -> None:
        """Do nothing."""

    async def keep_sharing(self) -> None:
        """Do nothing."""

    async def set_aside(self, path: PurePosixPath, recording: Recording) -> PurePosixPath:
        """Move a damaged file out of the way, replacing nothing; return where it is now."""
        return await self._run(
            lambda: self._told(lambda: recovery.set_aside(self._folders, path, recording))
        )

    def _close(self) -> None:
        self._bench.pool.shutdown(wait=True)
        publishing.sweep(self._bench)
        let_go(self._bench.folder_fd)
        self._folders.close()

    def _write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        in_the_way, unchanged = {}, set()
        with self._folders.opened((SIDECAR_FOLDER,), create=True) as folder_fd:
            for conversation_id, text in texts.items():
                stem = file_stem(conversation_id)
                kept = publishing.read_sidecar(f"{stem}.json", folder_fd, len(text) + 1)
                if kept is None:
                    in_the_way[conversation_id] = self.root / SIDECAR_FOLDER / f"{stem}.json"
                elif kept == text:
                    # Written again, it would be new to every backup, night after night.
                    unchanged.add(conversation_id)
                else:
                    self._write_sidecar(stem, text, folder_fd)
            reach(Step.SIDECAR_PUBLISH)
            # Also for what is unchanged: whoever gave it its name may have been killed then.
            os.fsync(folder_fd)
        return SidecarsKept(in_the_way=in_the_way, unchanged=frozenset(unchanged))

    def _write_sidecar(self, stem: str, text: bytes, folder_fd: int) -> None:
        temporary = f"{stem}.{SIDECAR_FOLDER}.{self._bench.token()}.part"
        bench_fd = self._bench.folder_fd
        try:
            reach(Step.SIDECAR_CREATE)
            with open(create_file(temporary, bench_fd), "wb", buffering=0) as file:  # noqa: PTH123  # by descriptor
                view = memoryview(text)
                reach(Step.SIDECAR_WRITE)
                while view:
                    view = view[file.write(view) :]
                reach(Step.SIDECAR_SYNC)
                os.fsync(file.fileno())
            reach(Step.SIDECAR_MOVE)
            os.rename(temporary, f"{stem}.json", src_dir_fd=bench_fd, dst_dir_fd=folder_fd)
        except BaseException:
            unlink_if_there(temporary, bench_fd)
            raise


def _prepare(root: Path, *, is_freeing: bool) -> None:
    folders, bench_fd = _open(root, is_freeing=is_freeing)
    let_go(bench_fd)
    folders.close()


def _open(root: Path, *, is_freeing: bool = False) -> tuple[Folders, int]:
    make_root(root)
    with translated(root):
        folders = Folders(root)
        try:
            bench_fd = folders.open((STATE_FOLDER, TEMPORARY_FOLDER), create=True)
            try:
                _prove_writable(bench_fd, is_freeing=is_freeing)
            except BaseException:
                let_go(bench_fd)
                raise
        except BaseException:
            folders.close()
            raise
    return folders, bench_fd


def _prove_writable(bench_fd: int, *, is_freeing: bool) -> None:
    """Find out before the first request, by a byte on the disk: permissions say only half."""
    try:
        _write_a_byte(bench_fd)
    except OSError as error:
        if not (is_freeing and error.errno in NO_ROOM):
            # Of the file that was tried out nobody has heard.
            raise OSError(error.errno, error.strerror) from error


def _write_a_byte(bench_fd: int) -> None:
    name = f"probe.{secrets.token_hex(4)}.part"
    reach(Step.PROBE_CREATE)
    fd = create_file(name, bench_fd)
    try:
        reach(Step.PROBE_WRITE)
        os.write(fd, b"\0")
    finally:
        os.close(fd)
        reach(Step.PROBE_REMOVE)
        unlink_if_there(name, bench_fd)
