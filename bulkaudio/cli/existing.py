"""Archives that have to be there already."""

from pathlib import Path

from bulkaudio.errors import UsageError


def require_archive(folder: Path) -> None:
    """Refuse a folder that is no archive, instead of making one of it; raises `UsageError`."""
    try:
        is_archive = (folder / ".bulkaudio").is_dir()
    except OSError:
        is_archive = False
    if not is_archive:
        raise UsageError(
            f"{folder} is not an archive of bulkaudio",
            fix="name the folder that was given as --out",
        )
