"""Texts as cells of a CSV that a spreadsheet may open."""

import csv
import io
from collections.abc import Sequence

from bulkaudio.naming import printable

_FORMULA = ("=", "+", "-", "@")
"""What begins so, a spreadsheet takes for a formula and works out."""


def cell(value: object) -> str:
    """Write a value so that no program acts upon it; a number stays one."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    text = printable(str(value), 1000)
    # Blanks before it do not keep all programs from it.
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def row(values: Sequence[object]) -> str:
    """Write one line of a CSV, with its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([cell(value) for value in values])
    return line.getvalue()
