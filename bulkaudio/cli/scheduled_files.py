"""How the files of a scheduler leave the program: printed, or written where they were wanted."""

from collections.abc import Sequence
from pathlib import Path

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.schedule.job import JobFile

MODE = 0o644
"""Nothing in them is secret, and schedulers of another user have to read them."""


def deliver(files: Sequence[JobFile], folder: Path | None, *, may_replace: bool) -> None:
    """
    Print the files, or write them and print their paths.

    Raises:
        UsageError: One is there already and may not be replaced; nothing is written then.
        StorageError: The folder cannot be written to.
    """
    if folder is None:
        print("\n".join(_shown(file, is_one=len(files) == 1) for file in files), end="")
        return
    paths = [folder.expanduser() / file.name for file in files]
    taken = [path for path in paths if path.exists() or path.is_symlink()]
    if taken and not may_replace:
        raise UsageError(
            f"{taken[0]} is there already, and nothing was written",
            fix="look at it, then give --force to replace it, or another --output-dir",
        )
    for path, file in zip(paths, files, strict=True):
        _write(path, file.text)
    print("\n".join(map(str, paths)))


def _shown(file: JobFile, *, is_one: bool) -> str:
    return file.text if is_one else f"# {file.place}\n{file.text}"


def _write(path: Path, text: str) -> None:
    """Put a whole file under its name; a link there is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(MODE)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", fix="choose another --output-dir"
        ) from error
