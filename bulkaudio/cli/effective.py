"""Every option with its value in effect, and where that comes from."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cyclopts.argument import Argument

from bulkaudio.cli.options import DownloadOptions
from bulkaudio.keys import LIKE_A_KEY
from bulkaudio.model import Direction, Metadata
from bulkaudio.naming import printable
from bulkaudio.ping_url import PingUrl
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.remember import Choices
from bulkaudio.settings import DEFAULT_LAYOUT, ListingQuery, Pace
from bulkaudio.stores.address import read_address
from bulkaudio.timetable import Timetable

HIDDEN = "***"

UNSET = "-"


class Origin(StrEnum):
    """What kind of place a value comes from."""

    FLAG = "flag"
    VARIABLE = "variable"
    FILE = "file"
    ARCHIVE = "archive"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One option.

    Attributes:
        value: As a JSON value; durations in seconds, sizes in bytes.
        shown: As a person would write it.
        source: The option, the variable, the file and its table, or the archive's folder.
    """

    group: str
    name: str
    value: Any
    shown: str
    origin: Origin = Origin.DEFAULT
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """
    What the archive goes on with where nothing else is said.

    Attributes:
        values: By option. An option of an archive that remembers nothing yet is not in it.
        has_saved: Recordings are kept there already, which must not be mixed with others.
        is_held: A run holds the archive, so that what it remembers cannot be read now.
    """

    root: Path
    values: Mapping[str, Any]
    has_saved: bool = False
    is_held: bool = False


IDENTITY = ("region", "account", "agent", "layout", "redacted")
REACHED = ("store-endpoint",)
"""How an object store is reached, as its state folder remembers it; certificates are for PolyAI, too."""

CHOSEN = ("direction", "metadata", "env", "channel", "variant")

LEFT_OPEN = {
    "env": ListingQuery().env,
    "direction": [Direction.COMBINED.value],
    "metadata": Metadata.NONE.value,
    "layout": DEFAULT_LAYOUT,
    "give-up-after": Pace().give_up_after_s,
}
"""What counts where neither the user nor an archive says anything."""

REDACTED = {"unasked": None, "true": True, "false": False}


def memory_of(
    root: Path, pins: Mapping[str, str], listing: str | None, *, has_saved: bool
) -> Memory:
    """
    Read an archive's pins as options.

    Args:
        listing: What its listings take; None when there is none, or a file names the calls.
    """
    values: dict[str, Any] = {name: pins[name] for name in IDENTITY if name in pins}
    if "redacted" in values:
        values["redacted"] = REDACTED.get(values["redacted"])
    if listing is not None:
        kept = Choices.from_json(listing)
        values |= {
            "direction": [each.value for each in kept.directions],
            "metadata": kept.metadata.value,
            "env": kept.env,
            "channel": list(kept.channels) or None,
            "variant": kept.variant,
        }
    return Memory(root=root, values=values, has_saved=has_saved)


def reached_by(root: Path) -> Mapping[str, str]:
    """Return what a state folder remembers of the way to its object store, by option."""
    elsewhere = read_address(root)
    if elsewhere is None or elsewhere.endpoint is None:
        return {}
    return {"store-endpoint": elsewhere.endpoint}


def rows_of(
    arguments: Mapping[str, Argument], options: DownloadOptions, memory: Memory | None
) -> list[Row]:
    """Say of every option what counts; in the order of the help."""
    values = dict(_values(options))
    rows = [_row(name, argument, values[name]) for name, argument in arguments.items()]
    if memory is None:
        return rows
    is_csv = options.source.csv is not None
    return [_remembered(row, memory, is_csv=is_csv) for row in rows]


def contradictions(rows: Sequence[Row], memory: Memory | None) -> dict[str, Row]:
    """Pick what was given and is not what the archive holds: it may not change there."""
    if memory is None:
        return {}
    given = (row for row in rows if row.name in IDENTITY and row.origin not in UNASKED)
    return {row.name: row for row in given if not _agrees(row, memory.values)}


UNASKED = (Origin.DEFAULT, Origin.ARCHIVE)


def _agrees(row: Row, kept: Mapping[str, Any]) -> bool:
    if row.name not in kept:
        return True
    if row.name == "redacted":
        # Not asking is asking for none.
        return bool(row.value) == bool(kept["redacted"])
    value = canonical_region(row.value) if row.name == "region" else row.value
    return bool(value == kept[row.name])


def _values(options: DownloadOptions) -> Iterator[tuple[str, Any]]:
    for group in fields(options):
        part = getattr(options, group.name)
        for each in fields(part):
            yield each.name.replace("_", "-"), getattr(part, each.name)


def _row(name: str, argument: Argument, value: Any) -> Row:
    group = argument.parameter.group
    heading = group[0].name if isinstance(group, tuple) and group else ""
    value = _harmless(name, _plain(value, argument))
    if not argument.tokens:
        value = LEFT_OPEN.get(name) if value is None else value
        return Row(group=heading, name=name, value=value, shown=_default(argument, value))
    token = argument.tokens[-1]
    given = [each.value for each in argument.tokens if each.value]
    is_plain = given and not any(_may_hold_secret(name, each) for each in given)
    shown = ", ".join(given) if is_plain else text_of_value(value)
    origin, source = Origin.FILE, token.source
    if token.source == "environment":
        origin, source = Origin.VARIABLE, token.keyword or ""
    elif token.source in {"", "cli"}:
        origin, source = Origin.FLAG, token.keyword or f"--{name}"
    return Row(group=heading, name=name, value=value, shown=shown, origin=origin, source=source)


def _plain(value: Any, argument: Argument) -> Any:
    """Make a JSON value of an option's, as it was given where it has no other form."""
    if isinstance(value, PingUrl):
        return value.shown
    if isinstance(value, Timetable):
        return argument.tokens[-1].value if argument.tokens else None
    return str(value) if isinstance(value, Path) else value


def _remembered(row: Row, memory: Memory, *, is_csv: bool) -> Row:
    """Put what the archive remembers in the place of a default."""
    names = (*IDENTITY, *(() if is_csv else CHOSEN), *REACHED)
    if row.origin is not Origin.DEFAULT or row.name not in names:
        return row
    value = memory.values.get(row.name)
    if row.name in memory.values:
        shown = text_of_value(value)
    elif memory.is_held and row.name not in REACHED:
        shown = "not readable now"
    else:
        return row
    return Row(
        group=row.group,
        name=row.name,
        value=value,
        shown=shown,
        origin=Origin.ARCHIVE,
        source=str(memory.root),
    )


def _default(argument: Argument, value: Any) -> str:
    written = argument.parameter.show_default
    return str(written(value)) if callable(written) else text_of_value(value)


def text_of_value(value: Any) -> str:
    """Write a value for people."""
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


KEY_FILES = ("api-key-file", "conversations-key-file")
ADDRESSES = ("proxy", "ping-url", "store-endpoint")


def _harmless(name: str, value: Any) -> Any:
    """Hide a key that was given for the name of its file, and the password in an address."""
    if not isinstance(value, str):
        return value
    if name in KEY_FILES:
        is_name = os.sep in value or len(value) < LIKE_A_KEY or os.path.lexists(value)
        return value if is_name else HIDDEN
    return without_password(value) if _may_hold_secret(name, value) else value


def _may_hold_secret(name: str, text: str) -> bool:
    """Whether what was given is shown only in the form that `_harmless` brings it to."""
    return name in {*KEY_FILES, *ADDRESSES} or "://" in text


def without_password(url: str) -> str:
    """Cut user and password out of an address, however broken it is."""
    if "@" not in url:
        return url
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    place = url.rpartition("@")[2]
    return f"{scheme}://{HIDDEN}@{place}" if scheme else f"{HIDDEN}@{printable(place)}"
