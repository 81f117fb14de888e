"""Read a Parquet file in batches, with memory that does not depend on its row groups.

A writer may put a million rows into one row group, and a reader of whole row groups needs as much memory. pyarrow's
dataset scanner is such a reader: measured with 300,000 rows of 1 KB in one row group, it needs 837 MB. Each column is
read through a buffer instead, which needs 44 MB there and took no more time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.tables.row_batch import BATCH_ROWS, rows_of

BUFFERS: Final = 16 << 20
"""Bytes of the buffers of all columns. Chosen: a small part of the memory, and a store gives some MB in each read."""
LEAST_BUFFER: Final = 64 << 10
"""Least bytes of a column's buffer. Chosen: less would make a store's requests slow."""
MOST_BUFFER: Final = 4 << 20
"""Most bytes of a column's buffer. Measured: on a local disk, more are no faster."""


def parquet_schema(fs: Any, path: str) -> pa.Schema:
    """Return the columns of a file; only its footer is read."""
    with _open(fs, path) as file:
        return pq.ParquetFile(file, pre_buffer=False).schema_arrow.remove_metadata()


def parquet_batches(
    fs: Any, path: str, columns: Sequence[str], most_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, with these columns in this order. Raises what pyarrow and the store raise."""
    with _open(fs, path) as file:
        # The footer alone first: how large a buffer may be depends on the number of columns.
        metadata = pq.ParquetFile(file, pre_buffer=False).metadata
        leaves = _leaves(metadata, columns)
        buffer = max(LEAST_BUFFER, min(MOST_BUFFER, BUFFERS // max(1, len(leaves))))
        reader = pq.ParquetFile(file, metadata=metadata, buffer_size=buffer, pre_buffer=False)
        rows = rows_of(_row_bytes(metadata, leaves), most_rows)
        for batch in reader.iter_batches(rows, columns=list(columns), use_threads=False):
            yield batch.select(list(columns))


def _open(fs: Any, path: str) -> Any:
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
    return pa.OSFile(path) if "file" in protocols else fs.open(path, "rb", cache_type="none")


def _leaves(metadata: pq.FileMetaData, columns: Sequence[str]) -> list[int]:
    """Return the indexes of the physical columns of some columns."""
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    return [index for index, path in enumerate(paths) if any(f"{path}.".startswith(f"{name}.") for name in columns)]


def _row_bytes(metadata: pq.FileMetaData, leaves: Sequence[int]) -> float:
    """Return the largest mean size of a row in a row group."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    sizes = [
        sum(group.column(leaf).total_uncompressed_size for leaf in leaves) / group.num_rows
        for group in groups
        if group.num_rows
    ]
    return max(sizes, default=0.0)
