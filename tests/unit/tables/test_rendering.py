"""Values of columns as text: the table of `rendering`, line by line."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.tables.rendering import Unwritable, render

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CASES: list[tuple[pa.Array, list[str | None]]] = [
    (pa.nulls(2), [None, None]),
    (pa.array(["a", "", None]), ["a", "", None]),
    (pa.array(["a"], pa.large_string()), ["a"]),
    (pa.array(["a"], pa.string_view()), ["a"]),
    (pa.array([True, False, None]), ["true", "false", None]),
    (pa.array([-12, None]), ["-12", None]),
    (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    (pa.array([0.1, 3.0, 1e300, -0.5]), ["0.1", "3", "1e+300", "-0.5"]),
    (pa.array([math.nan, math.inf, None], from_pandas=False), [None, "inf", None]),
    (pa.array([0.1], pa.float32()), ["0.1"]),
    (pa.array([Decimal("1.50"), Decimal(-1000), None]), ["1.50", "-1000.00", None]),
    (pa.array([date(2026, 1, 2), None]), ["2026-01-02", None]),
    (pa.array([time(3, 4, 5), time(3, 4, 5, 6), None]), ["03:04:05", "03:04:05.000006", None]),
    (pa.array([10**9 + 1], pa.time64("ns")), ["00:00:01.000000001"]),
    (pa.array([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None], pa.timestamp("us")), ["2026-01-02T03:04:05", None]),
    (pa.array([datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)], pa.timestamp("us")), ["2026-01-02T03:04:05.000006"]),
    (pa.array([NOON], pa.timestamp("s", "UTC")), ["2026-01-02T12:00:00+00:00"]),
    (pa.array([NOON], pa.timestamp("ms", "Europe/Berlin")), ["2026-01-02T13:00:00+01:00"]),
    (pa.array([NOON, None], pa.timestamp("ns", "Europe/Berlin")), ["2026-01-02T13:00:00+01:00", None]),
    (pa.array([1, 1000, -1], pa.timestamp("ns")), [
        "1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000001", "1969-12-31T23:59:59.999999999"
    ]),
    (pa.array([timedelta(days=1, hours=2), None]), ["P1DT7200S", None]),
    (pa.array([1], pa.duration("ns")), ["P0D"]),
    (pa.array(["é".encode(), None]), ["é", None]),
    (pa.array([["a", None], [], None]), ['["a",null]', "[]", None]),
    (pa.array([{"a": 1, "b": [0.5]}, None]), ['{"a":1,"b":[0.5]}', None]),
    (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), ['{"a":1}']),
    (pa.array([{"at": NOON, "b": b"y", "d": date(2026, 1, 2), "p": Decimal("1.50"), "t": time(1), "x": math.nan}]), [
        '{"at":"2026-01-02T12:00:00+00:00","b":"y","d":"2026-01-02","p":"1.50","t":"01:00:00","x":null}'
    ]),
    (pa.array(["red", None, "red"]).dictionary_encode(), ["red", None, "red"]),
    (pa.array([UUID(int=5).bytes, None], pa.uuid()), [str(UUID(int=5)), None]),
    (pa.array([[{"u": timedelta(1)}]]), ['[{"u":"P1D"}]']),
]  # fmt: skip


@pytest.mark.parametrize(("column", "texts"), CASES, ids=[str(column.type) for column, _ in CASES])
def test_each_type_has_one_text(column: pa.Array, texts: list[str | None]) -> None:
    assert render(column) == texts
    assert [*render(pa.concat_arrays([column, column]).slice(len(column)))] == texts


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([b"x", b"\xff"]), "not UTF-8"),
        (pa.array([{"b": b"x"}, {"b": b"\xff"}]), "not UTF-8"),
        (pa.array([[1.0], [math.inf]]), "inf has no JSON form"),
        (pa.array([0, 2**50], pa.timestamp("s")), ""),
    ],
)
def test_a_value_without_a_text_is_found(column: pa.Array, reason: str) -> None:
    with pytest.raises(Unwritable, match=reason or ".") as caught:
        render(column)
    assert caught.value.index == 1


@given(st.lists(st.lists(st.text(max_size=5) | st.none(), max_size=3) | st.none(), min_size=1, max_size=5))
def test_lists_are_json_of_their_values(values: list[Any]) -> None:
    texts = render(pa.array(values, pa.list_(pa.string())))
    assert [None if text is None else json.loads(text) for text in texts] == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_the_text_of_a_float_is_exactly_its_value(values: list[float]) -> None:
    assert [float(text or "") for text in render(pa.array(values))] == values
