"""
An archive on disk, held by one run or looked at by many: lock, ledger and store, opened in that order.

The archive remembers what must not change under it; `OpenArchive.bind` holds a run to that.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bulkaudio.errors import LedgerError
from bulkaudio.identity import UNASKED, Identity, begins_anew, check_pins, layout_of
from bulkaudio.ledger.database import is_absent
from bulkaudio.ledger.journal import STORE_PIN
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.model import Direction
from bulkaudio.naming import Layout
from bulkaudio.object_url import ObjectUrl
from bulkaudio.registered import complete, lacking
from bulkaudio.settings import Elsewhere
from bulkaudio.stores import register
from bulkaudio.stores.address import words_for, write_address
from bulkaudio.stores.archive import ArchiveReader, ArchiveStore
from bulkaudio.stores.disk import LEDGER_FILE, STATE_FOLDER, translated
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.lock import ArchiveLock, Glimpse
from bulkaudio.stores.opening import (
    check_address,
    find_elsewhere,
    is_unused,
    open_elsewhere,
    read_elsewhere,
)
from bulkaudio.stores.reading import LocalReader

if TYPE_CHECKING:
    from bulkaudio.stores.objects.store import ObjectStore

ROOM_BYTES, ROOM_TIMES = 1024 * 1024, 4
"""What a register takes to be compared and written anew: so much, and so many times its size."""


class SeenArchive:
    """An archive that is looked at, and stays as it is; made by `look_into`."""

    def __init__(self, root: Path, ledger: Ledger, store: ArchiveReader, layout: Layout) -> None:
        self.root = root
        self.ledger = ledger
        self.store = store
        self.layout = layout

    async def remembered(self) -> Mapping[str, str]:
        """Everything pinned so far, by name."""
        return await self.ledger.pins()


class OpenArchive(SeenArchive):
    """
    An archive whose lock this process holds; made by `open_archive`.

    Attributes:
        is_audited: Whoever opened it asked for what is wrong, and tells of it.
        told_faults: What was wrong with what the ledger has told beside itself and beside the
            recordings, as far as it was looked for: it is told anew.
    """

    store: ArchiveStore

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        store: ArchiveStore,
        layout: Layout,
        *,
        told_faults: Sequence[str] = (),
    ) -> None:
        super().__init__(root, ledger, store, layout)
        self.is_running = False
        self.is_audited = False
        self.told_faults = told_faults

    def mended(self) -> Sequence[str]:
        """Say in whole sentences what opening it has mended, unasked."""
        faults = () if self.is_audited else self.told_faults
        return [f"{fault}: now each has what the other knew." for fault in faults]

    async def bind(self, identity: Identity) -> Mapping[str, str]:
        """
        Hold the run to what the archive remembers, and remember what is new.

        Raises:
            UsageError: Naming the difference.
        """
        pins, asked = await self.ledger.pins(), identity.asked()
        is_anew = begins_anew(pins, identity, self.root, has_saved=await self.ledger.has_saved())
        if is_anew:
            await self.ledger.begin_anew()
            pins = {name: pins[name] for name in (STORE_PIN,) if name in pins}
        new = asked | pins | {"layout": self.layout.template}
        if {"region", "agent"} <= new.keys():
            # Not before: after `rebuild`, a run that only forgot --region must not decide this.
            new = {"redacted": UNASKED} | new
        await self.ledger.pin(new)
        if is_anew:
            await self.store.share_ledger_anew()
        return new


def is_archive(root: Path) -> bool:
    """
    Whether an archive was begun there, even one that lost its ledger; blocks.

    Raises:
        StorageError: This user may not look.
    """
    # So that a lost ledger is named, and not the options that it would have remembered.
    with translated(root, is_reading=True):
        return any((root / name).exists() for name in (STATE_FOLDER, *Direction))


@asynccontextmanager
async def open_archive(
    root: Path,
    *,
    layout: str | None = None,
    is_freeing: bool = False,
    is_audited: bool = False,
    elsewhere: Elsewhere | None = None,
) -> AsyncIterator[OpenArchive]:
    """
    Take the lock, open ledger and store, and recover what an earlier run left half done.

    An erasure that was killed is not finished here: who only looks, or plans, deletes nothing.

    Args:
        layout: Of a new archive; an existing one refuses another than its own.
        is_freeing: For what makes room, so that a full disk keeps nobody from trying.
        is_audited: Look what is wrong with what was told elsewhere, and tell all of it anew then.
        elsewhere: Where the recordings are, `root` being the state folder; None: as it remembers.

    Raises:
        ArchiveBusyError: Another run holds it.
        StorageError, LedgerError: This machine cannot keep it.
        UsageError: Its layout or its address is another.
    """
    if layout is not None:
        Layout.parse(layout)  # refused before anything is touched
    async with AsyncExitStack() as stack:
        state = await LocalStore.prepare(root, is_freeing=is_freeing)
        await stack.enter_async_context(ArchiveLock(state / "lock"))
        elsewhere = await find_elsewhere(root, elsewhere)
        ledger = await _open_ledger(root, elsewhere)
        stack.push_async_callback(ledger.aclose)
        effective = await _effective_layout(ledger, layout, root)
        elsewhere = await _bind_address(ledger, root, elsewhere)
        faults: Sequence[str] = ()
        if elsewhere is None:
            store: ArchiveStore = await LocalStore.open(
                root, layout=effective, is_freeing=is_freeing
            )
            stack.push_async_callback(store.aclose)
            # Who makes room may have none for that; the next one has.
            if not is_freeing or await _has_room(store):
                faults = (await complete(ledger, store, is_thorough=is_audited)).words()
        else:
            store = objects = await open_elsewhere(root, elsewhere, effective)
            stack.push_async_callback(objects.aclose)
            await objects.within(partial(write_address, elsewhere=elsewhere))
            await objects.probe()
            faults = await _begin_elsewhere(ledger, objects, is_audited=is_audited)
        await store.recover(ledger)
        archive = OpenArchive(root, ledger, store, effective, told_faults=faults)
        archive.is_audited = is_audited
        yield archive


async def _has_room(store: ArchiveStore) -> bool:
    wanted = ROOM_BYTES + ROOM_TIMES * await store.within(register.size)
    return await store.free_bytes() >= wanted


async def _begin_elsewhere(
    ledger: Ledger, objects: "ObjectStore", *, is_audited: bool
) -> Sequence[str]:
    """Tell what is not told yet, and all of it where something was lost; return what that was."""
    faults: Sequence[str] = ()
    if is_audited:
        # What only the copy of the register knows is lacking here, too, until `join` brings it.
        lost = await lacking(ledger, objects)
        faults = (*await objects.audit(await ledger.journal.last_mark()), *lost.words())
    manifest = await objects.join(ledger.journal)
    is_thorough = bool(faults) or manifest.copy.has_learnt
    lack = await complete(ledger, objects, is_thorough=is_thorough)
    faults = faults or lack.words()
    await objects.begin(manifest, is_anew=bool(faults))
    return faults


@asynccontextmanager
async def look_into(root: Path) -> AsyncIterator[SeenArchive]:
    """
    Read an archive and write nothing there, so that it may be a copy that nobody can write to.

    What a killed run left half done is seen as the next one will take it up, except that an erasure
    stays half done. A run that begins meanwhile waits a while.

    Raises:
        ArchiveBusyError: A run holds it.
        StorageError, LedgerError: It cannot be read, or is damaged.
    """
    state = root / STATE_FOLDER
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Glimpse(state / "lock"))
        is_new = await LocalReader.is_empty(root)
        ledger = await ReadOnlyLedger.reading(state / LEDGER_FILE, is_new_allowed=is_new)
        stack.push_async_callback(ledger.aclose)
        layout = await _effective_layout(ledger, None, root)
        elsewhere = await find_elsewhere(root, None) or address_of(await ledger.pins())
        store: ArchiveReader = (
            await LocalReader.reading(root, layout=layout)
            if elsewhere is None
            else await read_elsewhere(root, elsewhere, layout)
        )
        stack.push_async_callback(store.aclose)
        await ledger.suppose(await store.left_behind(ledger), datetime.now(UTC))
        yield SeenArchive(root, ledger, store, layout)


async def _effective_layout(ledger: Ledger, asked: str | None, root: Path) -> Layout:
    pins = await ledger.pins()
    check_pins(pins, ledger.path)
    return layout_of(pins, asked, root, has_saved=await ledger.has_saved())


async def _open_ledger(root: Path, elsewhere: Elsewhere | None) -> Ledger:
    path = root / STATE_FOLDER / LEDGER_FILE
    await check_unclaimed(root, elsewhere)
    return await Ledger.open(path, is_new_allowed=await LocalStore.is_empty(root))


async def check_unclaimed(
    root: Path, elsewhere: Elsewhere | None, *, is_patient: bool = True
) -> bool:
    """
    Let no ledger begin where an archive has lost its own; return whether there is one.

    Args:
        is_patient: An object store that does not answer is asked again, for some minutes.

    Raises:
        LedgerError: It is lost.
        StorageError: The object store cannot be asked.
    """
    path = root / STATE_FOLDER / LEDGER_FILE
    if elsewhere is None or not await LocalStore.is_empty(root):
        return True
    if not await asyncio.to_thread(is_absent, path):
        return True
    if not await is_unused(elsewhere, is_patient=is_patient):
        raise LedgerError(
            f"there is an archive at {elsewhere.url}, and its ledger is not in {root}",
            fix="if another folder has it, give that as --state-dir; if it is lost, make it anew, "
            f"without fetching anything: bulkaudio rebuild {words_for(root, elsewhere)}",
        )
    return False


def address_of(pins: Mapping[str, str]) -> Elsewhere | None:
    """Say where an archive that remembers this has its recordings; None: in its folder."""
    url = ObjectUrl.parse(pins.get(STORE_PIN, ""))
    return None if url is None else Elsewhere(url=url)


async def _bind_address(
    ledger: Ledger, root: Path, elsewhere: Elsewhere | None
) -> Elsewhere | None:
    """Hold the archive to the address that its ledger remembers, or let it remember one."""
    pins = await ledger.pins()
    if elsewhere is None:
        return address_of(pins)
    if pins:
        check_address(pins.get(STORE_PIN), elsewhere, root)
    else:
        await ledger.pin({STORE_PIN: str(elsewhere.url)})
    return elsewhere
