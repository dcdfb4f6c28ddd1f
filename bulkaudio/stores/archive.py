"""What commands need of an archive's store beyond a run, wherever the recordings are."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from bulkaudio.model import Outcome, Recording
from bulkaudio.naming import Layout
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.base import Store
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.erasing import Removal, Removed
from bulkaudio.stores.inspection import Inspection
from bulkaudio.stores.recovery import Catalogue
from bulkaudio.stores.register import Entry

T = TypeVar("T")


class ArchiveReader(Protocol):
    """What an archive keeps, for those who only look. Every method raises `StorageError`."""

    @property
    def root(self) -> Path:
        """The folder of ledger and lock; where the recordings are as well, unless elsewhere."""
        ...

    @property
    def layout(self) -> Layout:
        """How recordings are named."""
        ...

    async def aclose(self) -> None:
        """Let begun work end, then close. May be called again."""
        ...

    async def left_behind(self, catalogue: Catalogue) -> Sequence[Outcome]:
        """Find what a killed run had published and not brought to the ledger; it stays as it is."""
        ...

    async def has_sidecar(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations have metadata."""
        ...

    async def free_bytes(self) -> int:
        """Space left for this user."""
        ...

    async def inspect(
        self, path: PurePosixPath, is_stopped: Callable[[], bool] = lambda: False
    ) -> Inspection:
        """Read, hash and prove what is at a path relative to the archive."""
        ...

    async def audit(self, mark: str | None) -> Sequence[str]:
        """
        Say what is wrong with what the ledger has told where the recordings are, if that is elsewhere.

        Args:
            mark: What the ledger remembers of that.

        Raises:
            ArchiveBusyError: Another ledger tells of this archive.
        """
        ...

    def names(self) -> AsyncIterator[Sequence[str]]:
        """Yield, some at a time, every name in the archive that may be a recording."""
        ...

    def remains(self) -> AsyncIterator[Sequence[tuple[str, Outcome | None]]]:
        """
        Yield, some at a time, what is kept beside recordings, by conversation.

        A damaged recording comes as the outcome that says where it is, a metadata file as None.
        """
        ...

    async def within(self, work: Callable[[Folders], T]) -> T:
        """Do blocking work on the folders of `root`, in a thread of the store's own."""
        ...


class ArchiveStore(ArchiveReader, Store, Protocol):
    """A store under its archive's lock."""

    @property
    def place(self) -> Path:
        """What the paths of recordings are relative to, for programs; in a bucket, nothing."""
        ...

    @property
    def elsewhere(self) -> Elsewhere | None:
        """The object store that the recordings are in; None: they are in `root`."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Whole sentences about this place that a person should know."""
        ...

    async def recover(self, catalogue: Catalogue) -> Sequence[Outcome]:
        """Bring the ledger what an earlier run had published when it was killed; clear the rest."""
        ...

    async def gather_in(self, catalogue: Catalogue) -> Sequence[Outcome]:
        """Bring the ledger what workers of other processes had published when they ended."""
        ...

    async def strike_out(self, bench: str, shard: str) -> None:
        """Remove what a worker has written down of a shard: the ledger has it."""
        ...

    def listed(self) -> AsyncIterator[Sequence[tuple[str, int | None]]]:
        """Yield the same with sizes, where a listing tells them for nothing."""
        ...

    async def has_metadata(self) -> bool:
        """Whether metadata was ever written."""
        ...

    async def set_aside(self, path: PurePosixPath, recording: Recording) -> PurePosixPath:
        """Move what is damaged out of the way, replacing nothing; return where it is now."""
        ...

    async def erase(self, batch: Sequence[Removal]) -> Removed:
        """Remove everything of a batch; durable when this returns."""
        ...

    async def note(self, entries: Sequence[Entry]) -> None:
        """Put entries into the register of what was erased and what is held; durable as above."""
        ...

    async def share_ledger(self) -> None:
        """Bring what is new in the ledger to where the recordings are, should that be elsewhere."""
        ...

    async def share_ledger_anew(self) -> None:
        """Replace there what the ledger has forgotten."""
        ...

    def keep_sharing(self) -> Coroutine[None, None, None]:
        """Share what is settled, again and again, until cancelled."""
        ...
