"""
Who called, for those calls whose metadata is kept; masked unless somebody asked for the numbers.

Only the files beside the recordings know it, and a number that is masked here is in no part of the
page, hidden ones included.
"""

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from bulkaudio.naming import file_stem, printable

FOLDER = "metadata"
HEAD_BYTES = 64 * 1024
MOST_BYTES = 4 * 1024 * 1024
LONGEST = 40
SHOWN_DIGITS = 3
FEWEST_DIGITS = 7

# Files of ours are indented by two: no line of a text or of an inner object begins like this.
_CALLER = re.compile(rb'^  "(?:from_number|fromNumber)": ("(?:[^"\\]|\\.)*")', re.MULTILINE)
_DIGIT = re.compile(r"\d")


def read_callers(archive: Path, ids: Iterable[str], *, are_shown: bool) -> dict[str, str]:
    """Return the callers of these conversations, where metadata tells them; blocks."""
    folder = archive / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return {}
    found = {}
    for conversation_id in ids:
        number = _number_in(folder / f"{file_stem(conversation_id)}.json")
        if number:
            found[conversation_id] = printable(number, LONGEST) if are_shown else masked(number)
    return found


def masked(number: str) -> str:
    """Leave of a number what tells two callers of a day apart: its last digits."""
    digits = _DIGIT.findall(number)
    return "…" + "".join(digits[-SHOWN_DIGITS:]) if len(digits) >= FEWEST_DIGITS else "hidden"


def _number_in(path: Path) -> str | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            text = file.read(HEAD_BYTES)
            found = _CALLER.search(text)
            if found is None and len(text) == HEAD_BYTES:
                found = _CALLER.search(text + file.read(MOST_BYTES))
    except OSError:
        return None
    return None if found is None else _text_of(found[1])


def _text_of(literal: bytes) -> str | None:
    try:
        text = json.loads(literal)
    except ValueError:
        return None
    return text.strip() if isinstance(text, str) else None
