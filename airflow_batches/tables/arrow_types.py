"""Which column a type gets.

| Python                                    | JSON schema                   | Arrow                                |
|-------------------------------------------|-------------------------------|--------------------------------------|
| `str`, `bytes`, `UUID`, URLs, addresses … | string                        | string                               |
| `Literal` or `Enum` of texts              | enum of texts                 | dictionary of strings                |
| `int`, `Literal` or `Enum` of integers    | integer                       | int64; more makes the answer invalid |
| `float`, `int | float`                    | number                        | double                               |
| `bool`                                    | boolean                       | bool                                 |
| `date`                                    | string, format date           | date32                               |
| `datetime`                                | string, format date-time      | timestamp[us, UTC]; no zone: UTC     |
| `time`                                    | string, format time           | string: Arrow's times have no zone   |
| `timedelta`                               | string, format duration       | string (ISO 8601)                    |
| `Decimal` of up to 38 `max_digits`        | string, with `decimal_places` | decimal128 of these                  |
| another `Decimal`                         | string                        | string: its places are not known     |
| model, dataclass, TypedDict               | object                        | struct, its members in their order   |
| `list`, `set`, `tuple[X, ...]`            | array                         | list                                 |
| `X | None`, a member with a default       | anyOf with null; not required | the column of X, with nulls          |
| other unions, `Any`, `dict`, `None`       | anyOf, any, open object, null | none: refused                        |

All columns may be null, because an answer that failed has no values. Members are named by their serialization aliases
(`type_schemas`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.tables.arrow_columns import (
    TIMESTAMP,
    ArrowColumn,
    ChoiceColumn,
    ListColumn,
    NumberColumn,
    ParsedColumn,
    StructColumn,
    TimestampColumn,
)
from airflow_batches.tables.errors import OutputTypeError
from airflow_batches.tables.subschemas import Schema, resolve

PRECISION: Final = 38
"""Most digits of a decimal128 (documented by Arrow)."""
TEXT: Final = ArrowColumn(pa.string())
INTEGER: Final = ArrowColumn(pa.int64())
NUMBER: Final = NumberColumn(pa.float64())
BOOLEAN: Final = ArrowColumn(pa.bool_())
SCALARS: Final[Mapping[str, ArrowColumn]] = {"integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN}
FORMATS: Final[Mapping[str, ArrowColumn]] = {"date": ParsedColumn(pa.date32()), "date-time": TimestampColumn(TIMESTAMP)}


def column_of(closed: Schema, name: str) -> ArrowColumn:
    """Return the column of a closed schema.

    :param name: the type, for errors.
    :raises OutputTypeError: a member has no column; each is named.
    """
    choosing = _Choosing(closed)
    column = choosing.column(closed, "")
    if choosing.problems:
        raise OutputTypeError(name, choosing.problems)
    return column


class _Choosing:
    """Chooses columns, and collects the members that have none."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self.problems: list[str] = []

    def column(self, schema: Any, path: str) -> ArrowColumn:
        options = list(self._options(schema, path))
        return self._common(options, path) if options else self._refuse(path, "always null", "leave it out")

    def _options(self, schema: Any, path: str) -> Iterator[ArrowColumn]:
        """Yield the column of each alternative of a value; null is none."""
        if not isinstance(schema, Mapping):
            yield self._refuse(path, "of any type", "give it a type")
        elif "$ref" in schema:
            yield from self._options(resolve(self._root, schema["$ref"]), path)
        elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
            for each in alternatives:
                yield from self._options(each, path)
        elif "enum" in schema or "const" in schema:
            yield from self._enumerated(schema, path)
        elif schema.get("type") != "null":
            yield self._typed(schema, path)

    def _typed(self, schema: Schema, path: str) -> ArrowColumn:
        kind = str(schema.get("type"))
        if kind == "object":
            return self._object(schema, path)
        if kind == "array":
            return ListColumn.of(self.column(schema.get("items"), f"{path}[]"))
        if kind == "string":
            return _decimal(schema) or FORMATS.get(str(schema.get("format")), TEXT)
        return SCALARS[kind] if kind in SCALARS else self._refuse(path, "of any type", "give it a type")

    def _object(self, schema: Schema, path: str) -> ArrowColumn:
        if schema.get("additionalProperties", False) is not False:
            return self._refuse(
                path, "an object with members of any name", "use a list of objects with a name and a value"
            )
        members = schema.get("properties", {})
        if not members:
            return self._refuse(path, "an object without members", "add a member, or leave it out")
        return StructColumn.of(
            {name: self.column(each, f"{path}.{name}".lstrip(".")) for name, each in members.items()}
        )

    def _enumerated(self, schema: Schema, path: str) -> Iterator[ArrowColumn]:
        values = [value for value in schema.get("enum", [schema.get("const")]) if value is not None]
        kinds = {type(value) for value in values}
        if kinds == {str}:
            yield ChoiceColumn.of(values)
        elif len(kinds) == 1 and kinds <= {bool, int}:
            yield BOOLEAN if kinds == {bool} else INTEGER
        elif kinds and kinds <= {int, float}:
            yield NUMBER
        elif values:
            yield self._refuse(path, "an enum of several types", "use one type, such as texts")

    def _common(self, options: list[ArrowColumn], path: str) -> ArrowColumn:
        """Return one column for all alternatives."""
        first = options[0]
        if all(isinstance(option, ChoiceColumn) for option in options):
            return ChoiceColumn.of(
                [name for option in options if isinstance(option, ChoiceColumn) for name in option.names]
            )
        if all(option.type == first.type for option in options):
            return first
        if all(isinstance(option, ChoiceColumn) or option.type == TEXT.type for option in options):
            return TEXT
        if all(option in (INTEGER, NUMBER) for option in options):
            return NUMBER
        kinds = ", ".join(dict.fromkeys(str(option.type) for option in options))
        return self._refuse(path, f"a union ({kinds})", "use one type; for objects, one whose members are optional")

    def _refuse(self, path: str, what: str, cure: str) -> ArrowColumn:
        self.problems.append(f"{_shown(path)} is {what}, which has no column in Arrow; {cure}")
        return TEXT


def _shown(path: str) -> str:
    return path.removeprefix(".") if path and not path.startswith("[") else f"answer{path}" if path else "the answer"


def _decimal(schema: Schema) -> ArrowColumn | None:
    digits, places = schema.get("max_digits"), schema.get("decimal_places")
    if digits is None or places is None or digits > PRECISION or places > digits:
        return None
    return ParsedColumn(pa.decimal128(digits, places))
