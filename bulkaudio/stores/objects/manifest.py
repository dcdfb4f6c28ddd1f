"""
The ledger told beside the recordings, so that a machine that lost its disk goes on where it was.

Append-only: a part is put under a name that must be free, and whoever finds it taken by other bytes
is not the only one who writes here. What is about to be put is written down in the ledger first, so
that a writer that was killed knows its own part again.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from bulkaudio.steps import Step, reach
from bulkaudio.stores import register
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.objects.audit import lacks_its_mark, overtaken, own
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.history import CLOSED, REGISTER, newer_than, sha256_of, shelf_of
from bulkaudio.stores.objects.marks import Mark, Standing
from bulkaudio.stores.objects.objects import SHA256
from bulkaudio.stores.objects.parts import (
    Entry,
    Head,
    Place,
    Shelf,
    encode,
    mark_path,
    part_path,
)
from bulkaudio.stores.objects.register_copy import RegisterCopy
from bulkaudio.stores.objects.things import Body, Put

T = TypeVar("T")

ROWS_PER_PART = 1000
SHARE_S = 30.0
LOOK_S = 1.0


class Told(Protocol):
    """What one look at the ledger found to be told."""

    @property
    def entries(self) -> Sequence[Entry]:
        """In their order."""
        ...

    @property
    def is_last(self) -> bool:
        """Nothing else was to be told."""
        ...


class Journal(Protocol):
    """What the manifest needs of the ledger."""

    async def begin(self) -> str | None:
        """Note changes from here on; return the last mark."""
        ...

    async def mark(self, text: str) -> None:
        """Remember a mark."""
        ...

    async def waiting(self) -> int:
        """Count what is settled and not told."""
        ...

    async def changes(self, limit: int, *, is_whole: bool) -> Any:
        """Return what is to be told next."""
        ...

    async def shared(self, changes: Any, mark: str) -> None:
        """Note it as told, and remember a mark."""
        ...

    async def share_all_again(self, mark: str) -> None:
        """Note everything as untold, and remember a mark."""
        ...


class Runs(Protocol):
    """Does blocking work in a thread, to its end even when its caller is cancelled."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do it."""
        ...


@dataclass(slots=True)
class Manifest:
    """
    Writes one archive's manifest; under the archive's lock, and after `open`.

    Args:
        folders: Of the state folder, where the register is.
        copy: Of that register: it is whole before a part is written.
    """

    bucket: Bucket
    journal: Journal
    folders: Folders
    run: Runs
    copy: RegisterCopy
    _mark: Mark = field(default_factory=Mark, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def open(self) -> None:
        """
        Find the place to go on from, and bring the register what only its copy knows.

        Raises:
            ArchiveBusyError: Somebody else has written here since.
        """
        kept = Mark.from_json(await self.journal.begin())
        shelf, mark = await self.run(lambda: own(self.bucket, kept, self.folders.root))
        in_generation = sum(place[0] == mark.generation for place in shelf.places)
        is_short = in_generation < mark.number or (mark.number and shelf.newest != mark.place)
        if is_short or lacks_its_mark(shelf, mark):
            # Somebody removed parts, or what makes them count. What they told is here.
            mark = replace(mark, standing=Standing.SPOILT)
        self._mark = mark
        await self.run(self.copy.learn)

    async def claim(self, *, is_anew: bool = False) -> None:
        """
        Tell what an earlier run did not come to tell, and that somebody writes here from now on.

        Args:
            is_anew: Tell everything.

        Raises:
            ArchiveBusyError: Somebody else does.
        """
        await self.run(lambda: self.copy.open(is_anew=is_anew))
        if is_anew or self._mark.standing is Standing.SPOILT:
            await self.renew()
        else:
            await self.share(is_whole=True, is_claim=True)

    async def check(self) -> None:
        """Find out that somebody else has gone on from here; raises `ArchiveBusyError`."""
        place = self._mark.place
        newest = await self.run(lambda: newer_than(self.bucket, place))
        if newest is not None:
            raise overtaken(self.bucket.url, self.folders.root, newest)

    async def share(self, *, is_whole: bool, is_claim: bool = False) -> None:
        """
        Tell what is new.

        Args:
            is_whole: Also what is still open, and which listings are finished.
            is_claim: Write a part even if it tells nothing.
        """
        async with self._turn:
            await self._share(is_whole=is_whole, is_claim=is_claim)

    async def keep_sharing(self) -> None:
        """Tell what is settled, in parts of some size or age, until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            waiting = await self.journal.waiting()
            is_due = waiting >= ROWS_PER_PART or loop.time() - last >= SHARE_S
            if waiting and is_due:
                await self.share(is_whole=False)
            if is_due or not waiting:
                last = loop.time()

    async def renew(self) -> None:
        """
        Tell everything once more, and remove what was told before.

        The last part of the old generation keeps a writer that was away from going on there.
        """
        async with self._turn:
            # Killed before there is a new generation, the next start makes one.
            self._mark = replace(self._mark, standing=Standing.SPOILT)
            await self.journal.mark(self._mark.to_json())
            shelf = await self.run(self._look)
            generation = max(self._mark.generation, *(place[0] for place in shelf.places), 1) + 1
            if self._mark.number:
                await self._put([{CLOSED: generation}])
            self._mark = Mark(
                generation=generation, sha256=self._mark.sha256, standing=Standing.PARTIAL
            )
            await self.journal.share_all_again(self._mark.to_json())
            await self._share(is_whole=True, is_claim=True)

    async def _share(self, *, is_whole: bool, is_claim: bool) -> None:
        while True:
            at, limit = self._mark.register_bytes, ROWS_PER_PART
            lines, end = await self.run(lambda: register.read_from(self.folders, at, limit))  # noqa: B023  awaited at once
            changes = await self.journal.changes(limit, is_whole=is_whole)
            entries = [*({REGISTER: line} for line in lines), *changes.entries]
            if entries or is_claim:
                await self._put(entries, changes, register_bytes=end)
                is_claim = False
            if changes.is_last and len(lines) < limit:
                break
        if is_whole and self._mark.standing is Standing.PARTIAL:
            await self.run(self._complete)
            self._mark = replace(self._mark, standing=Standing.WHOLE)
            await self.journal.mark(self._mark.to_json())

    async def _put(
        self, entries: Sequence[Entry], changes: Told | None = None, *, register_bytes: int = 0
    ) -> None:
        """Write the next part, and remember that."""
        while True:
            body = self._encoded(entries)
            await self.journal.mark(self._mark.intending(body.sha256).to_json())
            self._mark = self._mark.intending(body.sha256)
            place = self._mark.next_place
            put = await self.run(lambda: self._create(place, body))  # noqa: B023  awaited at once
            found = body.sha256 if put is Put.CREATED else await self._sha256_of(place)
            if found not in self._mark.intended:
                raise overtaken(self.bucket.url, self.folders.root, place)
            self._mark = self._mark.after(found)
            # The name may be free because another one, who has gone on from here, has removed what
            # was told: whoever has erased something does.
            await self.check()
            if found == body.sha256:
                break
        self._mark = replace(
            self._mark, register_bytes=max(register_bytes, self._mark.register_bytes)
        )
        if changes is None:
            await self.journal.mark(self._mark.to_json())
        else:
            await self.journal.shared(changes, self._mark.to_json())

    def _encoded(self, entries: Sequence[Entry]) -> Body:
        generation, number = self._mark.next_place
        head = Head(
            generation=generation,
            number=number,
            previous=self._mark.sha256,
            writer=f"process {os.getpid()} on {socket.gethostname()}",
            written_at=datetime.now(UTC),
            register=self.copy.lines,
        )
        text = encode(head, entries)
        return Body(source=text, size=len(text), sha256=sha256(text).hexdigest())

    def _look(self) -> Shelf:
        return shelf_of(self.bucket)

    def _create(self, place: Place, body: Body) -> Put:
        key = self.bucket.url.key(part_path(place))
        reach(Step.PART_PUT)
        put = self.bucket.put(key, body, facts={SHA256: body.sha256})
        reach(Step.PART_KEPT)
        return put

    def _complete(self) -> None:
        """Let the generation count, then remove the older ones."""
        url, generation = self.bucket.url, self._mark.generation
        text = b"{}\n"
        body = Body(source=text, size=len(text), sha256=sha256(text).hexdigest())
        reach(Step.GENERATION_MARK)
        self.bucket.put(url.key(mark_path(generation)), body, facts={})
        shelf = self._look()
        gone = [part_path(place) for place in shelf.outdated(generation)]
        gone += [mark_path(each) for each in shelf.marks if 1 < each < generation]
        reach(Step.GENERATION_CLEAN)
        if gone:
            self.bucket.delete([url.key(path) for path in gone])

    async def _sha256_of(self, place: Place) -> str:
        return await self.run(lambda: sha256_of(self.bucket, place))
