"""
Benches: temporary folders of workers that keep recordings in an archive whose lock another holds.

Every worker has one, in the archive's temporary folder, and holds a lock in it for as long as it
lives. What it has published it writes down there, a list for each shard of work, until the run has
those recordings in its ledger: a shard that is done again, because a worker died, fetches nothing
that is in such a list, and a run that begins adopts what the lists of a killed one name.

Everything here blocks.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bulkaudio.model import Direction, Outcome, Recording, Status
from bulkaudio.naming import conversation_id_of, file_stem
from bulkaudio.stores.disk import (
    FILE_MODE,
    STATE_FOLDER,
    TEMPORARY_FOLDER,
    Folders,
    create_file,
    let_go,
    make_folder,
    open_for_reading,
    unlink_if_there,
)
from bulkaudio.stores.recovery import Trace, Traces, clear, find_traces

LOCK = "lock"
LIST = ".kept"
READ_BYTES = 1024 * 1024
BENCH = re.compile(r"worker-[0-9a-f]{16}")

_LINE = re.compile(r"([^ ]+) ([a-z]+) ([0-9a-f]{64})")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """
    A worker's folder, and whether anybody works there.

    Attributes:
        lock_fd: Held while the bench is looked at, so that nobody else does; None: its worker lives.
    """

    name: str
    fd: int
    lock_fd: int | None

    @property
    def is_abandoned(self) -> bool:
        """Whether its worker is gone."""
        return self.lock_fd is not None


def claim(tmp_fd: int, name: str) -> tuple[int, int]:
    """Make a bench; return its folder and its lock, which is held until it is closed."""
    make_folder(name, tmp_fd)
    folder_fd = os.open(name, _FOLDER_FLAGS, dir_fd=tmp_fd)
    try:
        lock_fd = create_file(LOCK, folder_fd)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        let_go(folder_fd)
        raise
    return folder_fd, lock_fd


def leave(tmp_fd: int, name: str, folder_fd: int) -> None:
    """Remove a bench that nothing is left on; what is left is the next run's to adopt."""
    with suppress(OSError):
        if set(os.listdir(folder_fd)) <= {LOCK}:  # by descriptor
            unlink_if_there(LOCK, folder_fd)
            os.rmdir(name, dir_fd=tmp_fd)


def write_down(folder_fd: int, shard: str, outcomes: Sequence[Outcome]) -> None:
    """
    Add to a shard's list what was saved of it.

    Without a sync: what a power cut takes from a list is fetched again, and found to be there.
    """
    lines = [
        f"{file_stem(outcome.recording.conversation_id)} {outcome.recording.direction} "
        f"{outcome.sha256}\n"
        for outcome in outcomes
        if outcome.status is Status.SAVED
    ]
    if not lines:
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(shard + LIST, flags, FILE_MODE, dir_fd=folder_fd)
    try:
        os.write(fd, "".join(lines).encode())
    finally:
        os.close(fd)


def written_down(folders: Folders, shard: str) -> Traces:
    """Read what all workers have saved of a shard."""
    found: dict[tuple[str, str], tuple[Recording, Trace]] = {}
    for _, fd in _benches(folders):
        found |= _listed(fd, shard + LIST)
    return found


def strike_out(folders: Folders, bench: str, shard: str) -> None:
    """Remove a shard's list: its recordings are in the ledger."""
    if BENCH.fullmatch(bench) is None:
        return
    with (
        suppress(FileNotFoundError),
        folders.opened((STATE_FOLDER, TEMPORARY_FOLDER, bench)) as folder_fd,
    ):
        unlink_if_there(shard + LIST, folder_fd)


def left_behind(folders: Folders) -> Traces:
    """
    Read what workers have published and no ledger may have.

    Of a worker that lives, only its lists: what it is about to publish is its own matter.
    """
    found: dict[tuple[str, str], tuple[Recording, Trace]] = {}
    for name, fd in _benches(folders):
        with _looked_at(name, fd) as bench:
            lists = {each for each in os.listdir(fd) if each.endswith(LIST)}  # noqa: PTH208
            if bench.is_abandoned:
                found |= find_traces(fd, kept={*lists, LOCK})
            for each in sorted(lists):
                found |= _listed(fd, each)
    return found


def tidy_up(folders: Folders) -> None:
    """Remove the benches whose workers are gone, when the ledger has what was on them."""
    with folders.opened((STATE_FOLDER, TEMPORARY_FOLDER)) as tmp_fd:
        for name, fd in _benches(folders):
            with _looked_at(name, fd) as bench:
                if bench.is_abandoned:
                    clear(fd)
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=tmp_fd)


def _benches(folders: Folders) -> Iterator[tuple[str, int]]:
    """Lend the folder of each bench in turn."""
    with folders.opened((STATE_FOLDER, TEMPORARY_FOLDER), create=True) as tmp_fd:
        names = [name for name in os.listdir(tmp_fd) if BENCH.fullmatch(name)]  # noqa: PTH208
        for name in sorted(names):
            try:
                fd = os.open(name, _FOLDER_FLAGS, dir_fd=tmp_fd)
            except OSError:
                # Left by its worker meanwhile, or planted there: not ours.
                continue
            try:
                yield name, fd
            finally:
                let_go(fd)


@contextmanager
def _looked_at(name: str, fd: int) -> Iterator[Bench]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock_fd = os.open(LOCK, flags, FILE_MODE, dir_fd=fd)
    try:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except OSError:
            is_free = False
        yield Bench(name=name, fd=fd, lock_fd=lock_fd if is_free else None)
    finally:
        let_go(lock_fd)


def _listed(folder_fd: int, name: str) -> Traces:
    """Read a list; a last line that was cut is not one."""
    try:
        fd = open_for_reading(name, folder_fd)
    except FileNotFoundError:
        return {}
    if fd is None:
        return {}
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:
            text = file.read().decode("ascii", "replace")
    finally:
        os.close(fd)
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        conversation_id = conversation_id_of(match[1]) if match else None
        if match is None or conversation_id is None or match[2] not in set(Direction):
            continue
        recording = Recording(conversation_id=conversation_id, direction=Direction(match[2]))
        found[conversation_id, str(recording.direction)] = (recording, Trace(sha256=match[3]))
    return found
