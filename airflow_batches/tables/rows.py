"""Rows from anything that holds rows: files of a store, iterables, tables.

| given                                                 | read                                                        |
|-------------------------------------------------------|-------------------------------------------------------------|
| URI, absolute path, `ObjectStoragePath`               | its file, folder or glob (`row_files`): Parquet and CSV are |
|                                                       | streamed; JSONL is spooled                                  |
| list, generator, iterable of mappings                 | once, spooled                                               |
| pyarrow `Table`, `Dataset`; pandas, polars            | from memory; a Dataset is streamed                          |
| pyarrow `RecordBatchReader`, others with an Arrow     | once, spooled                                               |
| stream (`__arrow_c_stream__`)                         |                                                             |
| callable without arguments                            | what it returns, one of the other kinds                     |

Rules: the order is that of the files by path, and that of the rows in each. Only the columns that are asked for are
read. No more than some batches of rows are in memory. What is spooled (`row_spool`) is read to its end first, because
only then its columns and types are known: its first rows may lack a column, or have only whole numbers.
The columns of all files must have the same types (`row_columns`).
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches._uri import is_path
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.submission.errors import EmptySource
from airflow_batches.submission.objects import reading
from airflow_batches.submission.stores import OpenStore, fsspec_store
from airflow_batches.tables.row_batch import BATCH_ROWS, RowBatch, cut_batches
from airflow_batches.tables.row_columns import clash, common_type, conform, require_columns, require_single
from airflow_batches.tables.row_errors import RowsError
from airflow_batches.tables.row_files import RowFile, RowFiles, RowFormat
from airflow_batches.tables.row_parquet import parquet_batches, parquet_schema
from airflow_batches.tables.row_spool import RowSpool
from airflow_batches.tables.row_texts import csv_batches, csv_header, json_batches
from airflow_batches.tables.row_values import object_batches

IN_MEMORY: Final = "the rows"
"""What messages call rows that come from no file."""


class RowSource(ABC):
    """Rows that can be read again and again.

    `name` is for people and holds no credentials. `wanted` are the columns that the user named, None for all.

    Example::

        rows = RowSource.of("s3://lake/reviews/*.parquet", columns=["id", "text"])
        for batch in rows.batches(["text"]):
            print(batch.place(0), batch.data.num_rows)
    """

    name: str
    wanted: Sequence[str] | None = None

    @classmethod
    def of(
        cls,
        given: Any,
        *,
        columns: Sequence[str] | None = None,
        format: RowFormat | None = None,  # noqa: A002  # the usual name, as in pandas and pyarrow
        storage_options: Mapping[str, Any] | None = None,
        open_store: OpenStore = fsspec_store,
    ) -> RowSource:
        """Open rows.

        :param given: rows in one of the forms of the table.
        :param columns: the columns that a prompt function needs; by default all.
        :param format: the format of files whose names do not say it.
        :param storage_options: options for the fsspec file system of a URI.
        :param open_store: finds the store of a URI, if no options are given; by default fsspec's.
        :raises InvalidRequest: this is no source of rows, or it has not these columns.
        :raises EmptySource: there is no file.
        :raises SourceError: the store cannot be read.
        """
        store = open_store if storage_options is None else _store_with(storage_options)
        source = _source(given() if callable(given) else given, format, store)
        if columns is not None:
            if isinstance(columns, str) or not columns:
                raise InvalidRequest(f"columns must be a list of names, not {columns!r}")
            require_columns(columns, source.schema.names, "columns", source.name)
            source.wanted = list(dict.fromkeys(columns))
        return source

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns and their types.

        :raises RowsError: the rows do not make one table.
        :raises EmptySource: there are no rows to tell them from.
        """

    @abstractmethod
    def batches(self, columns: Sequence[str] | None = None) -> Iterator[RowBatch]:
        """Yield all rows in order, in batches of bounded size.

        :param columns: the columns to read, in this order; by default all.
        :raises RowsError: the rows do not make one table.
        :raises SourceError: the rows cannot be read, or files changed meanwhile (`SourceChanged`).
        """


class FileRows(RowSource):
    """Rows of Parquet or CSV files, streamed."""

    def __init__(self, files: RowFiles, format: RowFormat) -> None:  # noqa: A002
        self.name = files.name
        self._files = files
        self._format = format

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the first file."""
        return self._schema_of(self._files.files[0])

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[RowBatch]:
        """Yield the rows of all files."""
        wanted = list(columns) if columns is not None else self.schema.names
        target = pa.schema([self.schema.field(name) for name in wanted])
        for file in self._files.files:
            self._check(file, wanted, all_columns=columns is None)
            with _reading_rows(file.uri):
                for batch in cut_batches(self._read(file, wanted), file.uri):
                    yield RowBatch(_conformed(batch.data, target), batch.file, batch.first)
        self._files.require_unchanged()

    def _read(self, file: RowFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self._format == "parquet":
            return parquet_batches(file.fs, file.path, columns)
        return csv_batches(file, self._format, columns)

    def _schema_of(self, file: RowFile) -> pa.Schema:
        with _reading_rows(file.uri):
            parquet = self._format == "parquet"
            schema = parquet_schema(file.fs, file.path) if parquet else csv_header(file, self._format)
        require_single(schema.names, file.uri)
        return schema

    def _check(self, file: RowFile, columns: Sequence[str], *, all_columns: bool) -> None:
        """Raise `RowsError` if a file's columns cannot be those of the first file."""
        first = self._files.files[0]
        if file is first:
            return
        schema = self._schema_of(file)
        for name in columns:
            if name not in schema.names:
                raise clash(name, (first.uri, self.schema.field(name).type), (file.uri, "missing"))
            here, there = schema.field(name).type, self.schema.field(name).type
            if common_type(there, here) != there:
                raise clash(name, (first.uri, there), (file.uri, here))
        if all_columns and (more := [name for name in schema.names if name not in self.schema.names]):
            raise clash(more[0], (first.uri, "missing"), (file.uri, schema.field(more[0]).type))


class SpooledRows(RowSource):
    """Rows that are read once to their end, and then from a temporary file."""

    def __init__(self, name: str, chunks: Callable[[], Iterator[RowBatch]]) -> None:
        self.name = name
        self._chunks = chunks

    @property
    def schema(self) -> pa.Schema:
        """The columns of all rows; reads them."""
        return self._spool.schema

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[RowBatch]:
        """Yield the rows; the first reading reads the source to its end before."""
        yield from self._spool.batches(columns)

    @cached_property
    def _spool(self) -> RowSpool:
        spool = RowSpool()
        for chunk in self._chunks():
            spool.add(chunk)
        if not spool.rows:
            raise EmptySource(self.name)
        return spool


class TableRows(RowSource):
    """Rows that pyarrow can read again and again."""

    name = IN_MEMORY

    def __init__(self, schema: pa.Schema, read: Callable[[list[str]], Iterable[pa.RecordBatch]]) -> None:
        require_single(schema.names, self.name)
        self._schema = schema.remove_metadata()
        self._read = read

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return self._schema

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[RowBatch]:
        """Yield the table's rows."""
        wanted = list(columns) if columns is not None else self.schema.names
        yield from cut_batches(iter(self._read(wanted)), None)


def _source(given: Any, format: RowFormat | None, store: OpenStore) -> RowSource:  # noqa: A002
    if isinstance(given, RowSource):
        return given
    if isinstance(given, str) or is_path(given):
        return _files(given, format, store)
    if type(given).__module__.partition(".")[0] == "pandas":
        # Its own Arrow stream would add the index as a column.
        given = pa.Table.from_pandas(given, preserve_index=False)
    if isinstance(given, pa.Table | pa.RecordBatch):
        return TableRows(given.schema, lambda names: pa.table(given).select(names).to_batches())
    if _is_dataset(given):
        return TableRows(given.schema, lambda names: _scanned(given, names))
    if hasattr(given, "__arrow_c_stream__"):
        return SpooledRows(IN_MEMORY, lambda: cut_batches(iter(pa.RecordBatchReader.from_stream(given)), None))
    if isinstance(given, Mapping | bytes | bytearray) or not isinstance(given, Iterable):
        raise InvalidRequest(
            f"rows must be a URI, an iterable of mappings, a table or a callable, not {type(given).__name__}"
        )
    return SpooledRows(IN_MEMORY, lambda: object_batches(given))


def _files(place: Any, format: RowFormat | None, store: OpenStore) -> RowSource:  # noqa: A002
    if isinstance(place, str) and place.lstrip().startswith(("[", "{")):
        raise InvalidRequest("rows is a text that looks like JSON; give the list itself")
    files = RowFiles.find(place, store)
    found = files.format(format)
    if found != "jsonl":
        return FileRows(files, found)
    return SpooledRows(files.name, lambda: _json_rows(files))


def _json_rows(files: RowFiles) -> Iterator[RowBatch]:
    for file in files.files:
        yield from json_batches(file)
    files.require_unchanged()


def _is_dataset(given: Any) -> bool:
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(given, dataset.Dataset)


def _scanned(dataset: Any, columns: list[str]) -> Iterable[pa.RecordBatch]:
    """Read a pyarrow Dataset in order, as little ahead as it can."""
    batches: Iterable[pa.RecordBatch] = dataset.to_batches(
        columns=columns, batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1
    )
    return batches


def _conformed(data: pa.RecordBatch, target: pa.Schema) -> pa.RecordBatch:
    if data.schema.equals(target):
        return data
    columns = [conform(column, field.type) for column, field in zip(data.columns, target, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=target)


@contextmanager
def _reading_rows(name: str) -> Iterator[None]:
    """Convert failures to `SourceError`, and those of the file's content, which no retry helps, to `RowsError`."""
    with reading(name):
        try:
            yield
        except pa.ArrowInvalid as exc:
            raise RowsError(f"{name} cannot be read as rows: {exc}; nothing was sent") from exc


def _store_with(options: Mapping[str, Any]) -> OpenStore:
    def open_store(uri: str) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        fs, path = url_to_fs(uri, **options)
        return fs, path

    return open_store
