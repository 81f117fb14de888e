"""The rows of a job as one Parquet object in its folder: what is kept of each row, and its request.

| column     | holds                                                                                                   |
|------------|---------------------------------------------------------------------------------------------------------|
| `_request` | the number of the row's request; rows that share one have the same number. Null: the row has no request |
| `_digest`  | the digest of the request's params, by which a later job finds its answer (`jobs.reuse`)                |

The object holds the rows in their order, so the job needs its source only once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.location import Location
from airflow_batches.landing.writer import create
from airflow_batches.tables.row_parquet import parquet_batches, parquet_schema

REQUEST: Final = "_request"
"""The column of request numbers."""
DIGEST: Final = "_digest"
"""The column of digests."""
STORED: Final = (REQUEST, DIGEST)
"""The columns that are added to those of the rows."""
GROUP_BYTES: Final = 8 << 20
"""Bytes of rows in a row group. Chosen: a reader and the writer hold a few of them."""
GROUP_ROWS: Final = 1 << 16
"""Most rows of a row group. Chosen: so many keys of a few bytes compress well."""
READ_ROWS: Final = 1 << 14
"""Most rows that are read at once. Measured: with 2,048, joining them to their answers needs half as much CPU again."""


class RowsWriter:
    """Writes the rows of a job. They are visible when the `with` block ends without an error, and not before.

    :param location: the object.

    Example::

        with RowsWriter(folder.internal("rows-1.parquet")) as writer:
            for line in requests.requests("job", writer.write):
                ...
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._file = create(location)
        self._sink = pa.PythonFile(_Sink(self._file), mode="w")
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows, which have the column `_request`.

        :raises LandingError: the store failed.
        """
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.discard()
            return
        try:
            self._finish()
        except BaseException:
            self._file.discard()
            raise

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            # zstd's fastest level: measured as fast as no compression on a local disk. Dictionaries of numbers and
            # digests, which are all different, took more time than to write them (measured).
            self._writer = pq.ParquetWriter(
                self._sink, self._held[0].schema, compression="zstd", compression_level=1, use_dictionary=False
            )
        self._writer.write_table(pa.Table.from_batches(self._held))
        self._held.clear()
        self._rows = self._bytes = 0

    def _finish(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._file.finish()
        self._file.commit()


def kept_schema(location: Location) -> pa.Schema:
    """Return the columns that were kept of the rows of a job.

    :param location: the object that `RowsWriter` wrote.
    :raises LandingError: the store failed.
    """
    with store_errors("reading", location.uri):
        schema = parquet_schema(location.fs, location.path)
    return pa.schema([field for field in schema if field.name not in STORED])


def read_rows(location: Location, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a job in their order, in batches of bounded size.

    :param location: the object that `RowsWriter` wrote.
    :param columns: the columns to read; by default all.
    :raises LandingError: the store failed.
    """
    fs: Any = location.fs
    with store_errors("reading", location.uri):
        names = list(columns) if columns is not None else parquet_schema(fs, location.path).names
        yield from parquet_batches(fs, location.path, names, READ_ROWS)


class _Sink:
    """The object as a file that pyarrow writes."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        self._file.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: the object is stored when it is finished."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
