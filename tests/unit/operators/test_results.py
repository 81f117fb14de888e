"""The operator: a thin shell over `land`, with what Airflow adds."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.sdk import DAG, Asset, AssetAlias, Context, task_group
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_batches._compat import AirflowFailException, AirflowSkipException
from airflow_batches.api import BatchesClient, BatchesError, RetryPolicy
from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingMismatch, LandingTimeout, Manifest, land
from airflow_batches.operators import (
    MessageBatchPlanOperator,
    MessageBatchResultsOperator,
    MessageBatchSubmitOperator,
)
from airflow_batches.submission.encode import encode_requests
from tests.contexts import context
from tests.samples import some_requests
from tests.servers import s3_server

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def batch_id(emulator: Emulator) -> str:
    emulator.configure(errored_share=0.3)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(30)).id


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as made:
        yield made


class GivesXComs:
    """A task instance that only gives other tasks' XComs."""

    task_id, map_index = "land", -1

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def xcom_pull(self, *, key: str, **which: Any) -> Any:
        return self.given[key]


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's defaults, which would make a test slow."""
    assert function.__kwdefaults__ is not None
    return function.__kwdefaults__


def results(batch_id: Any, path: Any, **options: Any) -> MessageBatchResultsOperator:
    return MessageBatchResultsOperator(task_id="land", batch_id=batch_id, path=path, **options)


def test_the_task_returns_the_manifest_that_is_stored_beside_the_results(batch_id: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", ["list", "uri"])
def test_the_submitted_requests_name_what_is_missing_and_their_prompts_are_not_rendered(
    emulator: Emulator, batch_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(defaults_of(RetryPolicy.__init__), "base", 0.001)
    emulator.fault(Fault(endpoint="results", action="missing_line", line=0, times=None))
    emulator.configure(order="submitted")
    requests = some_requests(30, system="{{ not a template }} {% nor this %}")
    (tmp_path / "today.jsonl").write_bytes(b"".join(encode_requests(requests)))
    given = requests if kind == "list" else f"file://{tmp_path}/{{{{ run_id }}}}.jsonl"
    with DAG("d"):
        land = results(batch_id, f"file://{tmp_path}/out.jsonl", submitted_requests=given)
    land.render_template_fields({"run_id": "today"})
    with pytest.raises(LandingMismatch, match=r"1 missing \(r-0\)"):
        land.execute(context())


def test_every_outlet_asset_gets_the_numbers(batch_id: str, tmp_path: Path) -> None:
    asset, alias = Asset("reviews"), AssetAlias("somewhere")
    events = OutletEventAccessors()
    land = results(batch_id, f"file://{tmp_path}/out.jsonl", outlets=[asset, alias])
    manifest = land.execute(context(outlet_events=events))
    assert events[asset].extra == manifest
    (event,) = events[alias].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra) == (f"file://{tmp_path}/out.jsonl", manifest)


def test_a_retry_after_a_landing_gives_the_assets_the_same_numbers(batch_id: str, tmp_path: Path) -> None:
    asset, alias = Asset("reviews"), AssetAlias("somewhere")
    land = results(batch_id, f"file://{tmp_path}/out.jsonl", outlets=[asset, alias])
    first = land.execute(context(outlet_events=OutletEventAccessors()))
    events = OutletEventAccessors()
    land.execute(context(outlet_events=events))
    assert events[asset].extra == first
    assert [event.extra for event in events[alias].asset_alias_events] == [first]


def test_lineage_names_each_object_once(batch_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = get_hook_lineage_collector()
    reported: list[str] = []
    monkeypatch.setattr(collector, "add_output_asset", lambda context, uri: reported.append(uri))
    uris = [f"file://{tmp_path}/out.jsonl", f"file://{tmp_path}/failed.jsonl"]
    results(batch_id, uris[0], failed_path=uris[1]).execute(context())
    assert reported == uris


def test_progress_and_the_end_are_logged(
    emulator: Emulator,
    batch_id: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(defaults_of(land), "progress_every", 0.1)
    emulator.fault(Fault(endpoint="results", action="stall", seconds=1.0, after_bytes=100))
    results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    assert re.search(
        rf"{batch_id}: \d+ of 30 lines \(\d+%\), [\d.]+ MB at [\d.]+ MB/s", said := capsys.readouterr().out
    )
    assert f"{batch_id} landed at file://{tmp_path}/out.jsonl: 30 lines" in said


def test_ids_paths_and_connections_are_templates() -> None:
    fields = MessageBatchResultsOperator.template_fields
    where_and_what = {"batch_id", "path", "failed_path", "format", "receipt", "submitted_requests"}
    assert {*fields} == where_and_what | {"conn_id", "storage_conn_id"}
    task = results(**dict.fromkeys(fields, "{{ run_id }}"))
    task.render_template_fields({"run_id": "today"})
    assert {getattr(task, name) for name in fields} == {"today"}


def test_a_receipt_from_another_task_is_rendered_and_makes_that_task_upstream() -> None:
    with DAG("dag", schedule=None):
        submit = MessageBatchSubmitOperator(task_id="submit", requests="file:///requests.jsonl")
        output: Any = submit.output
        task = results(output, output["path"], failed_path=None, receipt=output["receipt"])
    given = {"return_value": "msgbatch_01", "path": "file:///out.jsonl", "receipt": {"ids_digest": "0" * 32}}
    assert task.upstream_task_ids == {"submit"}
    task.render_template_fields(Context(ti=GivesXComs(given)))  # type: ignore[typeddict-item]
    assert (task.batch_id, task.path, task.receipt) == (*given.values(),)


def test_it_may_be_mapped_over_receipts() -> None:
    receipt = {"batch_id": "msgbatch_01", "ids_digest": "0" * 32}
    with DAG("dag", schedule=None):
        mapped = MessageBatchResultsOperator.partial(task_id="land", timeout=60).expand_kwargs(
            [{"batch_id": "msgbatch_01", "path": "file:///out.jsonl", "receipt": receipt}]
        )
    task: Any = mapped.unmap({"batch_id": "msgbatch_01", "path": "file:///out.jsonl", "receipt": receipt})
    assert (task.batch_id, task.receipt, task.timeout) == ("msgbatch_01", receipt, 60.0)


def test_submitted_requests_may_be_a_dag_param_or_an_argument_of_a_mapped_group() -> None:
    with DAG("dag", schedule=None, params={"source": "file:///requests.jsonl"}) as dag:
        task = results("msgbatch_01", "file:///out.jsonl", submitted_requests=dag.param("source"))
        plan = MessageBatchPlanOperator(task_id="plan", requests="file:///requests.jsonl")

        @task_group
        def each(shard: Any) -> None:
            results("msgbatch_01", "file:///out.jsonl", submitted_requests=shard)

        each.expand(shard=plan.output)
    task.render_template_fields(Context(params={"source": "file:///requests.jsonl"}))
    assert task.submitted_requests == "file:///requests.jsonl"
    assert dag.get_task("each.land").upstream_task_ids == {"plan"}


def test_times_are_seconds_or_timedeltas_above_zero() -> None:
    task = results("msgbatch_01", "file:///out.jsonl", timeout=timedelta(minutes=2), stall_timeout=7)
    assert (task.timeout, task.stall_timeout) == (120.0, 7.0)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        results("msgbatch_01", "file:///out.jsonl", stall_timeout=timedelta(0))


def test_the_times_are_those_of_the_landing(emulator: Emulator, batch_id: str, tmp_path: Path) -> None:
    plan = emulator.fault(Fault(endpoint="results", action="stall", times=None, seconds=60))
    with pytest.raises(LandingTimeout):
        results(batch_id, f"file://{tmp_path}/out.jsonl", timeout=0.8, stall_timeout=0.1).execute(context())
    assert plan.struck > 1


def test_results_of_a_deleted_batch_fail_the_task_without_retry(
    emulator: Emulator, batch_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defaults_of(RetryPolicy.__init__), "base", 0.001)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        client.delete(batch_id)
    with pytest.raises(AirflowFailException, match=f"404 not_found_error: Message Batch {batch_id} not found"):
        results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    assert not [*tmp_path.iterdir()]


def test_landed_results_survive_the_deletion_of_their_batch(emulator: Emulator, batch_id: str, tmp_path: Path) -> None:
    first = results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        client.delete(batch_id)
    assert results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context()) == first


def test_a_store_is_reached_by_its_connection_which_no_recorded_uri_names(
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


def test_a_store_is_reached_for_the_submitted_requests_with_the_same_connection(
    emulator: Emulator, batch_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defaults_of(RetryPolicy.__init__), "base", 0.001)
    emulator.configure(order="submitted")
    emulator.fault(Fault(endpoint="results", action="missing_line", line=3, times=None))
    with s3_server() as server:
        (server.make_bucket("bucket") / "requests.jsonl").write_bytes(b"".join(encode_requests(some_requests(30))))
        monkeypatch.setenv("AIRFLOW_CONN_SOURCES", json.dumps(server.airflow_connection))
        with pytest.raises(LandingMismatch, match=r"1 missing \(r-3\)"):
            results(
                batch_id,
                f"file://{tmp_path}/out.jsonl",
                submitted_requests="s3://bucket/requests.jsonl",
                storage_conn_id="sources",
            ).execute(context())


def test_a_store_that_refuses_the_connection_fails_the_task_at_once(
    batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        server.make_bucket("bucket")
        monkeypatch.setenv("AIRFLOW_CONN_REFUSED", json.dumps({**server.airflow_connection, "password": "wrong"}))
        with pytest.raises(AirflowFailException, match=r"looking at s3://bucket/out\.jsonl\S* is not possible"):
            results(batch_id, "s3://refused@bucket/out.jsonl").execute(context())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("results.jsonl", "is not a URI"),
        ("gs://bucket/out.jsonl", r"pip install 'airflow-batches\[gcs\]'"),
        ("nosuch://bucket/results.jsonl", "nosuch"),
        ("file:///tmp/", "names a folder"),
    ],
)
def test_an_invalid_path_fails_the_task_at_once(batch_id: str, path: str, words: str) -> None:
    with pytest.raises(AirflowFailException, match=words):
        results(batch_id, path).execute(context())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_the_task_at_once(emulator: Emulator, batch_id: str, tmp_path: Path, status: int) -> None:
    emulator.fault(Fault(endpoint="get", action="status", status=status))
    with pytest.raises(AirflowFailException, match=str(status)):
        results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())


def another_batch(emulator: Emulator) -> str:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(2)).id


def test_another_tasks_results_at_the_path_fail_the_task_at_once(
    emulator: Emulator, batch_id: str, tmp_path: Path
) -> None:
    results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context("another"))
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(AirflowFailException, match=f"holds the results of {batch_id}"):
        results(another_batch(emulator), f"file://{tmp_path}/out.jsonl").execute(context("land"))
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_cleared_task_replaces_what_it_landed_of_an_older_batch(
    emulator: Emulator, batch_id: str, tmp_path: Path
) -> None:
    first = results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    assert first["landed_by"] == {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1}
    newer = another_batch(emulator)
    second = results(newer, f"file://{tmp_path}/out.jsonl").execute(context())
    assert (second["batch_id"], len((tmp_path / "out.jsonl").read_bytes().splitlines())) == (newer, 2)


def test_a_task_never_replaces_what_it_landed_of_a_newer_batch(
    emulator: Emulator, batch_id: str, tmp_path: Path
) -> None:
    newer = another_batch(emulator)
    results(newer, f"file://{tmp_path}/out.jsonl").execute(context())
    with pytest.raises(AirflowFailException, match=f"{newer}, which the same task landed and which is newer"):
        results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())


def test_a_task_does_not_replace_a_landing_made_without_a_task(
    emulator: Emulator, client: BatchesClient, batch_id: str, tmp_path: Path
) -> None:
    land(client, batch_id, f"file://{tmp_path}/out.jsonl")
    with pytest.raises(AirflowFailException, match=f"holds the results of {batch_id}"):
        results(another_batch(emulator), f"file://{tmp_path}/out.jsonl").execute(context())


def test_the_most_frequent_errors_are_in_the_manifest_and_the_log(
    batch_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = results(batch_id, f"file://{tmp_path}/out.jsonl").execute(context())
    (error,) = manifest["error_messages"]
    assert error["count"] == manifest["counts"]["errored"]
    assert f"{error['count']} x {error['type']}: {error['message']}" in capsys.readouterr().out + caplog.text


def test_above_max_failure_rate_the_task_fails_after_everything_has_landed(batch_id: str, tmp_path: Path) -> None:
    now = context()
    with pytest.raises(
        AirflowFailException, match=r"of the 30 results of .* did not succeed .* x .*error: .*landed at"
    ):
        results(batch_id, f"file://{tmp_path}/out.jsonl", max_failure_rate=0.05).execute(now)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert (manifest["state"], manifest["lines"]) == ("complete", 30)
    assert now["ti"].xcoms == {"return_value": manifest}  # type: ignore[attr-defined]


def test_below_max_failure_rate_or_without_one_the_task_succeeds(batch_id: str, tmp_path: Path) -> None:
    for rate in (None, 0.9):
        now = context()
        assert results(batch_id, f"file://{tmp_path}/out.jsonl", max_failure_rate=rate).execute(now)["lines"] == 30
        assert now["ti"].xcoms == {}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="share from 0 to 1"):
        results(batch_id, f"file://{tmp_path}/out.jsonl", max_failure_rate=5)


@pytest.mark.parametrize("missing", [None, "None", ""])
def test_without_a_batch_the_task_is_skipped(missing: str | None, tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="nothing to land"):
        results(missing, f"file://{tmp_path}/out.jsonl").execute(context())


def test_a_batch_that_has_not_ended_is_worth_a_retry(emulator: Emulator, tmp_path: Path) -> None:
    emulator.configure(processing_time=3600)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        running = client.create(some_requests(2)).id
    with pytest.raises(BatchesError, match="has not ended: it is in_progress"):
        results(running, f"file://{tmp_path}/out.jsonl").execute(context())
