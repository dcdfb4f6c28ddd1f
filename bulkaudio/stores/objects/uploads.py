"""
From a bench on this machine into a bucket: what a run's store and its workers' have in common.

A recording is proven in a temporary file; its upload begins then, while others are still fetched, and
publishing waits for what came of it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bulkaudio.errors import StorageError
from bulkaudio.model import Recording
from bulkaudio.stores import publishing
from bulkaudio.stores.base import Publication, Published, PublishError, SidecarsKept, Staged
from bulkaudio.stores.disk import sidecar_path, translated
from bulkaudio.stores.durability import durable_of
from bulkaudio.stores.objects.objects import Objects
from bulkaudio.stores.objects.things import Body, Put
from bulkaudio.stores.staging import LocalStaging, RecordingFile, Workbench


class Uploads:
    """Stages on `bench`, and uploads in the threads of `pool`."""

    def __init__(self, bench: Workbench, objects: Objects, pool: ThreadPoolExecutor) -> None:
        self._bench = bench
        self._objects = objects
        self._pool = pool
        self._kept: dict[str, Publication] = {}

    def stage(self, recording: Recording) -> LocalStaging:
        """Begin a temporary file; a recording that the layout has no path for is refused here."""
        layout = self._objects.layout
        if layout.needs_date:
            layout.path(recording)
        return LocalStaging(self._bench, recording, self._keep)

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """Wait for the uploads of a batch; see `bulkaudio.stores.base.Store.publish`."""
        durable, fault = await durable_of(batch)
        published = [
            Published(
                staged=staged,
                path=Path(self._objects.layout.path(staged.recording)),
                result=self._kept[staged.temporary.name],
            )
            for staged in durable
        ]
        if fault is not None:
            raise PublishError(fault, published) from fault
        return published

    async def forget(self, batch: Sequence[Published]) -> None:
        """Drop the temporary files of a batch that is in the ledger."""
        await self._bench.run(partial(publishing.forget, self._bench, batch))
        for published in batch:
            self._kept.pop(published.staged.temporary.name, None)

    def leave_kept(self) -> None:
        """Let temporary files outlive this process that are kept and not in the ledger."""
        for name in self._kept:
            self._bench.live.pop(name, None)

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        """Replace conversations' metadata; see `bulkaudio.stores.base.Store`."""
        if not texts:
            return SidecarsKept()

        def write() -> list[Put | None]:
            return list(
                self._pool.map(lambda each: self._objects.write_sidecar(*each), texts.items())
            )

        puts = dict(zip(texts, await self._bench.run(write), strict=True))
        return SidecarsKept(
            in_the_way={each: Path(sidecar_path(each)) for each in texts if puts[each] is None},
            unchanged=frozenset(each for each in texts if puts[each] is Put.EXISTS),
        )

    def _keep(self, recording: Recording, file: RecordingFile) -> "asyncio.Future[None]":
        def upload() -> None:
            file.abandon()
            body = Body(source=file.path, size=file.size, sha256=file.sha256())
            try:
                with translated(file.path):
                    self._kept[file.path.name] = self._objects.keep(recording, body)
            except StorageError:
                # It ends the run. With a store that is gone, dozens behind it would each wait as long.
                self._objects.bucket.halt()
                raise

        return asyncio.get_running_loop().run_in_executor(self._pool, upload)
