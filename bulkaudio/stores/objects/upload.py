"""
Bytes on their way into a bucket, summed as they are read, and compared once they are there.

Rules of this file: what is sent is what was proven (its SHA-256 is computed again from what is
read); nothing counts as stored before the store's own sum, or the bytes themselves, agree.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import FileIO
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from bulkaudio.errors import AND_AGAIN, StorageError
from bulkaudio.stores.objects.faults import Kind
from bulkaudio.stores.objects.patience import RequestFailed, attempted
from bulkaudio.stores.objects.things import Body

if TYPE_CHECKING:
    from obstore import PutResult
    from obstore.store import ObjectStore

SINGLE_BYTES = 16 * 1024 * 1024
"""Up to here a body is sent by one request, which the store can refuse when the key is taken."""

PART_BYTES = 5 * 1024 * 1024
"""The smallest that S3 takes: two on the way and one being read are less than a whole body above."""

MAX_PARTS = 9_000
"""S3 takes 10,000."""

AT_ONCE = 1
"""What obstore calls the concurrency: it waits until no more are on the way, and adds one."""

_MD5 = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")

TYPES = {".wav": "audio/wav", ".json": "application/json", ".jsonl": "application/jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One body for one key."""

    key: str
    body: Body
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_single(self) -> bool:
        """Whether one request is enough."""
        return self.body.size <= SINGLE_BYTES

    @property
    def memory(self) -> int:
        """Bytes that it takes while it is on its way."""
        return self.body.size if self.is_single else 3 * self.part_bytes

    @property
    def part_bytes(self) -> int:
        """Size of all parts but the last."""
        return max(PART_BYTES, -(-self.body.size // MAX_PARTS))

    def attributes(self) -> dict[str, str]:
        """Return what is told of the object."""
        for name, value in self.facts.items():
            # One store turns _ into -, another allows no -; and no store takes what is no header.
            if not (name.isascii() and name.isalnum() and name.islower()):
                raise ValueError(name)
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise ValueError(value)
        suffix = self.key[self.key.rfind(".") :]
        return {"Content-Type": TYPES.get(suffix, "application/octet-stream"), **self.facts}

    def send_single(self, client: "ObjectStore", *, only_if_absent: bool) -> bool:
        """Send all of it by one request; returns whether the store's sum agrees."""
        attributes = self.attributes()
        (data,) = self._pieces(max(1, self.body.size))
        answer = _sent(
            lambda: obstore.put(
                client,
                self.key,
                data,
                attributes=attributes,
                mode="create" if only_if_absent else "overwrite",
                use_multipart=False,
            )
        )
        return md5_of(answer["e_tag"]) == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def send_parts(self, client: "ObjectStore") -> None:
        """Send all of it in parts; what fails is taken back, and nothing becomes visible."""
        attributes = self.attributes()
        _sent(
            lambda: obstore.put(
                client,
                self.key,
                self._pieces(self.part_bytes),
                attributes=attributes,
                use_multipart=True,
                chunk_size=self.part_bytes,
                max_concurrency=AT_ONCE,
            )
        )

    def sums(self) -> Iterator[str]:
        """Compute what S3 would tell of these bytes: of one piece, then of parts."""
        yield _md5(self._pieces(PART_BYTES)).hexdigest()
        if not self.is_single:
            parts = [_md5([piece]).digest() for piece in self._pieces(self.part_bytes)]
            yield f"{_md5(parts).hexdigest()}-{len(parts)}"

    def _pieces(self, size: int) -> Iterator[bytes | mmap]:
        sum_ = hashlib.sha256()
        done = 0
        for piece in _read(self.body.source, size):
            sum_.update(piece)
            done += len(piece)
            if done >= self.body.size:
                break
            yield piece
        else:
            piece = b""
        # The last piece is given away only when all of them were right.
        if done != self.body.size or sum_.hexdigest() != self.body.sha256:
            raise StorageError(
                "the bytes of a recording changed on this machine between their proof and their "
                "way into the object store",
                fix=f"check this machine's disk and memory, {AND_AGAIN}",
            )
        yield piece


def _sent(put: "Callable[[], PutResult]") -> "PutResult":
    try:
        return attempted(put)
    except RequestFailed as failure:
        fault = failure.fault
    # Nothing can be missing to a put but the bucket, or all of the store.
    raise RequestFailed(
        replace(fault, kind=Kind.NO_BUCKET) if fault.kind is Kind.MISSING else fault
    )


def md5_of(text: str | None) -> str | None:
    """Return an ETag without its quotes; None for one that is no MD5: it may look so and be none."""
    plain = (text or "").removeprefix("W/").strip('"')
    return plain if _MD5.fullmatch(plain) else None


def _md5(pieces: Iterable[bytes | mmap]) -> "hashlib._Hash":
    sum_ = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        sum_.update(piece)
    return sum_


def _read(source: bytes | Path, size: int) -> Iterator[bytes | mmap]:
    if isinstance(source, bytes):
        yield from (source[at : at + size] for at in range(0, len(source), size))
        return
    try:
        with source.open("rb", buffering=0) as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0 and (piece := _filled(file, min(size, left))) is not None:
                left -= len(piece)
                yield piece
    except OSError as error:
        raise StorageError(
            f"a recording on its way to the object store cannot be read ({error.strerror})",
            fix=f"check this machine's disk, {AND_AGAIN}",
        ) from error


def _filled(file: FileIO, size: int) -> mmap | None:
    """Read exactly that much; None: the file has become shorter."""
    # Pages of its own, which go back to the system: sixteen threads that take and return memory of
    # this size from the C library's heap were seen to hold twice of what they use.
    piece = mmap(-1, size)
    with memoryview(piece) as view:
        done = 0
        while done < size:
            got = file.readinto(view[done:])
            if not got:
                return None
            done += got
    return piece
