"""The ledger's file as a file: created private, synced, and still where it was."""

import os
from pathlib import Path

from bulkaudio.errors import LedgerError
from bulkaudio.steps import Step, reach
from bulkaudio.stores.address import words_of

REBUILD = "python -m bulkaudio rebuild {archive}"


def rebuild_command(path: Path) -> str:
    """Name the command that makes the ledger at ``ARCHIVE/.bulkaudio/ledger.db`` anew."""
    return REBUILD.format(archive=words_of(path.parent.parent))


def create_private(path: Path) -> None:
    """Create an empty file that only its owner may read, whatever the umask."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    reach(Step.LEDGER_CREATE)
    fd = os.open(path, flags, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Bring a closed file's bytes to stable storage."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to stable storage."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        reach(Step.LEDGER_SYNC)
        os.fsync(fd)
    finally:
        os.close(fd)


class InPlace:
    """
    Notices that the ledger's files were removed or replaced while they are open.

    SQLite would go on writing into the unlinked file, and every commit would be lost with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[Path, tuple[int, int]] = {path: _identity(path)}

    def watch_wal(self) -> None:
        """Take the WAL under watch too, once the first commit has made it."""
        wal = self._path.with_name(self._path.name + "-wal")
        if wal not in self._known and wal.exists():
            self._known[wal] = _identity(wal)

    def check(self) -> None:
        """Raise `LedgerError` when a watched file is no longer the one that was opened."""
        for path, identity in self._known.items():
            try:
                found = _identity(path)
            except FileNotFoundError:
                found = None
            if found != identity:
                raise LedgerError(
                    f"{path} was removed or replaced while this run was using it",
                    fix=f"find out what did that, then make it anew from the files kept: "
                    f"{rebuild_command(self._path)}",
                )


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116  # half the cost; once a commit
    return status.st_dev, status.st_ino
