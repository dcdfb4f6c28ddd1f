"""
Where a worker keeps recordings: made by a function from the place that the archive is in.

Each kind brings a store that publishes without replacing, and can say of a shard what is there already.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from bulkaudio.cluster.parcels import Orders
from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.stores.base import Store
from bulkaudio.stores.opening import join_elsewhere
from bulkaudio.stores.shared import WorkerStore


class Place(Store, Protocol):
    """A store that a worker keeps recordings in, without the archive's lock and ledger."""

    @property
    def bench_name(self) -> str | None:
        """Where it writes down what it has saved, for the run to strike out; None: nowhere."""
        ...

    @property
    def linger_s(self) -> float:
        """So long what is published may wait for more before it is written down: it may be lost then."""
        ...

    async def write_down(
        self, shard: str, outcomes: Sequence[Outcome], *, before: Sequence[Outcome] = ()
    ) -> None:
        """
        Write down what was saved of a shard, before anybody else is told.

        Args:
            before: What this attempt has written down of it already.
        """
        ...

    async def written_down(self, shard: str, recordings: Sequence[Recording]) -> Sequence[Outcome]:
        """Return what was saved of a shard already, by whomever, proven."""
        ...

    async def aclose(self) -> None:
        """Leave; may be called again."""
        ...


async def open_place(orders: Orders, proxy: str | None) -> Place:
    """
    Join an archive that a run has opened.

    Args:
        proxy: What this worker reaches the network by.

    Raises:
        StorageError, UsageError: This worker does not see it, or cannot write to it.
    """
    layout = Layout.parse(orders.layout)
    elsewhere = orders.elsewhere
    if elsewhere is None:
        return await WorkerStore.join(orders.archive, layout=layout)
    if orders.needs_store_proxy:
        elsewhere = replace(elsewhere, proxy=proxy)
    return await join_elsewhere(elsewhere, layout)
