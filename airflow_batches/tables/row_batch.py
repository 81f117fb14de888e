"""A run of consecutive rows of one file, and how batches are cut to a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.tables.row_errors import PromptError

BATCH_ROWS: Final = 2_048
"""Most rows of a batch. Measured: more rows were no faster, and need more memory."""
BATCH_BYTES: Final = 4 << 20
"""Bytes of a batch, unless one row alone has more. Chosen: some copies of a batch as Python objects stay small."""


@dataclass(frozen=True)
class RowBatch:
    """Consecutive rows.

    :param data: the rows.
    :param file: the file's URI without credentials; None if the rows come from no file.
    :param first: the number of the first row in its file, from 1.

    Example::

        for batch in RowSource.of("s3://lake/reviews/").batches(["text"]):
            print(batch.place(0), batch.data.num_rows)
    """

    data: pa.RecordBatch
    file: str | None
    first: int

    def place(self, index: int) -> str:
        """Return where a row of the batch is from, for people."""
        number = f"row {self.first + index:,}"
        return number if self.file is None else f"{self.file}, {number}"

    def error(self, index: int, reason: str, column: str | None = None) -> PromptError:
        """Make the error for a row of the batch."""
        return PromptError(self.place(index), reason, file=self.file, row=self.first + index, column=column)


def rows_of(size: float, most: int = BATCH_ROWS) -> int:
    """Return how many rows of this size a batch holds."""
    return int(min(most, max(1, BATCH_BYTES // max(1, size))))


def cut_batches(batches: Iterator[pa.RecordBatch], file: str | None) -> Iterator[RowBatch]:
    """Yield the rows of one file in batches of bounded size."""
    first = 1
    for data in batches:
        if data.num_rows:
            rows = rows_of(data.nbytes / data.num_rows)
            for start in range(0, data.num_rows, rows):
                yield RowBatch(data.slice(start, rows), file, first + start)
            first += data.num_rows
