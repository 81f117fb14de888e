"""Rows that are written with their answers."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from airflow_batches.api import InvalidRequest
from airflow_batches.landing import Location
from airflow_batches.tables.answer_columns import answer_fields
from airflow_batches.tables.answers import AnswerSpool
from airflow_batches.tables.errors import AnswersMissing
from airflow_batches.tables.output_type import OutputType
from airflow_batches.tables.parts import PartLimits, WrittenParts, write_parts
from tests.servers import S3Server, s3_server
from tests.unit.tables.lines import JOB, errored, line, succeeded


class Review(BaseModel):
    """An answer of a type."""

    stars: int
    mood: Literal["good", "bad"]
    reasons: list[str]
    on: date | None = None


REVIEW: Final = '{"stars": 4, "mood": "good", "reasons": ["fast", "cheap"], "on": "2026-11-29"}'
OUTCOME: Final = [
    "_status", "_error", "_stop_reason", "_model", "_input_tokens", "_output_tokens",
    "_cache_creation_input_tokens", "_cache_read_input_tokens",
]  # fmt: skip


class Job:
    """Rows, answers, and what is written of them."""

    def __init__(self, folder: Path, kept: dict[str, Any], requests: Sequence[int | None]) -> None:
        self.folder = folder
        self.rows = pa.record_batch({**kept, "_request": pa.array(requests, pa.int64())})
        self.kept = pa.schema([field for field in self.rows.schema if field.name != "_request"])

    def write(self, lines: dict[int, bytes], output: OutputType | None = None, **options: Any) -> WrittenParts:
        """Write the rows, in two batches."""
        half = self.rows.num_rows // 2
        with AnswerSpool(max(lines, default=0), output) as spool:
            spool.add([*lines], [*lines.values()])
            place = lambda name: Location.parse(f"file://{self.folder}/{name}")  # noqa: E731
            rows = [self.rows.slice(0, half), self.rows.slice(half)]
            return write_parts(rows, spool, place, kept=self.kept, job_id=JOB, **options)

    def parts(self, suffix: str = "parquet") -> list[Path]:
        return sorted(self.folder.glob(f"part-*.{suffix}"))

    def read(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(part) for part in self.parts()])

    def failed(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in (self.folder / "failed.jsonl").read_text().splitlines()]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Four rows; the second has no request, the last two share one."""
    return Job(tmp_path, {"id": [10, 11, 12, 13], "tags": [["a"], [], None, ["b", "c"]]}, [1, None, 2, 2])


def test_each_row_has_its_answer_in_the_order_of_the_rows(job: Job) -> None:
    written = job.write({2: succeeded(2, "two"), 1: succeeded(1, "one")})
    table = job.read()
    assert table.column_names == ["id", "tags", "answer", *OUTCOME]
    assert table.select(["id", "tags"]).to_pylist() == pa.Table.from_batches([job.rows]).drop("_request").to_pylist()
    assert table["answer"].to_pylist() == ["one", None, "two", "two"]
    assert table["_status"].to_pylist() == ["succeeded", "skipped", "succeeded", "succeeded"]
    assert (written.rows, written.counts) == (4, {"succeeded": 3, "skipped": 1})


def test_an_answer_of_a_type_becomes_its_members(job: Job) -> None:
    job.write({1: succeeded(1, REVIEW), 2: errored(2)}, OutputType.of(Review))
    table = job.read()
    assert table.column_names == ["id", "tags", "stars", "mood", "reasons", "on", *OUTCOME]
    assert table.select(["stars", "mood", "reasons", "on"]).to_pylist() == [
        {"stars": 4, "mood": "good", "reasons": ["fast", "cheap"], "on": date(2026, 11, 29)},
        *[dict.fromkeys(["stars", "mood", "reasons", "on"])] * 3,
    ]


def test_an_answer_that_is_not_of_the_type_is_null_with_the_reason(job: Job) -> None:
    lines = {1: succeeded(1, '{"stars": "many"}'), 2: succeeded(2, REVIEW[:30], "max_tokens")}
    written = job.write(lines, OutputType.of(Review))
    table = job.read()
    assert table["_status"].to_pylist() == ["invalid_output", "skipped", "invalid_output", "invalid_output"]
    assert table["stars"].null_count == 4
    assert "stars" in table["_error"].to_pylist()[0]
    assert "max_tokens" in table["_error"].to_pylist()[2]
    assert (written.failed.lines, written.counts["invalid_output"]) == (3, 3)


def test_a_type_that_is_no_object_has_one_column(job: Job) -> None:
    job.write({1: succeeded(1, '["x"]'), 2: succeeded(2, "[]")}, OutputType.of(list[str]))
    assert job.read()["answer"].to_pylist() == [["x"], None, [], []]


def test_failed_rows_are_listed_with_what_identifies_them(job: Job) -> None:
    written = job.write({1: errored(1, "busy"), 2: line(2, {"type": "expired"})})
    failed = [
        {"id": 10, "tags": ["a"], "_status": "errored", "_error": "overloaded_error: busy", "_custom_id": "job-1-1"},
        {"id": 12, "tags": None, "_status": "expired", "_error": None, "_custom_id": "job-1-2"},
        {"id": 13, "tags": ["b", "c"], "_status": "expired", "_error": None, "_custom_id": "job-1-2"},
    ]
    assert job.failed() == failed
    assert (written.failed.lines, written.failed.bytes) == (3, (job.folder / "failed.jsonl").stat().st_size)


def test_parts_and_row_groups_are_bounded(tmp_path: Path) -> None:
    job = Job(tmp_path, {"id": range(100)}, [1] * 100)
    written = job.write({1: succeeded(1, "x")}, limits=PartLimits(rows=40, group_rows=15))
    assert [part.lines for part in written.parts] == [30, 35, 35]
    assert [pq.ParquetFile(part).num_row_groups for part in job.parts()] == [2, 3, 3]
    assert job.read()["id"].to_pylist() == [*range(100)]


def test_a_part_ends_with_the_row_group_that_makes_it_large(tmp_path: Path) -> None:
    job = Job(tmp_path, {"id": range(100)}, [1] * 100)
    written = job.write({1: succeeded(1, "x")}, limits=PartLimits(bytes=100, group_rows=50))
    assert [part.lines for part in written.parts] == [50, 50]


def test_large_answers_are_joined_a_few_at_a_time(tmp_path: Path) -> None:
    job = Job(tmp_path, {"id": range(20)}, [1, 2] * 10)
    lines = {1: succeeded(1, "x" * 100_000), 2: succeeded(2, "y")}
    job.write(lines, limits=PartLimits(take_bytes=150_000, group_bytes=150_000))
    assert [pq.ParquetFile(part).num_row_groups for part in job.parts()] == [5]
    assert [len(text) for text in job.read()["answer"].to_pylist()] == [100_000, 1] * 10


def test_the_same_rows_and_answers_give_the_same_bytes(job: Job) -> None:
    lines = {1: succeeded(1, "one"), 2: errored(2)}
    first = job.write(lines)
    assert job.write(lines) == first


def test_no_rows_make_a_part_with_the_columns(tmp_path: Path) -> None:
    job = Job(tmp_path, {"id": pa.array([], pa.int64())}, [])
    written = job.write({})
    assert [part.lines for part in written.parts] == [0]
    assert job.read().column_names == ["id", "answer", *OUTCOME]


def test_a_missing_answer_leaves_no_unfinished_part(job: Job) -> None:
    with pytest.raises(AnswersMissing, match="no result line of request 2"):
        job.write({1: succeeded(1, "one"), 3: succeeded(3, "three")})
    assert not [*job.folder.iterdir()]


def test_an_unknown_format_is_refused_before_anything_is_written(job: Job) -> None:
    with pytest.raises(InvalidRequest, match="parquet, csv, jsonl, not 'xml'"):
        job.write({1: succeeded(1, "one")}, format_name="xml")
    assert not [*job.folder.iterdir()]


@pytest.mark.parametrize(
    ("name", "output", "problem"),
    [
        ("answer", None, "the answers have a column of that name"),
        ("stars", Review, "output_type has a member of that name"),
        ("_status", None, "reserved"),
        ("_request", None, "reserved"),
        ("_custom_id", None, "reserved"),
    ],
)
def test_a_kept_column_with_the_name_of_another_is_refused(name: str, output: Any, problem: str) -> None:
    kept = pa.schema([("id", pa.int64()), (name, pa.string())])
    with pytest.raises(
        InvalidRequest, match=f"'{name}' clashes: .*{problem}.*Rename the column, or leave it out of keep"
    ):
        answer_fields(output and OutputType.of(output), kept)


def test_a_kept_column_may_have_any_other_name() -> None:
    fields = answer_fields(OutputType.of(Review), pa.schema([("answer", pa.int64()), ("Stars", pa.string())]))
    assert fields.names == ["answer", "Stars", "stars", "mood", "reasons", "on", *OUTCOME]
    with pytest.raises(InvalidRequest, match="'id' occurs twice"):
        answer_fields(None, pa.schema([("id", pa.int64()), ("id", pa.string())]))


def test_csv_holds_nested_values_as_json(job: Job) -> None:
    job.write({1: succeeded(1, 'one, "two"\nthree'), 2: succeeded(2, "")}, format_name="csv")
    with job.parts("csv")[0].open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["tags"] for row in rows] == ['["a"]', "[]", "", '["b","c"]']
    assert [row["answer"] for row in rows] == ['one, "two"\nthree', "", "", ""]
    assert job.parts("csv")[0].read_text().count(',"","succeeded"') == 2, "an empty text is not null"


def test_jsonl_holds_nested_values_as_objects(job: Job) -> None:
    job.write({1: succeeded(1, REVIEW), 2: errored(2)}, OutputType.of(Review), format_name="jsonl")
    rows = [json.loads(each) for each in job.parts("jsonl")[0].read_text().splitlines()]
    assert rows[0] | {"stars": 4, "reasons": ["fast", "cheap"], "on": "2026-11-29", "tags": ["a"]} == rows[0]
    assert {tuple(row) for row in rows} == {("id", "tags", "stars", "mood", "reasons", "on", *OUTCOME)}


VALUES: Final[dict[pa.DataType, Any]] = {
    pa.int64(): 5, pa.float64(): 0.5, pa.bool_(): True, pa.string(): "x", pa.large_string(): "x",
    pa.date32(): date(2026, 1, 2), pa.timestamp("us", "UTC"): datetime(2026, 1, 2, tzinfo=UTC),
    pa.timestamp("ns"): 1_767_312_000_000_000_001, pa.time64("us"): time(1, 2), pa.duration("us"): 5_000_000,
    pa.decimal128(10, 2): Decimal("1.50"), pa.binary(): b"\xff", pa.dictionary(pa.int8(), pa.string()): "x",
    pa.list_(pa.timestamp("ns")): [1_767_312_000_000_000_001], pa.struct([("a", pa.int64())]): {"a": 1},
    pa.map_(pa.string(), pa.int64()): [("a", 1)], pa.null(): None, pa.float16(): 0.5,
}  # fmt: skip
TEXTS: Final = {
    pa.timestamp("ns"): "2026-01-02 00:00:00.000000001", pa.decimal128(10, 2): "1.50",
    pa.binary(): base64.b64encode(b"\xff").decode(), pa.time64("us"): "01:02:00",
    pa.date32(): "2026-01-02",
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_every_type_of_column_is_kept_in_every_format(tmp_path: Path, kind: pa.DataType) -> None:
    job = Job(tmp_path, {"value": pa.array([VALUES[kind], None], kind)}, [1, 1])
    for name in ("parquet", "csv", "jsonl"):
        job.write({1: errored(1)}, format_name=name)
    assert job.read()["value"].combine_chunks().equals(job.rows["value"])
    value, null = (json.loads(each)["value"] for each in job.parts("jsonl")[0].read_text().splitlines())
    with job.parts("csv")[0].open(newline="") as file:
        text, empty = (row["value"] for row in csv.DictReader(file))
    assert (null, empty) == (None, "")
    assert (value, text) == (TEXTS.get(kind, value), TEXTS.get(kind, text))
    assert bool(text) == (kind != pa.null())


SIMPLE: Final[dict[pa.DataType, st.SearchStrategy[Any]]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1), pa.string(): st.text(max_size=5), pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False), pa.date32(): st.dates(), pa.binary(): st.binary(max_size=4),
    pa.timestamp("us"): st.datetimes(), pa.decimal128(12, 3): st.decimals(-(10**8), 10**8, places=3),
}  # fmt: skip


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    """A column of any of these types, alone, in lists or in structs."""
    kind = draw(st.sampled_from([*SIMPLE]))
    value = st.none() | SIMPLE[kind]
    shape = draw(st.sampled_from(["plain", "list", "struct"]))
    if shape == "list":
        kind, value = pa.list_(kind), st.none() | st.lists(value, max_size=3)
    elif shape == "struct":
        kind, value = pa.struct([("a", kind)]), st.none() | st.fixed_dictionaries({"a": value})
    return pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), kind)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[dict[str, pa.Array], list[int | None], list[tuple[int, str | None]]]:
    """Kept columns, the request of each row (some none, some shared), and answers in any order (None: a failure)."""
    rows = draw(st.integers(1, 12))
    kept = {name: draw(columns(rows)) for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))}
    requests = draw(st.lists(st.none() | st.integers(1, 5), min_size=rows, max_size=rows))
    sent = sorted({number for number in requests if number})
    stars = st.integers(-(2**63), 2**63 - 1)  # others are invalid: no column of integers holds them
    valid = st.builds(Review, stars=stars, on=st.none() | st.dates()).map(Review.model_dump_json)
    reviews = st.none() | st.just("{}") | valid
    first = [(number, draw(reviews)) for number in draw(st.permutations(sent))]
    again = [(number, draw(reviews)) for number, _ in first if draw(st.booleans())]
    return kept, requests, [*first, *again]


def expected(text: str | None) -> tuple[str, dict[str, Any]]:
    """The status of an answer, and its values."""
    try:
        return "succeeded", Review.model_validate_json(text or "").model_dump()
    except ValueError:
        return "errored" if text is None else "invalid_output", dict.fromkeys(Review.model_fields)


@settings(max_examples=60)
@given(jobs())
def test_the_same_rows_come_out_with_their_last_answers(
    made: tuple[dict[str, pa.Array], list[int | None], list[tuple[int, str | None]]],
) -> None:
    kept, requests, rounds = made
    last = dict(rounds)
    with TemporaryDirectory() as folder:
        job = Job(Path(folder), kept, requests)
        with AnswerSpool(5, OutputType.of(Review)) as spool:
            for number, text in rounds:
                spool.add([number], [errored(number) if text is None else succeeded(number, text)])
            place = lambda name: Location.parse(f"file://{folder}/{name}")  # noqa: E731
            limits = PartLimits(rows=7, group_rows=3)
            written = write_parts([job.rows], spool, place, kept=job.kept, job_id=JOB, limits=limits)
        table = job.read()
        failed = job.failed()
    assert table.select([*kept]).equals(pa.table(kept)) if kept else table.num_rows == len(requests)
    found = [("skipped", dict.fromkeys(Review.model_fields)) if n is None else expected(last[n]) for n in requests]
    assert table["_status"].to_pylist() == [status for status, _ in found]
    assert table.select([*Review.model_fields]).to_pylist() == [values for _, values in found]
    ids = [
        f"{JOB}-{n}" for n, (status, _) in zip(requests, found, strict=True) if status in {"errored", "invalid_output"}
    ]
    assert [row["_custom_id"] for row in failed] == ids
    assert written.counts.total() == sum(part.lines for part in written.parts) == len(requests)


def test_duckdb_and_pandas_read_what_was_written(job: Job) -> None:
    job.write({1: succeeded(1, REVIEW), 2: errored(2)}, OutputType.of(Review))
    job.write({1: succeeded(1, REVIEW), 2: errored(2)}, OutputType.of(Review), format_name="csv")
    job.write({1: succeeded(1, REVIEW), 2: errored(2)}, OutputType.of(Review), format_name="jsonl")
    folder = job.folder
    for source in (f"'{folder}/part-*.parquet'", f"read_csv('{folder}/part-*.csv')", f"'{folder}/part-*.jsonl'"):
        rows = duckdb.connect().execute(f'SELECT id, stars, mood, "on", _status FROM {source} ORDER BY id').fetchall()
        assert rows[0] == (10, 4, "good", date(2026, 11, 29), "succeeded")
        assert [row[4] for row in rows] == ["succeeded", "skipped", "errored", "errored"]
    frame = pd.read_parquet(folder / "part-00000.parquet")
    assert frame["stars"].isna().tolist() == [False, True, True, True]
    assert isinstance(frame["mood"].dtype, pd.CategoricalDtype)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_parts_are_written_to_a_store(s3: S3Server, job: Job) -> None:
    bucket = s3.make_bucket("parts")
    with AnswerSpool(2) as spool:
        spool.add([1, 2], [succeeded(1, "one"), errored(2)])
        place = lambda name: Location.parse(f"s3://parts/job/{name}", s3.storage_options)  # noqa: E731
        write_parts([job.rows], spool, place, kept=job.kept, job_id=JOB)
    assert pq.read_table(bucket / "job/part-00000.parquet")["answer"].to_pylist() == ["one", None, None, None]
    assert sorted(path.name for path in (bucket / "job").iterdir()) == ["failed.jsonl", "part-00000.parquet"]
