"""Turn rows that are Python objects into Arrow.

| values of a column                              | Arrow type                                           |
|-------------------------------------------------|------------------------------------------------------|
| str, bool, int, float                           | string, bool, int64, double (ints and floats: double)|
| Decimal, date, datetime, time, timedelta, bytes | decimal128, date32, timestamp[us], …                 |
| UUID                                            | string                                               |
| list, tuple, numpy array                        | list                                                 |
| mapping                                         | struct; a missing member is null                     |
| None, and a column that a row does not have     | null                                                 |
| anything else, or several of these              | refused, with row and column                         |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.tables.row_batch import BATCH_ROWS, RowBatch, rows_of
from airflow_batches.tables.row_errors import RowsError

FIRST_ROWS = 64
"""Rows of the first batch. Chosen: their size is not known yet, and so many documents of 1 MB are no harm."""


class Collector:
    """Rows until they make a batch. The size of a batch follows the size of the rows before it.

    :param file: the file of the rows; None if they come from no file.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._rows: list[Mapping[str, Any]] = []
        self._first = 1
        self._most = FIRST_ROWS

    @property
    def is_full(self) -> bool:
        """Whether the rows make a batch."""
        return len(self._rows) >= self._most

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)

    def take(self) -> Iterator[RowBatch]:
        """Yield the rows as a batch, if there are any."""
        if self._rows:
            batch = RowBatch(_columns(self._rows, self._file, self._first), self._file, self._first)
            self._first += len(self._rows)
            self._most = min(BATCH_ROWS, rows_of(batch.data.nbytes / len(self._rows)))
            self._rows = []
            yield batch


def object_batches(rows: Iterable[Any]) -> Iterator[RowBatch]:
    """Yield mappings as batches. Each batch has the columns and types that its rows have.

    :raises RowsError: a row is no mapping, or has a value that has no Arrow type.
    """
    collector = Collector(None)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise RowsError(f"row {number:,} is no mapping of column names to values: {type(row).__name__}")
        collector.add(row)
        if collector.is_full:
            yield from collector.take()
    yield from collector.take()


def _columns(rows: Sequence[Mapping[str, Any]], file: str | None, first: int) -> pa.RecordBatch:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise RowsError(f"{RowBatch(None, file, first).place(0)}, has no columns; nothing was sent")
    return pa.RecordBatch.from_arrays([_column(name, rows, file, first) for name in names], names=names)


def _column(name: str, rows: Sequence[Mapping[str, Any]], file: str | None, first: int) -> pa.Array:
    values = [row.get(name) for row in rows]
    try:
        made = _array(values)
    except _FAILURES:
        made = None
    if made is not None and not (pa.types.is_date32(made.type) and any(isinstance(v, datetime) for v in values)):
        return made
    index, reason = _first_unfit(values)
    place = RowBatch(None, file, first).place(index)
    raise RowsError(f"{place}, column {name!r}: {reason}; nothing was sent")


_FAILURES = (pa.ArrowException, TypeError, ValueError, OverflowError)


def _array(values: Sequence[Any]) -> pa.Array:
    if any(type(value) is UUID for value in values):
        values = [str(value) if isinstance(value, UUID) else value for value in values]
    return pa.array(values)


def _first_unfit(values: Sequence[Any]) -> tuple[int, str]:
    """Return the first value that does not go with those before it, and why."""
    seen: dict[type, None] = {}
    for index, value in enumerate(values):
        try:
            made = _array([value])
        except _FAILURES as exc:
            return index, f"a value of the type {type(value).__name__} cannot be in a table ({_short(exc)})"
        if not pa.types.is_null(made.type):
            seen.setdefault(type(value))
        try:
            _array(values[: index + 1])
        except _FAILURES as exc:
            kinds = " and ".join(kind.__name__ for kind in seen)
            return index, f"values of several types, {kinds} ({_short(exc)})"
    return 0, "dates and datetimes in one column"


def _short(error: Exception) -> str:
    """Return an error without the value that it may name."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 120 else f"{text[:120]}…"
