"""Waiting for what makes staged recordings durable: a sync on a disk, an upload to a bucket."""

import asyncio
from collections.abc import Sequence

from bulkaudio.errors import StorageError
from bulkaudio.stores.base import Staged


async def durable_of(batch: Sequence[Staged]) -> tuple[Sequence[Staged], StorageError | None]:
    """Wait for a batch; return what of it is durable, and what first kept another from it."""
    if batch:
        # `wait`, because awaiting one would cancel it with the waiter.
        await asyncio.wait([staged.durable for staged in batch])
    faults = [_fault_of(staged.durable) for staged in batch]
    durable = [staged for staged, fault in zip(batch, faults, strict=True) if fault is None]
    return durable, next((fault for fault in faults if fault is not None), None)


def _fault_of(durable: "asyncio.Future[None]") -> StorageError | None:
    """Why a finished sync did not succeed; None when it did."""
    if durable.cancelled():
        return StorageError("a recording was not brought to the disk before the run ended")
    error = durable.exception()
    if error is None or isinstance(error, StorageError):
        return error
    raise error
