"""An archive in an object store for those who only look: nothing is made, changed or removed."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bulkaudio.errors import StorageError
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.settings import Elsewhere
from bulkaudio.steps import Step, reach
from bulkaudio.stores import recovery
from bulkaudio.stores.disk import STATE_FOLDER, TEMPORARY_FOLDER, Folders
from bulkaudio.stores.inspection import Inspection
from bulkaudio.stores.objects.audit import read_over
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.marks import Mark
from bulkaudio.stores.objects.objects import Objects
from bulkaudio.stores.objects.patience import Patience
from bulkaudio.stores.reading import LocalReader
from bulkaudio.stores.staging import recording_of

T = TypeVar("T")
T2 = TypeVar("T2")

UPLOADS = 16
"""At once: each holds a recording in memory, up to 16 MB."""


class ObjectReader:
    """Implements `bulkaudio.stores.archive.ArchiveReader`; made by `reading`."""

    def __init__(self, desk: LocalReader, objects: Objects) -> None:
        self.root = desk.root
        self.layout = objects.layout
        self.url = objects.url
        self._reading_desk = desk
        self._objects = objects
        self._pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload")
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def reading(cls, root: Path, *, elsewhere: Elsewhere, layout: Layout) -> "ObjectReader":
        """Open the state folder, which has to be there; raises `StorageError`."""
        desk = await LocalReader.reading(root, layout=layout)
        return ObjectReader(desk, Objects(elsewhere.url, layout, partial(open_bucket, elsewhere)))

    async def aclose(self) -> None:
        """Let begun work end, then close. May be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        await asyncio.shield(self._closing)
        await self._reading_desk.aclose()

    async def left_behind(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """Find what a killed run had uploaded and not brought to the ledger; it stays as it is."""
        traces = await self.within(_traces)
        if not traces:
            return ()
        unsaved = await catalogue.unsaved([recording for recording, _ in traces.values()])
        known = [(each, traces[each.conversation_id, each.direction][1]) for each in unsaved]
        look = partial(self._each, lambda pair: self._objects.left_behind(*pair), known)
        return [each for each in await self.within(lambda _: look()) if each is not None]

    async def has_sidecar(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations have metadata."""
        return await self.within(lambda _: self._objects.with_sidecar(conversation_ids, self._pool))

    async def free_bytes(self) -> int:
        """Space left where the temporary files are."""
        return await self._reading_desk.free_bytes()

    async def inspect(
        self, path: PurePosixPath, is_stopped: Callable[[], bool] = lambda: False
    ) -> Inspection:
        """Read, hash and prove the object at a path relative to the archive."""
        return await self._run(lambda: self._objects.inspect(path, is_stopped))

    async def audit(self, mark: str | None) -> Sequence[str]:
        """Read what the ledger has told beside the recordings, and say what is wrong with it."""
        told = Mark.from_json(mark)
        return await self._run(lambda: read_over(self._objects.bucket, told, self.root))

    async def names(self) -> AsyncIterator[Sequence[str]]:
        """Yield, some at a time, every name in the archive that may be a recording."""
        async for page in self._pages(self._objects.listed):
            yield [name for name, _ in page]

    async def remains(self) -> AsyncIterator[Sequence[tuple[str, Outcome | None]]]:
        """Yield what is kept beside recordings; see `bulkaudio.stores.archive.ArchiveReader`."""
        async for page in self._pages(self._objects.remains):
            yield page

    async def within(self, work: Callable[[Folders], T]) -> T:
        """Do blocking work on the state folder, in a thread of the store's own."""
        return await self._reading_desk.within(work)

    def _each(self, work: Callable[[T], T2], items: Sequence[T]) -> list[T2]:
        """Do `work` on all items, some side by side; not in a thread of the pool itself."""
        return list(self._pool.map(work, items))

    async def _pages(self, walk: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        pages = walk()
        while (page := await self._run(lambda: next(pages, None))) is not None:
            yield page

    async def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StorageError(f"the archive at {self.url} is closed")


def _traces(folders: Folders) -> Mapping[tuple[str, str], tuple[Recording, Path]]:
    """Read the names of temporary files: what was on its way to the bucket."""
    reach(Step.RECOVER_LIST)
    names: list[str] = []
    with (
        suppress(FileNotFoundError),
        folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as folder_fd,
    ):
        names = os.listdir(folder_fd)  # noqa: PTH208  # by descriptor
    folder = folders.root / STATE_FOLDER / TEMPORARY_FOLDER
    recordings = [(recording_of(name), folder / name) for name in names]
    return {
        (each.conversation_id, each.direction): (each, path)
        for each, path in recordings
        if each is not None
    }


def open_bucket(elsewhere: Elsewhere, *, patience: Patience | None = None) -> Bucket:
    """
    Make the client of a bucket; nothing is requested.

    Raises:
        StorageError: Somebody else may have chosen its server, who would be shown the credentials.
    """
    if elsewhere.distrust is not None:
        raise StorageError(
            f"{elsewhere.distrust}, and it chooses the server that is shown this user's credentials",
            fix="make the file this user's own (chown, chmod 600), or name the server with "
            "download --store-endpoint",
        )
    options = BucketOptions(
        endpoint=elsewhere.endpoint, ca_bundle=elsewhere.ca_bundle, proxy=elsewhere.proxy
    )
    return Bucket.open(elsewhere.url, options, patience=patience)
