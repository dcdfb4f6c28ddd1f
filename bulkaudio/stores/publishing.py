"""
Final names: given without replacing anything, and synced folder by folder.

A name is a second link to the temporary file, which keeps its own name until the ledger has the
recording: a temporary file with two links is, after a crash, one that is whole, synced and
published. Everything here blocks and runs in one hop to a thread for a whole batch.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from bulkaudio.errors import StorageError
from bulkaudio.naming import Layout
from bulkaudio.steps import Step, reach
from bulkaudio.stores.base import Publication, Published, Staged
from bulkaudio.stores.disk import (
    FILE_MODE,
    Folders,
    create_file,
    let_go,
    open_for_reading,
    storage_error,
    unlink_if_there,
)
from bulkaudio.stores.staging import MOVED, PART, Workbench

READ_BYTES = 1024 * 1024

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""What file systems answer that have no hard links, or no more of them."""

NOT_OURS = {errno.EACCES, errno.EPERM, errno.EISDIR}
"""An existing file that cannot even be read is not the one we have: a conflict, no fault."""


class Publisher:
    """Publishes one batch; use once."""

    def __init__(self, folders: Folders, bench: Workbench, layout: Layout) -> None:
        self._folders = folders
        self._bench = bench
        self._layout = layout
        self._open: dict[PurePosixPath, int] = {}
        self._published: list[Published] = []
        self._fault: StorageError | None = None

    def publish(self, batch: Sequence[Staged]) -> tuple[list[Published], StorageError | None]:
        """
        Return what is published and durable, in order, and the first fault.

        After a fault no further name is given; the folders of those given before are still
        synced, and what is in a folder whose sync failed is not returned.
        """
        try:
            for staged in batch:
                if not self._publish_one(staged):
                    break
            self._sync_folders()
        finally:
            for fd in self._open.values():
                let_go(fd)
        return self._published, self._fault

    def _publish_one(self, staged: Staged) -> bool:
        path = self._layout.path(staged.recording)
        try:
            result = self._place(self._folder(path.parent), path.name, staged)
        except OSError as error:
            self._fault = storage_error(self._folders.root / path, error)
            return False
        self._published.append(Published(staged=staged, path=Path(path), result=result))
        return True

    def _folder(self, path: PurePosixPath) -> int:
        if path not in self._open:
            self._open[path] = self._folders.open(path.parts, create=True)
        return self._open[path]

    def _place(self, folder_fd: int, name: str, staged: Staged) -> Publication:
        temporary, bench_fd = staged.temporary.name, self._bench.folder_fd
        try:
            reach(Step.PUBLISH_LINK)
            os.link(
                temporary,
                name,
                src_dir_fd=bench_fd,
                dst_dir_fd=folder_fd,
                follow_symlinks=False,
            )
        except FileExistsError:
            return compare(folder_fd, name, staged)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return self._move(folder_fd, name, staged)
        return Publication.PUBLISHED

    def _move(self, folder_fd: int, name: str, staged: Staged) -> Publication:
        """
        Rename, where there are no hard links.

        A rename replaces; the look before it is enough, because the archive's lock keeps every
        other run out. A note takes the place of the temporary name for `recover`.
        """
        if exists(name, folder_fd):
            return compare(folder_fd, name, staged)
        note = note_of(staged.temporary.name)
        reach(Step.PUBLISH_NOTE)
        note_fd = create_file(note, self._bench.folder_fd)
        self._bench.live[note] = None
        try:
            reach(Step.PUBLISH_NOTE_WRITE)
            os.write(note_fd, staged.sha256.encode())
        finally:
            os.close(note_fd)
        reach(Step.PUBLISH_MOVE)
        os.rename(
            staged.temporary.name,
            name,
            src_dir_fd=self._bench.folder_fd,
            dst_dir_fd=folder_fd,
        )
        return Publication.PUBLISHED

    def _sync_folders(self) -> None:
        for path, fd in self._open.items():
            try:
                reach(Step.PUBLISH_SYNC)
                os.fsync(fd)
            except OSError as error:
                self._fault = self._fault or storage_error(self._folders.root / path, error)
                self._published = [
                    each for each in self._published if PurePosixPath(each.path).parent != path
                ]


def note_of(temporary: str) -> str:
    """Name the note that goes with a temporary file."""
    return f"{temporary.removesuffix(PART)}{MOVED}"


def compare(folder_fd: int, name: str, staged: Staged) -> Publication:
    """
    Judge what is already under a final name.

    A link, FIFO or folder there is a conflict and is neither followed nor touched. The same bytes
    are ours from here on: synced, because nobody may have done so, and made private.
    """
    try:
        reach(Step.PUBLISH_COMPARE)
        fd = open_for_reading(name, folder_fd)
    except OSError as error:
        if error.errno in NOT_OURS:
            return Publication.CONFLICT
        raise
    if fd is None:
        return Publication.CONFLICT
    try:
        if os.fstat(fd).st_size != staged.bytes or hash_of(fd) != staged.sha256:
            return Publication.CONFLICT
        with suppress(PermissionError):
            os.fchmod(fd, FILE_MODE)
        reach(Step.PUBLISH_ADOPT)
        os.fsync(fd)
        return Publication.ADOPTED
    finally:
        os.close(fd)


def forget(bench: Workbench, batch: Sequence[Published]) -> None:
    """Drop the temporary names of a batch, and the notes that stood in for some."""
    for published in batch:
        name = published.staged.temporary.name
        bench.drop(name)
        if note_of(name) in bench.live:
            bench.drop(note_of(name))


def sweep(bench: Workbench) -> None:
    """
    Remove what this process made and nobody wants any more.

    What has a second link, or a note, stays: it is published and may be missing in the ledger.
    """
    for name, file in list(bench.live.items()):
        if file is not None:
            file.abandon()
        with suppress(OSError):
            reach(Step.STAGE_REMOVE)
            is_published = name.endswith(MOVED) or _links(name, bench.folder_fd) > 1
            if not is_published:
                unlink_if_there(name, bench.folder_fd)
    bench.live.clear()


def hash_of(fd: int) -> str:
    """SHA-256 of an open file, in constant memory."""
    digest = hashlib.sha256()
    at = 0
    while piece := os.pread(fd, READ_BYTES, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def exists(name: str, folder_fd: int) -> bool:
    """Whether anything stands under a name, a broken link included."""
    try:
        reach(Step.PUBLISH_LOOK)
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def is_file(name: str, folder_fd: int) -> bool:
    """Whether a regular file stands under a name."""
    try:
        status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode)


def read_sidecar(name: str, folder_fd: int, size: int) -> bytes | None:
    """
    Read up to `size` bytes of what stands under a metadata file's name; nothing is b"".

    Returns:
        None when it is none of ours: those are objects of JSON. Owner and mode say less, because
        archives are copied and restored.
    """
    try:
        fd = open_for_reading(name, folder_fd)
    except (FileNotFoundError, PermissionError) as error:
        return b"" if isinstance(error, FileNotFoundError) else None
    if fd is None:
        return None
    with os.fdopen(fd, "rb", buffering=0) as file:
        kept = file.read(size)
    return kept if kept and kept.startswith(b"{") else None


def _links(name: str, folder_fd: int) -> int:
    status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    return status.st_nlink if stat.S_ISREG(status.st_mode) else 1
