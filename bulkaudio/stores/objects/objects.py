"""
One archive's objects: what stands under its keys. Everything here blocks, and may take minutes.

The counterpart of `inspection`, `recovery` and `erasing` for a bucket.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from bulkaudio.errors import UsageError
from bulkaudio.model import Outcome, Recording, Status
from bulkaudio.naming import Layout, conversation_id_of
from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import CONFIG_FILE
from bulkaudio.steps import Step, reach
from bulkaudio.stores.base import Publication
from bulkaudio.stores.disk import SIDECAR_FOLDER, STATE_FOLDER, sidecar_path
from bulkaudio.stores.erasing import Removal, aside_owner
from bulkaudio.stores.inspection import Inspection, Sight, Stopped
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.faults import ObjectMissingError
from bulkaudio.stores.objects.things import Body, Found, Put
from bulkaudio.stores.recovery import DAMAGED_FOLDER, aside_stem
from bulkaudio.wav import prove

HEAD_BYTES = 64 * 1024
"""Kept of an object while it is read: what a WAV says of itself is there, mostly all of it."""

ASIDE = PurePosixPath(STATE_FOLDER, DAMAGED_FOLDER)
OWNER, SHA256 = "conversation", "sha256"
"""The fact that tells objects of ours from others."""

Listed = tuple[str, int]
"""A name relative to the archive, and a size."""


@dataclass(frozen=True)
class Objects:
    """
    Keys, and what is under them.

    Attributes:
        open: Makes the bucket's client when it is needed first: a look at the ledger alone needs no
            credentials.
    """

    url: ObjectUrl
    layout: Layout
    open: Callable[[], Bucket]

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket's client."""
        return self.open()

    def keep(self, recording: Recording, body: Body) -> Publication:
        """Store a proven recording under its key, replacing nothing."""
        key = self._key(self.layout.path(recording))
        reach(Step.OBJECT_PUT)
        put = self.bucket.put(key, body, facts=facts_of(recording, body.sha256))
        reach(Step.OBJECT_KEPT)
        if put is Put.CREATED:
            return Publication.PUBLISHED
        found = self.bucket.head(key)
        # Gone again: whoever removed it may have had a reason, which a later run finds out.
        is_same = found is not None and self.bucket.holds(found, body)
        return Publication.ADOPTED if is_same else Publication.CONFLICT

    def left_behind(self, recording: Recording, temporary: Path) -> Outcome | None:
        """Say what a killed run had kept of a recording; None when that is not what it had proven."""
        try:
            path = self.layout.path(recording)
        except UsageError:
            return None
        found = self.bucket.head(self._key(path))
        if found is None:
            return None
        seen = self.inspect(path)
        # After a power cut the temporary file may be torn; what was told with the object is not.
        proven = {found.facts.get(SHA256), _sha256_of(temporary)}
        return seen.saved(recording, path) if seen.sha256 in proven else None

    def still_kept(self, recording: Recording, told: Outcome) -> Outcome | None:
        """Say of a recording what a worker had noted; None when something else is there, or nothing."""
        try:
            path = self.layout.path(recording)
        except UsageError:
            return None
        found = self.bucket.head(self._key(path))
        if found is None or found.size != told.bytes:
            return None
        # Where a store keeps no facts, only the bytes can tell.
        sha256 = found.facts.get(SHA256) or self.inspect(path).sha256
        if sha256 != told.sha256:
            return None
        return replace(told, recording=recording, path=Path(path))

    def inspect(
        self, path: PurePosixPath, is_stopped: Callable[[], bool] = lambda: False
    ) -> Inspection:
        """Read one object whole; raises `Stopped` when `is_stopped` said so in between."""
        key = self._key(path)
        digest, head, size = hashlib.sha256(), bytearray(), 0
        reach(Step.INSPECT_READ)
        try:
            for piece in self.bucket.read(key):
                digest.update(piece)
                head += piece[: HEAD_BYTES - len(head)]
                size += len(piece)
                if is_stopped():
                    raise Stopped

            def read_at(at: int, count: int) -> bytes:
                if at + count <= len(head) or len(head) == size:
                    return bytes(head[at : at + count])
                return self.bucket.read_range(key, at, min(count, size - at)) if at < size else b""

            proof = prove(read_at, size, framed=True)
        except ObjectMissingError:
            return Inspection(sight=Sight.MISSING)
        return Inspection(sight=Sight.FILE, bytes=size, sha256=digest.hexdigest(), proof=proof)

    def listed(self) -> Iterator[Sequence[Listed]]:
        """Yield everything that may be a recording, in pages."""
        prefix = self.url.prefix
        start = len(f"{prefix}/") if prefix else 0
        for page in self.bucket.names(prefix):
            yield [
                (name, found.size) for found in page if _may_be_recording(name := found.key[start:])
            ]

    def remains(self) -> Iterator[Sequence[tuple[str, Outcome | None]]]:
        """Yield what is kept beside recordings, by conversation, in pages."""
        for page in self.bucket.names(self._key(PurePosixPath(SIDECAR_FOLDER))):
            names = (found.key.rpartition("/")[2] for found in page)
            stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
            owners = (conversation_id_of(stem) for stem in stems)
            yield [(owner, None) for owner in owners if owner is not None]
        for damaged in self._aside():
            yield [(owner, outcome) for owner, outcome, _ in damaged]

    def has_metadata(self) -> bool:
        """Whether any metadata is there."""
        return any(self.bucket.names(self._key(PurePosixPath(SIDECAR_FOLDER))))

    def set_aside(self, path: PurePosixPath, recording: Recording) -> PurePosixPath:
        """Move what is damaged out of the way; return where it is now."""
        stem, number = aside_stem(recording), 0
        while True:
            target = ASIDE / (f"{stem}.{number}.wav" if number else f"{stem}.wav")
            reach(Step.ASIDE_MOVE)
            if self.bucket.move(self._key(path), self._key(target)) is Put.CREATED:
                return target
            number += 1

    def has_sidecar(self, conversation_id: str) -> bool:
        """Whether there is metadata of a conversation."""
        return self.bucket.head(self._key(sidecar_path(conversation_id))) is not None

    def with_sidecar(self, conversation_ids: Sequence[str], pool: Executor) -> frozenset[str]:
        """Which of these conversations have metadata; not in a thread of the pool itself."""
        found = pool.map(self.has_sidecar, conversation_ids)
        pairs = zip(conversation_ids, found, strict=True)
        return frozenset(each for each, is_there in pairs if is_there)

    def write_sidecar(self, conversation_id: str, text: bytes) -> Put | None:
        """
        Replace a conversation's metadata.

        Returns:
            EXISTS when the same is there already; None when something else is in its place.
        """
        sha256 = hashlib.sha256(text).hexdigest()
        key = self._key(sidecar_path(conversation_id))
        found = self.bucket.head(key)
        is_told = found is None or OWNER in found.facts
        # Where a store keeps no facts, and in copies: ours are objects of JSON.
        if not is_told and self.bucket.read_range(key, 0, 1) != b"{":
            return None
        if found is not None and (found.size, found.facts.get(SHA256)) == (len(text), sha256):
            return Put.EXISTS
        reach(Step.SIDECAR_PUBLISH)
        self.bucket.replace(key, text, facts={OWNER: conversation_id, SHA256: sha256})
        return Put.CREATED

    def doomed(self, batch: Sequence[Removal]) -> Iterator[tuple[str, bool]]:
        """Yield the keys of a batch that may be there, and whether they are audio."""
        wanted = {each.conversation_id: each.directions for each in batch}
        for removal in batch:
            for path in dict.fromkeys(removal.paths):
                yield self._key(path), True
            if removal.has_metadata_too:
                yield self._key(sidecar_path(removal.conversation_id)), False
        for page in self._aside():
            for owner, outcome, key in page:
                if outcome.recording.direction in wanted.get(owner, ()):
                    yield key, True

    def erase(self, found: Sequence[Found]) -> None:
        """Remove objects for good."""
        reach(Step.OBJECT_ERASE)
        self.bucket.delete([each.key for each in found])
        reach(Step.OBJECT_ERASED)

    def _aside(self) -> Iterator[Sequence[tuple[str, Outcome, str]]]:
        for page in self.bucket.names(self._key(ASIDE)):
            found = []
            for each in page:
                name = each.key.rpartition("/")[2]
                if owner := aside_owner(name):
                    recording = Recording(conversation_id=owner[0], direction=owner[1])
                    path = Path(ASIDE / name)
                    outcome = Outcome(recording=recording, status=Status.FAILED, path=path)
                    found.append((owner[0], outcome, each.key))
            yield found

    def _key(self, path: PurePosixPath) -> str:
        return self.url.key(path)


def facts_of(recording: Recording, sha256: str) -> dict[str, str]:
    """Say of an object what its name does not."""
    facts = {
        SHA256: sha256,
        OWNER: recording.conversation_id,
        "direction": recording.direction.value,
    }
    if recording.started_at is not None:
        facts["startedat"] = recording.started_at.isoformat()
    return facts


def _may_be_recording(name: str) -> bool:
    first, _, rest = name.partition("/")
    if not rest:
        return bool(name) and name != CONFIG_FILE
    return first not in {STATE_FOLDER, SIDECAR_FOLDER}


def _sha256_of(temporary: Path) -> str | None:
    try:
        with temporary.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
