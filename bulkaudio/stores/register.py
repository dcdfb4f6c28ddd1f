"""
The register of what was erased and of what must not be: a file beside the ledger that only grows.

A ledger that is lost is made anew from the files, and no file tells what was erased or held. Each
line of ``.bulkaudio/tombstones.jsonl`` does, as one object of JSON; `rebuild` reads them in their
order, and the last word on a conversation counts. A line that a crash has cut short is dropped:
nothing was done yet of what it says.
"""

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from bulkaudio.errors import StorageError
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import (
    LEDGER_FILE,
    STATE_FOLDER,
    STATUS_FILE,
    Folders,
    create_file,
    open_for_reading,
    unlink_if_there,
)

REGISTER_FILE = "tombstones.jsonl"
DRAFT = f"{REGISTER_FILE}.part"

_TRACES = frozenset({REGISTER_FILE, STATUS_FILE, LEDGER_FILE})

LINE_BYTES = 16 * 1024
TAIL_BYTES = 64 * 1024

LEAVE_OUT = (
    "go on without such lines by rebuild --force: what they kept from being fetched may be fetched "
    "again then"
)
MOVE_AWAY = "move it away: while the ledger is there, verify --repair tells all of it anew"

Entry = Mapping[str, Any]
"""One line: ``purged``, ``held`` or ``released`` is the conversation's id."""


def append(folders: Folders, entries: Sequence[Entry]) -> None:
    """Add lines; durable when this returns."""
    text = b"".join(map(line_of, entries))
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        reach(Step.REGISTER_OPEN)
        fd = _open(folder_fd)
        try:
            _drop_torn_line(fd)
            reach(Step.REGISTER_WRITE)
            view = memoryview(text)
            while view:
                view = view[os.write(fd, view) :]
            reach(Step.REGISTER_SYNC)
            os.fsync(fd)
        finally:
            os.close(fd)
        # Each time: whoever made the file may have been killed before it was synced.
        reach(Step.REGISTER_SYNC)
        os.fsync(folder_fd)


def sift(folders: Folders, is_kept: Callable[[Entry], bool]) -> None:
    """Write it anew with those lines only; whole before or after, whenever this is killed."""
    kept = (line_of(each) for each in read(folders, is_lenient=True) if is_kept(each))
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        unlink_if_there(DRAFT, folder_fd)
        try:
            with os.fdopen(create_file(DRAFT, folder_fd), "wb") as file:
                reach(Step.REGISTER_WRITE)
                file.writelines(kept)
                file.flush()
                reach(Step.REGISTER_SYNC)
                os.fsync(file.fileno())
            os.rename(DRAFT, REGISTER_FILE, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        except BaseException:
            unlink_if_there(DRAFT, folder_fd)
            raise
        reach(Step.REGISTER_SYNC)
        os.fsync(folder_fd)


def _open(folder_fd: int) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        return os.open(REGISTER_FILE, flags, dir_fd=folder_fd)
    return create_file(REGISTER_FILE, folder_fd)


def _drop_torn_line(fd: int) -> None:
    size = os.fstat(fd).st_size
    start = max(0, size - TAIL_BYTES)
    tail = os.pread(fd, TAIL_BYTES, start)
    if tail and not tail.endswith(b"\n"):
        reach(Step.REGISTER_WRITE)
        os.ftruncate(fd, start + tail.rfind(b"\n") + 1)
    os.lseek(fd, 0, os.SEEK_END)


def exists(folders: Folders) -> bool:
    """Whether anything was ever erased or held."""
    with suppress(FileNotFoundError), folders.opened((STATE_FOLDER,)) as folder_fd:
        os.stat(REGISTER_FILE, dir_fd=folder_fd, follow_symlinks=False)
        return True
    return False


def may_be_lost(folders: Folders) -> bool:
    """Whether nothing is left of what runs leave beside recordings: it may have been there, too."""
    with folders.opened((STATE_FOLDER,)) as folder_fd, os.scandir(folder_fd) as entries:
        return not any(entry.name in _TRACES for entry in entries)


def size(folders: Folders) -> int:
    """
    Of the file in bytes; 0 where there is none.

    Raises:
        StorageError: This user may not read it, or it is no file.
    """
    fd = _open_for_reading(folders)
    if fd is None:
        return 0
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def read(folders: Folders, *, is_lenient: bool = False) -> Iterator[Entry]:
    """
    Yield every line in order, in constant memory.

    Args:
        is_lenient: Yield an empty entry for a line that nobody can read any more.

    Raises:
        StorageError: A line is damaged: what it says must not be forgotten silently.
    """
    fd = _open_for_reading(folders)
    if fd is None:
        return
    with os.fdopen(fd, "rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES):
            number += 1
            entry = entry_of(line)
            if entry is not None:
                yield entry
            elif line.endswith(b"\n") or len(line) == LINE_BYTES:
                if not is_lenient:
                    raise damaged(folders.root, f"line {number} cannot be read")
                yield {}


def read_from(folders: Folders, at: int, limit: int) -> tuple[Sequence[Entry], int]:
    """Return up to `limit` lines behind the first `at` bytes, and where they end."""
    found = list(islice(following(folders, at), limit))
    return [entry for entry, _ in found], found[-1][1] if found else at


def following(folders: Folders, at: int) -> Iterator[tuple[Entry, int]]:
    """
    Yield every line behind the first `at` bytes, each with where it ends.

    What nobody can read is left out; a line that is not whole yet is left for later.
    """
    fd = _open_for_reading(folders)
    if fd is None:
        return
    with os.fdopen(fd, "rb") as file:
        file.seek(at)
        while (line := file.readline()).endswith(b"\n"):
            at += len(line)
            entry = entry_of(line)
            if entry is not None:
                yield entry, at


def _open_for_reading(folders: Folders) -> int | None:
    """Open it; None where there is none."""
    path = folders.root / STATE_FOLDER / REGISTER_FILE
    try:
        with folders.opened((STATE_FOLDER,)) as folder_fd:
            fd = open_for_reading(REGISTER_FILE, folder_fd)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StorageError(
            f"{path} cannot be read by this user: somebody else has made it, by a hold or a purge",
            fix=f"give it to who runs bulkaudio every night: sudo chown USER {shlex.quote(str(path))}",
        ) from error
    if fd is None:
        raise damaged(folders.root, "it is no regular file", MOVE_AWAY)
    return fd


def line_of(entry: Entry) -> bytes:
    """Write a line."""
    return f"{json.dumps(entry, separators=(',', ':'))}\n".encode()


def entry_of(line: bytes) -> Entry | None:
    """Read a line with its end; None when nobody can."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def damaged(root: Path, what: str, fix: str = LEAVE_OUT) -> StorageError:
    """Say what is wrong with an archive's register, and how one goes on."""
    path = root / STATE_FOLDER / REGISTER_FILE
    return StorageError(
        f"{path}, which knows what was erased and what is held, is damaged: {what}",
        fix=f"restore it from a backup, or {fix}",
    )
