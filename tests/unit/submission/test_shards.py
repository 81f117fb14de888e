"""A source cut into shards."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator
from airflow_batches.submission import PreflightError, open_source
from airflow_batches.submission.scan import scan
from airflow_batches.submission.shards import Shard, split_requests
from tests.samples import some_requests
from tests.unit.submission.helpers import Task
from tests.unit.submission.helpers import jsonl as write_jsonl
from tests.unit.submission.strategies import jsonl

MODEL = "claude-default"


def requests_of(shard: Shard) -> list[dict[str, Any]]:
    with open_source(shard.to_dict()) as source:
        return [json.loads(line) for line in b"".join(source.blocks()).split(b"\n") if line.strip()]


def size_of(shard: Shard) -> int:
    with open_source(shard.to_dict()) as source:
        return scan(source, model=MODEL, preflight="error", version="2026-10-21").size


@settings(deadline=None)
@given(jsonl(), st.integers(1, 12), st.integers(150, 2_000))
def test_the_shards_of_any_source_cover_it_exactly_once_within_both_limits(
    case: tuple[list[dict[str, Any]], bytes], max_requests: int, max_bytes: int
) -> None:
    requests, data = case
    with tempfile.TemporaryDirectory() as folder:
        uri = f"{folder}/r.jsonl"
        Path(uri).write_bytes(data)
        if any(size_of(shard) > max_bytes for shard in split_requests(uri, model=MODEL, max_requests=1)):
            with pytest.raises(PreflightError, match="alone makes a body of"):
                split_requests(uri, model=MODEL, max_requests=max_requests, max_bytes=max_bytes)
            return
        shards = split_requests(uri, model=MODEL, max_requests=max_requests, max_bytes=max_bytes)
        found = [requests_of(shard) for shard in shards]
        assert [request for shard in found for request in shard] == requests
        assert [shard.requests for shard in shards] == [*map(len, found)]
        assert all(shard.requests <= max_requests and size_of(shard) <= max_bytes for shard in shards)
        assert [shard.ids_digest for shard in shards] == [ids_digest(r["custom_id"] for r in shard) for shard in found]


def test_no_shard_is_smaller_than_it_must_be(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", some_requests(10))
    assert [shard.requests for shard in split_requests(uri, max_requests=4)] == [4, 4, 2]
    size = size_of(split_requests(uri)[0])
    assert len(split_requests(uri, max_bytes=size)) == 1
    assert len(split_requests(uri, max_bytes=size - 1)) == 2


def test_a_duplicate_across_shards_is_found_and_named(tmp_path: Path) -> None:
    requests = some_requests(10)
    requests[9]["custom_id"] = "r-0"
    uri = write_jsonl(tmp_path / "r.jsonl", requests)
    with pytest.raises(PreflightError, match="line 10, 'r-0': custom_id is that of line 1"):
        split_requests(uri, max_requests=4)


def test_problems_anywhere_refuse_the_whole_plan(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", [*some_requests(5), *some_requests(1, prefix="x", max_tokens=0)])
    with pytest.raises(PreflightError, match="line 6, 'x-0': max_tokens"):
        split_requests(uri, max_requests=2)
    assert len(split_requests(uri, max_requests=2, preflight="off")) == 3


def test_a_request_that_fits_no_shard_and_an_empty_source_are_refused(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", some_requests(2, system="x" * 1000))
    with pytest.raises(PreflightError, match=r"request 'r-0' alone makes a body of 1,\d+ bytes; a shard takes 500"):
        split_requests(uri, max_bytes=500)
    with pytest.raises(PreflightError, match="holds no requests"):
        split_requests(write_jsonl(tmp_path / "none.jsonl", []))


@pytest.mark.parametrize("limits", [{"max_requests": 0}, {"max_requests": 100_001}, {"max_bytes": 256_000_001}])
def test_limits_beyond_the_apis_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match="shards hold 1 to 100,000 requests in at most 256,000,000 bytes"):
        split_requests("file:///x", **limits)  # type: ignore[arg-type]  # any of them


def test_each_shard_becomes_its_own_batch(emulator: Emulator, tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", some_requests(10))
    for shard in split_requests(uri, max_requests=4):
        receipt = Task(emulator).try_(json.loads(json.dumps(shard.to_dict())))
        assert (receipt.requests, receipt.ids_digest) == (shard.requests, shard.ids_digest)
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_a_source_over_the_limits_is_refused_with_the_numbers(emulator: Emulator, tmp_path: Path) -> None:
    line = json.dumps(some_requests(1)[0])
    path = tmp_path / "r.jsonl"
    with path.open("w") as file:
        for number in range(100_001):
            file.write(line.replace("r-0", f"r-{number}") + "\n")
    with pytest.raises(
        PreflightError, match=r"holds 100,001 requests in [0-9,]+ bytes; a batch takes 100,000 requests"
    ):
        Task(emulator).try_(f"file://{path}")
    assert [shard.requests for shard in split_requests(f"file://{path}")] == [100_000, 1]
