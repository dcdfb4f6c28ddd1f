"""
Texts as cells of a CSV that a spreadsheet may open.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end for a
formula, and what an error code or a layout holds is not ours. Such a cell is written with an
apostrophe before it, and so is one that begins with an apostrophe: taking one apostrophe off gives
every cell back as it was.
"""

from collections.abc import Sequence

ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""What no cell of text begins with."""


def harmless(text: str) -> str:
    """Write a text so that no program acts upon it."""
    # Blanks before a formula do not keep all programs from it.
    is_active = text.startswith(ACTIVE) or text.lstrip().startswith(ACTIVE)
    return f"'{text}" if is_active else text


def row(cells: Sequence[str]) -> str:
    """Write one line of a CSV as RFC 4180 has it, with LF as its end."""
    return ",".join(map(_quoted, cells)) + "\n"


def _quoted(text: str) -> str:
    # Not by the standard library: with LF as its line end, it leaves a CR in a cell unquoted.
    is_plain = not any(each in text for each in ',"\r\n')
    return text if is_plain else '"' + text.replace('"', '""') + '"'
