"""
What an earlier run left in the temporary folder, and what of it is to be kept.

A temporary file with a second link, or a note, was whole, synced and published when that run was
killed; only the ledger does not know it yet. Everything else was still on its way.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Protocol

from bulkaudio.errors import UsageError
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout, file_stem
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import (
    STATE_FOLDER,
    TEMPORARY_FOLDER,
    Folders,
    open_for_reading,
    unlink_if_there,
)
from bulkaudio.stores.inspection import Inspection, Sight, inspect
from bulkaudio.stores.staging import MOVED, recording_of

DAMAGED_FOLDER = "damaged"
_SHA256 = re.compile(rb"[0-9a-f]{64}")


class Catalogue(Protocol):
    """What recovery needs of the ledger."""

    async def unsaved(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Return those that are known and not saved, with their start."""
        ...

    async def settle(self, outcomes: Sequence[Outcome], run_id: str | None, now: datetime) -> None:
        """Keep how recordings ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """
    What a temporary name says was published.

    Attributes:
        identity: Of the file that the final name must lead to; None with a note.
        sha256: Of the file that was renamed; None with a second link.
    """

    identity: tuple[int, int] | None = None
    sha256: str | None = None

    def fits(self, found: Inspection) -> bool:
        """Whether the file under the final name is the one that was published."""
        match found.sight:
            case Sight.FILE:
                return found.identity == self.identity or found.sha256 == self.sha256
            case Sight.UNREADABLE:
                return self.identity is not None and found.identity == self.identity
            case _:
                return False


Traces = Mapping[tuple[str, str], tuple[Recording, Trace]]
"""What was published, by conversation and direction."""

_Named = tuple[str, tuple[Recording, Trace] | None]


def find_traces(folder_fd: int, *, kept: Collection[str] = ()) -> Traces:
    """
    Read a temporary folder; what is no trace of a published file is removed at once.

    Args:
        kept: Names that are left alone all the same.
    """
    found = _names_with_traces(folder_fd)
    for name, trace in found:
        if trace is None and name not in kept:
            _remove(name, folder_fd)
    return _by_recording(found)


def traces_in(folders: Folders) -> Traces:
    """Read an archive's temporary folder, and leave it as it is."""
    try:
        with folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as folder_fd:
            return _by_recording(_names_with_traces(folder_fd))
    except FileNotFoundError:
        return {}


def _names_with_traces(folder_fd: int) -> Sequence[_Named]:
    reach(Step.RECOVER_LIST)
    found: list[_Named] = []
    for name in os.listdir(folder_fd):  # by descriptor
        recording = recording_of(name)
        trace = None if recording is None else _trace(name, folder_fd)
        pair = None if recording is None or trace is None else (recording, trace)
        found.append((name, pair))
    return found


def _by_recording(found: Sequence[_Named]) -> Traces:
    told = [pair for _, pair in found if pair is not None]
    return {(pair[0].conversation_id, pair[0].direction): pair for pair in told}


def _trace(name: str, folder_fd: int) -> Trace | None:
    reach(Step.RECOVER_LOOK)
    fd = open_for_reading(name, folder_fd)
    if fd is None:
        return None
    try:
        status = os.fstat(fd)
        if name.endswith(MOVED):
            text = os.pread(fd, 100, 0)
            return Trace(sha256=text.decode()) if _SHA256.fullmatch(text) else None
        if status.st_nlink > 1:
            return Trace(identity=(status.st_dev, status.st_ino))
        return None
    finally:
        os.close(fd)


def recovered(
    folders: Folders, layout: Layout, known: Sequence[tuple[Recording, Trace]]
) -> Sequence[Outcome]:
    """Prove and hash anew what was published, and make the outcomes that are missing."""
    outcomes = []
    for recording, path, found in _published(folders, layout, known):
        outcome = found.saved(recording, path)
        if outcome is None:
            # It was proven before it was published: what spoilt or lost it since, the disk did. Left
            # there, it would be in the way of the same recording for ever.
            set_aside(folders, path, recording)
            continue
        with folders.opened(path.parent.parts, create=True) as folder_fd:
            reach(Step.RECOVER_SYNC)
            os.fsync(folder_fd)
        outcomes.append(outcome)
    return outcomes


def witnessed(
    folders: Folders, layout: Layout, known: Sequence[tuple[Recording, Trace]]
) -> Sequence[Outcome]:
    """Make the outcomes that `recovered` would, and leave everything as it is."""
    return [
        outcome
        for recording, path, found in _published(folders, layout, known)
        if (outcome := found.saved(recording, path)) is not None
    ]


def _published(
    folders: Folders, layout: Layout, known: Sequence[tuple[Recording, Trace]]
) -> Iterator[tuple[Recording, PurePosixPath, Inspection]]:
    for recording, trace in known:
        try:
            path = layout.path(recording)
        except UsageError:
            continue
        found = inspect(folders, path)
        if trace.fits(found):
            yield recording, path, found


def clear(folder_fd: int) -> None:
    """Remove everything from a temporary folder."""
    reach(Step.RECOVER_CLEAR)
    for name in os.listdir(folder_fd):  # by descriptor
        _remove(name, folder_fd)


def _remove(name: str, folder_fd: int) -> None:
    reach(Step.RECOVER_REMOVE)
    status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        # Not ours, and not in the way: names there are never opened, only created.
        return
    unlink_if_there(name, folder_fd)


def set_aside(folders: Folders, path: PurePosixPath, recording: Recording) -> PurePosixPath:
    """
    Move whatever stands under a final name to ``.bulkaudio/damaged``; replaces nothing.

    Returns:
        Where it is now, relative to the archive.
    """
    stem = aside_stem(recording)
    aside = (STATE_FOLDER, DAMAGED_FOLDER)
    with (
        folders.opened(path.parent.parts) as from_fd,
        folders.opened(aside, create=True) as to_fd,
    ):
        name = _free_name(stem, to_fd)
        reach(Step.ASIDE_MOVE)
        os.rename(path.name, name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        reach(Step.ASIDE_SYNC)
        os.fsync(to_fd)
        os.fsync(from_fd)
    return PurePosixPath(*aside, name)


def aside_stem(recording: Recording) -> str:
    """Name something that is set aside now, without suffix: whose it is, and since when."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    return f"{file_stem(recording.conversation_id)}.{recording.direction}.{stamp}"


def _free_name(stem: str, folder_fd: int) -> str:
    """Only the holder of the archive's lock makes names here, so that a look is enough."""
    number = 0
    while True:
        name = f"{stem}.{number}.wav" if number else f"{stem}.wav"
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            number += 1
            continue
        return name
