"""Which column of a CSV file holds what, told by its first row."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bulkaudio.errors import UsageError
from bulkaudio.naming import is_conversation_id, printable

DELIMITERS = ",;\t|"
_ID_NAMES = ("conversationid", "id", "callsid")
_ID_SPELLINGS = ("conversation_id", "conversationId", "id", "call_sid")
_START_NAMES = ("startedat", "starttime", "conversationstartedat", "callstarttime", "callstart")
_EXCEL_HINT = re.compile(r'"?sep=([^\r\n"])"?(?=[\r\n])', re.IGNORECASE)
_BLANK_ROWS = re.compile(r"\A(?:[ \t\ufeff,;|]*(?:\r\n?|\n))*|\A[ \t\ufeff,;|]*\Z")
_FOLDED = re.compile(r"[\s_\ufeff-]+")
_SHOWN_COLUMNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    Where to look in a row.

    Attributes:
        started_at: Column of the conversation's start, if there is one.
        headers: What the id column says, folded, in a header row; empty without headers.
        spellings: What it says there, as it stands, and may where two files were joined.
    """

    delimiter: str
    id: int
    started_at: int | None = None
    headers: frozenset[str] = frozenset()
    spellings: frozenset[str] = frozenset()


def is_whole_head(head: str) -> bool:
    """Whether `head` holds a first row, and not only a part of it."""
    quotes = 0
    for line in io.StringIO(_first_row_text(head), newline=""):
        quotes += line.count('"')
        if line.endswith(("\r", "\n")) and quotes % 2 == 0:
            return True
    return False


def find_columns(head: str, id_column: str | None, name: str) -> Columns:
    """
    Find the columns by the first row of `head`, whichever delimiter shows them.

    Raises:
        UsageError: When there is no id column.
    """
    text = _first_row_text(head)
    if not text.strip():
        raise UsageError(f"{name} is empty", fix="export the conversation ids again")
    hint = _EXCEL_HINT.match(_BLANK_ROWS.sub("", head, count=1))
    candidates = {d: _parse(text, d) for d in (hint[1] if hint else DELIMITERS)}
    for delimiter, cells in candidates.items():
        found = _find_id(cells, id_column)
        if found is not None:
            return _with_header(delimiter, cells, found)
    cells = max(candidates.values(), key=len)
    filled = [cell for cell in cells if cell.strip()]
    if id_column is None and len(filled) == 1 and _is_certainly_id(filled[0].strip()):
        delimiter = next(d for d, row in candidates.items() if row == cells)
        return Columns(delimiter=delimiter, id=cells.index(filled[0]))
    raise _no_id_column(cells, id_column, name)


def _first_row_text(head: str) -> str:
    """Cut blank rows and Excel's hint off the front."""
    text = _BLANK_ROWS.sub("", head, count=1)
    hint = _EXCEL_HINT.match(text)
    return _BLANK_ROWS.sub("", text[hint.end() :], count=1) if hint else text


def _parse(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        # A field beyond what the module reads: whatever this row is, it is no header.
        return []


def _with_header(delimiter: str, cells: Sequence[str], found: int) -> Columns:
    return Columns(
        delimiter=delimiter,
        id=found,
        started_at=_find(cells, _START_NAMES),
        headers=frozenset({fold(cells[found]), *_ID_NAMES}),
        spellings=frozenset({cells[found], *_ID_SPELLINGS}),
    )


def _find_id(cells: Sequence[str], id_column: str | None) -> int | None:
    if id_column is None:
        return _find(cells, _ID_NAMES)
    exact = [at for at, cell in enumerate(cells) if cell and cell.strip() == id_column.strip()]
    return exact[0] if exact else _find(cells, (fold(id_column),))


def _find(cells: Sequence[str], names: Sequence[str]) -> int | None:
    """Find the first column that has the first of the folded `names` to occur."""
    folded = [fold(cell) for cell in cells]
    return next((folded.index(name) for name in names if name and name in folded), None)


def fold(name: str) -> str:
    """Reduce a column's name to what its spellings have in common."""
    return _FOLDED.sub("", name).lower()


def _is_certainly_id(text: str) -> bool:
    # A column name has the form of an id, too; but no id that was ever seen is without a digit.
    return is_conversation_id(text) and any(c.isdigit() for c in text)


def _no_id_column(cells: Sequence[str], id_column: str | None, name: str) -> UsageError:
    shown = ", ".join(printable(cell, 40) or '""' for cell in cells[:_SHOWN_COLUMNS])
    more = f" and {len(cells) - _SHOWN_COLUMNS} more" if len(cells) > _SHOWN_COLUMNS else ""
    wanted = f"column {printable(id_column)!r}" if id_column else "column of conversation ids"
    return UsageError(
        f"{name} has no {wanted}; its columns are: {shown}{more}",
        fix="name the right one with --id-column, or call it conversation_id; without a header "
        "line, the file must hold nothing but ids",
    )
