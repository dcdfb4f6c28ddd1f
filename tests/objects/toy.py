"""
As much of S3 as a bucket needs, in a page: for faults that are quicker made than provoked.

A rule for `between`: what it answers is what a store would. What a real one does is for
`test_ceph.py`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.objects.between import Answer, Asked, refused

MODIFIED = "Sun, 22 Nov 2026 06:00:00 GMT"
META = "x-amz-meta-"


@dataclass(slots=True, kw_only=True)
class Toy:
    """
    A bucket.

    Attributes:
        honours_absence: False: If-None-Match is not looked at.
        keeps_facts: False: metadata is lost.
        sums: False: the ETag is no MD5, as with keys of one's own.
        turns: Of how many of the next objects a bit turns over.
    """

    honours_absence: bool = True
    keeps_facts: bool = True
    sums: bool = True
    turns: int = 0
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    parts: dict[int, bytes] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, asked: Asked) -> Answer:
        """Answer one request."""
        parts = urlsplit(asked.target)
        key = unquote(parts.path).split("/", 2)[2:]
        query = parse_qs(parts.query, keep_blank_values=True)
        with self.lock:
            if "list-type" in query:
                return self._list(query.get("prefix", [""])[0])
            if "delete" in query:
                return self._delete(asked.body.decode())
            if "uploads" in query or "uploadId" in query:
                return self._in_parts(asked, key[0], query)
            if asked.method == "DELETE":
                return self._delete("", key[0])
            return self._put(asked, key[0]) if asked.method == "PUT" else self._head(asked, key[0])

    def _put(self, asked: Asked, key: str) -> Answer:
        if source := asked.headers.get("x-amz-copy-source"):
            self.objects[key] = self.objects[unquote(source).lstrip("/").split("/", 1)[1]]
            return Answer(status=200, body=b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
        if self.honours_absence and "if-none-match" in asked.headers and key in self.objects:
            return refused("PreconditionFailed", 412)
        self._keep(key, asked.body, asked)
        return Answer(status=200, headers={"ETag": self._etag(key)})

    def _keep(self, key: str, body: bytes, asked: Asked) -> None:
        if self.turns:
            self.turns -= 1
            body = bytes([body[0] ^ 1]) + body[1:]
        facts = {n: t for n, t in asked.headers.items() if n.startswith(META) and self.keeps_facts}
        self.objects[key] = (body, facts)

    def _etag(self, key: str) -> str:
        body = self.objects[key][0] if self.sums else b"salt" + self.objects[key][0]
        return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'

    def _head(self, asked: Asked, key: str) -> Answer:
        if key not in self.objects:
            return Answer(status=404)
        body, facts = self.objects[key]
        told = {"ETag": self._etag(key), "Last-Modified": MODIFIED} | facts
        if asked.method == "HEAD":
            return Answer(status=200, headers=told | {"Content-Length": str(len(body))})
        first, last = asked.headers["range"].removeprefix("bytes=").split("-")
        if asked.headers.get("if-match", told["ETag"]) != told["ETag"]:
            return refused("PreconditionFailed", 412)
        piece = body[int(first) : int(last) + 1]
        if not piece:
            return refused("InvalidRange", 416)
        told["Content-Range"] = f"bytes {first}-{int(first) + len(piece) - 1}/{len(body)}"
        return Answer(status=206, headers=told, body=piece)

    def _delete(self, text: str, key: str | None = None) -> Answer:
        keys = [key] if key is not None else list(_between(text, "<Key>", "</Key>"))
        for each in keys:
            self.objects.pop(each, None)
        return Answer(status=200, body=b"<DeleteResult></DeleteResult>")

    def _list(self, prefix: str) -> Answer:
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size>"
            f"<LastModified>2026-11-22T06:00:00.000Z</LastModified>"
            f"<ETag>{escape(self._etag(key))}</ETag></Contents>"
            for key, (body, _) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return Answer(status=200, body=f"<ListBucketResult>{items}</ListBucketResult>".encode())

    def _in_parts(self, asked: Asked, key: str, query: dict[str, list[str]]) -> Answer:
        if asked.method == "PUT":
            self.parts[int(query["partNumber"][0])] = asked.body
            return Answer(status=200, headers={"ETag": '"part"'})
        if asked.method == "DELETE":
            self.parts.clear()
            return Answer(status=204)
        if "uploads" in query:
            text = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            return Answer(status=200, body=text.encode())
        body = b"".join(self.parts[number] for number in sorted(self.parts))
        self.parts.clear()
        self._keep(key, body, asked)
        text = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        return Answer(status=200, body=text.encode())


def _between(text: str, start: str, end: str) -> Iterator[str]:
    for part in text.split(start)[1:]:
        yield part.partition(end)[0]
