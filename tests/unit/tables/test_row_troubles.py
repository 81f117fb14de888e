"""Bad rows: each is found before anything is sent, and named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from airflow_batches.submission import PreflightError, SourceChanged, SourceError
from airflow_batches.tables.row_errors import RowsError
from airflow_batches.tables.rows import RowSource
from tests.unit.tables.row_support import jsonl, parquet, rows_of


def test_columns_of_two_types_are_refused_with_both_files(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", id=[1], text=["x"])
    parquet(tmp_path / "2.parquet", id=["1"], text=["x"])
    with pytest.raises(RowsError, match=r"'id' is int64 in \S+/1\.parquet and string in \S+/2\.parquet"):
        rows_of(tmp_path)
    assert rows_of(tmp_path, ["text"]) == [{"text": "x"}] * 2


def test_a_column_that_a_file_lacks_is_refused_with_both_files(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", id=[1], text=["x"])
    parquet(tmp_path / "2.parquet", id=[1])
    with pytest.raises(RowsError, match=r"'text' is string in \S+/1\.parquet and missing in \S+/2\.parquet"):
        rows_of(tmp_path)


def test_a_column_that_only_a_later_file_has_is_refused_if_all_are_read(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", id=[1])
    parquet(tmp_path / "2.parquet", id=[1], text=["x"])
    with pytest.raises(RowsError, match=r"'text' is missing in \S+/1\.parquet and string in \S+/2\.parquet"):
        rows_of(tmp_path)
    assert rows_of(tmp_path, ["id"]) == [{"id": 1}] * 2


def test_types_that_lose_nothing_become_the_first_files(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", n=[1], text=["x"])
    parquet(tmp_path / "2.parquet", text=pa.nulls(1), n=pa.array([2], pa.int16()))
    assert rows_of(tmp_path) == [{"n": 1, "text": "x"}, {"n": 2, "text": None}]


def test_values_of_several_types_are_refused_with_row_and_column() -> None:
    with pytest.raises(RowsError, match="row 2, column 'a': values of several types, int and str"):
        rows_of([{"a": 1}, {"a": "x"}])
    with pytest.raises(RowsError, match="'a' is int64 in row 1 to 64 and string in row 65"):
        rows_of([{"a": 1}] * 64 + [{"a": "x"}])


@pytest.mark.parametrize(("value", "reason"), [(2**70, "int"), (object(), "object"), (1j, "complex")])
def test_a_value_that_has_no_type_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(RowsError, match=rf"row 2, column 'a': a value of the type {reason} cannot be in a table"):
        rows_of([{"a": None}, {"a": value}])


def test_an_integer_that_other_rows_make_a_float_keeps_its_value_or_is_refused() -> None:
    with pytest.raises(RowsError, match="column 'a': a value of the type int64 is not exactly a double"):
        rows_of([{"a": 2**60 + 1}] * 64 + [{"a": 0.5}])


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    good = b'{"a":"x"}\n' if name == "a.jsonl" else b"a\nx\n"
    (tmp_path / name).write_bytes(good * 200_000 + b'{"a":"caf\xe9"}\n')
    with pytest.raises(RowsError, match=rf"{name}, line \d00,001, is not UTF-8 \(byte 0xE9\).*iconv"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b"", "has no header line"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "row 2, has 3 fields where the header has 2: '1,2,3'"),
        ("a.csv", b"a,a\n1,2\n", "two columns named 'a'"),
        ("a.csv", b'a,b\n1,"' + b"x" * 9_000_000, "a quotation mark that does not end"),
        ("a.parquet", b"hello", "cannot be read as rows"),
        ("a.jsonl", b'{"a":1}\n[2]\n', "line 2, is no JSON object but list"),
        ("a.jsonl", b'{"a":1}\n{"a":\n', "line 2, is not JSON"),
        ("a.jsonl", b'[{"a":1},\n{"a":2}]', "JSON array"),
        ("a.txt", b"x", "has no suffix of rows"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises((RowsError, PreflightError), match=reason) as caught:
        rows_of(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_files_of_several_formats_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", id=[1])
    jsonl(tmp_path / "b.jsonl", [{"id": 2}])
    with pytest.raises(RowsError, match=r"several formats, \S+/a\.parquet and \S+/b\.jsonl"):
        rows_of(tmp_path)
    assert rows_of(f"file://{tmp_path}/*.jsonl") == [{"id": 2}]


def test_the_format_of_a_file_without_a_suffix_is_given(tmp_path: Path) -> None:
    (tmp_path / "export").write_text("id\n1\n")
    assert rows_of(tmp_path / "export", format="csv") == [{"id": "1"}]


def write_another(folder: Path) -> None:
    parquet(folder / "c.parquet", id=[3])


def remove(folder: Path) -> None:
    (folder / "b.parquet").unlink()


def change(folder: Path) -> None:
    parquet(folder / "a.parquet", id=[9] * 5000)


@pytest.mark.parametrize(
    ("act", "reason"), [(write_another, "c.parquet appeared"), (change, "a.parquet changed"), (remove, "b.parquet")]
)
def test_files_that_change_while_they_are_read_are_an_error(
    tmp_path: Path, act: Callable[[Path], None], reason: str
) -> None:
    for name in ("a", "b"):
        parquet(tmp_path / f"{name}.parquet", id=range(5000))
    batches = RowSource.of(tmp_path).batches()
    next(batches)
    act(tmp_path)
    with pytest.raises(SourceError, match=reason) as caught:
        deque(batches, 0)
    assert "b.parquet" in reason or isinstance(caught.value, SourceChanged)
