"""
A bucket with behaviour, in a folder: what several processes put there, killed ones too, all of them see.

It keeps the promises of `bulkaudio.stores.objects.bucket.Bucket`, and can be told to break some.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from bulkaudio.errors import StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.faults import ObjectMissingError
from bulkaudio.stores.objects.things import Body, Conditions, Found, Put

_TEMPORARY = count()

Hook = Callable[[str, str], None]
"""Told of every call and its key, before it; may raise."""


@dataclass(slots=True)
class FolderBucket:
    """Objects as files; `hook` may raise what a real bucket raises."""

    url: ObjectUrl
    folder: Path
    keeps_facts: bool = True
    hook: Hook = lambda _call, _key: None
    per_page: int = 7
    _facts: Path = field(init=False)
    _bytes: Path = field(init=False)

    def __post_init__(self) -> None:
        self._facts, self._bytes = self.folder / "facts", self.folder / "bytes"
        for folder in (self._facts, self._bytes):
            folder.mkdir(parents=True, exist_ok=True)

    def halt(self) -> None:
        """Nothing waits here."""

    def probe(self) -> Conditions:
        """Find everything in order."""
        self.hook("probe", "")
        return Conditions(honours_absence=True, keeps_facts=self.keeps_facts, can_delete=True)

    def put(self, key: str, body: Body, *, facts: Mapping[str, str]) -> Put:
        """Create an object."""
        self.hook("put", key)
        content = body.source if isinstance(body.source, bytes) else body.source.read_bytes()
        assert len(content) == body.size
        assert sha256(content).hexdigest() == body.sha256
        temporary = self._written(content)
        try:
            os.link(temporary, self._file(key))
        except FileExistsError:
            return Put.EXISTS
        finally:
            temporary.unlink()
        self._tell(key, facts)
        return Put.CREATED

    def replace(self, key: str, body: bytes, *, facts: Mapping[str, str]) -> None:
        """Write an object."""
        self.hook("replace", key)
        self._written(body).rename(self._file(key))
        self._tell(key, facts)

    def head(self, key: str) -> Found | None:
        """Look at one."""
        self.hook("head", key)
        return self._found(key)

    def holds(self, found: Found, body: Body) -> bool:
        """Compare."""
        content = self._file(found.key).read_bytes()
        return sha256(content).hexdigest() == body.sha256

    def read(self, key: str) -> Iterator[bytes]:
        """Read in pieces."""
        self.hook("read", key)
        try:
            content = self._file(key).read_bytes()
        except FileNotFoundError:
            raise ObjectMissingError("it is not there") from None
        for at in range(0, len(content), 4096):
            yield content[at : at + 4096]

    def read_range(self, key: str, at: int, size: int) -> bytes:
        """Read a part."""
        self.hook("read", key)
        return self._file(key).read_bytes()[at : at + size]

    def names(self, prefix: str, *, after: str | None = None) -> Iterator[Sequence[Found]]:
        """List, in small pages."""
        self.hook("names", prefix)
        keys = sorted(
            unquote(each.name) for each in self._bytes.iterdir() if "%new" not in each.name
        )
        below = [
            key
            for key in keys
            if (not prefix or key.startswith(f"{prefix}/")) and (after is None or key > after)
        ]
        for at in range(0, len(below), self.per_page):
            found = (self._found(key) for key in below[at : at + self.per_page])
            yield [each for each in found if each is not None]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove some."""
        for key in keys:
            self.hook("delete", key)
            for folder in (self._bytes, self._facts):
                with suppress(FileNotFoundError):
                    (folder / quote(key, safe="")).unlink()

    def move(self, source: str, target: str) -> Put:
        """Give one another key."""
        self.hook("move", source)
        content, found = self._file(source).read_bytes(), self._found(source)
        assert found is not None
        body = Body(source=content, size=len(content), sha256=sha256(content).hexdigest())
        put = self.put(target, body, facts=found.facts)
        if put is Put.CREATED:
            self.delete([source])
        return put

    def objects(self) -> dict[str, bytes]:
        """Return everything, by path below the prefix."""
        start = f"{self.url.prefix}/"
        return {
            unquote(each.name).removeprefix(start): each.read_bytes()
            for each in self._bytes.iterdir()
        }

    def spoil(self, path: str, content: bytes | None) -> None:
        """Change an object behind everybody's back, or remove it."""
        file = self._file(f"{self.url.prefix}/{path}")
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)

    def tell(self, path: str, facts: Mapping[str, str]) -> None:
        """Change what is told of an object behind everybody's back."""
        self._tell(f"{self.url.prefix}/{path}", facts)

    def _file(self, key: str) -> Path:
        return self._bytes / quote(key, safe="")

    def _written(self, content: bytes) -> Path:
        temporary = self.folder / f"new{os.getpid()}-{next(_TEMPORARY)}"
        temporary.write_bytes(content)
        return temporary

    def _tell(self, key: str, facts: Mapping[str, str]) -> None:
        if self.keeps_facts:
            # As a store does: whoever is killed meanwhile leaves all of it, or nothing.
            text = json.dumps(dict(facts)).encode()
            self._written(text).replace(self._facts / quote(key, safe=""))

    def _found(self, key: str) -> Found | None:
        facts: dict[str, Any] = {}
        try:
            status = self._file(key).stat()
            with suppress(FileNotFoundError):
                facts = json.loads((self._facts / quote(key, safe="")).read_text())
        except FileNotFoundError:
            return None
        modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
        return Found(key=key, size=status.st_size, modified_at=modified_at, facts=facts)


def refusing(call: str, beginning: str, number: int = 1) -> Hook:
    """Return a hook by which the calls of a kind on some keys fail, from the `number`-th on."""
    reached = count(1)

    def hook(called: str, key: str) -> None:
        if called == call and beginning in key and next(reached) >= number:
            raise StorageError(f"the bucket refused to {call}", fix="ask whoever owns it")

    return hook
