"""
The same folder, seen by a worker: another process holds the archive's lock and has its ledger.

Recordings are staged on a bench of the worker's own, and published as ever: without replacing
anything, so that two workers that have the same recording agree on one file.
"""

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bulkaudio.errors import StorageError
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.stores import benches, publishing, recovery
from bulkaudio.stores.disk import STATE_FOLDER, TEMPORARY_FOLDER, Folders, let_go, translated
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.staging import Workbench

THREADS = 8


class WorkerStore(LocalStore):
    """A `LocalStore` without the archive's lock; made by `join`."""

    linger_s = 0.25

    def __init__(self, folders: Folders, bench: Workbench, layout: Layout, lock_fd: int) -> None:
        super().__init__(folders, bench, layout)
        self._lock_fd = lock_fd

    @property
    def bench_name(self) -> str:
        """The name of this worker's bench."""
        return self._bench.folder.name

    @classmethod
    async def join(cls, root: Path, *, layout: Layout) -> "WorkerStore":
        """
        Take a bench in an archive that a run has opened.

        Raises:
            StorageError: There is no such archive here, or it cannot be written.
        """
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        name = f"worker-{secrets.token_hex(8)}"
        try:
            folders, folder_fd, lock_fd = await asyncio.get_running_loop().run_in_executor(
                pool, lambda: _join(root, name)
            )
        except BaseException:
            pool.shutdown(wait=False)
            raise
        folder = root / STATE_FOLDER / TEMPORARY_FOLDER / name
        bench = Workbench(folder=folder, folder_fd=folder_fd, pool=pool)
        return cls(folders, bench, layout, lock_fd)

    async def write_down(
        self, shard: str, outcomes: Sequence[Outcome], *, before: Sequence[Outcome] = ()
    ) -> None:
        """Write down what was saved of a shard, before anybody else is told."""
        del before
        bench_fd = self._bench.folder_fd
        await self.within(lambda _: benches.write_down(bench_fd, shard, outcomes))

    async def written_down(self, shard: str, recordings: Sequence[Recording]) -> Sequence[Outcome]:
        """Return what other workers had saved of a shard, proven and hashed anew."""
        traces = await self.within(lambda folders: benches.written_down(folders, shard))
        return await self.within(
            lambda folders: recovery.recovered(folders, self.layout, _known(recordings, traces))
        )

    def _close(self) -> None:
        self._bench.pool.shutdown(wait=True)
        publishing.sweep(self._bench)
        with (
            suppress(OSError),
            self._folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as tmp_fd,
        ):
            benches.leave(tmp_fd, self.bench_name, self._bench.folder_fd)
        let_go(self._bench.folder_fd)
        let_go(self._lock_fd)
        self._folders.close()


def _known(
    recordings: Sequence[Recording], traces: recovery.Traces
) -> Sequence[tuple[Recording, recovery.Trace]]:
    keyed: Mapping[tuple[str, str], Recording] = {
        (each.conversation_id, each.direction): each for each in recordings
    }
    return [(keyed[key], trace) for key, (_, trace) in traces.items() if key in keyed]


def _join(root: Path, name: str) -> tuple[Folders, int, int]:
    try:
        with translated(root):
            folders = Folders(root)
            try:
                with folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as tmp_fd:
                    return folders, *benches.claim(tmp_fd, name)
            except BaseException:
                folders.close()
                raise
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise StorageError(
                f"a worker does not see the archive in {root} (on {os.uname().nodename})",
                fix="mount the archive's folder on every worker under the same path",
            ) from error
        raise
