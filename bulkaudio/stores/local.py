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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bulkaudio.errors import StorageError
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout, file_stem
from bulkaudio.steps import Step, reach
from bulkaudio.stores import publishing, recovery, register
from bulkaudio.stores.base import Published, PublishError, Staged
from bulkaudio.stores.disk import (
    SIDECAR_FOLDER,
    STATE_FOLDER,
    Folders,
    create_file,
    let_go,
    make_root,
    translated,
    unlink_if_there,
)
from bulkaudio.stores.inspection import Inspection, inspect, names
from bulkaudio.stores.staging import LocalStaging, Workbench

T = TypeVar("T")

TEMPORARY_FOLDER = "tmp"
NAMES_PER_HOP = 1000


class LocalStore:
    """Implements `bulkaudio.stores.base.Store`; made by `open`, used under the archive's lock."""

    def __init__(self, folders: Folders, bench: Workbench, layout: Layout) -> None:
        self.root = folders.root
        self.layout = layout
        self._folders = folders
        self._bench = bench
        self._closing: asyncio.Future[None] | None = None

    @staticmethod
    async def prepare(root: Path) -> Path:
        """
        Create the archive's folders where they are missing, and prove that they can be written.

        Returns:
            The folder of lock and ledger.
        """
        await asyncio.to_thread(_prepare, root)
        return root / STATE_FOLDER

    @staticmethod
    async def is_empty(root: Path) -> bool:
        """Whether no recording is kept there, erased or held: only then may a ledger begin."""
        return await asyncio.to_thread(is_empty, root)

    @classmethod
    async def open(cls, root: Path, *, layout: Layout, executor_threads: int = 8) -> "LocalStore":
        """
        Open an archive's folders, making them where they are missing.

        Raises:
            StorageError: The destination is a file, or cannot be written.
        """
        folders, bench_fd = await asyncio.to_thread(_open, root)
        bench = Workbench(
            folder=root / STATE_FOLDER / TEMPORARY_FOLDER,
            folder_fd=bench_fd,
            pool=ThreadPoolExecutor(executor_threads, thread_name_prefix="store"),
        )
        return cls(folders, bench, layout)

    async def aclose(self) -> None:
        """Let begun work end, remove what nobody wants any more, close. May be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        await asyncio.shield(self._closing)

    async def stage(self, recording: Recording) -> LocalStaging:
        """Begin a temporary file; a recording that the layout has no path for is refused here."""
        if self.layout.needs_date:
            self.layout.path(recording)
        self._check_open()
        return LocalStaging(self._bench, recording)

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """Give final names to a batch; see `bulkaudio.stores.base.Store.publish`."""
        durables = [staged.durable for staged in batch]
        if durables:
            # `wait`, because awaiting one would cancel the sync with the waiter.
            await asyncio.wait(durables)
        faults = [fault for each in durables if (fault := fault_of(each)) is not None]
        durable = [staged for staged in batch if fault_of(staged.durable) is None]
        publisher = publishing.Publisher(self._folders, self._bench, self.layout)
        published, fault = await self._run(lambda: publisher.publish(durable))
        first = (*faults, fault)[0]
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
        traces = await self._run(lambda: self._told(lambda: recovery.find_traces(self._bench)))
        outcomes: Sequence[Outcome] = ()
        if traces:
            unsaved = await catalogue.unsaved([recording for recording, _ in traces.values()])
            known = [(each, traces[each.conversation_id, each.direction][1]) for each in unsaved]
            outcomes = await self._run(
                lambda: self._told(lambda: recovery.recovered(self._folders, self.layout, known))
            )
            await catalogue.settle(outcomes, None, datetime.now(UTC))
            await self._run(lambda: self._told(lambda: recovery.clear(self._bench)))
        return outcomes

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> Mapping[str, Path]:
        """Replace conversations' metadata files; see `bulkaudio.stores.base.Store`."""
        if not texts:
            return {}
        return await self._run(lambda: self._told(lambda: self._write_sidecars(texts)))

    async def has_sidecar(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations have a metadata file."""
        return await self._run(lambda: self._told(lambda: self._sidecars_of(conversation_ids)))

    async def free_bytes(self) -> int:
        """Space left for this user, which is less than what is free where root has a reserve."""
        status = await self._run(lambda: self._told(self._look_at_space))
        return status.f_bavail * status.f_frsize

    async def inspect(
        self, path: PurePosixPath, is_stopped: Callable[[], bool] = lambda: False
    ) -> Inspection:
        """Read, hash and prove the file at a path relative to the archive."""
        return await self._run(lambda: self._told(lambda: inspect(self._folders, path, is_stopped)))

    async def names(self) -> AsyncIterator[Sequence[str]]:
        """Yield, some at a time, every name in the archive that may be a recording."""
        walk = names(self._folders)
        while page := await self._run(
            lambda: self._told(lambda: list(islice(walk, NAMES_PER_HOP)))
        ):
            yield page

    async def set_aside(self, path: PurePosixPath, recording: Recording) -> PurePosixPath:
        """Move a damaged file out of the way, replacing nothing; return where it is now."""
        return await self._run(
            lambda: self._told(lambda: recovery.set_aside(self._folders, path, recording))
        )

    async def within(self, work: Callable[[Folders], T]) -> T:
        """Do blocking work on the archive's folders, in a thread of the store's own."""
        return await self._run(lambda: self._told(lambda: work(self._folders)))

    def _look_at_space(self) -> os.statvfs_result:
        reach(Step.SPACE_LOOK)
        return os.fstatvfs(self._folders.root_fd)

    async def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await self._bench.run(work)

    def _told(self, work: Callable[[], T]) -> T:
        with translated(self.root):
            return work()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StorageError(f"the archive in {self.root} is closed")

    def _close(self) -> None:
        self._bench.pool.shutdown(wait=True)
        publishing.sweep(self._bench)
        let_go(self._bench.folder_fd)
        self._folders.close()

    def _write_sidecars(self, texts: Mapping[str, bytes]) -> Mapping[str, Path]:
        in_the_way = {}
        with self._folders.opened((SIDECAR_FOLDER,), create=True) as folder_fd:
            for conversation_id, text in texts.items():
                stem = file_stem(conversation_id)
                if publishing.is_replaceable(f"{stem}.json", folder_fd):
                    self._write_sidecar(stem, text, folder_fd)
                else:
                    in_the_way[conversation_id] = self.root / SIDECAR_FOLDER / f"{stem}.json"
            reach(Step.SIDECAR_PUBLISH)
            os.fsync(folder_fd)
        return in_the_way

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

    def _sidecars_of(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        try:
            with self._folders.opened((SIDECAR_FOLDER,)) as folder_fd:
                reach(Step.SIDECAR_LOOK)
                return frozenset(
                    each
                    for each in conversation_ids
                    if publishing.is_file(f"{file_stem(each)}.json", folder_fd)
                )
        except FileNotFoundError:
            return frozenset()


def fault_of(durable: "asyncio.Future[None]") -> StorageError | None:
    """Why a finished sync did not succeed; None when it did."""
    if durable.cancelled():
        return StorageError("a recording was not brought to the disk before the run ended")
    error = durable.exception()
    if error is None or isinstance(error, StorageError):
        return error
    raise error


def _prepare(root: Path) -> None:
    folders, bench_fd = _open(root)
    let_go(bench_fd)
    folders.close()


def _open(root: Path) -> tuple[Folders, int]:
    make_root(root)
    with translated(root):
        folders = Folders(root)
        try:
            bench_fd = folders.open((STATE_FOLDER, TEMPORARY_FOLDER), create=True)
            try:
                _prove_writable(bench_fd)
            except BaseException:
                let_go(bench_fd)
                raise
        except BaseException:
            folders.close()
            raise
    return folders, bench_fd


def _prove_writable(bench_fd: int) -> None:
    """Find out before the first request, by a byte on the disk: permissions say only half."""
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


def is_empty(root: Path) -> bool:
    """Whether no recording is kept below `root`; blocks."""
    with translated(root):
        try:
            folders = Folders(root)
        except FileNotFoundError:
            return True
        try:
            has_files = any(name.endswith(".wav") for name in names(folders))
            return not has_files and not register.exists(folders)
        finally:
            folders.close()
