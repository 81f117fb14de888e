"""Rows in S3, over the real protocol."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_batches.landing import Location
from airflow_batches.submission import EmptySource, SourceChanged, SourceError
from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.rows import RowSource
from airflow_batches.tables.rows_object import REQUEST, RowsWriter, read_rows
from tests.servers import S3Server, s3_server
from tests.unit.tables.row_support import jsonl, parquet, rows_of


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Path:
    """A bucket named after the test."""
    return server.make_bucket(request.node.name.replace("_", "-")[:60].rstrip("-"))


def test_a_folder_and_a_glob_are_read_in_order(server: S3Server, bucket: Path) -> None:
    for number in (2, 1):
        parquet(
            bucket / "reviews" / f"day={number}" / "part.parquet",
            id=range(number * 3000, number * 3000 + 3000),
            text=["x" * 99] * 3000,
        )
    (bucket / "reviews" / "_SUCCESS").write_text("")
    found = rows_of(f"s3://{bucket.name}/reviews/", ["id"], storage_options=server.storage_options)
    assert found == [{"id": number} for number in range(3000, 9000)]
    options = {"storage_options": server.storage_options}
    assert rows_of(f"s3://{bucket.name}/reviews/*/*.parquet", ["id"], **options) == found
    (first, *_) = RowSource.of(f"s3://{bucket.name}/reviews/day=2", storage_options=server.storage_options).batches()
    assert first.place(0) == f"s3://{bucket.name}/reviews/day=2/part.parquet, row 1"


def test_csv_and_jsonl_are_read(server: S3Server, bucket: Path) -> None:
    (bucket / "a.csv").write_text("id,text\n1,x\n")
    jsonl(bucket / "a.jsonl", [{"id": 1}])
    assert rows_of(f"s3://{bucket.name}/a.csv", storage_options=server.storage_options) == [{"id": "1", "text": "x"}]
    assert rows_of(f"s3://{bucket.name}/a.jsonl", storage_options=server.storage_options) == [{"id": 1}]


def test_kept_rows_are_stored_in_s3(server: S3Server, bucket: Path) -> None:
    made = RowRequests([{"id": n, "text": f"{n % 7}"} for n in range(100)], "${text}", key="id")
    # rclone sends the whole object's checksum with a part of it.
    options = {**server.storage_options, "config_kwargs": {"response_checksum_validation": "when_required"}}
    location = Location.parse(f"s3://{bucket.name}/_job/rows.parquet", options)
    with RowsWriter(location) as writer:
        deque(made.requests("job", writer.write), 0)
    (stored,) = read_rows(location)
    assert stored.select(["id", REQUEST]).to_pylist() == [{"id": n, REQUEST: n % 7 + 1} for n in range(100)]
    assert [batch.column(0).to_pylist() for batch in read_rows(location, [REQUEST])] == [stored[REQUEST].to_pylist()]


def test_a_file_that_appears_is_noticed(server: S3Server, bucket: Path) -> None:
    parquet(bucket / "a.parquet", id=range(5000))
    batches = RowSource.of(f"s3://{bucket.name}/", storage_options=server.storage_options).batches()
    next(batches)
    parquet(bucket / "b.parquet", id=[1])
    with pytest.raises(SourceChanged, match=r"b\.parquet appeared"):
        deque(batches, 0)


def test_what_is_missing_or_forbidden_is_named_without_credentials(server: S3Server, bucket: Path) -> None:
    with pytest.raises(SourceError, match=rf"s3://{bucket.name}/missing\.csv"):
        RowSource.of(f"s3://{bucket.name}/missing.csv", storage_options=server.storage_options)
    with pytest.raises(EmptySource):
        RowSource.of(f"s3://{bucket.name}/*.csv", storage_options=server.storage_options)
    wrong = {**server.storage_options, "secret": "wrong-secret"}
    with pytest.raises(SourceError) as caught:
        RowSource.of(f"s3://{bucket.name}/a.csv", storage_options=wrong)
    assert "wrong-secret" not in str(caught.value)
    assert server.key not in str(caught.value)
