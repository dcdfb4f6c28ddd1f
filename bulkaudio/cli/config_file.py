"""
Which configuration file is read, and what stands in it.

One that was named, else the archive's own, the user's, the machine's: the first there is. A file
that nobody named decides for whoever runs the program, so the archive's own must be one that nobody
else can have put there; one in the current folder or beside the archive is never looked for.
"""

import os
import shlex
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkaudio.cli.places import STATE_DIR, folder_of
from bulkaudio.errors import UsageError
from bulkaudio.settings import CONFIG_FILE

MACHINES = Path("/etc/bulkaudio") / CONFIG_FILE
LARGEST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """
    The file that a command reads.

    Attributes:
        document: What stands in it; not shown, for somebody may have put a key there.
        is_archives_own: It was found in the archive, and not named.
    """

    path: Path
    document: Mapping[str, Any] = field(repr=False)
    is_archives_own: bool = False


def find_file(
    named: str | None,
    archive: str | None,
    environ: Mapping[str, str],
    state_dir: str | None = None,
) -> ConfigFile | None:
    """
    Find the file and read it.

    Args:
        named: By ``--config`` or its variable.
        archive: The folder or address, as far as a flag or a variable tells it.
        state_dir: The folder that goes with an address, the same.

    Raises:
        UsageError: It is not there though it was named, cannot be read or is no TOML; or the
            archive's own may be somebody else's.
    """
    if named is not None:
        path = Path(named).expanduser()
        if not _is_file(path, unless=True):
            raise UsageError(
                f"the configuration file {path} does not exist",
                fix="check --config and BULKAUDIO_CONFIG",
            )
        return ConfigFile(path=path, document=_parsed(path, _content(path)))
    folder = _folder_of(archive, state_dir, environ) if archive else None
    if folder is not None:
        path = folder / CONFIG_FILE
        content = _own_content(path)
        if content is not None:
            return ConfigFile(path=path, document=_parsed(path, content), is_archives_own=True)
    found = next((path for path in usual_places(environ) if _is_file(path)), None)
    return (
        None if found is None else ConfigFile(path=found, document=_parsed(found, _content(found)))
    )


def _folder_of(archive: str, state_dir: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the folder that may hold a file; what is wrong with an address, the command tells."""
    if "://" not in archive:
        return Path(archive).expanduser()
    try:
        return folder_of(archive, state_dir or environ.get(STATE_DIR) or None, environ)
    except UsageError:
        return None


def usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where a file is looked for that is nobody's archive and was not named."""
    home = environ.get("HOME")
    base = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if base and Path(base).is_absolute():
        yield Path(base) / "bulkaudio" / CONFIG_FILE
    yield MACHINES


def _is_file(path: Path, *, unless: bool = False) -> bool:
    """
    Whether there is a file.

    Args:
        unless: What to say where this user may not look. A usual place, such as the home of whom
            the job was started by, is none then; a file that was named is told to be unreadable.
    """
    try:
        return path.is_file()
    except OSError:
        return unless


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _own_content(path: Path) -> bytes | None:
    """Read a file that nobody named, if there is one; refuse it if others may have written it."""
    try:
        folder = path.parent.stat()
        path.lstat()
    except (OSError, ValueError):
        return None  # what is wrong with an archive's folder, the run itself will tell
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise _distrusted(path, "it is a link", "put the file itself there") from error
        raise _unreadable(path, error) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _distrusted(path, "it is no plain file", "put a file there")
        _check_owner(path, path, status)
        # Who can write to the folder can put another of this user's files under the name.
        _check_owner(path, path.parent, folder)
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(LARGEST_BYTES + 1)
    finally:
        os.close(fd)


def _check_owner(path: Path, what: Path, status: os.stat_result) -> None:
    shown = "it" if what == path else f"its folder {what}"
    if status.st_uid not in {0, os.geteuid()}:
        user = f"chown {os.geteuid()} {shlex.quote(str(what))}"
        raise _distrusted(path, f"{shown} belongs to another user", user)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        reason = f"others can write to {shown} (mode {mode:04o})"
        raise _distrusted(path, reason, f"chmod go-w {shlex.quote(str(what))}")


def _distrusted(path: Path, reason: str, fix: str) -> UsageError:
    return UsageError(
        f"{path} was found in the archive and is not obeyed: {reason}",
        fix=f"if you trust it, {fix}, or name it with --config; else remove it",
    )


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be read: {error.strerror}", fix="make it readable for this user"
    )


def _parsed(path: Path, content: bytes) -> Mapping[str, Any]:
    if len(content) > LARGEST_BYTES:
        raise UsageError(
            f"{path} is longer than 1 MiB, so it is no configuration", fix="check the file's name"
        )
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not chained: the error carries the document, and somebody may have put a key there.
        told = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(
            f"{path} is not valid TOML: {told}", fix='write lines like region = "uk"'
        ) from None
