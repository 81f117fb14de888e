"""Rows of files, iterables and tables, in order."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest
from airflow_batches.submission import EmptySource, SourceError
from airflow_batches.tables.row_errors import RowsError
from airflow_batches.tables.rows import RowSource
from tests.unit.tables.row_support import jsonl, parquet, rows_of


def test_the_rows_of_a_folder_are_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    for name in ("b.parquet", "a/z.parquet", "c.parquet"):
        parquet(tmp_path / name, at=[name, f"{name}, second"])
    found = [row["at"] for row in rows_of(tmp_path)]
    assert found == [
        f"{name}{second}" for name in ("a/z.parquet", "b.parquet", "c.parquet") for second in ("", ", second")
    ]


def test_each_batch_names_its_file_and_its_first_row(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", id=range(3000))
    parquet(tmp_path / "b.parquet", id=[1])
    batches = [*RowSource.of(tmp_path).batches()]
    assert [(batch.file, batch.first) for batch in batches] == [
        (f"file://{tmp_path}/a.parquet", 1), (f"file://{tmp_path}/a.parquet", 2049), (f"file://{tmp_path}/b.parquet", 1)
    ]  # fmt: skip
    assert batches[1].place(1) == f"file://{tmp_path}/a.parquet, row 2,050"


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    parquet(tmp_path / "part.parquet", id=[1])
    parquet(tmp_path / "_temporary" / "part.parquet", id=[2])
    for name in ("_SUCCESS", ".part.parquet.crc", "_delta.json"):
        (tmp_path / name).write_text("x")
    assert rows_of(tmp_path) == [{"id": 1}]


def test_a_glob_finds_files_and_folders(tmp_path: Path) -> None:
    parquet(tmp_path / "day=1" / "x.parquet", id=[1])
    parquet(tmp_path / "day=2" / "x.parquet", id=[2])
    parquet(tmp_path / "other" / "x.parquet", id=[3])
    assert (
        rows_of(f"file://{tmp_path}/day=*") == rows_of(f"file://{tmp_path}/day=*/*.parquet") == [{"id": 1}, {"id": 2}]
    )


def test_a_file_whose_name_looks_like_a_glob_is_read(tmp_path: Path) -> None:
    parquet(tmp_path / "a[1].parquet", id=[1])
    parquet(tmp_path / "a1.parquet", id=[2])
    assert rows_of(f"file://{tmp_path}/a[1].parquet") == [{"id": 1}]


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", id=[1], text=["x"], nested=[{"a": 1}])
    assert rows_of(file, ["text", "id"]) == [{"text": "x", "id": 1}]
    (batch,) = RowSource.of(file).batches(["nested"])
    assert batch.data.schema.names == ["nested"]


def test_a_column_whose_data_are_broken_is_not_read_unless_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"id": range(1000), "text": ["ÄÖÜ" * 50] * 1000}), file, compression="zstd", use_dictionary=False
    )
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    data = bytearray(file.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = bytes(
        chunk.total_compressed_size
    )
    file.write_bytes(data)
    assert len(rows_of(file, ["id"])) == 1000
    with pytest.raises((RowsError, SourceError), match=r"a\.parquet"):
        rows_of(file, ["text"])


def test_csv_columns_are_text_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbfid,price,text\n007,1.10,"two\nlines, ""quoted"""\n8,,""\n')
    assert rows_of(file) == [
        {"id": "007", "price": "1.10", "text": 'two\nlines, "quoted"'},
        {"id": "8", "price": None, "text": ""},
    ]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ",")])
def test_text_files_may_be_separated_by_tabs_and_compressed(tmp_path: Path, name: str, separator: str) -> None:
    data = f"id{separator}text\n1{separator}x\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert rows_of(tmp_path / name) == [{"id": "1", "text": "x"}]


def test_csv_rows_of_several_blocks_are_all_read(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": f"{number}\n" * 300} for number in range(10_000)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    assert rows_of(tmp_path / "a.csv") == rows


def test_jsonl_members_that_appear_late_become_columns(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*({"n": number} for number in range(5000)), {"n": 0.5, "new": {"a": ["x"]}}, {}]
    found = rows_of(jsonl(tmp_path / "a.jsonl", rows))
    assert found[:2] == [{"n": 0.0, "new": None}, {"n": 1.0, "new": None}]
    assert found[-2:] == [{"n": 0.5, "new": {"a": ["x"]}}, {"n": None, "new": None}]


def test_jsonl_texts_stay_texts(tmp_path: Path) -> None:
    assert rows_of(jsonl(tmp_path / "a.jsonl", [{"at": "2026-01-02", "id": "007"}])) == [
        {"at": "2026-01-02", "id": "007"}
    ]


@pytest.mark.parametrize("kind", ["list", "generator", "callable", "tuple"])
def test_mappings_are_rows(kind: str) -> None:
    rows = [{"id": number, "text": f"text {number}"} for number in range(300)]
    given: Any = {"list": rows, "generator": iter(rows), "callable": lambda: iter(rows), "tuple": tuple(rows)}[kind]
    assert rows_of(given) == rows


def test_a_generator_can_be_read_again() -> None:
    source = RowSource.of({"id": number} for number in range(3))
    assert [batch.data.to_pylist() for batch in source.batches()] == [
        batch.data.to_pylist() for batch in source.batches()
    ]


def test_python_values_keep_their_types() -> None:
    row = {
        "date": date(2026, 1, 2), "at": datetime(2026, 1, 2, 3, tzinfo=UTC), "price": Decimal("1.50"), "data": b"x",
        "tags": ("a", "b"), "uuid": UUID(int=5), "flag": True, "nothing": None,
    }  # fmt: skip
    assert rows_of([row]) == [{**row, "tags": ["a", "b"], "uuid": str(UUID(int=5))}]


TABLE = pa.table({"id": [1, 2, 3], "text": ["a", None, "c"]})


def tables() -> Iterator[Any]:
    yield pytest.param(TABLE, id="Table")
    yield pytest.param(TABLE.to_batches()[0], id="RecordBatch")
    yield pytest.param(TABLE.to_reader(), id="RecordBatchReader")
    yield pytest.param(ds.dataset(TABLE), id="Dataset")
    yield pytest.param(TABLE.to_pandas().set_index(pd.Index(["x", "y", "z"])), id="pandas")


@pytest.mark.parametrize("table", [*tables()])
def test_tables_are_rows(table: Any) -> None:
    source = RowSource.of(table)
    for _ in range(2):
        found = [row for batch in source.batches(["text", "id"]) for row in batch.data.to_pylist()]
        assert found == [{"text": "a", "id": 1}, {"text": None, "id": 2}, {"text": "c", "id": 3}]


@given(
    chunks=st.lists(
        st.lists(
            st.fixed_dictionaries({}, optional={"a": st.none() | st.integers(-5, 5), "b": st.floats(-1, 1)}),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ).filter(lambda chunks: all(any(chunk) for chunk in chunks))
)
def test_any_rows_of_any_files_are_read_in_order(chunks: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, rows in enumerate(chunks):
            jsonl(Path(folder, f"{number}.jsonl"), rows)
        found = rows_of(Path(folder))
    rows = [row for chunk in chunks for row in chunk]
    names = {name for row in rows for name in row}
    assert found == [{name: row.get(name) for name in names} for row in rows]


def test_large_rows_make_small_batches() -> None:
    rows = [{"text": str(number) * 100_000} for number in range(200)]
    for given_ in (rows, pa.Table.from_pylist(rows)):
        sizes = [batch.data.num_rows for batch in RowSource.of(given_).batches()]
        assert sum(sizes) == 200
        assert max(sizes) <= 64


def test_a_row_group_of_many_rows_is_read_in_batches(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", text=[str(number) * 1000 for number in range(9)] * 1000)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
    assert max(batch.data.num_rows for batch in RowSource.of(tmp_path).batches()) <= 2048


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({"a": [1]}, "not dict"),
        (3, "not int"),
        (b"x", "not bytes"),
        ("reviews.csv", "is not a URI"),
        ('[{"a": 1}]', "looks like JSON"),
        ([{"a": 1}, 2], "row 2 is no mapping"),
        ([{1: 2}], "row 1 is no mapping"),
        ([{}], "row 1, has no columns"),
    ],
)
def test_what_holds_no_rows_is_refused(given_: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        rows_of(given_)


@pytest.mark.parametrize("given_", [[], iter([]), list])
def test_no_rows_are_an_empty_source(given_: Any) -> None:
    with pytest.raises(EmptySource):
        rows_of(given_)


def test_a_folder_without_files_is_an_empty_source(tmp_path: Path) -> None:
    for place in (tmp_path, f"file://{tmp_path}/*.csv"):
        with pytest.raises(EmptySource, match=str(tmp_path)):
            rows_of(place)


def test_what_does_not_exist_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.csv"):
        rows_of(tmp_path / "missing.csv")


def test_a_column_that_does_not_exist_is_refused_with_the_closest() -> None:
    with pytest.raises(
        InvalidRequest, match=r"columns names the column 'txt'.* It has: 'id', 'text'\. Did you mean 'text'"
    ):
        RowSource.of([{"id": 1, "text": "x"}], columns=["txt"])


@pytest.mark.parametrize("columns", ["text", []])
def test_columns_are_a_list(columns: Any) -> None:
    with pytest.raises(InvalidRequest, match="list of names"):
        RowSource.of([{"text": "x"}], columns=columns)
