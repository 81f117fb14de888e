"""Write values of columns as text, for `${column}` in a prompt.

| value                            | text                                                                              |
|----------------------------------|-----------------------------------------------------------------------------------|
| null, NaN                        | nothing: the value is missing                                                     |
| string                           | itself                                                                            |
| boolean                          | `true`, `false`                                                                   |
| integer                          | `-12`                                                                             |
| float                            | the shortest number that is exactly this value: `0.1`, `3` for 3.0; `inf`         |
| decimal                          | all its digits: `1.50`                                                            |
| date, time                       | ISO 8601: `2026-01-02`, `03:04:05`, `03:04:05.000006`                             |
| timestamp                        | ISO 8601: `2026-01-02T03:04:05`, with an offset if it has a time zone: `…+01:00`  |
| duration                         | ISO 8601: `P1DT7200S`                                                             |
| binary                           | the text, if it is UTF-8 (old Parquet files hold texts so); else an error         |
| list, struct, map                | JSON: `["a","b"]`, `{"size":3}`; values inside as above, but missing ones `null`  |
| dictionary, UUID, JSON           | as the value: `red`, `8e7b1b5e-…`, `{"size":3}`                                   |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from math import isfinite, isnan
from typing import Any, Final
from uuid import UUID

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

Texts = Sequence[str | None]
"""The text of each value; None: it is missing."""
_types = pa.types


class Unwritable(ValueError):
    """A value that has no text. `index` is its place in the column."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def render(column: pa.Array) -> Texts:
    """Return the text of each value of a column.

    :raises Unwritable: a value has no text.
    """
    try:
        return _written(column)
    except _FAILURES as exc:
        if len(column) <= 1:
            raise Unwritable(0, str(exc)) from exc
    for index in range(len(column)):
        try:
            render(column.slice(index, 1))
        except Unwritable as exc:
            raise Unwritable(index, str(exc)) from exc
    raise AssertionError("each value alone has a text, but not all together")


_FAILURES = (ValueError, TypeError, KeyError, OverflowError, pa.ArrowException)


def _written(column: pa.Array) -> Texts:
    if isinstance(column, pa.ExtensionArray):
        return _extension(column)
    kind = column.type
    if _types.is_dictionary(kind):
        return _written(column.dictionary_decode())
    return next(write for fits, write in _WRITERS if fits(kind))(column)


def objects(column: pa.Array) -> Sequence[Any]:
    """Return the values of a column as Python objects; maps as dicts."""
    # Not through numpy: pyarrow would import pandas for it, which takes 40 MB.
    nested: dict[str, Any] = {"maps_as_pydicts": "strict"} if _types.is_nested(column.type) else {}
    values: list[Any] = column.to_pylist(**nested)
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(_types.is_string(kind) or _types.is_large_string(kind))


def _cast(column: pa.Array) -> Texts:
    return objects(column.cast(pa.string()))


def _floats(column: pa.Array) -> Texts:
    return [None if text is None or text == "nan" else text for text in _cast(column)]


def _each(write: Callable[[Any], str | None], column: pa.Array) -> Texts:
    return [None if value is None else write(value) for value in column.to_pylist()]


def _timestamps(column: pa.Array) -> Texts:
    """Write timestamps. Python's have no nanoseconds, so these are added from the number."""
    if column.type.unit != "ns":
        return _each(datetime.isoformat, column)
    numbers = column.cast(pa.int64()).to_pylist()
    seconds = [None if number is None else number // 10**9 for number in numbers]
    whole = pa.array(seconds, pa.timestamp("s", column.type.tz)).to_pylist()
    return [
        None if at is None else _with_fraction(at, number % 10**9) for at, number in zip(whole, numbers, strict=True)
    ]


def _with_fraction(at: datetime, nanoseconds: int) -> str:
    text = at.replace(tzinfo=None).isoformat()
    offset = at.isoformat().removeprefix(text)
    fraction = f".{nanoseconds:09}" if nanoseconds % 1000 else f".{nanoseconds // 1000:06}" if nanoseconds else ""
    return f"{text}{fraction}{offset}"


def _times(column: pa.Array) -> Texts:
    """Write times of a day; those in nanoseconds as the timestamps of one day."""
    if column.type.unit != "ns":
        return _each(time.isoformat, column)
    texts = _timestamps(column.cast(pa.int64()).cast(pa.timestamp("ns")))
    return [None if text is None else text.partition("T")[2] for text in texts]


def _durations(column: pa.Array) -> Texts:
    return _each(_duration, column.cast(pa.duration("us"), safe=False))


def _duration(value: timedelta) -> str:
    text: str = msgspec.to_builtins(value)
    return text


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("bytes that are not UTF-8 have no text; give a prompt function that encodes them") from None


def _json(column: pa.Array) -> Texts:
    return [None if value is None else msgspec.json.encode(_plain(value)).decode() for value in objects(column)]


def _plain(value: Any) -> Any:
    """Return what JSON holds for a value inside a list or an object."""
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    write = _INSIDE.get(type(value))
    if write is not None:
        return write(value)
    # pandas.Timestamp, which pyarrow returns for nanoseconds.
    return value.isoformat() if isinstance(value, date) else value


def _number(value: float) -> float | None:
    if isnan(value):
        return None
    if not isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    return value


_INSIDE: Final[Mapping[type, Callable[[Any], Any]]] = {
    float: _number,
    Decimal: lambda value: format(value, "f"),
    bytes: _text_of,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _duration,
}


def _extension(column: pa.Array) -> Texts:
    if str(column.type.extension_name) == "arrow.uuid":
        return _each(str, column)
    return _written(column.storage)


_WRITERS: Final[Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Texts]]]] = (
    (_is_text, objects),
    (_types.is_null, lambda column: [None] * len(column)),
    (_types.is_floating, _floats),
    (_types.is_timestamp, _timestamps),
    (_types.is_time, _times),
    (_types.is_duration, _durations),
    (_types.is_decimal, partial(_each, lambda value: format(value, "f"))),
    (lambda kind: _types.is_boolean(kind) or _types.is_integer(kind) or _types.is_date(kind), _cast),
    (lambda kind: str(kind) == "string_view", _cast),
    (
        lambda kind: _types.is_binary(kind) or _types.is_large_binary(kind) or _types.is_fixed_size_binary(kind),
        partial(_each, _text_of),
    ),
    (_types.is_nested, _json),
    (lambda _: True, partial(_each, str)),
)
"""How each type is written; the first one that fits."""
