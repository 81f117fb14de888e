"""Requests of rows: ids, params, shared requests, and the rows that are kept."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest
from airflow_batches.landing import Location
from airflow_batches.submission import EmptySource
from airflow_batches.tables.params import params_digest
from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.row_errors import PromptError
from airflow_batches.tables.rows import RowSource
from airflow_batches.tables.rows_object import REQUEST, STORED, RowsWriter, read_rows
from tests.unit.tables.row_support import parquet, requests_of, texts_of

FORMAT = {"type": "json_schema", "schema": {"type": "object", "properties": {"z": {}, "a": {}}}}


def kept(made: RowRequests, place: Path) -> list[dict[str, Any]]:
    """Make the requests, and return the rows that were stored."""
    location = Location.parse(f"file://{place}/_job/rows.parquet")
    with RowsWriter(location) as writer:
        for _ in made.requests("job", writer.write):
            pass
    return [row for batch in read_rows(location) for row in batch.to_pylist()]


def test_requests_are_numbered_in_the_order_of_the_rows() -> None:
    found = requests_of(RowRequests([{"n": n} for n in range(5000)], "${n}"), "0a1b")
    assert [request["custom_id"] for request in found] == [f"0a1b-{number}" for number in range(1, 5001)]
    assert [request["params"]["messages"][0]["content"] for request in found] == [str(n) for n in range(5000)]


def test_rows_with_equal_params_share_a_request(tmp_path: Path) -> None:
    made = RowRequests([{"id": n, "text": text} for n, text in enumerate("abcabba")], "${text}", key="id")
    assert [row[REQUEST] for row in kept(made, tmp_path)] == [1, 2, 3, 1, 2, 2, 1]
    assert (made.rows, made.distinct, made.shared, made.skipped) == (7, 3, 4, 0)


def test_without_dedupe_each_row_has_its_own_request(tmp_path: Path) -> None:
    made = RowRequests([{"text": text} for text in ["a", "", "a"]], "${text}", dedupe=False)
    assert [row[REQUEST] for row in kept(made, tmp_path)] == [1, None, 2]
    assert (made.distinct, made.shared, made.skipped) == (2, 0, 1)


def test_params_are_equal_in_any_order_of_members() -> None:
    both = [
        {"messages": [{"role": "user", "content": "x"}], "system": "s"},
        {"system": "s", "messages": [{"content": "x", "role": "user"}]},
    ]
    made = RowRequests([{"n": 0}, {"n": 1}], lambda row: both[row["n"]])
    assert len(requests_of(made)) == 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.booleans())
def test_each_row_has_the_number_of_the_request_with_its_text(values: list[int], dedupe: bool) -> None:
    made = RowRequests([{"n": n} for n in values], lambda row: f"{row['n']}" if row["n"] % 5 else None, dedupe=dedupe)
    stored: list[pa.RecordBatch] = []
    lines = b"".join(made.requests("job", stored.append)).splitlines()
    numbers = [number for batch in stored for number in batch.column(REQUEST).to_pylist()]
    assert len(numbers) == len(values)
    for value, number in zip(values, numbers, strict=True):
        assert (number is None) == (value % 5 == 0)
        assert number is None or f'"content":"{value}"' in lines[number - 1].decode()
    assert made.rows == made.distinct + made.shared + made.skipped


@pytest.mark.parametrize("given_", ["text", "function"])
def test_defaults_and_model_are_under_what_the_row_says(given_: str) -> None:
    prompt: Any = "${text}" if given_ == "text" else lambda row: row["text"]
    defaults = {"max_tokens": 5, "system": "Be short"}
    (request,) = requests_of(RowRequests([{"text": "x"}], prompt, model="m", defaults=defaults))
    assert request["params"] == {"model": "m", **defaults, "messages": [{"role": "user", "content": "x"}]}
    own = {"model": "other", "messages": [{"role": "user", "content": "y"}]}
    (request,) = requests_of(RowRequests([{"text": "x"}], lambda row: own, model="m", defaults=defaults))
    assert request["params"] == {**defaults, **own}


def test_the_output_format_is_in_every_request_and_keeps_its_order() -> None:
    defaults = {"output_config": {"effort": "low"}}
    for prompt in ("${text}", lambda row: row["text"], lambda row: [{"role": "user", "content": row["text"]}]):
        made = RowRequests([{"text": "x"}], prompt, defaults=defaults, output_format=FORMAT)
        (line,) = b"".join(made.requests("job")).splitlines()
        assert b'"format":{"type":"json_schema","schema":{"type":"object","properties":{"z":{},"a":{}}}}' in line
        assert requests_of(made)[0]["params"]["output_config"] == {"effort": "low", "format": FORMAT}


def test_a_rows_own_output_config_is_kept_beside_the_format() -> None:
    own = {"messages": [], "output_config": {"effort": "high"}}
    (request,) = requests_of(RowRequests([{"n": 1}], lambda row: own, output_format=FORMAT))
    assert request["params"]["output_config"] == {"effort": "high", "format": FORMAT}


def test_another_output_format_is_refused() -> None:
    other = {"output_config": {"format": {"type": "json_schema", "schema": {}}}}
    with pytest.raises(InvalidRequest, match=r"defaults have an output_config\.format of their own"):
        RowRequests([{"n": 1}], "${n}", defaults=other, output_format=FORMAT)
    with pytest.raises(PromptError, match=r"row 1: .*output_config\.format of their own"):
        requests_of(RowRequests([{"n": 1}], lambda row: {"messages": [], **other}, output_format=FORMAT))
    same = {"messages": [], "output_config": {"format": FORMAT}}
    assert len(requests_of(RowRequests([{"n": 1}], lambda row: same, output_format=FORMAT))) == 1


def test_defaults_that_are_no_json_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="defaults cannot be written as JSON: temperature: nan"):
        RowRequests([{"n": 1}], "${n}", defaults={"temperature": float("nan")})


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, ["id", "day", "text"]),
        ({"key": "id"}, ["id"]),
        ({"key": ["day", "id"]}, ["day", "id"]),
        ({"key": "id", "keep": "key"}, ["id"]),
        ({"key": "day", "keep": "all"}, ["day", "id", "text"]),
        ({"key": "id", "keep": ["text", "id"]}, ["id", "text"]),
        ({"keep": ["text"]}, ["text"]),
    ],
)
def test_the_columns_that_are_kept(tmp_path: Path, options: Any, columns: list[str]) -> None:
    made = RowRequests([{"id": 1, "day": "mon", "text": "x"}], "${text}", **options)
    assert made.kept.names == columns
    assert [*kept(made, tmp_path)[0]] == [*columns, *STORED]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keep": "key"}, "keep='key' needs key"),
        ({"keep": "text"}, "keep must be"),
        ({"key": "nr"}, "key or keep names the column 'nr'"),
        ({"keep": [REQUEST]}, "the column '_request' cannot be kept"),
        ({"on_empty_prompt": "skip"}, "on_empty_prompt must be"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        requests_of(RowRequests([{"id": 1, "text": "x", REQUEST: 1}], "${text}", **options))


def test_only_the_columns_of_prompt_and_key_are_read(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", id=[1], text=["x"], other=[1])
    parquet(tmp_path / "2.parquet", id=[2], text=["y"], other=["of another type"])
    assert texts_of(RowRequests(tmp_path, "${text}", key="id")) == ["x", "y"]
    source = RowSource.of(tmp_path, columns=["text"])
    assert texts_of(RowRequests(source, lambda row: "/".join(row), key="id")) == ["text"]


def test_the_fingerprint_is_that_of_the_params_in_order() -> None:
    def fingerprint(texts: Sequence[str], prompt: Any = "${t}", **options: Any) -> str:
        made = RowRequests([{"t": text} for text in texts], prompt, **options)
        requests_of(made, f"job{len(texts)}")
        return made.fingerprint

    same = fingerprint(["a", "b"])
    assert len(same) == 32
    assert fingerprint(["a", "b"], lambda row: row["t"], dedupe=False) == same
    others = [fingerprint(["b", "a"]), fingerprint(["a", "b", ""]), fingerprint(["a", "b"], model="m")]
    assert len({same, *others}) == 4


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_the_digest_of_a_text_is_that_of_the_same_params_elsewhere(text: str) -> None:
    made = RowRequests(
        [{"t": text}], "${t}", model="m", defaults={"max_tokens": 1, "tools": [{"name": "b", "a": {"z": 1, "b": 2}}]}
    )
    (line,) = b"".join(made.requests("j")).splitlines()
    params = line.removeprefix(b'{"custom_id":"j-1","params":')[:-1]
    again = RowRequests(
        [{"t": text}],
        lambda row: [{"content": text, "role": "user"}],
        model="m",
        defaults={"tools": [{"a": {"b": 2, "z": 1}, "name": "b"}], "max_tokens": 1},
    )
    requests_of(again)
    assert made.fingerprint == again.fingerprint
    assert len(params_digest(params)) == 16


def test_keys_that_repeat_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": n % 3000, "day": "mon", "text": f"{n}"} for n in range(9000)]
    with caplog.at_level(logging.WARNING):
        assert len(requests_of(RowRequests(rows, "${text}", key=["id", "day"]))) == 9000
        requests_of(RowRequests(rows[:3000], "${text}", key="id"))
    (message,) = caplog.messages
    assert message.startswith("row 3,001 has the same 'id' and 'day' as an earlier row")


def test_a_source_without_rows_is_empty(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", text=pa.array([], pa.string()))
    with pytest.raises(EmptySource):
        requests_of(RowRequests(tmp_path, "${text}"))


def test_nothing_is_stored_if_a_later_row_fails(tmp_path: Path) -> None:
    rows = [{"n": n} for n in range(5000)]
    made = RowRequests(rows, lambda row: 3 if row["n"] == 4999 else "x")
    with pytest.raises(PromptError, match="row 5,000"):
        kept(made, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


COLUMNS: dict[Any, Any] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(min_value=datetime.fromtimestamp(0, UTC).replace(tzinfo=None)),
    pa.decimal128(20, 2): st.decimals(-1000, 1000, places=2),
    pa.binary(): st.binary(max_size=5),
    pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())])): st.lists(
        st.fixed_dictionaries({"a": st.integers(0, 9) | st.none(), "b": st.text("xy")}), max_size=3
    ),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["red", "green"]),
    pa.null(): st.none(),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of any supported columns."""
    types = draw(st.lists(st.sampled_from([*COLUMNS]), min_size=1, max_size=5))
    length = draw(st.integers(1, 30))
    columns = [
        pa.array(draw(st.lists(st.none() | COLUMNS[kind], min_size=length, max_size=length)), kind) for kind in types
    ]
    return pa.table(columns, names=[f"c {number}" for number in range(len(types))])


@given(tables())
def test_any_table_is_kept_as_it_is(table: pa.Table) -> None:
    made = (
        RowRequests(table, "${c 0}", keep="all", dedupe=False)
        if _has_text(table)
        else RowRequests(table, lambda row: "x")
    )
    with tempfile.TemporaryDirectory() as folder:
        location = Location.parse(f"file://{folder}/rows.parquet")
        with RowsWriter(location) as writer:
            for _ in made.requests("job", writer.write):
                pass
        found = pa.Table.from_batches(read_rows(location))
    assert found.drop_columns([*STORED]).equals(table)
    assert found.schema.field(REQUEST).type == pa.int64()


def _has_text(table: pa.Table) -> bool:
    return not pa.types.is_binary(table.schema.field(0).type)
