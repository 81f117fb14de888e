"""The operator: a thin shell over `land`, with what Airflow adds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_batches._compat import AirflowFailException
from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch, Manifest
from airflow_batches.operators import MessageBatchResultsOperator
from tests.contexts import context
from tests.samples import some_requests
from tests.servers import s3_server

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def batch_id(emulator: Emulator) -> str:
    emulator.configure(errored_share=0.3)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(30)).id


def results(batch_id: str, path: str, **options: Any) -> MessageBatchResultsOperator:
    return MessageBatchResultsOperator(task_id="land", batch_id=batch_id, path=path, **options)


def test_the_manifest_is_what_the_task_returns_and_stands_beside_the_results(batch_id: str, tmp_path: Path) -> None:
    returned = results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    assert returned == json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert returned["lines"] == len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 30
    assert Manifest.from_dict(returned).uri == f"file://{tmp_path}/out.jsonl"


def test_a_retry_of_a_task_that_has_landed_returns_the_same_manifest(
    emulator: Emulator, batch_id: str, tmp_path: Path
) -> None:
    land = results(batch_id, f"file://{tmp_path}/out.jsonl", failed_path=f"file://{tmp_path}/failed.jsonl")
    first = land.execute(context())
    assert land.execute(context()) == first
    assert emulator.counters["results"] == 1


def test_the_receipt_may_be_an_xcom_or_just_its_digest(batch_id: str, tmp_path: Path) -> None:
    digest = ids_digest(f"r-{number}" for number in range(30))
    for receipt in ({"batch_id": batch_id, "requests": 30, "ids_digest": digest}, digest):
        manifest = results(batch_id, f"file://{tmp_path}/o.jsonl", receipt=receipt, overwrite=True).execute(context())
        assert manifest["ids_digest"] == digest
    wrong = results(batch_id, f"file://{tmp_path}/other.jsonl", receipt=ids_digest(["r-0"]))
    with pytest.raises(LandingMismatch, match="the custom_ids are not those that were sent"):
        wrong.execute(context())


def test_every_outlet_asset_gets_the_numbers(batch_id: str, tmp_path: Path) -> None:
    asset, alias = Asset("reviews"), AssetAlias("somewhere")
    events = OutletEventAccessors()
    land = results(batch_id, f"file://{tmp_path}/out.jsonl", outlets=[asset, alias])
    manifest = land.execute(context(outlet_events=events))
    assert events[asset].extra == manifest
    (event,) = events[alias].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra) == (f"file://{tmp_path}/out.jsonl", manifest)


def test_lineage_names_each_object_once(batch_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = get_hook_lineage_collector()
    reported: list[str] = []
    monkeypatch.setattr(collector, "add_output_asset", lambda context, uri: reported.append(uri))
    uris = [f"file://{tmp_path}/out.jsonl", f"file://{tmp_path}/failed.jsonl"]
    results(batch_id, uris[0], failed_path=uris[1]).execute(context())
    assert reported == uris


def test_progress_is_logged(batch_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    assert f"{batch_id} landed at file://{tmp_path}/out.jsonl: 30 lines" in caplog.text


def test_a_store_is_reached_by_its_connection_which_no_uri_tells(
    batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        bucket = server.make_bucket("bucket")
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(server.airflow_connection))
        failed = {"failed_path": "s3://bucket/failed.jsonl", "storage_conn_id": "store"}
        manifest = results(batch_id, "s3://store@bucket/deep/out.jsonl", **failed).execute(context())
        assert manifest["results"]["uri"] == "s3://bucket/deep/out.jsonl"
        assert manifest["failed"]["uri"] == "s3://bucket/failed.jsonl"
        assert json.loads((bucket / "deep/out.jsonl.manifest.json").read_bytes()) == manifest
        assert "store" not in json.dumps(manifest)


def test_a_store_that_refuses_the_connection_fails_the_task_at_once(
    batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        server.make_bucket("bucket")
        monkeypatch.setenv("AIRFLOW_CONN_REFUSED", json.dumps({**server.airflow_connection, "password": "wrong"}))
        with pytest.raises(AirflowFailException, match=r"looking at s3://bucket/out\.jsonl is not possible"):
            results(batch_id, "s3://refused@bucket/out.jsonl").execute(context())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("results.jsonl", "is not a URI"),
        ("nosuch://bucket/results.jsonl", "nosuch"),
        ("file:///tmp/", "names a folder"),
    ],
)
def test_a_path_that_cannot_be_fails_the_task_at_once(batch_id: str, path: str, words: str) -> None:
    with pytest.raises(AirflowFailException, match=words):
        results(batch_id, path).execute(context())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_the_task_at_once(emulator: Emulator, batch_id: str, tmp_path: Path, status: int) -> None:
    emulator.fault(Fault(endpoint="get", action="status", status=status))
    with pytest.raises(AirflowFailException, match=str(status)):
        results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())


def test_another_batchs_results_at_the_path_fail_the_task_at_once(
    emulator: Emulator, batch_id: str, tmp_path: Path
) -> None:
    results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    before = (tmp_path / "out.jsonl").read_bytes()
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        other = client.create(some_requests(2)).id
    with pytest.raises(AirflowFailException, match=f"holds the results of {batch_id}"):
        results(other, f"file://{tmp_path}/out.jsonl").execute(context())
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_batch_that_goes_on_may_be_retried(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(processing_time=3600)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        running = client.create(some_requests(2)).id
    with pytest.raises(BatchesError, match="has not ended: it is in_progress"):
        results(running, f"file://{tmp_path}/out.jsonl").execute(context())
