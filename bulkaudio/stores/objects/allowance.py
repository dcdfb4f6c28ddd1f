"""How much memory bodies on their way may take, all together."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Allowance:
    """A number of bytes, of which each user takes some for a time; who asks for too much waits."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._left = size
        self._changed = Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold `size` bytes; more than there are in all counts as all."""
        size = min(size, self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()
