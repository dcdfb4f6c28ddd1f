"""The catalogue as Parquet; needs pyarrow, which the extra ``bulkaudio[parquet]`` brings."""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow.parquet import ParquetWriter as ArrowWriter

from bulkaudio.catalogue.columns import COLUMNS, SCHEMA, Kind
from bulkaudio.ledger.rows import LedgerRow

ROWS_PER_GROUP = 16 * 1024
"""Held in memory before they are written: some twenty megabytes."""

TYPES = {
    Kind.TEXT: pa.string(),
    Kind.WORD: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}

TABLE = pa.schema(
    [
        pa.field(column.name, TYPES[column.kind], nullable=not column.is_required)
        for column in COLUMNS
    ],
    metadata={"schema": SCHEMA},
)


class ParquetWriter:
    """Writes row groups of bounded size; few different words are kept once each."""

    def __init__(self, file: BinaryIO) -> None:
        words = [column.name for column in COLUMNS if column.kind is Kind.WORD]
        self._writer = ArrowWriter(
            file, TABLE, compression="zstd", use_dictionary=words, store_schema=True
        )
        self._waiting: list[LedgerRow] = []

    def write(self, rows: Sequence[LedgerRow]) -> None:
        """Add rows."""
        self._waiting.extend(rows)
        if len(self._waiting) >= ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the footer without which nobody can read the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            columns = [
                pa.array([column.value(row) for row in rows], type=field.type)
                for column, field in zip(COLUMNS, TABLE, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=TABLE))
