"""Values of JSON as Arrow arrays: one class for each kind of column.

Values have passed the check of their schema, and are those of JSON: dates and decimals are texts. What does not fit its
column all the same (an integer of 70 bits) raises one of `UNFIT`; `misfit` finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

UNFIT: Final = (ValueError, TypeError, OverflowError, LookupError)
"""What pyarrow and Python raise for a value that does not fit its column. `ArrowInvalid` is a ValueError."""
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
ZONE: Final = r"(Z|[+-]\d\d:?\d\d)$"
"""The end of a time that names its zone (RFC 3339)."""


@dataclass(frozen=True)
class ArrowColumn:
    """A column of values that Arrow takes as JSON has them: texts, integers, booleans."""

    type: pa.DataType

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return an array of values; None is null. Raises one of `UNFIT`."""
        return pa.array(values, self.type)

    def misfit(self, value: Any, path: str = "") -> str | None:
        """Return which part of a value does not fit its column, or None."""
        try:
            self.array([value])
        except UNFIT:
            return f"{path or 'the answer'}: does not fit a column of {self.type}"
        return None


class NumberColumn(ArrowColumn):
    """A column of doubles. Integers above 2^53 become the nearest double, as in other readers of JSON."""

    def array(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([None if value is None else float(value) for value in values], self.type)


class ParsedColumn(ArrowColumn):
    """A column of dates or decimals, which JSON has as texts."""

    def array(self, values: Sequence[Any]) -> pa.Array:
        return pa.array(values, pa.string()).cast(self.type)


class TimestampColumn(ArrowColumn):
    """A column of times in UTC. A time without a zone is in UTC."""

    def array(self, values: Sequence[Any]) -> pa.Array:
        texts = pc.utf8_upper(pa.array(values, pa.string()))
        zoned = pc.match_substring_regex(texts, ZONE)
        return pc.if_else(zoned, texts, pc.binary_join_element_wise(texts, "Z", "")).cast(self.type)


@dataclass(frozen=True)
class ChoiceColumn(ArrowColumn):
    """A dictionary column of the texts of an enum, in their order: the same dictionary in each array."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> ChoiceColumn:
        return cls(pa.dictionary(pa.int32(), pa.string()), tuple(dict.fromkeys(names)))

    @cached_property
    def _places(self) -> Mapping[str | None, int | None]:
        return {None: None, **{name: place for place, name in enumerate(self.names)}}

    def array(self, values: Sequence[Any]) -> pa.Array:
        places = self._places
        indices = pa.array([places[value] for value in values], pa.int32())
        return pa.DictionaryArray.from_arrays(indices, pa.array(self.names, pa.string()))


@dataclass(frozen=True)
class StructColumn(ArrowColumn):
    """A struct column of objects. A member that is missing is null."""

    columns: tuple[tuple[str, ArrowColumn], ...] = ()

    @classmethod
    def of(cls, columns: Mapping[str, ArrowColumn]) -> StructColumn:
        return cls(pa.struct([(name, column.type) for name, column in columns.items()]), tuple(columns.items()))

    def array(self, values: Sequence[Any]) -> pa.Array:
        arrays = [
            column.array([None if value is None else value.get(name) for value in values])
            for name, column in self.columns
        ]
        return pa.StructArray.from_arrays(arrays, fields=list(self.type), mask=_nulls(values))

    def misfit(self, value: Any, path: str = "") -> str | None:
        found = (column.misfit(value.get(name), f"{path}.{name}".lstrip(".")) for name, column in self.columns)
        return None if value is None else next(filter(None, found), None)


@dataclass(frozen=True)
class ListColumn(ArrowColumn):
    """A list column."""

    item: ArrowColumn = ArrowColumn(pa.null())

    @classmethod
    def of(cls, item: ArrowColumn) -> ListColumn:
        return cls(pa.list_(item.type), item)

    def array(self, values: Sequence[Any]) -> pa.Array:
        ends = accumulate((0 if value is None else len(value) for value in values), initial=0)
        items = self.item.array(list(chain.from_iterable(value for value in values if value is not None)))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, type=self.type, mask=_nulls(values))

    def misfit(self, value: Any, path: str = "") -> str | None:
        found = (self.item.misfit(each, f"{path}[{place}]") for place, each in enumerate(value or ()))
        return next(filter(None, found), None)


def _nulls(values: Sequence[Any]) -> pa.BooleanArray:
    return pa.array([value is None for value in values], pa.bool_())
