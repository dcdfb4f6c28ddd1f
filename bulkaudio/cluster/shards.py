"""How recordings become lists for workers. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bulkaudio.model import Task
from bulkaudio.sidecars import SidecarTask

Item = Task | SidecarTask

MOST = 256
"""Recordings of a shard: some seconds of work, and what a worker that dies leaves to another."""

FIRST = 32
"""Of the first ones, so that a short run has something for every worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """
    A list of what one worker is to fetch.

    Attributes:
        name: Unique in its run; what was split off, or is left, has a name of its own.
    """

    name: str
    items: tuple[Item, ...]

    def keys(self) -> frozenset[tuple[str, str]]:
        """Name the recordings."""
        return frozenset(key_of(item) for item in self.items)

    def without(self, done: Collection[tuple[str, str]], name: str) -> "Shard | None":
        """Return what is left of it; None when nothing is."""
        items = tuple(item for item in self.items if key_of(item) not in done)
        return Shard(name=name, items=items) if items else None


def key_of(item: Item) -> tuple[str, str]:
    """Name an item: conversation and direction, or conversation and nothing for its metadata."""
    if isinstance(item, SidecarTask):
        return item.conversation_id, ""
    return item.recording.conversation_id, item.recording.direction


def size_of(number: int, workers: int) -> int:
    """Return how many recordings the shard of this number gets at most."""
    rounds = number // max(1, 2 * workers)
    return min(MOST, FIRST * (rounds + 1))


def halves(shard: Shard) -> Sequence[Shard]:
    """Split a shard that no worker survives; one item alone cannot be split."""
    middle = len(shard.items) // 2
    return (
        Shard(name=f"{shard.name}a", items=shard.items[:middle]),
        Shard(name=f"{shard.name}b", items=shard.items[middle:]),
    )
