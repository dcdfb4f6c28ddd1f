"""
Where a worker keeps recordings: made by a function from the place that the archive is in.

A folder is the one kind so far. Another kind brings a store that publishes without replacing, and can
say of a shard what is there already.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.stores.base import Store
from bulkaudio.stores.shared import WorkerStore


class Place(Store, Protocol):
    """A store that a worker keeps recordings in, without the archive's lock and ledger."""

    @property
    def bench_name(self) -> str | None:
        """Where it writes down what it has saved, for the run to strike out; None: nowhere."""
        ...

    async def write_down(self, shard: str, outcomes: Sequence[Outcome]) -> None:
        """Write down what was saved of a shard, before anybody else is told."""
        ...

    async def written_down(self, shard: str, recordings: Sequence[Recording]) -> Sequence[Outcome]:
        """Return what was saved of a shard already, by whomever, proven."""
        ...

    async def aclose(self) -> None:
        """Leave; may be called again."""
        ...


async def open_place(archive: Path, layout: str) -> Place:
    """
    Join an archive that a run has opened.

    Raises:
        StorageError: This worker does not see it, or cannot write to it.
    """
    return await WorkerStore.join(archive, layout=Layout.parse(layout))
