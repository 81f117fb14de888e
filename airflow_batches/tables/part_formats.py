"""Encode tables as the bytes of a part: Parquet, CSV or JSONL.

| format    | nested values | dates, times, decimals | null         | bytes   |
|-----------|---------------|------------------------|--------------|---------|
| `parquet` | as they are   | as they are            | as it is     | as they are |
| `csv`     | JSON text     | text (ISO 8601)        | nothing; an empty text is `""` | base64 |
| `jsonl`   | objects, lists | text (ISO 8601)       | `null`; NaN too, which JSON lacks | base64 |

Rules: a table becomes one row group of Parquet. The same tables in the same order give the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest

Write = Callable[[bytes], object]
DICTIONARY_BYTES: Final = 2**18
"""Bytes of a column's distinct values after which the rest of a row group has no dictionary. Measured with texts that
all differ: pyarrow's default, 1 MiB, takes a fifth more time, and makes larger files."""


class PartEncoder(Protocol):
    """An encoder from tables of one schema to the bytes of a part, which it writes."""

    def encode(self, rows: pa.Table) -> None: ...
    def finish(self) -> None: ...


def part_encoder(format_name: str, schema: pa.Schema, write: Write) -> PartEncoder:
    """Make an encoder.

    :param format_name: one of `PART_FORMATS`.
    :param schema: the columns of every table.
    :param write: takes the bytes, a page of Parquet at a time.
    :raises InvalidRequest: the format is unknown.
    """
    require_format(format_name)
    return PART_FORMATS[format_name](schema, write)


def require_format(format_name: str) -> None:
    """Raise `InvalidRequest` for an unknown format."""
    if format_name not in PART_FORMATS:
        raise InvalidRequest(f"format of rows must be one of {', '.join(PART_FORMATS)}, not {format_name!r}")


class _PartFile:
    """A file object for pyarrow."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._write(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def close(self) -> None:
        self.closed = True


class ParquetPart:
    """Row groups of Parquet, compressed with zstd."""

    def __init__(self, schema: pa.Schema, write: Write) -> None:
        file = _PartFile(write)
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", dictionary_pagesize_limit=DICTIONARY_BYTES)

    def encode(self, rows: pa.Table) -> None:
        """Write a row group, and before the first one the file's head."""
        self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))

    def finish(self) -> None:
        """Write the file's end."""
        self._writer.close()


class CsvPart:
    """Lines of CSV in UTF-8, with a head."""

    def __init__(self, schema: pa.Schema, write: Write) -> None:
        self._schema = pa.schema([pa.field(field.name, _csv_type(field.type)) for field in schema])
        self._writer = pa_csv.CSVWriter(_PartFile(write), self._schema)

    def encode(self, rows: pa.Table) -> None:
        """Write the rows, and before the first ones the head."""
        self._writer.write_table(pa.table([_csv_column(column) for column in rows.columns], schema=self._schema))

    def finish(self) -> None:
        """Write the rest."""
        self._writer.close()


class JsonPart:
    """Lines of JSON, with all columns in each."""

    def __init__(self, schema: pa.Schema, write: Write) -> None:
        self._write = write

    def encode(self, rows: pa.Table) -> None:
        """Write the rows, as many at once as a batch holds."""
        for batch in rows.to_batches():
            self._write(json_lines(pa.Table.from_batches([batch])))

    def finish(self) -> None:
        """Do nothing: there is no buffer."""


PART_FORMATS: Final[Mapping[str, Callable[[pa.Schema, Write], PartEncoder]]] = {
    "parquet": ParquetPart,
    "csv": CsvPart,
    "jsonl": JsonPart,
}


def json_lines(rows: pa.Table) -> bytes:
    """Return the rows as lines of JSON."""
    columns = [json_values(column) for column in rows.columns]
    names = rows.column_names
    return _json.encode_lines([dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)])


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values as what msgspec encodes."""
    kind = _json_type(column.type)
    values: list[Any] = (column if kind == column.type else column.cast(kind)).to_pylist()
    return values


_json: Final = msgspec.json.Encoder()


def _json_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that Python can hold: it has no nanoseconds, and msgspec no durations of Arrow."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_json_type(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        item = kind.value_field.with_type(_json_type(kind.value_type))
        return pa.list_(item) if pa.types.is_list(kind) else pa.large_list(item)
    return pa.string() if _has_nanoseconds(kind) else kind


def _has_nanoseconds(kind: pa.DataType) -> bool:
    temporal = pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind)
    return bool(temporal and kind.unit == "ns")


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return kind if _fits_csv(kind) else pa.string()


def _fits_csv(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
        or pa.types.is_string(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )  # fmt: skip


def _csv_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if _fits_csv(column.type) else pa.array(map(_csv_text, json_values(column)), pa.string())


def _csv_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    text = _json.encode(value).decode()
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text
