"""Landing in S3, over the real protocol."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest

from airflow_batches.api import BatchesClient, StreamInterrupted
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingError, LandingRefused, LandingTimeout, Location, Progress, land
from airflow_batches.landing.s3_upload import PART_BYTES, S3Upload
from airflow_batches.landing.writer import create, put
from tests.servers import S3Server, gateway, s3_server
from tests.unit.landing.support import QUICK, ended_batch, landed_lines, lines_of_the_api


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Path:
    """A bucket named after the test."""
    return server.make_bucket(request.node.name.split("[")[0].replace("_", "-")[:60].rstrip("-"))


def unfinished_uploads(server: S3Server, bucket: Path) -> list[Any]:
    location = Location.parse(f"s3://{bucket.name}/any", server.storage_options)
    try:
        return list(location.fs.list_multipart_uploads(bucket.name))  # type: ignore[attr-defined]
    except FileNotFoundError:  # how rclone answers before the first upload
        return []


def files_in(bucket: Path) -> list[str]:
    return sorted(str(file.relative_to(bucket)) for file in bucket.rglob("*") if file.is_file())


def test_results_failures_and_manifest_land(
    emulator: Emulator, client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    emulator.configure(errored_share=0.3)
    batch_id = ended_batch(client, 100)
    uri = f"s3://{bucket.name}/deep/out.jsonl"
    options: Any = {"failed_path": f"s3://{bucket.name}/failed.jsonl.gz", "storage_options": server.storage_options}
    manifest = land(client, batch_id, uri, **options)
    assert files_in(bucket) == ["deep/out.jsonl", "deep/out.jsonl.manifest.json", "failed.jsonl.gz"]
    assert landed_lines(bucket / "deep/out.jsonl") == lines_of_the_api(client, batch_id)
    failed = gzip.decompress((bucket / "failed.jsonl.gz").read_bytes()).splitlines()
    assert len(failed) == manifest.counts["errored"]
    assert manifest.uri == uri
    assert land(client, batch_id, uri, **options) == manifest


def test_an_object_of_many_parts_is_whole_after_cuts(
    emulator: Emulator, client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    emulator.configure(answer_chars=50_000)
    batch_id = ended_batch(client, 400)
    emulator.fault(Fault(endpoint="results", action="cut", times=2, after_bytes=9_000_000))
    land(client, batch_id, f"s3://{bucket.name}/out.jsonl", retry=QUICK, storage_options=server.storage_options)
    assert (bucket / "out.jsonl").stat().st_size > 2 * PART_BYTES
    emulator.faults.clear()
    assert landed_lines(bucket / "out.jsonl") == lines_of_the_api(client, batch_id)


def test_a_failed_landing_aborts_its_upload(
    emulator: Emulator, client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    emulator.configure(answer_chars=100_000, order="submitted")
    batch_id = ended_batch(client, 300)
    emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=20_000_000))
    with pytest.raises(StreamInterrupted):
        land(client, batch_id, f"s3://{bucket.name}/out.jsonl", retry=QUICK, storage_options=server.storage_options)
    assert files_in(bucket) == []
    assert unfinished_uploads(server, bucket) == []


def test_failures_are_removed_when_the_results_cannot_be_published(
    client: BatchesClient, server: S3Server, bucket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    def decide(method: str, target: str) -> int | None:
        if method == "PUT" and target.endswith("/out.jsonl"):
            refused.append(target)
            return 403
        return None

    root = f"s3://{bucket.name}"
    with gateway(server, decide) as guarded, pytest.raises(LandingRefused, match="PermissionError"):
        land(
            client,
            ended_batch(client),
            f"{root}/out.jsonl",
            failed_path=f"{root}/failed.jsonl",
            storage_options=guarded.storage_options,
        )
    assert refused
    assert files_in(bucket) == ["out.jsonl.manifest.json"]
    assert json.loads((bucket / "out.jsonl.manifest.json").read_bytes())["state"] == "publishing"
    assert "Leaving" not in caplog.text
    assert "Cannot" not in caplog.text


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_an_object_of_any_size_is_whole(server: S3Server, bucket: Path, size: int) -> None:
    put(Location.parse(f"s3://{bucket.name}/{size}", server.storage_options), b"x" * size)
    assert (bucket / str(size)).stat().st_size == size
    assert unfinished_uploads(server, bucket) == []


def test_parts_grow_with_the_object(server: S3Server, bucket: Path) -> None:
    parts: list[str] = []
    with gateway(server, lambda method, target: parts.append(target) if "partNumber=" in target else None) as counted:
        file = S3Upload(Location.parse(f"s3://{bucket.name}/out", counted.storage_options), growth_parts=2)
        for _ in range(16):
            file.write(b"x" * PART_BYTES)
        file.finish()
        file.commit()
    assert (bucket / "out").stat().st_size == 16 * PART_BYTES
    assert len(parts) < 8


def test_a_store_without_conditional_writes_is_written_to_without_conditions(
    client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    batch_id = ended_batch(client)
    with gateway(server, conditions="unknown") as old:
        manifest = land(client, batch_id, f"s3://{bucket.name}/out.jsonl", storage_options=old.storage_options)
    assert manifest.verified
    assert files_in(bucket) == ["out.jsonl", "out.jsonl.manifest.json"]


def test_landed_objects_are_recognised_by_their_etag_and_not_read_again(
    client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    batch_id = ended_batch(client)
    uri = f"s3://{bucket.name}/out.jsonl"
    asked: list[str] = []
    with gateway(server, lambda method, target: asked.append(f"{method} {target}")) as watched:
        manifest = land(client, batch_id, uri, storage_options=watched.storage_options)
        assert manifest.results.etag
        assert land(client, batch_id, uri, storage_options=watched.storage_options) == manifest
        assert f"GET /{bucket.name}/out.jsonl" not in asked
        (bucket / "out.jsonl").write_bytes((bucket / "out.jsonl").read_bytes()[::-1])
        assert land(client, batch_id, uri, storage_options=watched.storage_options) != manifest
    assert landed_lines(bucket / "out.jsonl") == lines_of_the_api(client, batch_id)


def test_landed_objects_are_not_kept_in_memory(client: BatchesClient, server: S3Server, bucket: Path) -> None:
    options = {**server.storage_options, "skip_instance_cache": True}
    location = Location.parse(f"s3://{bucket.name}/out.jsonl", options)
    land(client, ended_batch(client), location)
    assert not location.fs.transaction.files  # type: ignore[attr-defined]


def test_nothing_is_at_the_key_before_the_commit(server: S3Server, bucket: Path) -> None:
    location = Location.parse(f"s3://{bucket.name}/out", server.storage_options)
    file = create(location)
    file.write(b"x" * 2 * PART_BYTES)
    assert location.version() is None
    file.discard()
    assert location.version() is None
    assert unfinished_uploads(server, bucket) == []


def test_wrong_credentials_are_refused(client: BatchesClient, server: S3Server, bucket: Path) -> None:
    for wrong in ({"secret": "wrong"}, {"key": "unknown"}):
        options = {**server.storage_options, **wrong}
        with pytest.raises(LandingRefused, match=r"is not possible: PermissionError") as caught:
            land(client, ended_batch(client), f"s3://{bucket.name}/out.jsonl", storage_options=options)
        assert server.secret not in str(caught.value)
    assert files_in(bucket) == []


def test_a_bucket_that_may_be_read_but_not_written_is_refused(
    client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    def decide(method: str, target: str) -> int | None:
        return 403 if method in {"PUT", "POST"} else None

    batch_id = ended_batch(client)
    uri = f"s3://{bucket.name}/out.jsonl"
    with (
        gateway(server, decide) as readable,
        pytest.raises(LandingRefused, match=r"writing s3://.*out\.jsonl.* is not possible: PermissionError"),
    ):
        land(client, batch_id, uri, storage_options=readable.storage_options)
    assert files_in(bucket) == []


def test_results_are_read_while_a_part_is_uploaded(
    emulator: Emulator, client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    emulator.configure(answer_chars=100_000)
    batch_id = ended_batch(client, 120)
    uploading, went_on = Event(), Event()
    at_upload: list[int] = []
    in_time: list[bool] = []

    def decide(method: str, target: str) -> None:
        if "partNumber=1&" in target:
            uploading.set()
            in_time.append(went_on.wait(10))

    def look(now: Progress) -> None:
        if uploading.is_set():
            at_upload.append(now.lines)
            if now.lines > at_upload[0]:
                went_on.set()

    emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=8_000_000))
    uri = f"s3://{bucket.name}/out.jsonl"
    with gateway(server, decide) as watched:
        options: Any = {"storage_options": watched.storage_options, "progress": look, "progress_every": 0.01}
        land(client, batch_id, uri, **options)
    assert in_time
    assert all(in_time)
    assert (bucket / "out.jsonl").stat().st_size > 12_000_000


def test_a_store_that_hangs_in_an_upload_ends_the_landing_and_is_cleaned_up_later(
    emulator: Emulator, client: BatchesClient, server: S3Server, bucket: Path
) -> None:
    emulator.configure(answer_chars=100_000)
    over = Event()

    def decide(method: str, target: str) -> None:
        if "uploadId=" in target:
            over.wait(60)

    with gateway(server, decide) as hanging:
        try:
            with pytest.raises(LandingTimeout, match=r"the store of s3://.*/out\.jsonl did not answer in time"):
                land(
                    client,
                    ended_batch(client, 100),
                    f"s3://{bucket.name}/out.jsonl",
                    storage_options=hanging.storage_options,
                    timeout=2.0,
                    store_timeout=1.0,
                )
        finally:
            over.set()
        # The store answers again: the upload is aborted, although the landing no longer waits for it.
        deadline = monotonic() + 60
        while unfinished_uploads(server, bucket) and monotonic() < deadline:
            sleep(0.1)
        assert not unfinished_uploads(server, bucket)
    assert files_in(bucket) == []


def test_no_such_bucket_is_refused(client: BatchesClient, server: S3Server) -> None:
    with pytest.raises(LandingRefused, match=r"writing s3://no-such-bucket/.* is not possible"):
        land(client, ended_batch(client), "s3://no-such-bucket/out.jsonl", storage_options=server.storage_options)


def test_an_unreachable_store_is_worth_a_retry(client: BatchesClient) -> None:
    options = {
        "key": "any",
        "secret": "any",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(LandingError, match=r"looking at s3://bucket/out\.jsonl.* failed") as caught:
        land(client, ended_batch(client), "s3://bucket/out.jsonl", storage_options=options)
    assert not isinstance(caught.value, LandingRefused)
