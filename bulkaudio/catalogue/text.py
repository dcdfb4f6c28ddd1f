"""The catalogue as text: CSV for spreadsheets and JSON Lines for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO

from bulkaudio import cells
from bulkaudio.catalogue.columns import COLUMNS, Value
from bulkaudio.ledger.rows import LedgerRow, text_of


class CsvWriter:
    """Writes RFC 4180 in UTF-8, with a header line and LF; what is unknown is an empty cell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._write([column.name for column in COLUMNS])

    def write(self, rows: Sequence[LedgerRow]) -> None:
        """Add rows."""
        self._write(*([cell(column.value(row)) for column in COLUMNS] for row in rows))

    def close(self) -> None:
        """Do nothing: there is nothing after the last row."""

    def _write(self, *rows: Sequence[str]) -> None:
        self._file.write("".join(map(cells.row, rows)).encode())


class JsonLinesWriter:
    """Writes an object a line, ASCII only, with every key; what is unknown is null."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, rows: Sequence[LedgerRow]) -> None:
        """Add rows."""
        for row in rows:
            values = {column.name: _plain(column.value(row)) for column in COLUMNS}
            text = json.dumps(values, separators=(",", ":"), allow_nan=False)
            self._file.write(text.encode() + b"\n")

    def close(self) -> None:
        """Do nothing: there is nothing after the last row."""


def cell(value: Value) -> str:
    """Write a value as a cell of a CSV that no spreadsheet acts upon."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return text_of(value)
        case str():
            return cells.harmless(value)
        case int() | float():
            return repr(value)


def _plain(value: Value) -> Value:
    return text_of(value) if isinstance(value, datetime) else value
