"""A source cut into shards."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator
from airflow_batches.submission import EmptySource, PreflightError, SourceChanged, SourceError, open_source
from airflow_batches.submission.encode import encode_requests
from airflow_batches.submission.scan import scan
from airflow_batches.submission.shard import Shard
from airflow_batches.submission.shard_files import HashedSource, store_shards
from airflow_batches.submission.shards import split_requests
from airflow_batches.submission.source import Source
from airflow_batches.submission.stores import fsspec_store
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
        return scan(source, model=MODEL, preflight="error", version="2026-10-21").sent.bytes


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


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_stored_shards_need_the_planned_object_no_more(emulator: Emulator, tmp_path: Path, suffix: str) -> None:
    """So it is decoded as often for a hundred shards as for one."""
    packs: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
    requests = some_requests(10)
    data = Path(write_jsonl(tmp_path / "r.jsonl", requests).removeprefix("file://")).read_bytes()
    planned = tmp_path / f"r.jsonl{suffix}"
    planned.write_bytes(packs[suffix](data))
    shards = split_requests(planned, max_requests=4, shards_path=tmp_path / "shards")
    planned.unlink()
    assert [(shard.start, shard.requests) for shard in shards] == [(0, 4), (0, 4), (0, 2)]
    assert [request for shard in shards for request in requests_of(shard)] == requests
    assert b"".join(Path(shard.uri.removeprefix("file://")).read_bytes() for shard in shards) == data
    for shard in shards:
        Task(emulator).try_(json.loads(json.dumps(shard.to_dict())))
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_stored_shards_of_other_requests_never_take_each_others_place(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    path = tmp_path / "r.jsonl"
    first = split_requests(write_jsonl(path, some_requests(4)), max_requests=2, shards_path=folder)
    again = split_requests(path, max_requests=2, shards_path=folder)
    other = split_requests(write_jsonl(path, some_requests(4, max_tokens=11)), max_requests=2, shards_path=folder)
    assert again == first
    assert not {shard.uri for shard in first} & {shard.uri for shard in other}
    assert [request for shard in first for request in requests_of(shard)] == some_requests(4)
    assert len([*folder.iterdir()]) == 4


def test_a_plan_that_is_refused_stores_nothing(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", [*some_requests(5), *some_requests(1, prefix="x", max_tokens=0)])
    with pytest.raises(PreflightError, match="x-0"):
        split_requests(uri, max_requests=2, shards_path=tmp_path / "shards")
    with pytest.raises(EmptySource):
        split_requests(write_jsonl(tmp_path / "none.jsonl", []), shards_path=tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_an_object_that_changes_while_it_is_planned_leaves_no_shards(tmp_path: Path) -> None:
    class Changes(Source):
        name = "changes"
        readings = iter([some_requests(4), some_requests(4, max_tokens=11)])

        def blocks(self) -> Iterator[bytes]:
            return encode_requests(next(self.readings))

    source = HashedSource(Changes())
    size = len(b"".join(source.blocks()))
    shard = Shard(uri="file:///x", start=0, end=size, requests=4, ids_digest="0" * 32)
    with pytest.raises(SourceChanged, match="changes changed while it was planned; nothing was sent"):
        store_shards(source, [(shard, "f" * 32)], f"file://{tmp_path}/shards", fsspec_store)
    assert [*(tmp_path / "shards").iterdir()] == []


def test_a_folder_that_is_none_is_refused_before_the_object_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="'/data/shards' is not a URI; write file:///data/shards"):
        split_requests(tmp_path / "missing.jsonl", shards_path="/data/shards")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "r.jsonl", some_requests(4))
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"cannot write the shard file://.*/file/shards/00000-.*; nothing was sent"):
        split_requests(uri, shards_path=tmp_path / "file" / "shards")


def test_a_compressed_object_of_several_shards_is_a_warning_with_its_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = write_jsonl(tmp_path / "r.jsonl", some_requests(10))
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress((tmp_path / "r.jsonl").read_bytes()))
    split_requests(plain, max_requests=1)
    split_requests(plain + ".gz")
    split_requests(plain + ".gz", max_requests=1, shards_path=tmp_path / "shards")
    assert not caplog.records
    assert len(split_requests(plain + ".gz", max_requests=1)) == 10
    assert "submitting its 10 shards decodes all of it about 6 times. Give shards_path" in caplog.text


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_byte_order_mark_belongs_to_no_request(emulator: Emulator, tmp_path: Path, suffix: str) -> None:
    requests = some_requests(5)
    data = b"\xef\xbb\xbf" + b"".join(encode_requests(requests))
    path = tmp_path / f"r.jsonl{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    shards = split_requests(path, max_requests=2)
    assert shards[-1].end == len(data)
    assert [Task(emulator).try_(shard.to_dict()).requests for shard in shards] == [2, 2, 1]
    assert Task(emulator).try_(path).requests == 5
    assert [batch["request_counts"]["succeeded"] for batch in emulator.batches()] == [5, 1, 2, 2]
    stored = split_requests(path, max_requests=2, shards_path=tmp_path / "shards")
    assert [Task(emulator).try_(shard.to_dict()).ids_digest for shard in stored] == [s.ids_digest for s in shards]


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
    with pytest.raises(EmptySource, match=r"none\.jsonl holds no requests; nothing was sent"):
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
