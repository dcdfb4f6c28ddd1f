"""
Taking files off the disk for good: recordings, what was set aside of them, and their metadata.

Everything here blocks, and may be done again after a kill: what is gone already is no fault. A
name is removed and its folder synced; whatever blocks of the disk held is free then, and is not
overwritten.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bulkaudio.model import Direction, Outcome, Recording, Status
from bulkaudio.naming import conversation_id_of
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import SIDECAR_FOLDER, STATE_FOLDER, STATUS_FILE, Folders, sidecar_path
from bulkaudio.stores.recovery import DAMAGED_FOLDER

_ASIDE = re.compile(
    rf"(?P<stem>.+)\.(?P<direction>{'|'.join(Direction)})\.[0-9]{{8}}T[0-9]{{12}}Z(?:\.[0-9]+)?\.wav"
)

LEDGER_COPIES = re.compile(r"ledger\.db\.(?:.+\.bak|.+\.old|new)(?:-wal|-shm|-journal)?")
"""Copies of older ledgers: of before a migration, moved aside by `rebuild`, or half made by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """
    What of one conversation is to be removed.

    Attributes:
        paths: Where its recordings are or would be, relative to the archive.
        directions: Of those.
        has_metadata_too: The metadata file goes as well.
    """

    conversation_id: str
    directions: frozenset[Direction]
    paths: tuple[PurePosixPath, ...]
    has_metadata_too: bool


@dataclass(slots=True, kw_only=True)
class Removed:
    """What was removed: files of audio with their bytes, and files of metadata."""

    recordings: int = 0
    bytes: int = 0
    metadata: int = 0

    def add(self, other: "Removed") -> None:
        """Sum up."""
        self.recordings += other.recordings
        self.bytes += other.bytes
        self.metadata += other.metadata


@dataclass(slots=True)
class Eraser:
    """Removes one batch; use once."""

    folders: Folders
    removed: Removed = field(default_factory=Removed)
    _touched: dict[tuple[str, ...], None] = field(default_factory=dict)

    def erase(self, batch: Sequence[Removal]) -> Removed:
        """Remove everything of a batch; durable when this returns."""
        for removal in batch:
            for path in dict.fromkeys(removal.paths):
                self._remove_audio(path.parent.parts, path.name)
            if removal.has_metadata_too:
                name = sidecar_path(removal.conversation_id).name
                self.removed.metadata += self._remove((SIDECAR_FOLDER,), name) is not None
        for name in _set_aside(self.folders, batch):
            self._remove_audio((STATE_FOLDER, DAMAGED_FOLDER), name)
        for parts in self._touched:
            self._sync(parts)
        for removal in batch:
            for path in removal.paths:
                self._remove_empty(path.parent)
        return self.removed

    def _remove_audio(self, parts: tuple[str, ...], name: str) -> None:
        size = self._remove(parts, name)
        if size is not None:
            self.removed.recordings += 1
            self.removed.bytes += size

    def _remove(self, parts: tuple[str, ...], name: str) -> int | None:
        """
        Remove a name; return the size of the file that it led to, None when there was none.

        A folder under that name holds nothing of ours and stays; of a link only the link goes.
        """
        try:
            with self.folders.opened(parts) as folder_fd:
                status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    return None
                reach(Step.ERASE_REMOVE)
                os.unlink(name, dir_fd=folder_fd)
        except FileNotFoundError:
            # Also when an earlier, killed erasure had removed it: its sync may be missing.
            self._touched[parts] = None
            return None
        self._touched[parts] = None
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def _sync(self, parts: tuple[str, ...]) -> None:
        with suppress(FileNotFoundError), self.folders.opened(parts) as folder_fd:
            reach(Step.ERASE_SYNC)
            os.fsync(folder_fd)

    def _remove_empty(self, folder: PurePosixPath) -> None:
        """Remove the folders that nothing is left in, upwards as far as they are empty."""
        while folder.parts:
            try:
                with self.folders.opened(folder.parent.parts) as parent_fd:
                    os.rmdir(folder.name, dir_fd=parent_fd)
            except FileNotFoundError:
                pass  # an earlier, killed erasure got further
            except OSError:
                return
            folder = folder.parent


def _set_aside(folders: Folders, batch: Sequence[Removal]) -> Sequence[str]:
    """Name the damaged recordings of a batch that `verify --repair` has moved away."""
    wanted = {each.conversation_id: each.directions for each in batch}
    return [
        name
        for name, conversation_id, direction in set_aside(folders)
        if direction in wanted.get(conversation_id, ())
    ]


def set_aside(folders: Folders) -> Iterator[tuple[str, str, Direction]]:
    """Yield every name in the folder of damaged recordings, with whose it is."""
    try:
        with folders.opened((STATE_FOLDER, DAMAGED_FOLDER)) as folder_fd:
            names = os.listdir(folder_fd)  # noqa: PTH208  # by descriptor
    except FileNotFoundError:
        return
    for name in names:
        if owner := aside_owner(name):
            yield name, *owner


def aside_owner(name: str) -> tuple[str, Direction] | None:
    """Read the name of something set aside: whose it is; None for other names."""
    found = _ASIDE.fullmatch(name)
    owner = conversation_id_of(found["stem"]) if found else None
    return None if found is None or owner is None else (owner, Direction(found["direction"]))


def remains(folders: Folders) -> Iterator[tuple[str, Outcome | None]]:
    """
    Yield what is kept beside recordings, by conversation.

    A damaged recording comes as the outcome that says where it is, a metadata file as None.
    """
    with (
        suppress(FileNotFoundError),
        folders.opened((SIDECAR_FOLDER,)) as folder_fd,
        os.scandir(folder_fd) as entries,
    ):
        for entry in entries:
            owner = conversation_id_of(entry.name.removesuffix(".json"))
            if owner is not None and entry.name.endswith(".json"):
                yield owner, None
    for name, owner, direction in set_aside(folders):
        recording = Recording(conversation_id=owner, direction=direction)
        path = Path(STATE_FOLDER, DAMAGED_FOLDER, name)
        yield owner, Outcome(recording=recording, status=Status.FAILED, path=path)


def ledger_copies(folders: Folders) -> Sequence[str]:
    """Name the copies of older ledgers, which know what this one has forgotten."""
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        names = os.listdir(folder_fd)  # noqa: PTH208  # by descriptor
    return sorted(name for name in names if LEDGER_COPIES.fullmatch(name))


def make_room(folders: Folders) -> None:
    """
    Remove what an erasure needs no more, before it has begun: the disk is full.

    Copies of older ledgers go with every erasure, and a run's last words to outsiders nobody misses.
    """
    remove_ledger_copies(folders)
    with folders.opened((STATE_FOLDER,)) as folder_fd, suppress(OSError):
        os.unlink(STATUS_FILE, dir_fd=folder_fd)


def remove_ledger_copies(folders: Folders) -> Sequence[str]:
    """Remove them; return their names."""
    names = ledger_copies(folders)
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        for name in names:
            reach(Step.ERASE_COPY)
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=folder_fd)
        reach(Step.ERASE_SYNC)
        os.fsync(folder_fd)
    return names
