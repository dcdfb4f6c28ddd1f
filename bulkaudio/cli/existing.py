"""Archives that have to be there already."""

from pathlib import Path

from bulkaudio.errors import UsageError
from bulkaudio.model import Direction


def require_archive(folder: Path) -> None:
    """
    Refuse a folder that is no archive, instead of making one of it.

    Raises:
        UsageError: It is none.
        LedgerError: It holds an archive's recordings, and has lost the rest.
    """
    try:
        is_archive = (folder / ".bulkaudio").is_dir()
    except OSError:
        is_archive = False
    if is_archive:
        return
    if any(_has_recordings(folder / direction) for direction in Direction):
        # Only whoever has lost a ledger waits for SQLite here.
        from bulkaudio.ledger.faults import missing

        raise missing(folder / ".bulkaudio" / "ledger.db")
    raise UsageError(
        f"{folder} is not an archive of bulkaudio",
        fix="name the folder that was given as --out",
    )


def _has_recordings(folder: Path) -> bool:
    try:
        return any(path.suffix == ".wav" for path in folder.iterdir())
    except OSError:
        return False
