"""
A bucket of an object store, over obstore.

Rules of this package: obstore's synchronous calls only, from threads (its asynchronous ones can
abort the process at its end, after success); every error leaves as a `StorageError` that holds no
credential and no signed address; nothing that exists is replaced, except by `replace`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.store import MemoryStore

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.allowance import Allowance
from bulkaudio.stores.objects.connect import BucketOptions, Clients, connect
from bulkaudio.stores.objects.faults import (
    Fault,
    Kind,
    storage_error,
)
from bulkaudio.stores.objects.patience import Patience, Repeater, RequestFailed, attempted
from bulkaudio.stores.objects.probe import Probe
from bulkaudio.stores.objects.things import Body, Conditions, Found, Put
from bulkaudio.stores.objects.upload import SINGLE_BYTES, Upload, md5_of

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ListStream, ObjectMeta

T = TypeVar("T")

READ_BYTES = 8 * 1024 * 1024
NAMES_PER_PAGE = 1000
MEMORY_BYTES = 16 * SINGLE_BYTES

_NO_FACTS = {
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Cache-Control",
    "Storage-Class",
}


class Bucket:
    """
    Synchronous, and safe to use from many threads; every call may take minutes.

    Keys are whole ones, `ObjectUrl.key`. Names of facts are lower-case letters and digits: what
    else is allowed differs between stores.
    """

    def __init__(
        self, url: ObjectUrl, clients: Clients, *, patience: Patience, memory_bytes: int
    ) -> None:
        self.url = url
        self._clients = clients
        self._patience = patience
        self._repeater = Repeater(url=url, patience=patience)
        self._allowance = Allowance(memory_bytes)
        self._honours_absence = True

    def __repr__(self) -> str:
        return f"Bucket({self.url})"

    @classmethod
    def open(
        cls,
        url: ObjectUrl,
        options: BucketOptions,
        *,
        patience: Patience | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "Bucket":
        """Look the credentials up; nothing is requested. Raises `StorageError`, `UsageError`."""
        patience = patience or Patience()
        clients = connect(url, options, patience)
        return cls(url, clients, patience=patience, memory_bytes=memory_bytes)

    @classmethod
    def in_memory(cls, url: ObjectUrl) -> "Bucket":
        """Return an empty one for tests; it keeps nothing."""
        store = MemoryStore()
        clients = Clients(once=store, patient=store, plain=store)
        return cls(url, clients, patience=Patience(), memory_bytes=MEMORY_BYTES)

    def halt(self) -> None:
        """End every wait: what fails from now on is not tried again."""
        self._patience.halted.set()

    def probe(self) -> Conditions:
        """
        Prove, at the start of a run, that objects can be created, read, listed and deleted here.

        Writes and removes one small object; from then on, `put` knows what the store honours.

        Raises:
            StorageError: With what is missing.
        """
        probe = Probe(client=self._clients.once, repeater=self._repeater, bucket=self)
        conditions = probe.run()
        self._honours_absence = conditions.honours_absence
        return conditions

    def put(self, key: str, body: Body, *, facts: Mapping[str, str]) -> Put:
        """
        Store `body` under a key that is free, and compare what arrived.

        Above 16 MB, and where the store does not honour absence, this looks first: of two writers
        at the same moment the later one wins.
        """
        upload = Upload(key=key, body=body, facts=facts)
        is_atomic = upload.is_single and self._honours_absence
        work = self._create if is_atomic else self._look_and_put
        with self._allowance.take(upload.memory):
            return self._repeater.call("storing an object", lambda number: work(upload, number))

    def replace(self, key: str, body: bytes, *, facts: Mapping[str, str]) -> None:
        """Store `body`, whatever is there."""
        upload = Upload(key=key, body=Body.of(body), facts=facts)

        def work(_: int) -> None:
            is_proven = upload.send_single(self._clients.once, only_if_absent=False)
            if not is_proven and not self._is_there(upload):
                raise RequestFailed(_OTHER_BYTES)

        with self._allowance.take(upload.memory):
            self._repeater.call("replacing an object", work)

    def head(self, key: str) -> Found | None:
        """Look at one object; None: there is none."""

        def work(_: int) -> "GetResult":
            return attempted(lambda: obstore.get(self._clients.once, key, options={"head": True}))

        try:
            got = self._repeater.call("looking at an object", work, left=frozenset({Kind.MISSING}))
        except RequestFailed:
            return None
        facts = {name: text for name, text in got.attributes.items() if name not in _NO_FACTS}
        return _found(got.meta, facts)

    def holds(self, found: Found, body: Body) -> bool:
        """Whether that object is these bytes: by size, then MD5 where the store has it, else read."""
        if found.size != body.size:
            return False
        told = md5_of(found.etag)
        if told is not None and told in Upload(key=found.key, body=body).sums():
            return True
        return self._sha256(found) == body.sha256

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes, in pieces of 8 MiB; raises `ObjectMissingError` if it is gone."""
        found = self.head(key)
        if found is None:
            raise storage_error(Fault(kind=Kind.MISSING, status=404), "reading an object", self.url)
        yield from self._pieces(found)

    def read_range(self, key: str, at: int, size: int) -> bytes:
        """Read a part, which is shorter at the object's end."""
        return self._part(key, at, size, None)

    def names(self, prefix: str, *, after: str | None = None) -> Iterator[Sequence[Found]]:
        """
        List what is below a prefix of whole segments, in pages, without facts.

        Args:
            after: Only keys behind this one.
        """
        client = self._clients.patient
        pages = obstore.list(client, prefix or None, offset=after, chunk_size=NAMES_PER_PAGE)
        # A page that fails cannot be asked for again; the client has repeated its request.
        while page := self._next(pages):
            yield [_found(meta, {}) for meta in page]

    def _next(self, pages: "ListStream[Sequence[ObjectMeta]]") -> "Sequence[ObjectMeta] | None":
        try:
            return attempted(lambda: next(pages, None))
        except RequestFailed as failure:
            fault = failure.fault
        raise storage_error(fault, "listing objects", self.url)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is no error."""
        if not keys:
            return
        # Some stores do not know how to remove many at once, others stumble over one that is gone.
        left = frozenset({Kind.MISSING, Kind.UNSUPPORTED, Kind.FINAL})

        def work(_: int) -> None:
            attempted(lambda: obstore.delete(self._clients.once, keys))

        try:
            self._repeater.call("deleting objects", work, left=left)
        except RequestFailed:
            for key in keys:
                self._delete_one(key)

    def move(self, source: str, target: str) -> Put:
        """
        Copy to a key that is free, with its facts, and remove the source.

        Returns:
            EXISTS when something else is at `target`: nothing was done. A copy that a killed run
            left there is taken for ours.
        """
        original = self.head(source)
        if original is None:
            raise storage_error(Fault(kind=Kind.MISSING, status=404), "moving an object", self.url)
        self._repeater.call("copying an object", lambda _: self._copy(source, target))
        copy = self.head(target)
        if copy is None or not self._are_same(original, copy):
            return Put.EXISTS
        self._delete_one(source)
        return Put.CREATED

    def _create(self, upload: Upload, number: int) -> Put:
        try:
            is_proven = upload.send_single(self._clients.once, only_if_absent=True)
        except RequestFailed as failure:
            if failure.fault.kind is not Kind.EXISTS:
                raise
            return self._taken(upload, number)
        return self._proven(upload, is_proven=is_proven)

    def _taken(self, upload: Upload, number: int) -> Put:
        """Judge a key that was taken: a put whose answer was lost is told so as well."""
        found = self.head(upload.key)
        if found is None:
            # Two at once were told off, or it was removed meanwhile.
            raise RequestFailed(Fault(kind=Kind.PASSING, words="another writer was in the way"))
        is_ours = number > 1 and self.holds(found, upload.body)
        return Put.CREATED if is_ours else Put.EXISTS

    def _look_and_put(self, upload: Upload, number: int) -> Put:
        if self.head(upload.key) is not None:
            return self._taken(upload, number)
        if not upload.is_single:
            upload.send_parts(self._clients.patient)
            return self._proven(upload, is_proven=False)
        is_proven = upload.send_single(self._clients.once, only_if_absent=False)
        return self._proven(upload, is_proven=is_proven)

    def _proven(self, upload: Upload, *, is_proven: bool) -> Put:
        if not is_proven and not self._is_there(upload):
            # Under a final name, and nobody else's: it must not stay.
            self._delete_one(upload.key)
            raise RequestFailed(_OTHER_BYTES)
        return Put.CREATED

    def _is_there(self, upload: Upload) -> bool:
        found = self.head(upload.key)
        return found is not None and self.holds(found, upload.body)

    def _copy(self, source: str, target: str) -> None:
        try:
            attempted(lambda: obstore.copy(self._clients.once, source, target, overwrite=False))
        except RequestFailed as failure:
            fault = failure.fault
        else:
            return
        if fault.kind is Kind.UNSUPPORTED:
            if self.head(target) is None:
                attempted(lambda: obstore.copy(self._clients.once, source, target))
        elif fault.kind is not Kind.EXISTS:
            raise RequestFailed(fault)

    def _are_same(self, one: Found, other: Found) -> bool:
        if one.size != other.size:
            return False
        told = md5_of(one.etag)
        return (told is not None and told == md5_of(other.etag)) or self._sha256(
            one
        ) == self._sha256(other)

    def _sha256(self, found: Found) -> str:
        sum_ = hashlib.sha256()
        for piece in self._pieces(found):
            sum_.update(piece)
        return sum_.hexdigest()

    def _pieces(self, found: Found) -> Iterator[bytes]:
        at = 0
        while at < found.size:
            piece = self._part(found.key, at, READ_BYTES, found.etag)
            if not piece:
                fault = Fault(kind=Kind.CHANGED, words="it is shorter than it was")
                raise storage_error(fault, "reading an object", self.url)
            at += len(piece)
            yield piece

    def _part(self, key: str, at: int, size: int, etag: str | None) -> bytes:
        options: GetOptions = {"range": (at, at + size)}
        if etag is not None and not etag.startswith("W/"):
            options["if_match"] = etag

        def work(_: int) -> bytes:
            return attempted(lambda: _bytes(obstore.get(self._clients.once, key, options=options)))

        left = frozenset({Kind.OUT_OF_RANGE})
        try:
            return self._repeater.call("reading an object", work, left=left)
        except RequestFailed:
            return b""

    def _delete(self, key: str) -> None:
        attempted(lambda: obstore.delete(self._clients.plain, key))

    def _delete_one(self, key: str) -> None:
        left = frozenset({Kind.MISSING})
        try:
            self._repeater.call("deleting an object", lambda _: self._delete(key), left=left)
        except RequestFailed:
            return


_OTHER_BYTES = Fault(
    kind=Kind.PASSING, words="what arrived is not what was sent; it was removed again"
)


def _bytes(got: "GetResult") -> bytes:
    return bytes(got.bytes())


def _found(meta: "ObjectMeta", facts: Mapping[str, str]) -> Found:
    return Found(
        key=meta["path"],
        size=meta["size"],
        modified_at=meta["last_modified"],
        etag=meta["e_tag"] or None,
        facts=facts,
    )
