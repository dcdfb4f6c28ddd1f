"""A look at the archive, its disk and its ledger, which leaves all of them as they were. Blocks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulkaudio.archive import is_archive
from bulkaudio.errors import ArchiveBusyError, LedgerError, LocalError
from bulkaudio.identity import check_pins
from bulkaudio.ledger.faults import missing
from bulkaudio.ledger.glance import Contents, Glance, glance, is_there
from bulkaudio.model import Direction
from bulkaudio.registered import is_short
from bulkaudio.stores.disk import (
    LEDGER_FILE,
    SIDECAR_FOLDER,
    STATE_FOLDER,
    storage_error,
    unmakeable,
)
from bulkaudio.stores.lock import Glimpse
from bulkaudio.stores.reading import is_empty, register_size
from bulkaudio.stores.trial import (
    PREFIX,
    Exposure,
    Room,
    Shortcoming,
    exposures,
    file_system_of,
    home_of,
    room_of,
    try_out,
)

OURS = (
    STATE_FOLDER,
    f"{STATE_FOLDER}/{LEDGER_FILE}",
    f"{STATE_FOLDER}/lock",
    SIDECAR_FOLDER,
    *Direction,
)


UNSEEN = Glance()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLook:
    """
    What is to be said of a ledger.

    Attributes:
        is_begun: There is an archive.
        holder: That a run holds it, and which; nothing else is known then but, perhaps, what it remembers.
        doubt: Why nobody can tell whether there is an archive, whose ledger would be lost.
        is_register_short: What a new ledger would learn erasures and holds from was lost or cut.
    """

    is_begun: bool = False
    holder: str | None = None
    error: LocalError | None = None
    doubt: LocalError | None = None
    found: Glance = UNSEEN
    is_register_short: bool = False
    remembered: Mapping[str, str] = field(default_factory=dict)

    @property
    def contents(self) -> Contents | None:
        """What the ledger says, where it was read."""
        return self.found.contents

    @property
    def pins(self) -> Mapping[str, str]:
        """What the archive remembers, as far as that is known."""
        return self.contents.pins if self.contents else self.remembered

    @property
    def has_no_start(self) -> bool:
        """Whether there is an archive, and it is known that no listing can go on from anywhere."""
        return self.contents is not None and not self.contents.has_listing

    @property
    def has_saved(self) -> bool:
        """Whether a recording is known to be saved: then nothing of it may be contradicted."""
        return self.contents is not None and self.contents.saved > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLook:
    """
    What is to be said of an archive's folder and disk.

    Attributes:
        home: The nearest folder that is there, and was tried out.
        error: Why it could not be looked at, or cannot be made.
        refusal: Why nothing could be written there, in the archive that is there.
    """

    root: Path
    is_there: bool = False
    home: Path | None = None
    error: OSError | None = None
    refusal: OSError | None = None
    file_system: str | None = None
    shortcomings: tuple[Shortcoming, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    room: Room | None = None


def look_at_disk(root: Path) -> DiskLook:
    """Find out what the archive's disk can do, by doing it beside the archive's own files."""
    home = None
    try:
        is_dir, home = root.is_dir(), home_of(root)
        found = DiskLook(
            root=root,
            is_there=is_dir,
            home=home,
            file_system=file_system_of(home),
            room=room_of(home),
            exposures=exposures(root, OURS) if is_dir else (),
        )
    except OSError as error:
        return DiskLook(root=root, home=home, error=error)
    try:
        return replace(found, shortcomings=try_out(home))
    except OSError as error:
        return replace(found, refusal=error) if is_dir else replace(found, error=error)


def look_at_ledger(root: Path, *, check_s: float) -> LedgerLook:
    """
    Read an archive's ledger, and walk all of it in as much time as is given.

    A run that begins meanwhile makes what was read worthless, and is then what is found.
    """
    try:
        if not is_archive(root):
            return LedgerLook()
        lock, path = root / STATE_FOLDER / "lock", root / STATE_FOLDER / LEDGER_FILE
        holder = _holder_of(lock)
        if holder is not None:
            return LedgerLook(is_begun=True, holder=holder, remembered=_remembered(path))
        before = _stamp(path)
        look = _read(root, path, check_s)
        is_changed = _stamp(path) != before
        holder = _holder_of(lock)
    except LocalError as error:
        return LedgerLook(is_begun=True, error=error)
    if holder is not None or (is_changed and look.error is not None):
        return LedgerLook(
            is_begun=True,
            holder=holder or f"another run holds {root}: it has just begun",
            remembered=look.remembered,
        )
    return look


def _read(root: Path, path: Path, check_s: float) -> LedgerLook:
    try:
        if not is_there(path):
            error = None if is_empty(root) else missing(path)
            return LedgerLook(is_begun=True, error=error)
        found = glance(path, check_s=check_s)
        pins = found.contents.pins if found.contents else {}
        check_pins(pins, path)
        size = register_size(root)
    except LocalError as error:
        return LedgerLook(is_begun=True, error=error)
    return LedgerLook(
        is_begun=True,
        found=found,
        is_register_short=found.contents is not None
        and is_short(pins, size, is_needed=found.contents.has_register),
        remembered=pins,
    )


def _remembered(path: Path) -> Mapping[str, str]:
    """What the archive of a running run remembers, as far as it stands in the file itself."""
    try:
        found = glance(path, check_s=0) if is_there(path) else UNSEEN
        pins = found.contents.pins if found.contents else {}
        check_pins(pins, path)
    except LedgerError:
        return {}
    return pins


def _holder_of(lock: Path) -> str | None:
    try:
        with Glimpse(lock):
            return None
    except ArchiveBusyError as error:
        return error.message


def _stamp(path: Path) -> tuple[int, ...]:
    stamps = []
    for each in (path, path.with_name(path.name + "-wal")):
        try:
            status = os.stat(each, follow_symlinks=False)  # noqa: PTH116  # as the ledger does
        except OSError:
            stamps.append(-1)
        else:
            stamps += [status.st_ino, status.st_size, status.st_mtime_ns]
    return tuple(stamps)


def folder_error(look: DiskLook) -> LocalError | None:
    """Put into words why nothing can be kept there."""
    match look.error:
        case None:
            return None
        case FileNotFoundError():
            return unmakeable(look.root, look.error)
        case error:
            return storage_error(look.root, untraced(error))


def untraced(error: OSError) -> OSError:
    """Leave out the name of a folder that could not be made for the trial: nobody has heard of it."""
    if isinstance(error.filename, str) and PREFIX in error.filename:
        return OSError(error.errno, error.strerror)
    return error
