"""
The same bucket, seen by a worker: another process has the archive's lock, ledger and manifest.

Recordings are staged in a folder of this machine and put without replacing anything, so that two
workers that have the same recording agree on one object. What a worker has kept it notes beside the
recordings before it says so.
"""

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.base import Published, SidecarsKept, Staged
from bulkaudio.stores.objects import scratch
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.notes import Notes
from bulkaudio.stores.objects.objects import Objects
from bulkaudio.stores.objects.parts import MANIFEST_FOLDER
from bulkaudio.stores.objects.reading import UPLOADS, open_bucket
from bulkaudio.stores.objects.scratch import Scratch
from bulkaudio.stores.objects.uploads import Uploads
from bulkaudio.stores.staging import LocalStaging, Workbench

THREADS = 8


@dataclass(slots=True)
class WorkerObjects:
    """
    Implements `bulkaudio.cluster.places.Place`; made by `join`.

    Attributes:
        bench_name: What its notes are called.
    """

    _scratch: Scratch
    _bucket: Bucket
    _objects: Objects
    _: KW_ONLY
    linger_s: float = 0.25
    bench_name: str = field(default_factory=lambda: f"worker-{secrets.token_hex(8)}")
    _bench: Workbench = field(init=False)
    _pool: ThreadPoolExecutor = field(init=False)
    _uploads: Uploads = field(init=False)
    _notes: Notes = field(init=False)
    _closing: "asyncio.Future[None] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._bench = Workbench(
            folder=self._scratch.folder,
            folder_fd=self._scratch.fd,
            pool=ThreadPoolExecutor(THREADS, thread_name_prefix="store"),
        )
        self._pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload")
        self._uploads = Uploads(self._bench, self._objects, self._pool)
        self._notes = Notes(self._objects, self._pool)

    @classmethod
    async def join(cls, elsewhere: Elsewhere, *, layout: Layout) -> "WorkerObjects":
        """
        Look this machine's credentials up, and prove that an archive is there and can be written.

        Raises:
            StorageError, UsageError: It is not there, or something is missing on this machine.
        """
        bucket, folder = await asyncio.to_thread(_join, elsewhere)
        return cls(folder, bucket, Objects(bucket.url, layout, lambda: bucket))

    async def stage(self, recording: Recording) -> LocalStaging:
        """Begin a temporary file; raises `StorageError`."""
        if self._closing is not None:
            raise StorageError(f"a worker has left the archive at {self._bucket.url}")
        return self._uploads.stage(recording)

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """Wait for the uploads of a batch; see `bulkaudio.stores.base.Store.publish`."""
        return await self._uploads.publish(batch)

    async def forget(self, batch: Sequence[Published]) -> None:
        """Drop the temporary files of a batch that is noted."""
        await self._uploads.forget(batch)

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        """Replace conversations' metadata; see `bulkaudio.stores.base.Store`."""
        return await self._uploads.write_sidecars(texts)

    async def has_sidecar(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations have metadata."""
        return await self._bench.run(
            lambda: self._objects.with_sidecar(conversation_ids, self._pool)
        )

    async def free_bytes(self) -> int:
        """Space left where the temporary files are."""
        status = await self._bench.run(lambda: os.fstatvfs(self._scratch.fd))
        return status.f_bavail * status.f_frsize

    def hurry(self) -> None:
        """Try nothing again from now on."""
        self._bucket.halt()

    async def write_down(
        self, shard: str, outcomes: Sequence[Outcome], *, before: Sequence[Outcome] = ()
    ) -> None:
        """Note what was saved of a shard, before anybody else is told."""
        if any(each.sha256 for each in outcomes):
            noted = (*before, *outcomes)
            await self._bench.run(lambda: self._notes.write(shard, self.bench_name, noted))

    async def written_down(self, shard: str, recordings: Sequence[Recording]) -> Sequence[Outcome]:
        """Return what workers had noted of a shard and is there."""
        wanted = {(each.conversation_id, str(each.direction)): each for each in recordings}

        def look() -> Sequence[Outcome]:
            notes = self._notes.of_shard(shard)
            told = {key: outcome for note in notes for key, outcome in note.kept.items()}
            both = wanted.keys() & told.keys()
            return self._notes.confirmed([(wanted[key], told[key]) for key in sorted(both)])

        return await self._bench.run(look)

    async def aclose(self) -> None:
        """Let begun work end, and remove the temporary folder; may be called again."""
        self._bucket.halt()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        self._bench.pool.shutdown(wait=True)
        for file in self._bench.live.values():
            if file is not None:
                file.abandon()
        scratch.leave(self._scratch)


def _join(elsewhere: Elsewhere) -> tuple[Bucket, Scratch]:
    try:
        return _seen(elsewhere), scratch.take()
    except StorageError as error:
        kind = BucketAuthError if isinstance(error, BucketAuthError) else StorageError
        message = f"on the worker {os.uname().nodename}: {error.message}"
        raise kind(message, fix=error.fix) from error


def _seen(elsewhere: Elsewhere) -> Bucket:
    if elsewhere.ca_bundle is not None and not elsewhere.ca_bundle.is_file():
        raise StorageError(
            f"there are no certificates in {elsewhere.ca_bundle}, which is to be trusted",
            fix="put that file on every worker, under the same path",
        )
    bucket = open_bucket(elsewhere)
    # Before anything is written: without a variable, this may be a bucket of the same name elsewhere.
    if not any(bucket.names(bucket.url.key(MANIFEST_FOLDER))):
        raise StorageError(
            f"there is no archive at {bucket.url}, as this worker sees it",
            fix="give every worker the endpoint and the credentials that the run itself has",
        )
    bucket.probe()
    return bucket
