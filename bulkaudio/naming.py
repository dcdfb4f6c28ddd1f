"""
Names: which ids are taken, what their files are called, how untrusted text is shown.

Rules of this file: nothing but `Layout.path` makes a path of a recording, and every character of
that path comes from a checked template or from `file_stem`; no normalisation, no truncation, so
that two recordings can never meet under one name (I3).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Self

from bulkaudio.errors import UsageError
from bulkaudio.model import Direction, Recording

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IDS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}+\n)*+")
_CALL_SID = re.compile(r"ca[0-9a-f._-]*")
_FIELD = re.compile(r"\{([^{}]*)\}")

LONGEST_STEM = 128 + 1 + 32
"""An id, ``~``, and a bitmap of 128 letters in hexadecimal."""

_WIDTHS = {
    "id": LONGEST_STEM,
    "direction": len("combined"),
    "date": 10,
    "year": 4,
    "month": 2,
    "day": 2,
    "hour": 2,
}
_PATTERNS = {
    "id": r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:~[0-9a-f]{1,32})?",
    "direction": "|".join(Direction),
    "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "year": "[0-9]{4}",
    "month": "[0-9]{2}",
    "day": "[0-9]{2}",
    "hour": "[0-9]{2}",
}
_LEAP_YEAR = 2000
"""For layouts that name no year; so that the 29th of February is a day in it."""

_DATE_FIELDS = _WIDTHS.keys() - {"id", "direction"}
_NAME_MAX_BYTES = 255


def is_conversation_id(text: str) -> bool:
    """Whether `text` has the form of a conversation id; safe in a URL and in a file name then."""
    return _ID.fullmatch(text) is not None


def are_conversation_ids(texts: Sequence[str]) -> bool:
    """Whether all of `texts` have that form; in a third of the time it takes one by one."""
    lines = "\n".join([*texts, ""])
    # An id with a line break in it would pass as two.
    return _IDS.fullmatch(lines) is not None and lines.count("\n") == len(texts)


def file_stem(conversation_id: str) -> str:
    """
    Name a conversation's files, without suffix, so that no file system confuses two of them.

    Of all spellings of an id that differ by case only, one keeps its own name: the usual
    ``CA`` + lower-case hexadecimal, and otherwise the lower-case one. Every other spelling says
    behind ``~``, which no id contains, which of its letters are upper-case. Existing files play no
    part, so the name is the same in every archive and in every order of arrival.

    Raises:
        ValueError: When it is no conversation id.
    """
    if not is_conversation_id(conversation_id):
        raise ValueError(f"not a conversation id: {printable(conversation_id)}")
    if conversation_id == _canonical(conversation_id):
        return conversation_id
    uppercase = sum(1 << at for at, letter in enumerate(conversation_id) if letter.isupper())
    return f"{conversation_id}~{uppercase:x}"


def conversation_id_of(stem: str) -> str | None:
    """Undo `file_stem`; None for what it cannot have made."""
    conversation_id = stem.partition("~")[0]
    if is_conversation_id(conversation_id) and file_stem(conversation_id) == stem:
        return conversation_id
    return None


def _canonical(conversation_id: str) -> str:
    lower = conversation_id.lower()
    return "CA" + lower[2:] if _CALL_SID.fullmatch(lower) else lower


def printable(text: str, limit: int = 80) -> str:
    """Make untrusted text fit for a terminal and a log: at most `limit` characters, none active."""
    # An escape is at least as long as its character: more than `limit` of them never fit.
    head = text[: limit + 1]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    return head if len(head) <= limit else head[: max(limit - 1, 0)] + "…"


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Where in the archive a recording's file is; make it with `parse`.

    Different recordings have different paths: the fields beside ``{id}`` are of fixed width or,
    like the directions, never a prefix or suffix of one another.
    """

    template: str

    @classmethod
    def parse(cls, template: str) -> Self:
        """Check `template`; raises `UsageError` with the fix."""
        template = unicodedata.normalize("NFC", template)
        fault = _fault_of(template)
        if fault:
            raise UsageError(
                f"the layout {printable(template)!r} cannot be used: {fault}",
                fix='write something like --layout "{direction}/{id}.wav" or '
                '--layout "{year}/{month}/{day}/{direction}/{id}.wav"',
            )
        return cls(template)

    @property
    def needs_date(self) -> bool:
        """Whether a path takes the conversation's start."""
        return _needs_date(self.template)

    def path(self, recording: Recording) -> PurePosixPath:
        """
        Name the recording's file, relative to the archive; dates are UTC.

        Raises:
            UsageError: When the layout needs a date that the recording does not have.
            ValueError: When its conversation id is none.
        """
        fields = {"id": file_stem(recording.conversation_id), "direction": recording.direction}
        if self.needs_date:
            fields |= self._date_fields(recording)
        return PurePosixPath(_FIELD.sub(lambda match: fields[match[1]], self.template))

    def recording_of(self, path: PurePosixPath) -> Recording | None:
        """
        Undo `path`; None for what it cannot have made.

        What the path does not say of a start counts as its first: a day begins at midnight UTC.
        """
        found = _pattern(self.template).fullmatch(str(path))
        conversation_id = conversation_id_of(found["id"]) if found else None
        if found is None or conversation_id is None:
            return None
        try:
            recording = Recording(
                conversation_id=conversation_id,
                direction=Direction(found["direction"]),
                started_at=_start_of(found.groupdict()) if self.needs_date else None,
            )
        except ValueError:
            return None
        # Two fields may contradict each other: a date of one year in the folder of another.
        return recording if self.path(recording) == path else None

    def _date_fields(self, recording: Recording) -> dict[str, str]:
        if recording.started_at is None:
            raise UsageError(
                f"the layout {self.template!r} needs the start of every conversation, and "
                f"{recording.conversation_id} has none",
                fix="use a layout without dates, a CSV with a started_at column, or the listing "
                "(--since, --until)",
            )
        start = recording.started_at.astimezone(UTC)
        # Not strftime: its %Y is not padded for years below 1000 everywhere.
        return {
            "date": start.date().isoformat(),
            "year": f"{start.year:04d}",
            "month": f"{start.month:02d}",
            "day": f"{start.day:02d}",
            "hour": f"{start.hour:02d}",
        }


@cache
def _needs_date(template: str) -> bool:
    return any(name in _DATE_FIELDS for name in _FIELD.findall(template))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Say which paths a layout makes; a field's second place holds what its first one does."""
    seen: set[str] = set()

    def place(field: str) -> str:
        if field in seen:
            return f"(?P={field})"
        seen.add(field)
        return f"(?P<{field}>{_PATTERNS[field]})"

    # Literals and fields take turns: splitting by a group keeps the group.
    pieces = enumerate(_FIELD.split(template))
    return re.compile("".join(place(p) if n % 2 else re.escape(p) for n, p in pieces))


def _start_of(fields: Mapping[str, str]) -> datetime:
    """Return the earliest start that these fields allow; raises `ValueError` when none does."""
    year, month, day = _LEAP_YEAR, 1, 1
    if "date" in fields:
        year, month, day = map(int, fields["date"].split("-"))
    return datetime(
        int(fields.get("year", year)),
        int(fields.get("month", month)),
        int(fields.get("day", day)),
        int(fields.get("hour", 0)),
        tzinfo=UTC,
    )


def _fault_of(template: str) -> str | None:
    """Say in a clause what makes `template` unusable; None when nothing does."""
    names = _FIELD.findall(template)
    unknown = [name for name in names if name not in _WIDTHS]
    literal = _FIELD.sub("", template)
    faults = {
        "{" + "".join(unknown[:1]) + "} is not one of its fields, " + ", ".join(_WIDTHS): unknown,
        "a brace stands alone": set(literal) & set("{}"),
        "it must contain {id} and {direction}": not {"id", "direction"} <= set(names),
        "it must end with .wav": not template.endswith(".wav"),
        "it holds a backslash or a character that cannot be seen": "\\" in literal
        or not literal.isprintable(),
    }
    return next((fault for fault, holds in faults.items() if holds), None) or _fault_of_segments(
        template.split("/")
    )


def _fault_of_segments(segments: list[str]) -> str | None:
    if not segments[0]:
        return "it must be relative to the archive"
    if segments[0].casefold() == "metadata":
        return "the folder metadata is taken"
    for segment in segments:
        if not segment or segment != segment.strip():
            return "it has a folder without a name, or with blanks around it"
        if segment.startswith("."):
            return 'no folder or file may start with "."'
        longest = _FIELD.sub(lambda match: "x" * _WIDTHS[match[1]], segment)
        if len(longest.encode()) > _NAME_MAX_BYTES:
            return f"a name could grow beyond {_NAME_MAX_BYTES} bytes"
    return None
