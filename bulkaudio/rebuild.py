"""
A lost or damaged ledger made anew from the files that are kept, without a download.

A file is taken up when its path is one that the layout makes and its bytes are a whole WAV. What
no file can tell is lost: whose recordings they are, what failed, how far a listing had come. A WAV
with streamed sizes does not say how long it is, so that one cut by the disk since passes here. What
was erased and what is held, the register beside the ledger tells.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from bulkaudio.archive import is_archive
from bulkaudio.errors import LedgerError, UsageError
from bulkaudio.found import Progress, Report, Survey
from bulkaudio.identity import check_pins
from bulkaudio.ledger import anew
from bulkaudio.ledger.faults import is_damage
from bulkaudio.ledger.journal import STORE_PIN
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import text_of
from bulkaudio.ledger.tombs import HELD_PIN, ORDER_PIN, REGISTER_PIN
from bulkaudio.naming import Layout
from bulkaudio.registered import complete
from bulkaudio.settings import DEFAULT_LAYOUT, Elsewhere
from bulkaudio.stores import register
from bulkaudio.stores.address import argument_of, write_address
from bulkaudio.stores.archive import ArchiveStore
from bulkaudio.stores.disk import LEDGER_FILE
from bulkaudio.stores.local import LocalStore
from bulkaudio.stores.lock import ArchiveLock
from bulkaudio.stores.opening import find_elsewhere, is_unused, look_over, open_elsewhere
from bulkaudio.tombstones import FORGOTTEN_PIN, is_told


def ignore(_: Progress) -> None:
    """Watch nothing."""


async def rebuild(
    root: Path,
    *,
    layout: str | None = None,
    is_forced: bool = False,
    elsewhere: Elsewhere | None = None,
    on_progress: Callable[[Progress], None] = ignore,
) -> Report:
    """
    Make the archive's ledger anew, in constant memory; the old one is moved aside at the end.

    Args:
        layout: That the archive was made with; else the old ledger's, if it can be read.
        is_forced: Replace also a ledger that is whole, or that cannot be read for now.
        elsewhere: Where the recordings are, `root` being the state folder; None: as it remembers.
        on_progress: Called on the loop after each file; must return at once.

    Raises:
        UsageError: The ledger is whole, the layout fits no file, or there is no archive.
        ArchiveBusyError: Another run holds it.
        StorageError, LedgerError: This machine cannot read the files or keep a ledger.
    """
    chosen = Layout.parse(layout) if layout is not None else None
    elsewhere = await find_elsewhere(root, elsewhere)
    is_there = not await LocalStore.is_empty(root) or await asyncio.to_thread(is_archive, root)
    if not is_there and elsewhere is not None and await is_unused(elsewhere):
        raise UsageError(
            f"there is no archive of bulkaudio at {elsewhere.url}",
            fix="name the address that was given as --out",
        )
    if not is_there and elsewhere is None:
        raise UsageError(
            f"{root} is not an archive of bulkaudio",
            fix="name the folder that was given as --out",
        )
    state = await LocalStore.prepare(root)
    path = state / LEDGER_FILE
    async with ArchiveLock(state / "lock"):
        kept = await _kept_by(path, elsewhere, is_forced=is_forced)
        pins: Mapping[str, str] = kept or {}
        if chosen is not None:
            pins = {**pins, "layout": chosen.template}
        place = _Place(root=root, elsewhere=elsewhere, old=None if kept is None else path)
        survey = Survey(on_progress=on_progress, is_forced=is_forced)
        async with _draft(anew.draft_of(path)) as draft:
            pins = await _fill(draft, pins, place, survey)
            aside = await _to_its_end(partial(anew.put_in_place, draft, path))
    return survey.report([PurePosixPath(each.relative_to(root)) for each in aside], pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an archive is, and its ledger that is to be replaced; None: it is lost or damaged."""

    root: Path
    elsewhere: Elsewhere | None
    old: Path | None


async def _kept_by(
    path: Path, elsewhere: Elsewhere | None, *, is_forced: bool
) -> Mapping[str, str] | None:
    """
    Return what a ledger that can still be read remembers; None when it is lost or damaged.

    Raises:
        UsageError: It is whole and has saved recordings, and nobody forces us.
        ArchiveBusyError: It is whole, and another one has taken its archive over.
        LedgerError: It cannot be read for now, which is no reason to replace it.
    """
    try:
        ledger = await Ledger.open(path, is_new_allowed=False)
    except LedgerError as error:
        if is_damage(error) or is_forced:
            return None
        raise
    try:
        await ledger.check()
        await ledger.check_values()
        pins, has_saved = await ledger.pins(), await ledger.has_saved()
        # What an erasure had begun, the register knows; here it would be taken for done.
        for name in (ORDER_PIN, HELD_PIN, REGISTER_PIN):
            pins.pop(name, None)
        check_pins(pins, path)
        mark = await ledger.journal.last_mark()
    except LedgerError as error:
        if is_damage(error) or is_forced:
            return None
        raise
    finally:
        await ledger.aclose()
    if has_saved and not is_forced:
        raise await asyncio.to_thread(_whole, path, elsewhere, mark)
    return pins


async def _tell(path: Path, store: ArchiveStore) -> None:
    """Let the register know what a whole ledger does, before another one learns from it."""
    ledger = await Ledger.open(path, is_new_allowed=False)
    try:
        await complete(ledger, store, is_thorough=True)
    finally:
        await ledger.aclose()


def _whole(path: Path, elsewhere: Elsewhere | None, mark: str | None) -> UsageError:
    """Say what a new ledger would lose; raises `ArchiveBusyError` where the old one was overtaken."""
    words = "a new one would forget what failed, what was deferred and how far the listing had come"
    fix = "use verify to compare files and ledger, or --force to make it anew all the same"
    if elsewhere is not None:
        root = path.parent.parent
        faults = look_over(elsewhere, mark, root)
        words = f"nothing of {elsewhere.url} is lost"
        if faults:
            words = f"a new one would know less, for what it has told is not whole ({faults[0]})"
            fix = f"tell it anew by verify {argument_of(root)} --repair"
    return UsageError(f"the ledger {path} is whole and knows saved recordings: {words}", fix=fix)


@asynccontextmanager
async def _draft(draft: Path) -> AsyncIterator[Path]:
    await asyncio.to_thread(anew.discard, draft)
    try:
        yield draft
    except BaseException:
        await _to_its_end(partial(anew.discard, draft))
        raise


async def _fill(
    draft: Path,
    pins: Mapping[str, str],
    place: _Place,
    survey: "Survey",
) -> Mapping[str, str]:
    """Make the new ledger; return what it remembers."""
    root, elsewhere = place.root, place.elsewhere
    async with AsyncExitStack() as stack:
        ledger = await Ledger.open(draft, is_new_allowed=True)
        stack.push_async_callback(ledger.aclose)
        if elsewhere is not None:
            await _learn(ledger, root, elsewhere, survey)
            pins = {**await ledger.pins(), **pins, STORE_PIN: str(elsewhere.url)}
        survey.layout = Layout.parse(pins.get("layout", DEFAULT_LAYOUT))
        pins = {**pins, "layout": survey.layout.template}
        await ledger.pin(pins)
        if elsewhere is None:
            store: ArchiveStore = await LocalStore.open(root, layout=survey.layout)
            survey.is_register_whole = not await store.within(register.may_be_lost)
        else:
            store = await open_elsewhere(root, elsewhere, survey.layout)
        stack.push_async_callback(store.aclose)
        if place.old is not None:
            await _tell(place.old, store)
            # Where that one had not known either, and no run has said so yet, it stays unknown.
            survey.is_register_whole = not pins.get(FORGOTTEN_PIN)
        await survey.walk(store, ledger)
        if not survey.is_register_whole:
            await ledger.pin({FORGOTTEN_PIN: text_of(datetime.now(UTC))})
    return pins


async def _learn(ledger: Ledger, root: Path, elsewhere: Elsewhere, survey: "Survey") -> None:
    """Bring the ledger what the lost one had told beside the recordings."""
    store = await open_elsewhere(root, elsewhere, survey.layout)
    try:
        # First: what is learnt is kept there, and a rebuild that is refused is tried again.
        await store.within(partial(write_address, elsewhere=elsewhere))
        history = await store.learn(ledger.restoring.take)
        if not history.is_register_whole and not survey.is_forced:
            raise history.damaged()
        if history.is_register_whole:
            # What cannot be read here, the copy has told.
            await store.within(lambda folders: register.sift(folders, is_told))
        survey.faults, survey.is_register_whole = history.faults, history.is_register_whole
        survey.teller = history.teller
        # What is told is known there; what is found from here on is to be told by the next run.
        await ledger.journal.begin()
        mark = await store.within(lambda _: history.mark())
        await ledger.journal.mark(mark.to_json())
    finally:
        await store.aclose()


async def _to_its_end(work: Callable[[], Sequence[Path] | None]) -> Sequence[Path]:
    """Run blocking work that must have ended before the lock is given back."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running) or ()
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
