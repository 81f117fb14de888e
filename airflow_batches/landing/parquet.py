"""Result lines as a Parquet table, to query with SQL (needs `pyarrow`, extra `parquet`).

The columns are those of `columns`, and `json`, the unchanged line.

Rules:
- A row group is written when its lines reach `ROW_GROUP_BYTES`, so that memory does not grow with the batch.
- A thread compresses a row group while the next one is decoded. pyarrow does both without the interpreter's lock, so
  that the thread that receives the results goes on meanwhile.
- The lines' own bytes become the `json` column. They are not split, and only copied to take out the newlines.
"""

from __future__ import annotations

from array import array
from concurrent.futures import Future
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches._thread import WorkerThread
from airflow_batches.landing.columns import COLUMNS, result_columns
from airflow_batches.landing.quick_columns import block_columns

ROW_GROUP_BYTES: Final = 4 * 2**20
"""Bytes of the lines in one row group. Chosen: some 2,000 lines of 2 KB. Measured: groups of 16 MiB need 30 to 40 MB
more memory, and the table is hardly smaller."""

SCHEMA: Final = COLUMNS.append(pa.field("json", pa.string(), nullable=False))
WRITER: Final[dict[str, Any]] = {
    "compression": "zstd",
    "use_dictionary": [name for name in SCHEMA.names if name not in {"custom_id", "text", "json"}],
    "write_statistics": [name for name in SCHEMA.names if name not in {"text", "json"}],
}
"""How pyarrow writes a table. Ids, texts and lines mostly differ, so that a dictionary of them only costs time (for
texts 6 % of the writing, measured); no query compares whole answers or lines. The level of zstd is pyarrow's default,
1: level 3 saves a tenth of the space for a quarter more time (measured with 100,000 answers that differ)."""

_OPENING: Final = ord("{")
_CLOSING: Final = ord("}")


class ParquetEncoder:
    """An encoder from whole lines to the bytes of a table."""

    def __init__(self) -> None:
        self._made = _Collected()
        self._writer = pq.ParquetWriter(self._made, SCHEMA, **WRITER)
        self._writing: Future[None] | None = None
        self._batches: list[pa.RecordBatch] = []
        self._held = 0

    def encode(self, lines: bytes) -> bytes:
        """Take lines; return the table's next bytes, empty until a row group is written."""
        self._batches.append(table_of(lines))
        self._held += len(lines)
        return self._next_group() if self._held >= ROW_GROUP_BYTES else b""

    def finish(self) -> bytes:
        """Return the last row groups and the table's end."""
        written = self._next_group() + self._written()
        self._writer.close()
        return written + self._made.take()

    def _next_group(self) -> bytes:
        """Begin to write what is held; return the bytes of the group before."""
        written = self._written()
        table = pa.Table.from_batches(self._batches, SCHEMA)
        if table.num_rows:
            thread = WorkerThread("parquet")  # one for each group: an encoder that is dropped leaves no thread behind
            self._writing = thread.submit(self._writer.write_table, table)
            thread.finish()
        self._batches, self._held = [], 0
        return written

    def _written(self) -> bytes:
        """Wait for the group that is being written, and return its bytes."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        return self._made.take()


class _Collected:
    """A file object for pyarrow whose bytes are taken while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def table_of(lines: bytes) -> pa.RecordBatch:
    """Decode whole lines into rows of `SCHEMA`; blank ones give none.

    :param lines: each ends with a newline.
    :raises DecodeError: a line is not exactly one result.
    """
    ends = _ends(lines)
    if ends is None:
        each = [line for line in lines.split(b"\n") if line.strip()]
        return _table(result_columns(each), pa.array(each, pa.binary()))
    count = len(ends) - 1
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(lines.replace(b"\n", b""))]
    return _table(block_columns(lines), pa.Array.from_buffers(pa.binary(), count, buffers))


def _table(columns: pa.RecordBatch, lines: pa.BinaryArray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*columns.columns, _texts(lines)], schema=SCHEMA)


def _texts(lines: pa.BinaryArray) -> pa.StringArray:
    try:
        return lines.cast(pa.string())  # checks the bytes and does not copy them
    except pa.ArrowInvalid:
        return pa.array([line.decode(errors="replace") for line in lines.to_pylist()], pa.string())


def _ends(lines: bytes) -> array[int] | None:
    """Return where each line ends if the newlines are taken out, after a 0.

    None if a newline is missing, or is not between two results.
    """
    ends, at, last = array("i", [0]), lines.find(b"\n"), len(lines) - 1
    while at >= 0:
        if not at or lines[at - 1] != _CLOSING or (at < last and lines[at + 1] != _OPENING):
            return None
        ends.append(at + 1 - len(ends))
        at = lines.find(b"\n", at + 1)
    return ends if lines[-1:] == b"\n" else None
