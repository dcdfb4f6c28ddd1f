"""
The file in a state folder that says in which object store the recordings are, and how it is reached.

The ledger says the first, too; this is for the day on which it is lost. The first line is the
address. Lines behind it name another server than the cloud's own and the certificates to trust, so
that nobody has to say them again; credentials are never among them.
"""

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from bulkaudio.errors import BulkAudioError, StorageError, UsageError
from bulkaudio.naming import printable
from bulkaudio.object_url import ObjectUrl
from bulkaudio.place import usual_folder
from bulkaudio.settings import Elsewhere
from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import (
    STATE_FOLDER,
    Folders,
    create_file,
    open_for_reading,
    translated,
    unlink_if_there,
)

ADDRESS_FILE = "store"
ADDRESS_BYTES = 8192
ENDPOINT, CA_BUNDLE = "endpoint ", "ca-bundle "


def has_address(folders: Folders) -> bool:
    """Whether the recordings are elsewhere."""
    try:
        with folders.opened((STATE_FOLDER,)) as folder_fd:
            os.stat(ADDRESS_FILE, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_address(root: Path) -> Elsewhere | None:
    """Read the file that says where the recordings are; None without one. Blocks."""
    with translated(root, is_reading=True):
        try:
            folders = Folders(root)
        except FileNotFoundError:
            return None
        try:
            with folders.opened((STATE_FOLDER,)) as folder_fd:
                fd = open_for_reading(ADDRESS_FILE, folder_fd)
        except FileNotFoundError:
            return None
        finally:
            folders.close()
        if fd is None:
            return None
        try:
            text = os.pread(fd, ADDRESS_BYTES, 0).decode("utf-8", "replace")
            distrust = _distrust(root, os.fstat(fd))
        finally:
            os.close(fd)
    first, *others = text.splitlines() or [""]
    url = ObjectUrl.parse(first.strip())
    if url is None:
        raise StorageError(
            f"{root / STATE_FOLDER / ADDRESS_FILE}, which says where the recordings are, holds no address",
            fix="write the address into it, such as s3://BUCKET/PREFIX",
        )
    endpoint, ca_bundle = (_said(others, key) for key in (ENDPOINT, CA_BUNDLE))
    return Elsewhere(
        url=url,
        endpoint=endpoint,
        ca_bundle=Path(ca_bundle) if ca_bundle else None,
        distrust=distrust if endpoint or ca_bundle else None,
    )


def _distrust(root: Path, status: os.stat_result) -> str | None:
    """Say why a server that the file names must not be given this user's credentials."""
    if status.st_uid not in {os.geteuid(), 0}:
        return f"{root / STATE_FOLDER / ADDRESS_FILE} belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to {root / STATE_FOLDER / ADDRESS_FILE}"
    return None


def _said(lines: Sequence[str], key: str) -> str | None:
    return next((line.removeprefix(key) for line in lines if line.startswith(key)), None)


def write_address(folders: Folders, elsewhere: Elsewhere) -> None:
    """Write that file; durable when this returns. Blocks."""
    temporary = f"{ADDRESS_FILE}.new"
    lines = [str(elsewhere.url)]
    if elsewhere.endpoint is not None:
        lines.append(f"{ENDPOINT}{elsewhere.endpoint}")
    if elsewhere.ca_bundle is not None:
        lines.append(f"{CA_BUNDLE}{elsewhere.ca_bundle.absolute()}")
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        reach(Step.ADDRESS_WRITE)
        unlink_if_there(temporary, folder_fd)
        fd = create_file(temporary, folder_fd)
        try:
            os.write(fd, "".join(f"{line}\n" for line in lines).encode())
            reach(Step.ADDRESS_SYNC)
            os.fsync(fd)
        finally:
            os.close(fd)
        reach(Step.ADDRESS_MOVE)
        os.rename(temporary, ADDRESS_FILE, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)


def title_of(root: Path, asked: Elsewhere | None = None) -> str:
    """
    Name an archive for people: its folder, or its address with the folder of the ledger. Blocks.

    Args:
        asked: What counts for one that is not begun yet.
    """
    return titled(root, store_of(root, asked))


def titled(root: Path, store: str | None) -> str:
    """Write the same of an address that is known."""
    return str(root) if store is None else f"{store} (ledger in {root})"


def store_of(root: Path, asked: Elsewhere | None = None) -> str | None:
    """Return the address alone, for programs; None: the recordings are in the folder. Blocks."""
    elsewhere = _kept(root) or asked
    return None if elsewhere is None else str(elsewhere.url)


def words_of(root: Path) -> str:
    """Write for a shell what names an archive that is there: its address, or its folder. Blocks."""
    elsewhere = _kept(root)
    if elsewhere is None:
        return shlex.quote(str(root))
    return words_for(root, Elsewhere(url=elsewhere.url))


def argument_of(root: Path) -> str:
    """Write the same for a command that has no ``--state-dir``. Blocks."""
    elsewhere = _kept(root)
    is_found = elsewhere is not None and _is_usual(root, elsewhere.url)
    name = elsewhere.url if elsewhere is not None and is_found else root
    return shlex.quote(printable(str(name), 500))


def words_for(root: Path, elsewhere: Elsewhere) -> str:
    """Write for a shell what names an archive of which this machine may have nothing."""
    words = [str(elsewhere.url)]
    if not _is_usual(root, elsewhere.url):
        words += ["--state-dir", str(root)]
    if elsewhere.endpoint is not None:
        words += ["--store-endpoint", elsewhere.endpoint]
    if elsewhere.ca_bundle is not None:
        words += ["--ca-bundle", str(elsewhere.ca_bundle)]
    return shlex.join(words)


def _is_usual(root: Path, url: ObjectUrl) -> bool:
    try:
        return root.absolute() == usual_folder(url)
    except UsageError:
        return False


def _kept(root: Path) -> Elsewhere | None:
    try:
        return read_address(root)
    except (BulkAudioError, ValueError):
        # Also of what cannot be the name of a folder, which is told to the user as such.
        return None
