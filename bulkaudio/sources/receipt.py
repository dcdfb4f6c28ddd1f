"""
The receipt of an erasure, read back: what names the conversations once the archive has forgotten them.

What is erased is gone, and so a receipt that says less than what would be done now is refused.
"""

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkaudio.errors import UsageError
from bulkaudio.model import Direction
from bulkaudio.naming import is_conversation_id, printable

SCHEMA = "bulkaudio.purge/1"

MOST_BYTES = 1 << 30
"""It is read in one piece; so much is ten million conversations."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedEntry:
    """
    One conversation of a receipt.

    Attributes:
        directions: What of it was erased; of one that had been asked for in part, not all sides.
        is_resumed: By an interrupted order, whose sides are not the receipt's.
    """

    id: str
    directions: frozenset[Direction]
    is_resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PastErasure:
    """
    What a receipt tells.

    Attributes:
        name: Of the file, for people.
        directions: Sides that were named; empty: all.
        is_dry: Nothing was erased.
    """

    name: str
    entries: Sequence[ErasedEntry]
    directions: tuple[Direction, ...]
    is_dry: bool

    def refuse_more(self, sides: Sequence[Direction], *, is_acting: bool) -> None:
        """
        Refuse to erase by it what was not erased then.

        Args:
            sides: That are to be erased now; empty: all.

        Raises:
            UsageError: Naming the options that go with it.
        """
        if self.is_dry and is_acting:
            raise UsageError(
                f"{self.name} is the receipt of a purge without --yes: nothing of it was erased",
                fix="run that purge again with --yes, or give the ids as a CSV",
            )
        if self.directions and set(sides) != set(self.directions):
            options = " ".join(f"--direction {side}" for side in self.directions)
            raise UsageError(
                f"{self.name} is the receipt of an erasure of some sides only", fix=f"add {options}"
            )
        wanted = frozenset(sides or Direction)
        unsure = [each.id for each in self.entries if each.is_resumed and wanted - each.directions]
        if unsure:
            raise UsageError(
                f"{self.name} names {len(unsure):,} of an interrupted erasure, such as {unsure[0]}, and not "
                "whether all sides of them were meant",
                fix='take those with "resumed" out, and erase them by --id, with --direction for some '
                "sides only",
            )


def read_receipt(path: Path) -> PastErasure | None:
    """
    Read a receipt; None for any other list of conversations. Blocks.

    Raises:
        UsageError: It is JSON, and no receipt that names all of its conversations.
    """
    name = printable(str(path), 200)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # What is read from a pipe is gone for whoever reads it next.
            return None
        with path.open("rb") as file:
            head = file.read(4096)
            if not head.removeprefix(_BOM).lstrip().startswith(b"{"):
                return None
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise UsageError(
                    f"{name} is JSON of more than 1 GiB",
                    fix="give the ids as a CSV, which may be of any size",
                )
            content = head + file.read()
    except OSError:
        # Whoever reads it as a CSV has the words for that.
        return None
    return parse_receipt(content, name)


def refuse_receipt(path: Path) -> None:
    """Let no receipt take the place of one that names what was erased; raises `UsageError`. Blocks."""
    try:
        past = read_receipt(path)
    except UsageError:
        return
    if past is not None and past.entries and not past.is_dry:
        raise UsageError(
            f"{past.name} is the receipt of an earlier erasure, which nobody could write again",
            fix="give another name, such as one with the date in it",
        )


def parse_receipt(content: bytes, name: str) -> PastErasure:
    """Read what `purge` wrote; raises `UsageError`."""
    try:
        found = json.loads(content.removeprefix(_BOM))
        past = _past(found, name)
        is_cut = bool(found.get("erased_truncated"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{name} is JSON, and no whole receipt of a purge ({SCHEMA})",
            fix="give the file that purge --receipt wrote, or a CSV of ids",
        ) from error
    if is_cut:
        raise UsageError(
            f"{name} names only the first {len(past.entries)} of the conversations that were erased",
            fix="give the file that purge --receipt wrote, which names all",
        )
    return past


def _past(found: dict[str, Any], name: str) -> PastErasure:
    if found["schema"] != SCHEMA:
        raise ValueError("another schema")
    sides = found["directions"]
    return PastErasure(
        name=name,
        entries=[_entry(each) for each in found["erased"]],
        directions=() if sides == "all" else tuple(Direction(each) for each in sides),
        is_dry=bool(found["dry_run"]),
    )


def _entry(found: dict[str, Any]) -> ErasedEntry:
    if not is_conversation_id(found["id"]):
        raise ValueError("no conversation id")
    return ErasedEntry(
        id=found["id"],
        directions=frozenset(Direction(each) for each in found["directions"]),
        is_resumed=bool(found.get("resumed")),
    )
