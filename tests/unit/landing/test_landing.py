"""Landings without faults, and arguments that are refused before anything is read."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import msgspec
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_batches.api import ApiError, BatchesClient, InvalidRequest
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import (
    LandingError,
    LandingMismatch,
    LandingRefused,
    LandingTimeout,
    Location,
    Manifest,
    Progress,
    land,
)
from airflow_batches.landing.lines import decode
from airflow_batches.landing.prices import PriceList
from airflow_batches.landing.usage import ModelUsage, PriceRange
from airflow_batches.submission import Receipt
from tests.samples import some_requests
from tests.unit.landing.support import (
    QUICK,
    client_of,
    ended_batch,
    ids_in,
    landed_lines,
    lines_of_the_api,
    names_in,
)


def test_every_line_lands_unchanged(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, 50)
    manifest = land(client, batch_id, f"file://{tmp_path}/deep/in/out.jsonl")
    assert landed_lines(tmp_path / "deep/in/out.jsonl") == lines_of_the_api(client, batch_id)
    assert manifest.uri == f"file://{tmp_path}/deep/in/out.jsonl"


def test_the_manifest_describes_what_landed(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(errored_share=0.4, errored_type="overloaded_error", expired_share=0.2)
    batch_id = ended_batch(client, 100)
    counts = client.get(batch_id).request_counts
    manifest = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    data = (tmp_path / "out.jsonl").read_bytes()
    assert manifest.results.sha256 == hashlib.sha256(data).hexdigest()
    assert (manifest.results.bytes, manifest.results.lines, manifest.lines) == (len(data), 100, 100)
    assert manifest.counts == {name: getattr(counts, name) for name in ("succeeded", "errored", "canceled", "expired")}
    assert manifest.error_types == {"overloaded_error": counts.errored}
    assert manifest.ids_digest is None
    assert manifest.verified
    assert manifest.mismatch is None


def test_the_manifest_adds_up_the_usage_of_each_model(client: BatchesClient, tmp_path: Path) -> None:
    requests = some_requests(3) + some_requests(2, prefix="s", model="claude-sonnet-4-6")
    batch_id = client.create(requests).id
    usages = {item.custom_id: item.result.message.usage for item in client.results(batch_id)}  # type: ignore[union-attr]
    manifest = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    (haiku, sonnet) = sorted(manifest.usage)
    assert manifest.usage[haiku].answers == 3
    assert manifest.usage[sonnet].answers == 2
    assert manifest.usage[sonnet].output_tokens == sum(usages[f"s-{n}"].output_tokens or 0 for n in range(2))
    assert manifest.usage[haiku].input_tokens == sum(usages[f"r-{n}"].input_tokens or 0 for n in range(3))


def test_a_manifest_survives_json_and_unknown_fields(client: BatchesClient, tmp_path: Path) -> None:
    manifest = land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl")
    values = json.loads(json.dumps(manifest.to_dict()))
    assert Manifest.from_dict({**values, "from_the_future": 1}) == manifest


def test_failed_lines_also_land_in_a_separate_object(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(errored_share=0.3, expired_share=0.2)
    batch_id = ended_batch(client, 100)
    manifest = land(client, batch_id, f"file://{tmp_path}/out.jsonl", failed_path=f"file://{tmp_path}/failed.jsonl.gz")
    failed = landed_lines(tmp_path / "failed.jsonl.gz")
    assert failed == [line for line in lines_of_the_api(client, batch_id) if b'"type":"succeeded"' not in line]
    assert manifest.failed is not None
    assert manifest.failed.lines == len(failed) == manifest.counts["errored"] + manifest.counts["expired"]
    assert len(landed_lines(tmp_path / "out.jsonl")) == 100


def test_without_failures_their_object_is_empty(client: BatchesClient, tmp_path: Path) -> None:
    land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl", failed_path=f"file://{tmp_path}/failed.jsonl")
    assert (tmp_path / "failed.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("suffix", "decompress"),
    [(".gz", gzip.decompress), (".zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data))],
)
def test_the_suffix_compresses_and_the_hash_is_of_what_is_stored(
    client: BatchesClient, tmp_path: Path, suffix: str, decompress: Any
) -> None:
    batch_id = ended_batch(client, 50)
    manifest = land(client, batch_id, f"file://{tmp_path}/out.jsonl{suffix}")
    stored = (tmp_path / f"out.jsonl{suffix}").read_bytes()
    assert sorted(decompress(stored).splitlines()) == lines_of_the_api(client, batch_id)
    assert manifest.results.format == f"jsonl{suffix}"
    assert (manifest.results.bytes, manifest.results.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())


def test_a_body_that_the_server_compressed_lands_decoded(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(gzip=True)
    batch_id = ended_batch(client, 50)
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert landed_lines(tmp_path / "out.jsonl") == lines_of_the_api(client, batch_id)


def test_landing_again_does_nothing_and_gives_the_same_manifest(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client)
    first = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    emulator.archive(batch_id)
    asked = dict(emulator.counters)
    assert land(client, batch_id, f"file://{tmp_path}/out.jsonl") == first
    assert emulator.counters == asked


def test_landing_again_with_overwrite_lands_again(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client)
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    land(client, batch_id, f"file://{tmp_path}/out.jsonl", overwrite=True)
    assert emulator.counters["results"] == 2


@pytest.mark.parametrize(
    "change", [{"failed_path": "failed.jsonl"}, {"format": "parquet"}], ids=["an object for failures", "a table"]
)
def test_a_landing_with_other_arguments_lands_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, change: dict[str, str]
) -> None:
    batch_id = ended_batch(client)
    land(client, batch_id, f"file://{tmp_path}/out")
    options: Any = {name: f"file://{tmp_path}/{value}" if "path" in name else value for name, value in change.items()}
    again = land(client, batch_id, f"file://{tmp_path}/out", **options)
    assert emulator.counters["results"] == 2
    assert land(client, batch_id, f"file://{tmp_path}/out", **options) == again
    assert emulator.counters["results"] == 2


def test_an_object_that_was_changed_is_landed_again(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client)
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    (tmp_path / "out.jsonl").write_bytes(b"short")
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert landed_lines(tmp_path / "out.jsonl") == lines_of_the_api(client, batch_id)


@pytest.mark.parametrize("name", ["out.jsonl", "failed.jsonl"])
def test_an_object_that_was_changed_and_kept_its_size_is_landed_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, name: str
) -> None:
    emulator.configure(errored_share=0.5)
    batch_id = ended_batch(client)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl"}
    land(client, batch_id, **uris)
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(before[::-1])
    assert land(client, batch_id, **uris).verified
    assert sorted((tmp_path / name).read_bytes().splitlines()) == sorted(before.splitlines())


def test_the_manifest_has_the_most_frequent_error_messages(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(errored_share=0.5)
    manifest = land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl")
    (error,) = manifest.error_messages
    assert manifest.error_types == {error.type: error.count}
    assert error.message
    assert Manifest.from_dict(manifest.to_dict()) == manifest


def test_without_failures_there_are_no_error_messages(client: BatchesClient, tmp_path: Path) -> None:
    assert land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl").error_messages == ()


def test_another_batchs_results_are_not_replaced(client: BatchesClient, tmp_path: Path) -> None:
    first, second = ended_batch(client), ended_batch(client, 3)
    land(client, first, f"file://{tmp_path}/out.jsonl")
    with pytest.raises(LandingRefused, match=f"holds the results of {first}.*overwrite=True"):
        land(client, second, f"file://{tmp_path}/out.jsonl")
    assert len(ids_in(tmp_path / "out.jsonl")) == 20
    manifest = land(client, second, f"file://{tmp_path}/out.jsonl", overwrite=True)
    assert (manifest.batch_id, len(ids_in(tmp_path / "out.jsonl"))) == (second, 3)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_missing_or_cut_object_is_landed_again(client: BatchesClient, tmp_path: Path, damage: str) -> None:
    batch_id = ended_batch(client)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl.gz"}
    for name in ("out.jsonl", "failed.jsonl.gz"):
        before = land(client, batch_id, **uris)
        (tmp_path / name).unlink() if damage == "gone" else (tmp_path / name).write_bytes(b"")
        assert land(client, batch_id, **uris) != before
        assert landed_lines(tmp_path / "out.jsonl") == lines_of_the_api(client, batch_id)
        assert landed_lines(tmp_path / "failed.jsonl.gz") == []


def test_landing_again_with_a_receipt_proves_it(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, 2)
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    proven = land(client, batch_id, f"file://{tmp_path}/out.jsonl", receipt=ids_digest(["r-1", "r-0"]))
    assert proven.ids_digest == ids_digest(["r-1", "r-0"])
    assert land(client, batch_id, f"file://{tmp_path}/out.jsonl", receipt=ids_digest(["r-1", "r-0"]).upper()) == proven
    assert land(client, batch_id, f"file://{tmp_path}/out.jsonl") == proven
    with pytest.raises(LandingMismatch, match="not those that were sent"):
        land(client, batch_id, f"file://{tmp_path}/out.jsonl", receipt=ids_digest(["r-1", "r-2"]))


def test_a_receipt_may_be_a_receipt_object(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, 2)
    digest = ids_digest(["r-0", "r-1"])
    receipt = Receipt(batch_id=batch_id, requests=2, bytes=1, sha256="", ids_digest=digest, fingerprint="")
    assert land(client, batch_id, f"file://{tmp_path}/out.jsonl", receipt=receipt).ids_digest == digest


def test_a_folder_that_appears_at_the_path_is_refused_before_anything_is_published(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.fault(Fault(endpoint="results", action="stall", seconds=1.0, after_bytes=100))
    batch_id = ended_batch(client)
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl"}
    in_the_way = tmp_path / "out.jsonl"
    with pytest.raises(LandingRefused, match=r"out\.jsonl is a folder"):
        land(
            client,
            batch_id,
            **uris,
            progress=lambda _: in_the_way.mkdir(exist_ok=True),
            progress_every=0.01,
            overwrite=True,
        )
    in_the_way.rmdir()
    assert names_in(tmp_path) == set()
    assert land(client, batch_id, **uris).verified
    assert names_in(tmp_path) == {"failed.jsonl", "out.jsonl", "out.jsonl.manifest.json"}


@pytest.mark.parametrize("name", ["out.jsonl", "failed.jsonl"])
def test_an_object_that_no_manifest_names_is_not_replaced(client: BatchesClient, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    uris: Any = {"path": f"file://{tmp_path}/out.jsonl", "failed_path": f"file://{tmp_path}/failed.jsonl"}
    with pytest.raises(LandingRefused, match=f"{name} exists, and no manifest names its batch"):
        land(client, ended_batch(client), **uris)
    assert (tmp_path / name).read_bytes() == b"precious"
    assert names_in(tmp_path) == {name}


def test_a_manifest_of_another_kind_is_refused(client: BatchesClient, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"precious")
    (tmp_path / "out.jsonl.manifest.json").write_bytes(b'{"entries":[]}')
    with pytest.raises(LandingRefused, match="is not a manifest of a landing"):
        land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl")


def test_a_manifest_without_its_object_does_not_block_another_batch(client: BatchesClient, tmp_path: Path) -> None:
    land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl")
    (tmp_path / "out.jsonl").rename(tmp_path / "moved.jsonl")
    second = ended_batch(client, 3)
    assert land(client, second, f"file://{tmp_path}/out.jsonl").batch_id == second


def test_after_a_landing_ended_while_publishing_only_its_batch_may_land(client: BatchesClient, tmp_path: Path) -> None:
    batch_id, other = ended_batch(client), ended_batch(client)
    landed = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    unfinished = msgspec.structs.replace(landed, state="publishing")
    (tmp_path / "out.jsonl.manifest.json").write_bytes(unfinished.to_json())
    with pytest.raises(LandingRefused, match=f"a landing of {batch_id} is publishing at .* or was ended"):
        land(client, other, f"file://{tmp_path}/out.jsonl")
    again = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert (again.state, again.verified) == ("complete", True)
    assert again.landing_id != landed.landing_id
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json"}


def test_progress_is_reported_during_a_stall(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(answer_chars=100_000)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=1.0, after_bytes=2_500_000))
    seen: list[Progress] = []
    land(client, ended_batch(client, 50), f"file://{tmp_path}/out.jsonl", progress=seen.append, progress_every=0.1)
    assert [now.lines for now in seen] == sorted(now.lines for now in seen)
    assert len([now for now in seen if 0 < now.lines < 50]) > 2


def test_progress_shows_lines_rate_and_remaining_time() -> None:
    halfway = Progress(lines=25_000, expected=100_000, size=52_000_000, seconds=20.0)
    assert str(halfway) == "25,000 of 100,000 lines (25%), 52.0 MB at 2.6 MB/s, 60 s left"
    assert str(Progress(lines=0, expected=5, size=0, seconds=0.0)) == "0 of 5 lines (0%), 0.0 MB at 0.0 MB/s"
    assert Progress(lines=0, expected=None, size=0, seconds=1.0).share == 0.0


def test_an_error_of_the_progress_function_fails_the_landing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    def broken(now: Progress) -> None:
        raise BrokenPipeError("no reader")

    emulator.fault(Fault(endpoint="results", action="stall", seconds=0.5, after_bytes=100))
    with pytest.raises(BrokenPipeError):
        land(client, ended_batch(client), f"file://{tmp_path}/out.jsonl", progress=broken, progress_every=0.01)
    assert not names_in(tmp_path)


@pytest.mark.parametrize("status", ["in_progress", "canceling"])
def test_a_batch_that_has_not_ended_says_its_state(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, status: str
) -> None:
    emulator.configure(processing_time=3600, cancel_time=3600)
    batch_id = ended_batch(client)
    if status == "canceling":
        client.cancel(batch_id)
    with pytest.raises(LandingError, match=f"has not ended: it is {status}") as caught:
        land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert not isinstance(caught.value, LandingRefused)
    assert not names_in(tmp_path)


def test_archived_results_are_refused_with_the_reason(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client)
    emulator.archive(batch_id)
    with pytest.raises(LandingRefused, match=r"were archived at .* 29 days"):
        land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert not names_in(tmp_path)


def test_an_unknown_batch_is_a_404(client: BatchesClient, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="404 not_found_error: Message Batch msgbatch_no not found"):
        land(client, "msgbatch_no", f"file://{tmp_path}/out.jsonl", retry=QUICK)
    assert not names_in(tmp_path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("out.jsonl", "is not a URI; write file:///folder/out.jsonl"),
        ("/data/out.jsonl", "is not a URI; write file:///data/out.jsonl"),
        ("s3:/bucket/key", "is not a URI; write s3://bucket/key"),
        ("file:data/out.jsonl", "is not a URI; write file:///folder/data/out.jsonl"),
        ("file:/data/out.jsonl", "is not a URI; write file:///data/out.jsonl"),
        ("file://out.jsonl", "names a host, not a folder, before the third slash; write file:///out.jsonl"),
        ("file://data/out.jsonl", "names a host, not a folder, before the third slash; write file:///data/out.jsonl"),
        (Path("out.jsonl"), "is not a URI; write file:///folder/out.jsonl"),
        ("s3://bucket/folder/", "names a folder"),
        ("nosuch://bucket/out.jsonl", "Protocol not known: nosuch"),
        ("gs://bucket/out.jsonl", r"cannot be opened: .*; pip install 'airflow-batches\[gcs\]'"),
    ],
)
def test_an_invalid_path_is_refused(
    client: BatchesClient, path: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LandingRefused, match=words):
        land(client, "msgbatch_01", path)
    assert not names_in(tmp_path)


def test_a_folder_at_the_path_is_refused(client: BatchesClient, tmp_path: Path) -> None:
    with pytest.raises(LandingRefused, match="is a folder"):
        land(client, ended_batch(client), f"file://{tmp_path}")


def test_a_folder_in_a_store_that_gives_folders_no_size_is_refused(client: BatchesClient) -> None:
    class LikeAzure(MemoryFileSystem):  # type: ignore[misc]
        cachable = False

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            found: dict[str, Any] = super().info(path, **options)
            return found | {"size": None} if found["type"] == "directory" else found

    batch_id = ended_batch(client)
    place = Location.parse(f"memory://{batch_id}")
    LikeAzure().pipe(f"/{batch_id}/other", b"")
    with pytest.raises(LandingRefused, match="is a folder"):
        land(client, batch_id, Location(LikeAzure(), place.path, place.uri))
    LikeAzure().rm(f"/{batch_id}", recursive=True)


def test_a_file_in_place_of_a_folder_is_refused(client: BatchesClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LandingRefused, match=r"looking at .*out.jsonl.* is not possible|writing .*out.jsonl"):
        land(client, ended_batch(client), f"file://{tmp_path}/file/out.jsonl")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verify": "maybe"}, "verify must be 'error' or 'warn', not 'maybe'"),
        ({"format": "csv"}, "format must be one of jsonl, parquet, not 'csv'"),
        ({"receipt": {"batch_id": "msgbatch_02", "ids_digest": "0" * 32}}, "the receipt is of msgbatch_02, not of"),
        ({"receipt": "many"}, "ids_digest is not 32 hex digits: 'many'"),
        ({"receipt": {}}, "ids_digest is not 32 hex digits"),
        ({"receipt": [{"batch_id": "msgbatch_01"}]}, "receipt must be that of one batch, or its ids digest, not list"),
        ({"timeout": float("inf")}, "timeout must be from 0 to 1,000,000,000 seconds, not inf"),
        ({"stall_timeout": float("nan")}, "stall_timeout must be from 0 to 1,000,000,000 seconds, not nan"),
        ({"store_timeout": -1.0}, "store_timeout must be from 0 to 1,000,000,000 seconds, not -1.0"),
        ({"progress_every": float("inf")}, "progress_every must be from 0 to 1,000,000,000 seconds, not inf"),
        ({"receipt": "0x" + "0" * 30}, "ids_digest is not 32 hex digits"),
        ({"receipt": "{'batch_id': 'msgbatch_01'}"}, "an XComArg does not"),
        ({"failed_path": "memory://bucket/out.jsonl"}, "failed_path is the results' own path"),
        ({"failed_path": "memory:///bucket/out.jsonl"}, "failed_path is the results' own path"),
        ({"failed_path": "memory://bucket/out.jsonl.manifest.json"}, "failed_path is the manifest's path"),
        ({"path": None}, "None is not a URI"),
        ({"path": "file://"}, "is not a URI|names a folder"),
    ],
)
def test_wrong_arguments_are_refused(client: BatchesClient, options: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        land(client, "msgbatch_01", **{"path": "memory://bucket/out.jsonl", **options})


def test_a_batch_id_that_is_not_text_is_refused(client: BatchesClient) -> None:
    with pytest.raises(InvalidRequest, match="5 is not a batch id"):
        land(client, 5, "memory://bucket/out.jsonl")  # type: ignore[arg-type]


@pytest.mark.parametrize("spelled", ["x/../out.jsonl", "./out.jsonl", "/out.jsonl", "link/out.jsonl"])
def test_the_results_path_is_refused_for_failures_in_any_spelling(
    client: BatchesClient, tmp_path: Path, spelled: str
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(LandingRefused, match="failed_path is the results' own path"):
        land(client, "msgbatch_01", f"file://{tmp_path}/out.jsonl", failed_path=f"file://{tmp_path}/{spelled}")


@pytest.mark.parametrize(
    ("suffix", "package", "cure"),
    [
        (".zst", "zstandard", r"pip install 'airflow-batches\[zstd\]'"),
        (".parquet", "pyarrow", r"pip install 'airflow-batches\[parquet\]'"),
    ],
)
def test_a_format_whose_package_is_missing_names_the_extra(
    client: BatchesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str, cure: str
) -> None:
    monkeypatch.delitem(sys.modules, "airflow_batches.landing.parquet", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LandingRefused, match=cure):
        land(client, ended_batch(client), f"file://{tmp_path}/out{suffix}")
    assert not names_in(tmp_path)


def test_the_manifest_has_times_and_speed(client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client)
    batch, before = client.get(batch_id), datetime.now(UTC)
    manifest = land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    assert manifest.schema_version == 1
    assert [manifest.batch_created_at, manifest.batch_ended_at] == [
        at and at.isoformat() for at in (batch.created_at, batch.ended_at)
    ]
    started, landed = map(datetime.fromisoformat, (manifest.started_at, manifest.landed_at))
    assert before <= started <= landed <= datetime.now(UTC)
    assert 0 < manifest.seconds <= (landed - started).total_seconds() + 0.1
    assert manifest.lines_per_second == pytest.approx(20 / manifest.seconds, rel=0.2)


def test_the_manifest_has_the_cost(client: BatchesClient, tmp_path: Path) -> None:
    model, words = "claude-haiku-5-5", "many words " * 50_000
    long = some_requests(1, model=model, messages=[{"role": "user", "content": words}])
    manifest = land(client, client.create(long + some_requests(1, prefix="s", model=model)).id, f"file://{tmp_path}/o")
    (usage,) = manifest.usage.values()
    short, longer = ModelUsage(answers=1), ModelUsage(answers=1)
    for line in (tmp_path / "o").read_bytes().splitlines():
        said = decode(line)
        assert said is not None
        assert said.result.message is not None
        tokens = said.result.message.usage
        assert tokens is not None
        target = longer if said.custom_id == "r-0" else short
        target.input_tokens, target.output_tokens = tokens.input_tokens or 0, tokens.output_tokens or 0
    assert longer.input_tokens > 100_000 > short.input_tokens
    assert usage.input_tokens == longer.input_tokens + short.input_tokens
    price = PriceList(datetime.fromisoformat(str(manifest.batch_created_at)))
    (name,) = manifest.usage
    assert manifest.cost_usd == price.cost({PriceRange(name): short, PriceRange(name, 1): longer})
    assert manifest.cost_usd.total is not None


def test_a_store_without_commit_gets_the_object_by_a_move(client: BatchesClient) -> None:
    batch_id = ended_batch(client)
    location = Location.parse(f"memory://{batch_id}/out.jsonl")
    manifest = land(client, batch_id, location)
    stored = location.read()
    assert stored is not None
    assert sorted(stored.splitlines()) == lines_of_the_api(client, batch_id)
    assert land(client, batch_id, location) == manifest
    assert location.beside(".manifest.json").version() is not None


def test_an_object_that_the_store_begins_too_late_is_removed(client: BatchesClient) -> None:
    awake, begun = Event(), Event()

    class Slow(MemoryFileSystem):  # type: ignore[misc]
        cachable = False

        def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            if "w" in mode:
                awake.wait(30)
            file = super().open(path, mode, **options)
            begun.set()
            return file

    batch_id = ended_batch(client)
    place = Location.parse(f"memory://{batch_id}/out.jsonl")
    with pytest.raises(LandingTimeout, match=r"the store of memory://.*/out\.jsonl did not answer in time"):
        land(client, batch_id, Location(Slow(), place.path, place.uri), timeout=1.0, store_timeout=0.2)
    awake.set()
    assert begun.wait(30)
    until = monotonic() + 30
    while MemoryFileSystem().find(batch_id) and monotonic() < until:
        sleep(0.01)
    assert MemoryFileSystem().find(batch_id) == []


def test_a_recorded_uri_holds_no_credentials() -> None:
    assert Location.parse("memory://user:secret@bucket/out.jsonl?token=secret").uri == "memory://bucket/out.jsonl"


@pytest.mark.parametrize("uri", ["nosuch://user:secret@host/out", "s3://user:secret@bucket/", "gs://u:secret@b/o"])
def test_a_refusal_holds_no_credentials_of_a_uri(client: BatchesClient, uri: str) -> None:
    with pytest.raises(LandingRefused) as caught:
        land(client, "msgbatch_01", uri)
    assert "secret" not in str(caught.value)


def test_a_question_mark_is_a_part_of_a_key() -> None:
    assert Location.parse("s3://bucket/a?b.jsonl").uri == "s3://bucket/a?b.jsonl"


@pytest.mark.parametrize(
    "uri", ["file:///tmp/a#b?c.jsonl", "memory://bucket/a#b.jsonl", "memory://container@account/o"]
)
def test_a_recorded_uri_still_names_the_object(uri: str) -> None:
    assert Location.parse(uri).uri == uri


@pytest.mark.parametrize(
    "place", ["file:///data/out.jsonl", "file://localhost/data/out.jsonl", "local:///data/out.jsonl"]
)
def test_all_forms_of_a_local_path_are_recorded_as_one_uri(place: str) -> None:
    assert Location.parse(place) == Location.parse(Path("/data/out.jsonl"))
    assert Location.parse(place).uri == "file:///data/out.jsonl"


def test_a_batch_of_another_workspace_is_not_found(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(workspaces={"sk-ant-other": "wrkspc_other"})
    with client_of(emulator) as client:
        batch_id = ended_batch(client)
    with BatchesClient("sk-ant-other", base_url=emulator.url) as other, pytest.raises(ApiError, match="404"):
        land(other, batch_id, f"file://{tmp_path}/out.jsonl", retry=QUICK)


def test_times_may_be_timedeltas(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(processing_time=timedelta(hours=1))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch_id = client.create(some_requests(2)).id
        emulator.clock.advance(3600)
        manifest = land(
            client,
            batch_id,
            tmp_path / "results.jsonl",
            timeout=timedelta(minutes=1),
            stall_timeout=timedelta(seconds=30),
        )
    assert manifest.lines == 2
