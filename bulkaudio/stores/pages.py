"""Pages about an archive in its own folder: made by `bulkaudio report`, and full of what it knows."""

import os
import re
from collections.abc import Sequence

from bulkaudio.steps import Step, reach
from bulkaudio.stores.disk import Folders, open_for_reading, unlink_if_there

MARK = b'<meta name="generator" content="bulkaudio report">'
"""Stands at the beginning of each of them, and of no page of anybody else's."""

HEAD_BYTES = 4096

_NAME = re.compile(r".+\.html?(?:\.[0-9]+)?", re.IGNORECASE)
"""With a number: one whose writing was killed."""


def pages(folders: Folders) -> Sequence[str]:
    """Name them."""
    with folders.opened(()) as folder_fd:
        names = os.listdir(folder_fd)  # noqa: PTH208  # by descriptor
        return sorted(each for each in names if _NAME.fullmatch(each) and _is_ours(each, folder_fd))


def remove_pages(folders: Folders) -> Sequence[str]:
    """Remove them, whatever calls they tell of; durable when this returns their names."""
    names = pages(folders)
    if not names:
        return names
    with folders.opened(()) as folder_fd:
        for name in names:
            reach(Step.ERASE_PAGE)
            unlink_if_there(name, folder_fd)
        reach(Step.ERASE_SYNC)
        os.fsync(folder_fd)
    return names


def _is_ours(name: str, folder_fd: int) -> bool:
    try:
        fd = open_for_reading(name, folder_fd)
    except (FileNotFoundError, PermissionError):
        return False  # gone meanwhile, or nothing that this user may read and so did not write
    if fd is None:
        return False
    try:
        return MARK in os.pread(fd, HEAD_BYTES, 0)
    finally:
        os.close(fd)
