"""
Where recordings are kept in an object store: ``s3://bucket/prefix``, ``gs://…``, ``az://…``.

Rules of this file: text in, text out; nothing is looked up or requested. A text that is refused is
not repeated: people paste addresses with their keys in them.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from bulkaudio.errors import UsageError

SCHEMES = {"s3": "Amazon S3 and what speaks its protocol", "gs": "Google", "az": "Azure"}

MAX_PREFIX = 512
"""Characters: a key has 1,024 bytes at most, and the rest is the layout's."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_MISTYPED = re.compile(rf"({'|'.join(SCHEMES)}):", re.IGNORECASE)
_BUCKET = {
    "s3": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "az": re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}"),
}
# The rest has a meaning in addresses or signatures to one store or another.
_SEGMENT = re.compile(r"[A-Za-z0-9._=@+,!()-]+")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """
    A checked address; made by `parse`.

    Attributes:
        bucket: Azure calls it a container.
        prefix: Without a slash at either end; empty: the whole bucket.
    """

    scheme: str
    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """
        Read an address; None when it is the name of a folder.

        Raises:
            UsageError: When it is an address of something that cannot be used.
        """
        found = _URL.fullmatch(text)
        if found is None:
            if _MISTYPED.match(text):
                raise UsageError(
                    "the address of an object store lacks its two slashes",
                    fix=f"write {text[:2].lower()}://BUCKET/PREFIX; a folder of that name is ./{text[:2]}:…",
                )
            return None
        scheme, rest = found[1].lower(), found[2]
        if scheme not in SCHEMES:
            raise UsageError(
                f"recordings cannot be kept at {scheme}://",
                fix="give a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
            )
        bucket, _, prefix = rest.partition("/")
        return cls(scheme, _checked_bucket(scheme, bucket), _checked_prefix(prefix))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def key(self, path: PurePosixPath) -> str:
        """Return the key of a path relative to the archive."""
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(path)
        return f"{self.prefix}/{path}" if self.prefix else str(path)

    def path(self, key: str) -> PurePosixPath | None:
        """Read `key` back; None for a key that is not below the prefix."""
        start = f"{self.prefix}/" if self.prefix else ""
        path = PurePosixPath(key.removeprefix(start))
        is_ours = key.startswith(start) and len(key) > len(start)
        # Keys that no path spells: with empty, "." or ".." segments.
        return path if is_ours and ".." not in path.parts and self._spells(path, key) else None

    def _spells(self, path: PurePosixPath, key: str) -> bool:
        return not path.is_absolute() and bool(path.parts) and self.key(path) == key

    def state_name(self) -> str:
        """Return a folder's name of its own: readable, and with eight digits of a hash."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:8]
        readable = _UNFIT.sub("-", f"{self.scheme}-{self.bucket}-{self.prefix}")
        return f"{readable[:80].strip('-.')}-{digest}"


def _checked_bucket(scheme: str, bucket: str) -> str:
    if "@" in bucket or ":" in bucket:
        raise UsageError(
            "the address of the object store holds credentials or a port",
            fix="leave both out: credentials are found as the cloud's own tools find them, and "
            "another server is named by AWS_ENDPOINT_URL, GOOGLE_BASE_URL or AZURE_STORAGE_ENDPOINT",
        )
    if not _BUCKET[scheme].fullmatch(bucket) or ".." in bucket:
        raise UsageError(
            "the address of the object store names no bucket that can exist",
            fix=f"write {scheme}://BUCKET/PREFIX, as the cloud's console shows the bucket's name",
        )
    return bucket


def _checked_prefix(prefix: str) -> str:
    segments = prefix.removesuffix("/").split("/") if prefix else []
    is_fit = all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in segments)
    if not is_fit or len(prefix) > MAX_PREFIX:
        raise UsageError(
            "what follows the bucket's name cannot be the beginning of keys here",
            fix=f"use at most {MAX_PREFIX} letters, digits and . _ = @ + , ! ( ) - between single "
            "slashes; no query and no fragment",
        )
    return "/".join(segments)
