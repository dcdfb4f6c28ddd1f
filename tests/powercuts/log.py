"""
What a disk was told, in order: every write with its bytes, and every flush.

The log's length is its position: whoever wants to know what a disk had been told at some moment
looks at the size of the file, without asking the disk's process.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

DISK_FILE = "disk"
"""Name of the one file that the disk's process serves."""

_HEAD = struct.Struct("<cQI")
_WRITE, _FLUSH = b"W", b"F"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """
    Bytes for a place on the disk, which it may keep to itself until the next flush.

    Attributes:
        end: The log's position behind it.
    """

    offset: int
    data: bytes
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """Everything told before is on the platter from here on."""

    end: int


Record = Write | Flush


class Recorder:
    """Appends to a log; each record in one call, so that a killed writer leaves whole ones."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, offset: int, data: bytes) -> None:
        """Take note of a write."""
        os.writev(self._fd, [_HEAD.pack(_WRITE, offset, len(data)), data])

    def flush(self) -> None:
        """Take note of a flush."""
        os.write(self._fd, _HEAD.pack(_FLUSH, 0, 0))


def read_log(path: Path) -> list[Record]:
    """Read a log to its end; a last record that was cut short is not one."""
    text = path.read_bytes()
    records: list[Record] = []
    at = 0
    while at + _HEAD.size <= len(text):
        kind, offset, length = _HEAD.unpack_from(text, at)
        start, at = at + _HEAD.size, at + _HEAD.size + length
        if at > len(text):
            break
        if kind == _FLUSH:
            records.append(Flush(end=at))
        else:
            records.append(Write(offset=offset, data=text[start:at], end=at))
    return records
