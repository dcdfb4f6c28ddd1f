"""A watchdog over a body that keeps arriving, too slowly to ever end."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLimits:
    """
    How long and how much one transfer may take.

    Attributes:
        head_s: From sending a request to the end of the answer's head, each hop anew: a head
            that drips never lets `read_s` expire.
        read_s: Silence in the middle of an answer.
        min_bytes_per_s, over_s: A body slower than this, over so much time spent waiting for
            it, has stalled.
        max_body_bytes: A body above this is no recording and no page.
    """

    connect_s: float = 15.0
    head_s: float = 90.0
    read_s: float = 60.0
    min_bytes_per_s: float = 1000.0
    over_s: float = 30.0
    max_body_bytes: int = 4 * 1024**3


class Throughput:
    """Adds up what arrives; only time spent waiting counts, not what the reader does in between."""

    __slots__ = ("_bytes", "_limits", "_waited_s")

    def __init__(self, limits: TransferLimits) -> None:
        self._limits = limits
        self._waited_s = 0.0
        self._bytes = 0

    def has_stalled(self, waited_s: float, received_bytes: int) -> bool:
        """Note a piece and tell whether the window that it ends was too slow."""
        self._waited_s += waited_s
        self._bytes += received_bytes
        if self._waited_s < self._limits.over_s:
            return False
        is_slow = self._bytes < self._limits.min_bytes_per_s * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return is_slow
