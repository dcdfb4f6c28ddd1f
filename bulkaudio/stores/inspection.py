"""
Looking at what is kept: one file, or all names, in constant memory. Everything here blocks.

Reading never follows a link and never waits: what stands under a name may be anything by now.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath

from bulkaudio.model import Audio, Outcome, Recording, Status
from bulkaudio.settings import CONFIG_FILE, REPORT_FILE
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import SIDECAR_FOLDER, STATE_FOLDER, Folders, open_for_reading
from bulkaudio.stores.publishing import READ_BYTES
from bulkaudio.wav import Flaw, prove

ROTTEN = {errno.EIO, errno.EBADMSG, errno.ENODATA, getattr(errno, "EUCLEAN", errno.EIO)}
"""What a disk answers for bytes it has lost. Anything else is about us, not about the file."""


class Stopped(Exception):  # noqa: N818  # no error: it was asked for
    """Whoever asked for an inspection no longer wants it."""


class Sight(StrEnum):
    """What stands under a name."""

    FILE = "file"
    MISSING = "missing"
    NOT_A_FILE = "not_a_file"
    """A link, a folder, a FIFO; or the way to it leads through a link or a file."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """
    What a look at one name found.

    Attributes:
        identity: Device and inode, to tell links to one file; None unless one could be opened.
        proof: Whether the bytes are a whole WAV.
        detail: The system's words, when it could not be read.
    """

    sight: Sight
    identity: tuple[int, int] | None = None
    bytes: int = 0
    sha256: str = ""
    proof: Audio | Flaw = Flaw.NOT_AUDIO
    detail: str | None = None

    def saved(self, recording: Recording, path: PurePosixPath) -> Outcome | None:
        """Call a recording saved at that path; None when no whole one is there."""
        if not isinstance(self.proof, Audio):
            return None
        return Outcome(
            recording=recording,
            status=Status.SAVED,
            path=Path(path),
            bytes=self.bytes,
            sha256=self.sha256,
            audio=self.proof,
        )


def inspect(
    folders: Folders, path: PurePosixPath, is_stopped: Callable[[], bool] = lambda: False
) -> Inspection:
    """
    Read one file whole.

    Raises:
        OSError: It cannot be read for a reason that says nothing about it: permissions, limits.
        Stopped: `is_stopped` said so in between.
    """
    try:
        with folders.opened(path.parent.parts) as folder_fd:
            reach(Step.INSPECT_OPEN)
            fd = open_for_reading(path.name, folder_fd)
    except FileNotFoundError:
        return Inspection(sight=Sight.MISSING)
    except NotADirectoryError:
        return Inspection(sight=Sight.NOT_A_FILE)
    except OSError as error:
        return _unreadable(error)
    if fd is None:
        return Inspection(sight=Sight.NOT_A_FILE)
    try:
        return _read(fd, is_stopped)
    except OSError as error:
        return replace(_unreadable(error), identity=_identity(os.fstat(fd)))
    finally:
        os.close(fd)


def _unreadable(error: OSError) -> Inspection:
    if error.errno not in ROTTEN:
        raise error
    return Inspection(sight=Sight.UNREADABLE, detail=error.strerror)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _read(fd: int, is_stopped: Callable[[], bool]) -> Inspection:
    digest = hashlib.sha256()
    size = 0
    reach(Step.INSPECT_READ)
    while piece := os.pread(fd, READ_BYTES, size):
        digest.update(piece)
        size += len(piece)
        if is_stopped():
            raise Stopped
    status = os.fstat(fd)
    return Inspection(
        sight=Sight.FILE,
        identity=_identity(status),
        bytes=size,
        sha256=digest.hexdigest(),
        # Whether the transfer was framed was judged when it was; a hash vouches for it since.
        proof=prove(lambda at, count: os.pread(fd, count, at), size, framed=True),
    )


def names(folders: Folders) -> Iterator[str]:
    """
    Yield every name in the archive that is no folder, relative and in no order.

    Leaves out what is ours beside recordings: ``.bulkaudio``, ``metadata``, the configuration and the
    report.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        try:
            fd = folders.open(parts)
        except FileNotFoundError:
            continue
        try:
            yield from _names_in(fd, parts, waiting)
        finally:
            os.close(fd)


def _names_in(fd: int, parts: tuple[str, ...], waiting: list[tuple[str, ...]]) -> Iterator[str]:
    reach(Step.INSPECT_LIST)
    with os.scandir(fd) as entries:
        for entry in entries:
            if not parts and entry.name in {STATE_FOLDER, SIDECAR_FOLDER}:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((*parts, entry.name))
            elif parts or entry.name not in {CONFIG_FILE, REPORT_FILE}:
                yield "/".join((*parts, entry.name))
