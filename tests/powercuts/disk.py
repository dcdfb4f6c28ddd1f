"""
A disk that remembers what it was told: one image file, served through FUSE from a process.

A loop device over that file makes a disk of it. The file is opened for direct I/O, so that no page
cache stands between the two, and one thread serves it, so that the log has the one order in which
things became true. Discards and cheap zeroing are refused: the kernel writes zeros instead.
"""

import errno
import os
import stat
import sys
from pathlib import Path

import mfusepy

from tests.powercuts.log import DISK_FILE, Recorder


class Disk:
    """Serves an image and logs what changes it; mfusepy calls what stands here, by its names."""

    use_ns = True

    def __init__(self, image: Path, log: Recorder) -> None:
        self._fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._log = log

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:  # noqa: ARG002  # as called
        """Describe the folder, or the one file in it."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path != f"/{DISK_FILE}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        size = os.fstat(self._fd).st_size
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def open(self, path: str, flags: mfusepy.fuse_file_info) -> int:  # noqa: ARG002  # as called
        """Open the image past the page cache."""
        flags.direct_io = 1
        return 0

    def read(self, path: str, size: int, offset: int, fh: object) -> bytes:  # noqa: ARG002  # as called
        """Read back what was told."""
        return os.pread(self._fd, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: object) -> int:  # noqa: ARG002  # as called
        """Take bytes; the log has them before the kernel hears that they were taken."""
        self._log.write(offset, data)
        return os.pwrite(self._fd, data, offset)

    def fsync(self, path: str, datasync: int, fh: object) -> int:  # noqa: ARG002  # as called
        """Take a flush."""
        self._log.flush()
        return 0


if __name__ == "__main__":
    where, image, log = map(Path, sys.argv[1:])
    mfusepy.FUSE(
        Disk(image, Recorder(log)),
        str(where),
        raw_fi=True,
        foreground=True,
        nothreads=True,
    )
