"""A body of any size, seen through a window at its beginning and one at its end."""

import hashlib

HEAD_BYTES = 1024 * 1024
TAIL_BYTES = 64 * 1024


class Window:
    """
    Takes a body as it comes and keeps its hash, its size, and both ends of it, in memory only.

    Attributes:
        total_bytes: How much was taken.
    """

    def __init__(self) -> None:
        self.total_bytes = 0
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._tail = b""

    def take(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.total_bytes += len(chunk)
        self._digest.update(chunk)
        self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    @property
    def sha256(self) -> str:
        """Of everything that was taken."""
        return self._digest.hexdigest()

    def read_at(self, offset: int, size: int) -> bytes:
        """
        Return so many bytes from there, fewer at the end; see `bulkaudio.wav.ReadAt`.

        Between the windows everything is 0, which no chunk begins with: a walk over the chunks of a
        WAV ends there, behind the audio, as it would at the end.
        """
        size = max(0, min(size, self.total_bytes - offset))
        if offset + size <= len(self._head):
            return bytes(self._head[offset : offset + size])
        start = offset - (self.total_bytes - len(self._tail))
        return self._tail[start : start + size] if start >= 0 else bytes(size)
