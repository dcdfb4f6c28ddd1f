"""
The file in a state folder that says in which object store the recordings are.

The ledger says so, too; this is for the day on which it is lost.
"""

import os
from pathlib import Path

from bulkaudio.errors import StorageError
from bulkaudio.object_url import ObjectUrl
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
"""One line: the address of the recordings."""

ADDRESS_BYTES = 2048


def has_address(folders: Folders) -> bool:
    """Whether the recordings are elsewhere."""
    try:
        with folders.opened((STATE_FOLDER,)) as folder_fd:
            os.stat(ADDRESS_FILE, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_address(root: Path) -> ObjectUrl | None:
    """Read the file that says where the recordings are; None without one. Blocks."""
    with translated(root):
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
            text = os.pread(fd, ADDRESS_BYTES, 0).decode("utf-8", "replace").strip()
        finally:
            os.close(fd)
    url = ObjectUrl.parse(text)
    if url is None:
        raise StorageError(
            f"{root / STATE_FOLDER / ADDRESS_FILE}, which says where the recordings are, holds no address",
            fix="write the address into it, such as s3://BUCKET/PREFIX",
        )
    return url


def write_address(folders: Folders, url: ObjectUrl) -> None:
    """Write that file; durable when this returns. Blocks."""
    temporary = f"{ADDRESS_FILE}.new"
    with folders.opened((STATE_FOLDER,)) as folder_fd:
        reach(Step.ADDRESS_WRITE)
        unlink_if_there(temporary, folder_fd)
        fd = create_file(temporary, folder_fd)
        try:
            os.write(fd, f"{url}\n".encode())
            reach(Step.ADDRESS_SYNC)
            os.fsync(fd)
        finally:
            os.close(fd)
        reach(Step.ADDRESS_MOVE)
        os.rename(temporary, ADDRESS_FILE, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)
