"""What the flow needs of a place that keeps recordings."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from bulkaudio.errors import StorageError
from bulkaudio.model import Audio, Recording
from bulkaudio.wav import Flaw


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """
    A whole, proven recording that is not visible yet.

    Attributes:
        temporary: Its private file.
        durable: Done when the bytes are on stable storage; raises `StorageError`.
    """

    recording: Recording
    temporary: Path
    bytes: int
    sha256: str
    audio: Audio
    durable: "asyncio.Future[None]" = field(repr=False, compare=False)


class Publication(Enum):
    """How publishing ended."""

    PUBLISHED = auto()
    ADOPTED = auto()
    """The final name already held the same bytes."""
    CONFLICT = auto()
    """The final name holds other bytes, which are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A staged recording after `Store.publish`; `path` is the final one, relative to the root."""

    staged: Staged
    path: Path
    result: Publication


class PublishError(StorageError):
    """
    Not all of a batch could be published.

    Attributes:
        cause: What was in the way of the rest: that is what ends the run.
        published: Those that were, names and folders synced: they may go into the ledger.
    """

    def __init__(self, cause: StorageError, published: Sequence[Published]) -> None:
        super().__init__(cause.message, fix=cause.fix)
        self.cause = cause
        self.published = tuple(published)


class Staging(Protocol):
    """
    One temporary file being written.

    Leave it by `seal` or `discard`; both are safe to call again and after cancellation.
    """

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes, of any size; pieces of 256 KiB or more reach the disk."""
        ...

    async def seal(self, *, framed: bool) -> Staged | Flaw:
        """
        Flush and prove.

        Args:
            framed: The transfer's own framing (length or chunks) was complete, so that a WAV with
                streamed sizes can be believed.

        Returns:
            A flaw when the bytes are no whole WAV; the temporary file is gone then.

        Raises:
            StorageError: When this machine cannot keep the bytes.
        """
        ...

    async def discard(self) -> None:
        """Remove the temporary file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarsKept:
    """
    What became of metadata files that were to be written, but for those that were.

    Attributes:
        in_the_way: What was left alone because it is none of ours, by conversation.
        unchanged: Conversations of which the same is kept already.
    """

    in_the_way: Mapping[str, Path] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()


class Store(Protocol):
    """A place that keeps recordings under final names that only ever hold whole ones."""

    async def stage(self, recording: Recording) -> Staging:
        """Begin a temporary file for `recording`; raises `StorageError`."""
        ...

    async def publish(self, batch: Sequence[Staged]) -> Sequence[Published]:
        """
        Make a batch visible and durable: names and their folders are synced when this returns.

        The temporary names stay until `forget`: they say, after a crash, which final files are
        proven and not yet in the ledger.

        Raises:
            PublishError: With those of the batch that are published all the same.
        """
        ...

    async def forget(self, batch: Sequence[Published]) -> None:
        """Drop the temporary names of a batch that is in the ledger."""
        ...

    async def write_sidecars(self, texts: Mapping[str, bytes]) -> SidecarsKept:
        """Replace conversations' metadata files, each atomically; durable when this returns."""
        ...

    async def has_sidecar(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations have a metadata file."""
        ...

    async def free_bytes(self) -> int:
        """Space left for this user."""
        ...

    def hurry(self) -> None:
        """Try nothing again from now on: what cannot be kept at once stays open."""
        ...
