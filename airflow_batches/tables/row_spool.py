"""Keep rows on local disk until all their columns and types are known.

Each batch is stored with the types that it has. When all are stored, the types are made one (`row_columns`), and the
batches are converted while they are read back. The file has no name, so the system deletes it when the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.tables.row_batch import RowBatch, cut_batches
from airflow_batches.tables.row_columns import clash, common_type, conform, require_single
from airflow_batches.tables.row_errors import RowsError


@dataclass(frozen=True)
class _Stored:
    offset: int
    file: str | None
    first: int
    place: str


class RowSpool:
    """Batches with their own columns in, batches of one table out."""

    def __init__(self) -> None:
        self.rows = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the spool is used
        self._stored: list[_Stored] = []
        self._types: dict[str, pa.DataType] = {}
        self._places: dict[str, str] = {}

    @property
    def schema(self) -> pa.Schema:
        """The columns of the batches so far."""
        return pa.schema(list(self._types.items()))

    def add(self, batch: RowBatch) -> None:
        """Store a batch.

        :raises RowsError: a column's type does not go with that of the batches before it.
        """
        place = (
            batch.place(0)
            if batch.data.num_rows == 1
            else f"{batch.place(0)} to {batch.first + batch.data.num_rows - 1:,}"
        )
        require_single(batch.data.schema.names, batch.file or "the rows")
        for field in batch.data.schema:
            self._merge(field, place)
        offset = self._file.tell()
        with pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), batch.data.schema) as writer:
            writer.write_batch(batch.data)
        self._stored.append(_Stored(offset, batch.file, batch.first, place))
        self.rows += batch.data.num_rows

    def batches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        """Yield the rows, all with the same columns.

        :param columns: the columns, in this order; None: all.
        :raises RowsError: a value cannot be converted without a loss.
        """
        schema = self.schema
        fields = [schema.field(name) for name in (schema.names if columns is None else columns)]
        for stored in self._stored:
            data = self._read(stored.offset)
            made = [_converted(data, field, stored.place) for field in fields]
            whole = pa.RecordBatch.from_arrays(made, schema=pa.schema(fields))
            for batch in cut_batches(iter([whole]), stored.file):
                yield RowBatch(batch.data, stored.file, stored.first + batch.first - 1)

    def _merge(self, field: pa.Field, place: str) -> None:
        known = self._types.setdefault(field.name, field.type)
        merged = common_type(known, field.type)
        if merged is None:
            raise clash(field.name, (self._places[field.name], known), (place, field.type))
        self._types[field.name] = merged
        if field.name not in self._places or merged != known:
            self._places[field.name] = place

    def _read(self, offset: int) -> pa.RecordBatch:
        self._file.seek(offset)
        with pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")) as reader:
            return reader.read_next_batch()


def _converted(data: pa.RecordBatch, field: pa.Field, place: str) -> pa.Array:
    if field.name not in data.schema.names:
        return pa.nulls(data.num_rows, field.type)
    column = data.column(field.name)
    try:
        return conform(column, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as exc:
        raise RowsError(
            f"{place}, column {field.name!r}: a value of the type {column.type} is not exactly a {field.type}, which "
            f"other rows have; nothing was sent"
        ) from exc
