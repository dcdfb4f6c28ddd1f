"""What goes into a bucket and what is found in it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """
    What is to be stored.

    Attributes:
        source: The bytes, or a file of them that nobody changes.
    """

    source: bytes | Path = field(repr=False)
    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Make one of bytes."""
        return cls(source=data, size=len(data), sha256=hashlib.sha256(data).hexdigest())


class Put(Enum):
    """How `Bucket.put` ended."""

    CREATED = auto()
    """The object is these bytes, and it is ours: also when only the answer was lost."""
    EXISTS = auto()
    """The key was taken before; nothing was changed. `Bucket.holds` tells by what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    An object.

    Attributes:
        etag: As the store gave it, with its quotes.
        facts: What was told at `put`; empty in a listing and where a store does not keep it.
    """

    key: str
    size: int
    modified_at: datetime
    etag: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """
    What a bucket was found to do.

    Attributes:
        honours_absence: A put of a key that is taken is refused by the store itself. Where it is
            not, every put looks first, and two writers at the same moment can both believe that
            they were the first.
        keeps_facts: Metadata comes back as it was told.
        notes: Whole sentences for a person.
    """

    honours_absence: bool
    keeps_facts: bool
    can_delete: bool
    notes: tuple[str, ...] = ()
