"""Archives that have to be there already."""

from pathlib import Path
from stat import S_ISDIR

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.model import Direction


def require_archive(folder: Path) -> None:
    """
    Refuse a folder that is no archive, instead of making one of it.

    Raises:
        UsageError: It is none.
        LedgerError: It holds an archive's recordings, and has lost the rest.
        StorageError: This user may not look.
    """
    if _is_archive(folder):
        return
    if any(_has_recordings(folder / direction) for direction in Direction):
        # Only whoever has lost a ledger waits for SQLite here.
        from bulkaudio.ledger.faults import missing

        raise missing(folder / ".bulkaudio" / "ledger.db")
    raise UsageError(
        f"{folder} is not an archive of bulkaudio",
        fix="name the folder that was given as --out",
    )


def _is_archive(folder: Path) -> bool:
    try:
        return S_ISDIR((folder / ".bulkaudio").stat().st_mode)
    except PermissionError as error:
        raise StorageError(
            f"this user may not read {folder}: {error.strerror}",
            fix="ask as its owner, or give this user a copy of its own (chown -R)",
        ) from error
    except OSError:
        return False


def _has_recordings(folder: Path) -> bool:
    try:
        return any(path.suffix == ".wav" for path in folder.iterdir())
    except OSError:
        return False
