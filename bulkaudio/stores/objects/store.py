"""
Recordings in an object store, and what is known of them in a state folder on this machine.

A recording is proven in the state folder's temporary folder, as on a local disk. What follows there
is a sync and a name; here it is one put, which begins while others are still being fetched. The
temporary file stays until the ledger has the recording: after a crash it says what may be in the
bucket already. It is not synced: what a power cut takes of it, the object itself can tell.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.settings import DEFAULT_LAYOUT, Elsewhere
from bulkaudio.stores import recovery, register
from bulkaudio.stores.base import Published, SidecarsKept, Staged
from bulkaudio.stores.erasing import Removal, Removed
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.history import History
from bulkaudio.stores.objects.manifest import Journal, Manifest
from bulkaudio.stores.objects.notes import Notes
from bulkaudio.stores.objects.objects import Listed, Objects
from bulkaudio.stores.objects.parts import MANIFEST_FOLDER, Entry
from bulkaudio.stores.objects.patience import HASTY
from bulkaudio.stores.objects.reading import ObjectReader, open_bucket
from bulkaudio.stores.objects.register_copy import REGISTER_FOLDER, RegisterCopy
from bulkaudio.stores.objects.things import Found
from bulkaudio.stores.objects.uploads import Uploads
from bulkaudio.stores.staging import LocalStaging

T = TypeVar("T")


class ObjectStore(ObjectReader):
    """
    Implements `bulkaudio.stores.archive.ArchiveStore`; made by `open`, used under the archive's lock.

    Attributes:
        elsewhere: How it is reached.
        notes: Whole sentences about the bucket that a person should know.
    """

    def __init__(
        self, desk: LocalStore, bucket: Bucket, layout: Layout, elsewhere: Elsewhere
    ) -> None:
        super().__init__(desk, Objects(bucket.url, layout, lambda: bucket))
        self.elsewhere = elsewhere
        self.notes: tuple[str, ...] = ()
        self._desk = desk
        self._bucket = bucket
        self._uploads = Uploads(desk.bench, self._objects, self._pool)
        self._notes = Notes(self._objects, self._pool)
        self._manifest: Manifest | None = None

    @classmethod
    async def open(cls, root: Path, *, elsewhere: Elsewhere, layout: Layout) -> "ObjectStore":
        """
        Open the state folder and look the credentials up; nothing is requested.

        Raises:
            StorageError, UsageError: The folder cannot be written, or the address not be used.
        """
        bucket = await asyncio.to_thread(open_bucket, elsewhere)
        return cls(await LocalStore.open(root, layout=layout), bucket, layout, elsewhere)

    async def probe(self) -> None:
        """Prove by a small object that this bucket can be written; raises `StorageError`."""
        self.notes = (await self._run(self._bucket.probe)).notes

    async def join(self, journal: Journal) -> Manifest:
        """
        Find out how far the ledger is told there, and what the copy of the register knows; for `begin`.

        Raises:
            ArchiveBusyError: Somebody else writes to this archive.
        """
        folders = await self._desk.within(lambda each: each)
        copy = RegisterCopy(self._bucket, folders)
        manifest = Manifest(self._bucket, journal, folders, self._run_to_its_end, copy)
        await manifest.open()
        return manifest

    async def begin(self, manifest: Manifest, *, is_anew: bool = False) -> None:
        """
        Share what the ledger knows from here on, beginning with what an earlier run did not.

        Args:
            is_anew: Begin with everything.

        Raises:
            ArchiveBusyError: Somebody else writes to this archive.
        """
        await manifest.claim(is_anew=is_anew)
        self._manifest = manifest

    async def learn(self, take: Callable[[Sequence[Entry]], Awaitable[int]]) -> History:
        """
        Hand over what the manifest tells, in its order; `take` says how much of it cannot be.

        Returns:
            What was read, which knows what is missing and where to go on from.
        """
        history = History(self._bucket, await self._desk.within(lambda each: each))
        refused = 0
        async for entries in self._pages(history.entries):
            refused += await take(entries)
        if refused:
            history.chain.faults.append(f"{refused} lines are none that bulkaudio wrote")
        return history

    async def aclose(self) -> None:
        """Let begun work end, remove what nobody wants any more, close. May be called again."""
        self._bucket.halt()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        await asyncio.shield(self._closing)
        # The next start finds them by their temporary files.
        self._uploads.leave_kept()
        await self._desk.aclose()

    def hurry(self) -> None:
        """Try nothing again from now on."""
        self._bucket.halt()

    async def stage(self, recording: Recording) -> LocalStaging:
        """Begin a temporary file; a recording that the layout has no path for is refused here."""
        self._check_open()
        return self._uploads.stage(recording)

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """Wait for the uploads of a batch; see `bulkaudio.stores.base.Store.publish`."""
        return await self._uploads.publish(batch)

    async def forget(self, batch: Sequence[Published]) -> None:
        """Drop the temporary files of a batch that is in the ledger."""
        await self._uploads.forget(batch)

    async def recover(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """
        Bring the ledger what an earlier run had uploaded when it was killed; clear the rest.

        It may itself be killed anywhere: temporary files are removed only when the ledger has what
        they lead to.
        """
        outcomes = await self.left_behind(catalogue)
        if outcomes:
            await catalogue.settle(outcomes, None, datetime.now(UTC))
        bench = self._desk.bench
        await bench.run(partial(recovery.clear, bench.folder_fd))
        return [*outcomes, *await self.gather_in(catalogue)]

    async def gather_in(self, catalogue: recovery.Catalogue) -> Sequence[Outcome]:
        """Bring the ledger what workers had kept and noted when they ended."""
        gathered: list[Outcome] = []
        found: Sequence[Found]
        async for found in self._pages(self._notes.listed):
            notes = await self.within(lambda _: self._notes.read(found))  # noqa: B023  awaited at once
            told = {key: each for note in notes for key, each in note.kept.items()}
            unsaved = await catalogue.unsaved([each.recording for each in told.values()])
            known = [(each, told[each.conversation_id, str(each.direction)]) for each in unsaved]
            outcomes = await self.within(lambda _: self._notes.confirmed(known))  # noqa: B023
            if outcomes:
                await catalogue.settle(outcomes, None, datetime.now(UTC))
            await self.within(lambda _: self._notes.strike(notes))  # noqa: B023
            gathered += outcomes
        return gathered

    async def strike_out(self, bench: str, shard: str) -> None:
        """Remove a worker's note of a shard: the ledger has it."""
        await self._run(lambda: self._notes.strike_out(bench, shard))

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        """Replace conversations' metadata; see `bulkaudio.stores.base.Store`."""
        return await self._uploads.write_sidecars(texts)

    @property
    def place(self) -> Path:
        """Nothing: the paths of recordings are their keys below the prefix."""
        return Path()

    async def listed(self) -> AsyncIterator[Sequence[tuple[str, int | None]]]:
        """Yield the same with sizes."""
        page: Sequence[Listed]
        async for page in self._pages(self._objects.listed):
            yield page

    async def has_metadata(self) -> bool:
        """Whether metadata was ever written."""
        return await self._run(self._objects.has_metadata)

    async def set_aside(self, path: PurePosixPath, recording: Recording) -> PurePosixPath:
        """Move a damaged object out of the way, replacing nothing; return where it is now."""
        return await self._run(lambda: self._objects.set_aside(path, recording))

    async def erase(self, batch: Sequence[Removal]) -> Removed:
        """Remove everything of a batch."""

        def work() -> Removed:
            doomed = dict(self._objects.doomed(batch))
            looks = self._each(self._bucket.head, list(doomed))
            found = [each for each in looks if each is not None]
            self._objects.erase(found)
            audio = [each for each in found if doomed[each.key]]
            return Removed(
                recordings=len(audio),
                bytes=sum(each.size for each in audio),
                metadata=len(found) - len(audio),
            )

        return await self._desk.bench.run(work)

    async def note(self, entries: Sequence[register.Entry]) -> None:
        """Put entries into the register, here and beside the recordings."""
        if self._manifest is not None:
            # The copy is replaced, not added to: nothing of somebody else's may be in it.
            await self._manifest.check()
        await self._desk.note(entries)
        if self._manifest is not None:
            await self._run_to_its_end(self._manifest.copy.keep_up)
            await self._manifest.share(is_whole=False)

    async def share_ledger(self) -> None:
        """Tell everything that is new in the ledger."""
        if self._manifest is not None:
            await self._manifest.share(is_whole=True)

    async def share_ledger_anew(self) -> None:
        """Tell everything once more, and nothing else."""
        if self._manifest is not None:
            await self._manifest.renew()

    async def keep_sharing(self) -> None:
        """Tell what is settled, again and again, until cancelled."""
        if self._manifest is not None:
            await self._manifest.keep_sharing()

    async def _run_to_its_end(self, work: Callable[[], T]) -> T:
        self._check_open()
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            with suppress(Exception):
                running.result()
            raise


async def is_unused(elsewhere: Elsewhere, *, is_patient: bool = True) -> bool:
    """Whether no archive is there: only then may a ledger begin."""

    def look() -> bool:
        url = elsewhere.url
        bucket = open_bucket(elsewhere, patience=None if is_patient else HASTY)
        objects = Objects(url, Layout.parse(DEFAULT_LAYOUT), lambda: bucket)
        told = (MANIFEST_FOLDER, REGISTER_FOLDER)
        is_told = any(any(bucket.names(url.key(folder))) for folder in told)
        return not is_told and not any(
            name.endswith(".wav") for page in objects.listed() for name, _ in page
        )

    return await asyncio.to_thread(look)
