"""What the flow needs of a place that names conversations."""

from collections.abc import AsyncIterator
from typing import Protocol

from bulkaudio.model import Batch


class Source(Protocol):
    """Somewhere conversations come from, once: opened, read to the end, closed."""

    @property
    def kind(self) -> str:
        """``csv``, ``listing`` or ``ids``, as the summary says it."""
        ...

    @property
    def knows_dates(self) -> bool:
        """Whether its conversations carry their start; valid after `open`."""
        ...

    async def open(self) -> None:
        """Check what can be checked without a request; raises `UsageError`."""
        ...

    def batches(self) -> AsyncIterator[Batch]:
        """
        Yield what is known as soon as it is, in order and in constant memory.

        Raises:
            UsageError: When the source turns out not to be what `open` took it for.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files and threads; safe to call again, and without `open`."""
        ...
