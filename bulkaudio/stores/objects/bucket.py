"""
A bucket of an object store, over obstore.

Rules of this package: obstore's synchronous calls only, from threads (its asynchronous ones can
abort the process at its end, after success); every error leaves as a `StorageError` that holds no
credential and no signed address; nothing that exists is replaced, except by `replace`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.things import Body, Conditions, Found, Put


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """
    How to reach a bucket.

    Attributes:
        endpoint: Base address of another server than the cloud's own; None: what the cloud's own
            variable says, else the cloud.
        ca_bundle: PEM file of authorities to trust besides the system's.
    """

    endpoint: str | None = None
    ca_bundle: Path | None = None


class Bucket:
    """
    Synchronous, and safe to use from many threads; every call may take minutes.

    Keys are whole ones, `ObjectUrl.key`. Names of facts are lower-case letters and digits: what
    else is allowed differs between stores.
    """

    url: ObjectUrl

    @classmethod
    def open(cls, url: ObjectUrl, options: BucketOptions) -> "Bucket":
        """Look the credentials up; nothing is requested. Raises `StorageError`, `UsageError`."""
        raise NotImplementedError

    @classmethod
    def in_memory(cls, url: ObjectUrl) -> "Bucket":
        """Return an empty one for tests; it keeps nothing."""
        raise NotImplementedError

    def probe(self) -> Conditions:
        """
        Prove, at the start of a run, that objects can be created, read, listed and deleted here.

        Writes and removes one small object; from then on, `put` knows what the store honours.

        Raises:
            StorageError: With what is missing.
        """
        raise NotImplementedError

    def put(self, key: str, body: Body, *, facts: Mapping[str, str]) -> Put:
        """Store `body` under a key that is free, and compare what arrived."""
        raise NotImplementedError

    def replace(self, key: str, body: bytes, *, facts: Mapping[str, str]) -> None:
        """Store `body`, whatever is there."""
        raise NotImplementedError

    def head(self, key: str) -> Found | None:
        """Look at one object; None: there is none."""
        raise NotImplementedError

    def holds(self, found: Found, body: Body) -> bool:
        """Whether that object is these bytes: by size, then MD5 where the store has it, else read."""
        raise NotImplementedError

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes, in pieces of 8 MiB; raises `ObjectMissingError` if it is gone."""
        raise NotImplementedError

    def read_range(self, key: str, at: int, size: int) -> bytes:
        """Read a part, which is shorter at the object's end."""
        raise NotImplementedError

    def names(self, prefix: str) -> Iterator[Sequence[Found]]:
        """List what is below a prefix of whole segments, in pages, without facts."""
        raise NotImplementedError

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is no error."""
        raise NotImplementedError

    def move(self, source: str, target: str) -> Put:
        """Copy to a key that is free, with its facts, and remove the source; EXISTS: nothing was done."""
        raise NotImplementedError
