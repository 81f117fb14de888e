"""Where requests come from, and what is no source."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from airflow.sdk import ObjectStoragePath

from airflow_batches.api import InvalidRequest
from airflow_batches.hooks.stores import airflow_store
from airflow_batches.submission import PreflightError, SourceError, open_source
from airflow_batches.submission.source import SpooledSource
from tests.samples import some_requests
from tests.servers import s3_server
from tests.unit.submission.helpers import jsonl

REQUESTS = some_requests(700)


def read(given: Any, conn_id: str | None = None) -> list[Any]:
    """The requests of a source in a store of Airflow's connections, after reading it twice."""
    with open_source(given, open_store=airflow_store(conn_id)) as source:
        first, second = b"".join(source.blocks()), b"".join(source.blocks())
    assert first == second
    return [json.loads(line) for line in first.splitlines()]


def test_a_list_an_iterable_and_a_callable_hold_the_same_requests() -> None:
    assert read(REQUESTS) == REQUESTS
    assert read(tuple(REQUESTS)) == REQUESTS
    assert read(request for request in REQUESTS) == REQUESTS
    assert read(lambda: REQUESTS) == REQUESTS
    assert read(lambda: iter(REQUESTS)) == REQUESTS


def test_a_file_is_read_plain_and_compressed(tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "r.jsonl", REQUESTS)
    data = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    pack = zstandard.ZstdCompressor().compress
    (tmp_path / "r.jsonl.zst").write_bytes(pack(data[:5000]) + pack(data[5000:]))
    for given in (uri, uri + ".gz", uri + ".zst", str(tmp_path / "r.jsonl"), tmp_path / "r.jsonl", lambda: uri):
        assert read(given) == REQUESTS


def test_an_object_whose_suffix_promises_another_compression_is_named(tmp_path: Path) -> None:
    data = (tmp_path / "r.jsonl", jsonl(tmp_path / "r.jsonl", REQUESTS))[0].read_bytes()
    held = {"gz": (zstandard.compress(data), "; it is zstd"), "zst": (gzip.compress(data), "; it is gzip")}
    for suffix, (content, found) in held.items():
        (tmp_path / f"r.{suffix}").write_bytes(content)
        with pytest.raises(PreflightError, match=rf"r\.{suffix} does not hold .*ends in \.{suffix}{found}; rename it"):
            read(tmp_path / f"r.{suffix}")
        (tmp_path / f"r.{suffix}").write_bytes(data)
        with pytest.raises(
            PreflightError, match=rf"does not hold .* data, although its name ends in \.{suffix}; rename"
        ):
            read(tmp_path / f"r.{suffix}")
        (tmp_path / f"r.{suffix}").write_bytes(b"")
        assert read(tmp_path / f"r.{suffix}") == []


def test_a_local_file_is_the_same_in_every_form_that_names_it(tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "r.jsonl", REQUESTS)
    path = tmp_path / "r.jsonl"
    for given in (path, str(path), ObjectStoragePath(uri), f"file://localhost{path}", f"local://{path}"):
        with open_source(given) as source:
            assert source.name == uri
        assert read(given) == REQUESTS


def test_an_object_storage_path_brings_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(server.airflow_connection))
        wrong = server.airflow_connection | {"password": "wrong-password"}
        monkeypatch.setenv("AIRFLOW_CONN_BARRED", json.dumps(wrong))
        jsonl(server.make_bucket("data") / "r.jsonl", REQUESTS)
        assert read(ObjectStoragePath("s3://data/r.jsonl", conn_id="lake"), conn_id="barred") == REQUESTS
        assert read("s3://lake@data/r.jsonl", conn_id="barred") == REQUESTS
        assert read("s3://data/r.jsonl", conn_id="lake") == REQUESTS


def test_an_object_in_s3_is_read_with_the_connection_in_its_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_REQUESTS", json.dumps(server.airflow_connection))
        bucket = server.make_bucket("data")
        jsonl(bucket / "r.jsonl", REQUESTS)
        (bucket / "r.jsonl.gz").write_bytes(gzip.compress((bucket / "r.jsonl").read_bytes()))
        assert read("s3://requests@data/r.jsonl") == REQUESTS
        assert read("s3://requests@data/r.jsonl.gz") == REQUESTS
        with pytest.raises(SourceError, match=r"cannot read s3://data/missing.jsonl: FileNotFoundError"):
            read("s3://requests@data/missing.jsonl")
        with pytest.raises(SourceError, match=r"cannot read s3://elsewhere/r\.jsonl"):
            read("s3://requests@elsewhere/r.jsonl")


def test_an_unreadable_bucket_is_a_source_error_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        server.make_bucket("data")
        wrong = server.airflow_connection | {"password": "wrong-password"}
        monkeypatch.setenv("AIRFLOW_CONN_LOCKED", json.dumps(wrong))
        with pytest.raises(SourceError, match=r"cannot read s3://data/r\.jsonl: PermissionError") as failed:
            read("s3://locked@data/r.jsonl")
    assert "wrong-password" not in str(failed.value)


def test_what_can_be_read_once_is_spooled_to_a_file_without_a_name(tmp_path: Path) -> None:
    with open_source(iter(REQUESTS), spool_dir=str(tmp_path)) as source:
        assert isinstance(source, SpooledSource)
        assert not [*tmp_path.iterdir()]
        assert b"".join(source.blocks()).count(b"\n") == len(REQUESTS)


def test_an_iterable_that_raises_half_way_leaves_with_its_own_exception() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from some_requests(100)
        raise LookupError("the database went away")

    with pytest.raises(LookupError, match="the database went away"):
        read(broken())


def test_a_store_whose_package_is_missing_names_the_extra_that_brings_it() -> None:
    with pytest.raises(SourceError, match=r"cannot read gs://data/r\.jsonl: .*pip install 'airflow-batches\[gcs\]'"):
        read("gs://data/r.jsonl")


def test_a_missing_file_and_a_torn_archive_are_source_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read file:///no/such.jsonl: FileNotFoundError"):
        read("file:///no/such.jsonl")
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(json.dumps(REQUESTS).encode())[:-20])
    with pytest.raises(SourceError, match=r"torn\.jsonl\.gz: EOFError"):
        read(f"file://{torn}")
    none = tmp_path / "none.jsonl.zst"
    none.write_bytes(b"\x28\xb5\x2f\xfdthis is no frame of zstd")
    with pytest.raises(SourceError, match=r"none\.jsonl\.zst: ZstdError"):
        read(f"file://{none}")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "not NoneType"),
        (7, "not int"),
        (b"s3://bucket/key", "not bytes"),
        (" ", "the URI of the requests is empty"),
        (str(REQUESTS), "looks like JSON .a template makes text of them, an XComArg does not"),
        (REQUESTS[0], "a single request; give a list of them"),
        ({"uri": "file:///x"}, "neither a list of requests nor a shard descriptor"),
        (lambda: None, "not NoneType"),
        (
            [{"custom_id": "a", "params": {"x": object()}}],
            "request 1, 'a', cannot be written as JSON: params.x: object has",
        ),
        ("r.jsonl", "'r.jsonl' is not a URI; write file:///folder/r.jsonl or s3://bucket/key"),
        (Path("data/r.jsonl"), "'data/r.jsonl' is not a URI; write file:///folder/data/r.jsonl"),
        ("file:/data/r.jsonl", "is not a URI; write file:///data/r.jsonl"),
        ("file://data/r.jsonl", "names a host, not a folder, before the third slash; write file:///data/r.jsonl"),
    ],
)
def test_what_is_no_source_says_so(given: Any, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        read(given)


def test_a_shard_is_its_range_of_the_decoded_bytes(tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "r.jsonl", REQUESTS)
    data = (tmp_path / "r.jsonl").read_bytes()
    start, end = data.index(b"\n") + 1, data.rindex(b"\n", 0, -1) + 1
    descriptor = {"start": start, "end": end, "requests": len(REQUESTS) - 2, "ids_digest": "0" * 32}
    packed = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.ZstdCompressor().compress(data)}
    for suffix, content in packed.items():
        (tmp_path / f"r.jsonl{suffix}").write_bytes(content)
        assert read({"uri": uri + suffix, **descriptor}) == REQUESTS[1:-1]


def test_a_shard_knows_when_its_requests_are_not_the_planned_ones(tmp_path: Path) -> None:
    descriptor = {"uri": f"file://{tmp_path}/r", "start": 0, "end": 10, "requests": 3, "ids_digest": "0" * 32}
    with open_source(descriptor) as source, pytest.raises(PreflightError, match="other requests"):
        source.check(3, "1" * 32)


def test_a_source_is_named_without_what_may_be_secret() -> None:
    with open_source("https://user:secret@host/r.jsonl?signature=abc") as source:
        assert source.name == "https://host/r.jsonl"
