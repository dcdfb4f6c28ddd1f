"""
What travels between the run and its workers.

Everything that is sent lies with the scheduler for a while and may be looked at there: no key and no
password is ever in it, and what travels is bytes, which the scheduler does not take apart.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bulkaudio import errors
from bulkaudio.cluster.shards import Shard
from bulkaudio.errors import BulkAudioError
from bulkaudio.model import Metadata, Outcome
from bulkaudio.settings import Elsewhere, Pace

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """
    Whose recordings, and how they are reached; see `bulkaudio.settings.Connection`.

    Attributes:
        proxy: Without a password: one that has it is looked up by each worker.
        needs_own_proxy: The worker's environment has to name the proxy.
    """

    region: str
    agent: str
    account: str | None
    audio_url: str | None
    conversations_url: str | None
    ca_bundle: Path | None
    proxy: str | None = None
    needs_own_proxy: bool = False
    api_key_file: str | None = None
    conversations_key_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """
    What all shards of a run have in common.

    Attributes:
        version: Of bulkaudio; a worker of another one refuses.
        archive: The shared folder, as every worker sees it; with `elsewhere` nothing to workers.
        grace_s: How long what is under way may take to end when the run stops.
        elsewhere: The object store that recordings go to, without proxy.
        needs_store_proxy: It is reached by the proxy that PolyAI is reached by.
    """

    run_id: str
    version: str
    archive: Path
    layout: str
    whose: Whose
    redacted: bool | None
    metadata: Metadata
    pace: Pace
    grace_s: float
    elsewhere: Elsewhere | None = None
    needs_store_proxy: bool = False

    @property
    def home(self) -> Path | Elsewhere:
        """Which archive it is, among all that workers may have to do with."""
        return self.elsewhere or self.archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error that ends the run, as a value: raised, it would have the shard done again."""

    kind: str
    message: str
    fix: str | None
    correlation_id: str | None

    @classmethod
    def of(cls, error: BulkAudioError) -> "Fault":
        """Write an error down, by the nearest of its classes that the other side knows for sure."""
        known = (each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        return cls(
            kind=next(known, BulkAudioError).__name__,
            message=error.message,
            fix=error.fix,
            correlation_id=error.correlation_id,
        )

    def error(self) -> BulkAudioError:
        """Return the same error again."""
        kind = getattr(errors, self.kind, BulkAudioError)
        is_ours = isinstance(kind, type) and issubclass(kind, BulkAudioError)
        made: BulkAudioError = (kind if is_ours else BulkAudioError)(
            self.message, fix=self.fix, correlation_id=self.correlation_id
        )
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a worker counted of one attempt at a shard, from its beginning on."""

    http: Mapping[int, int] = field(default_factory=dict)
    received_bytes: int = 0
    retries: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    How a shard ended; what has no outcome in it is still open.

    Attributes:
        attempt: A name of its own for each time that a worker took the shard.
        bench: Where the worker keeps its list of what it has published.
        sidecars: Conversations whose metadata was asked for, with why it was not written.
        put_off: The host asks everybody to wait for long; ends the run when all workers say so.
        suspects: What was being retried when the host was given up.
    """

    attempt: str
    worker: str
    bench: str | None
    outcomes: tuple[Outcome, ...] = ()
    sidecars: tuple[tuple[str, str | None], ...] = ()
    counts: Counts = Counts()
    notes: tuple[tuple[str, bool], ...] = ()
    fault: Fault | None = None
    put_off: Fault | None = None
    suspects: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A shard with the orders for it."""

    orders: Orders
    shard: Shard


def packed(value: Parcel | Report) -> bytes:
    """Make bytes of a value; a `Secret` in it raises."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes, kind: type[T]) -> T:
    """Read what the other side has packed: each of them runs what the other sends, by nature."""
    value = pickle.loads(data)  # noqa: S301  see docs/cluster.md: a scheduler is trusted or not used
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value
