"""How far an archive's manifest knows its ledger, as the ledger remembers it."""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from bulkaudio.stores.objects.parts import Place


class Standing(StrEnum):
    """What there is of a generation."""

    WHOLE = "whole"
    PARTIAL = "partial"
    """It has been begun, and does not tell everything yet."""
    SPOILT = "spoilt"
    """It cannot be gone on with: a new one has to tell everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """
    Where the manifest stands.

    Attributes:
        number: Of the last part; 0 before the first.
        sha256: Of the last part, in whatever generation.
        intended: Of what was about to be written as the next part: whether it arrived, a killed
            writer cannot know.
        register_bytes: So much of the register is told.
    """

    generation: int = 1
    number: int = 0
    sha256: str | None = None
    intended: tuple[str, ...] = ()
    register_bytes: int = 0
    standing: Standing = Standing.WHOLE

    @property
    def place(self) -> Place:
        """Of the last part."""
        return self.generation, self.number

    @property
    def next_place(self) -> Place:
        """Of the part after it."""
        return self.generation, self.number + 1

    def is_overtaken(self, newest: Place, sha256: str | None) -> bool:
        """Whether the newest part there is another's: beyond this, or instead of this."""
        if newest == self.next_place and sha256 in self.intended:
            return False
        return newest > self.place or (newest == self.place and sha256 != self.sha256)

    def intending(self, sha256: str) -> Self:
        """Be about to write the next part."""
        return replace(self, intended=(*self.intended, sha256))

    def after(self, sha256: str) -> Self:
        """Have written it."""
        return replace(self, number=self.number + 1, sha256=sha256, intended=())

    def to_json(self) -> str:
        """Write it for the ledger."""
        return json.dumps(
            {
                "generation": self.generation,
                "number": self.number,
                "sha256": self.sha256,
                "intended": self.intended,
                "register_bytes": self.register_bytes,
                "standing": self.standing,
            }
        )

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Read what `to_json` wrote; nothing is a beginning."""
        if text is None:
            return cls()
        kept = json.loads(text)
        return cls(
            generation=kept["generation"],
            number=kept["number"],
            sha256=kept["sha256"],
            intended=tuple(kept["intended"]),
            register_bytes=kept["register_bytes"],
            standing=Standing(kept["standing"]),
        )
