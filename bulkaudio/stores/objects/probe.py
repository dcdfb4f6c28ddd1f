"""What a bucket lets one do, found out with one small object before anything depends on it."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.stores.objects.faults import Kind
from bulkaudio.stores.objects.patience import Repeater, RequestFailed
from bulkaudio.stores.objects.things import Body, Conditions, Found
from bulkaudio.stores.objects.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obstore.store import ObjectStore

FOLDER = PurePosixPath(".bulkaudio/probe")
FACTS = {"probe": "bulkaudio"}

IGNORES_ABSENCE = (
    "this object store replaces an object where it is told not to (it ignores If-None-Match), so "
    "every put looks first: let only one run at a time write there"
)
NO_DELETE = (
    "these credentials cannot delete objects: downloads work, `purge` and `verify --repair` will "
    "not, and a small object stays below .bulkaudio/probe/ after each start"
)


class Reader(Protocol):
    """The part of a bucket that a probe uses besides its put."""

    def head(self, key: str) -> Found | None:
        """Look at one object."""
        ...

    def read(self, key: str) -> "Iterator[bytes]":
        """Yield its bytes."""
        ...

    def names(self, prefix: str) -> "Iterator[Sequence[Found]]":
        """List what is below a prefix."""
        ...

    def delete(self, keys: "Sequence[str]") -> None:
        """Remove objects."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of one bucket."""

    client: "ObjectStore"
    repeater: Repeater
    bucket: Reader

    def run(self) -> Conditions:
        """Try everything; raises `StorageError` with what is missing."""
        key = self.repeater.url.key(FOLDER / secrets.token_hex(8))
        first, second = (_upload(key, data) for data in (b"first", b"second"))
        honours = self._is_refused(first, second)
        try:
            facts = self._read_back(key, b"first" if honours else b"second")
        except StorageError:
            with suppress(StorageError):
                self.bucket.delete([key])
            raise
        can_delete = self._delete(key)
        notes = [] if honours else [IGNORES_ABSENCE]
        return Conditions(
            honours_absence=honours,
            keeps_facts=facts == FACTS,
            can_delete=can_delete,
            notes=(*notes, *([] if can_delete else [NO_DELETE])),
        )

    def _is_refused(self, first: Upload, second: Upload) -> bool:
        """Whether the second of two puts is refused, and one of them is there."""
        what = "storing a first object"
        outcomes: list[Kind | None] = [
            self.repeater.call(what, self._created(upload)) for upload in (first, second)
        ]
        if Kind.UNSUPPORTED not in outcomes:
            return outcomes[1] is Kind.EXISTS
        self.repeater.call(what, lambda _: second.send_single(self.client, only_if_absent=False))
        return False

    def _created(self, upload: Upload) -> Callable[[int], Kind | None]:
        def work(_: int) -> Kind | None:
            try:
                upload.send_single(self.client, only_if_absent=True)
            except RequestFailed as failure:
                if failure.fault.kind not in {Kind.EXISTS, Kind.UNSUPPORTED}:
                    raise
                return failure.fault.kind
            return None

        return work

    def _read_back(self, key: str, expected: bytes) -> "Mapping[str, str]":
        """Read and list; returns the facts that came back."""
        found = self.bucket.head(key)
        data = b"".join(self.bucket.read(key))
        folder = key.rpartition("/")[0]
        is_listed = any(item.key == key for page in self.bucket.names(folder) for item in page)
        if found is None or data != expected or not is_listed:
            raise StorageError(
                f"an object that was stored in {self.repeater.url} does not come back as it was",
                fix="the store must show at once what was written: see its settings for caching "
                "and replication",
            )
        return found.facts

    def _delete(self, key: str) -> bool:
        try:
            self.bucket.delete([key])
        except BucketAuthError:
            return False
        return True


def _upload(key: str, data: bytes) -> Upload:
    return Upload(key=key, body=Body.of(data), facts=FACTS)
