"""
An archive's files for those who only look, who need no right to write.

Nothing is made, changed or removed. Otherwise the rules are those of `bulkaudio.stores.local`: no
link is followed, every error of the system is a `StorageError`, and nothing blocks the loop.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bulkaudio.errors import StorageError
from bulkaudio.model import Outcome
from bulkaudio.naming import Layout
from bulkaudio.steps import Step, reach
from bulkaudio.stores import publishing, recovery, register
from bulkaudio.stores.address import has_address
from bulkaudio.stores.disk import SIDECAR_FOLDER, Folders, sidecar_path, translated
from bulkaudio.stores.erasing import remains
from bulkaudio.stores.inspection import Inspection, inspect, names

T = TypeVar("T")

NAMES_PER_HOP = 1000
READERS = 4


class LocalReader:
    """Reads recordings on a local disk; made by `reading`."""

    _is_reading = True

    def __init__(self, folders: Folders, pool: ThreadPoolExecutor, layout: Layout) -> None:
        self.root = folders.root
        self.layout = layout
        self._folders = folders
        self._pool = pool
        self._closing: asyncio.Future[None] | None = None

    @staticmethod
    async def is_empty(root: Path) -> bool:
        """Whether no recording is kept there, erased or held: only then may a ledger begin."""
        return await asyncio.to_thread(is_empty, root)

    @classmethod
    async def reading(cls, root: Path, *, layout: Layout) -> "LocalReader":
        """
        Open the folder of an archive, which has to be there.

        Raises:
            StorageError: This user may not read it.
        """
        folders = await asyncio.to_thread(_open, root)
        return LocalReader(folders, ThreadPoolExecutor(READERS, thread_name_prefix="store"), layout)

    async def audit(self, mark: str | None) -> Sequence[str]:  # noqa: ARG002  nothing is elsewhere
        """Say nothing: the ledger is beside its recordings."""
        return ()

    async def aclose(self) -> None:
        """Let begun work end, then close. May be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        await asyncio.shield(self._closing)

    async def left_behind(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """Find what a killed run had published and not brought to the ledger; it stays as it is."""
        traces = await self._run(lambda: self._told(lambda: recovery.traces_in(self._folders)))
        unsaved = await catalogue.unsaved([recording for recording, _ in traces.values()])
        known = [(each, traces[each.conversation_id, each.direction][1]) for each in unsaved]
        witnessed = partial(recovery.witnessed, self._folders, self.layout, known)
        return await self._run(lambda: self._told(witnessed))

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

    async def remains(self) -> AsyncIterator[Sequence[tuple[str, Outcome | None]]]:
        """Yield what is kept beside recordings; see `bulkaudio.stores.archive.ArchiveReader`."""
        walk = await self.within(remains)
        while page := await self.within(lambda _: list(islice(walk, NAMES_PER_HOP))):
            yield page

    async def within(self, work: Callable[[Folders], T]) -> T:
        """Do blocking work on the archive's folders, in a thread of the store's own."""
        return await self._run(lambda: self._told(lambda: work(self._folders)))

    async def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _told(self, work: Callable[[], T]) -> T:
        with translated(self.root, is_reading=self._is_reading):
            return work()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StorageError(f"the archive in {self.root} is closed")

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        self._folders.close()

    def _look_at_space(self) -> os.statvfs_result:
        reach(Step.SPACE_LOOK)
        return os.fstatvfs(self._folders.root_fd)

    def _sidecars_of(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        try:
            with self._folders.opened((SIDECAR_FOLDER,)) as folder_fd:
                reach(Step.SIDECAR_LOOK)
                return frozenset(
                    each
                    for each in conversation_ids
                    if publishing.is_file(sidecar_path(each).name, folder_fd)
                )
        except FileNotFoundError:
            return frozenset()


def _open(root: Path) -> Folders:
    with translated(root, is_reading=True):
        return Folders(root)


def register_size(root: Path) -> int:
    """Size of the register of an archive's folder, in bytes; blocks."""
    with translated(root, is_reading=True):
        folders = Folders(root)
        try:
            return register.size(folders)
        finally:
            folders.close()


def is_empty(root: Path) -> bool:
    """Whether no recording is kept below `root`; blocks."""
    with translated(root, is_reading=True):
        try:
            folders = Folders(root)
        except FileNotFoundError:
            return True
        try:
            has_files = any(name.endswith(".wav") for name in names(folders))
            return not (has_files or register.exists(folders) or has_address(folders))
        finally:
            folders.close()
