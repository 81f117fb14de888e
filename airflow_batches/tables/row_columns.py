"""Columns of a source: whether they are there, and how the types of two files become one.

| types of a column in two places                    | become                                                 |
|----------------------------------------------------|--------------------------------------------------------|
| the same                                           | this one                                               |
| null (all values are missing) and any other        | the other                                              |
| numbers, decimals, timestamps of several widths    | the wider one, if no value changes                     |
| structs and lists                                  | the same, member by member; a missing member is null   |
| any others, such as numbers and texts              | refused, with both places and the column               |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.tables.row_errors import RowsError


def require_columns(wanted: Iterable[str], there: Sequence[str], asking: str, source: str) -> None:
    """Check that columns are there.

    :param wanted: the names.
    :param there: the names of the columns that the source has.
    :param asking: what names them, such as "the prompt".
    :param source: the source, for people.
    :raises InvalidRequest: one is missing; the message names those that are there, and the closest.
    """
    for name in wanted:
        if name not in there:
            close = get_close_matches(name, there, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidRequest(
                f"{asking} names the column {name!r}, which {source} does not have. It has: "
                f"{', '.join(map(repr, there)) or 'no columns'}.{hint} Nothing was sent"
            )


def require_single(names: Sequence[str], source: str) -> None:
    """Raise `RowsError` if two columns have one name."""
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise RowsError(f"{source} has two columns named {doubled!r}; nothing was sent")


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both; None if there is none."""
    if first == second:
        return first
    try:
        fields = [pa.schema([("x", each)]) for each in (first, second)]
        found = pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    # Arrow would also make bytes of texts, which are no texts any more.
    return None if pa.types.is_binary(found) or pa.types.is_large_binary(found) else found


def conform(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Convert a column to a type that `common_type` returned."""
    if column.type == wanted:
        return column
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return pa.array(column.to_pylist(), wanted)


def clash(column: str, first: tuple[str, object], second: tuple[str, object]) -> RowsError:
    """Make the error for two places whose types of a column do not fit.

    :param first: a place and the column's type there.
    :param second: another place, and its type.
    """
    return RowsError(
        f"column {column!r} is {first[1]} in {first[0]} and {second[1]} in {second[0]}; nothing was sent. "
        "Write it with one type, or give the files to separate jobs"
    )
