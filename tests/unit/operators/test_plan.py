"""The plan task."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, ObjectStoragePath

from airflow_batches._compat import AirflowFailException, AirflowSkipException
from airflow_batches.emulator import Emulator
from airflow_batches.operators import MessageBatchPlanOperator, MessageBatchResultsOperator, MessageBatchSubmitOperator
from tests.contexts import StateStore, context
from tests.samples import some_requests
from tests.servers import s3_server
from tests.unit.submission.helpers import jsonl

pytestmark = pytest.mark.usefixtures("connection")


def plan(uri: str, **options: Any) -> list[dict[str, Any]]:
    return MessageBatchPlanOperator(task_id="plan", requests=uri, **options).execute(context())


def test_a_plan_is_small_json_that_the_submit_task_takes(emulator: Emulator, tmp_path: Path) -> None:
    shards = plan(jsonl(tmp_path / "r.jsonl", some_requests(10)), max_requests=4)
    assert [shard["requests"] for shard in shards] == [4, 4, 2]
    for shard in json.loads(json.dumps(shards)):
        ctx = context(task_state_store=StateStore())
        MessageBatchSubmitOperator(task_id="task", requests=shard).execute(ctx)
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_a_store_is_reached_by_its_connection_to_plan_and_to_submit(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_PLANNED", json.dumps(server.airflow_connection))
        jsonl(server.make_bucket("data") / "r.jsonl", some_requests(10))
        shards = plan("s3://data/r.jsonl", max_requests=4, storage_conn_id="planned")
        assert [shard["requests"] for shard in shards] == [4, 4, 2]
        for shard in shards:
            ctx = context(task_state_store=StateStore())
            MessageBatchSubmitOperator(task_id="task", requests=shard, storage_conn_id="planned").execute(ctx)
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_the_uri_is_templated(tmp_path: Path) -> None:
    with DAG("d"):
        task = MessageBatchPlanOperator(task_id="plan", requests="file:///data/{{ run_id }}.jsonl")
    task.render_template_fields({"run_id": "today"})
    assert task.requests == "file:///data/today.jsonl"


def test_the_default_model_counts(tmp_path: Path) -> None:
    requests = some_requests(2)
    for request in requests:
        del request["params"]["model"]
    uri = jsonl(tmp_path / "r.jsonl", requests)
    with pytest.raises(AirflowFailException, match="model: missing, and no default model is set"):
        plan(uri)
    assert len(plan(uri, model="m", max_bytes=250)) == 1
    assert len(plan(uri, model="a-model-with-a-much-longer-name", max_bytes=250)) == 2


def test_an_object_that_has_changed_since_it_was_planned_is_not_submitted(emulator: Emulator, tmp_path: Path) -> None:
    (shard,) = plan(jsonl(tmp_path / "r.jsonl", some_requests(3)))
    jsonl(tmp_path / "r.jsonl", some_requests(3, prefix="q"))
    with pytest.raises(AirflowFailException, match="other requests"):
        MessageBatchSubmitOperator(task_id="task", requests=shard).execute(context())
    assert emulator.batches() == []


@pytest.mark.parametrize("mapped", [False, True])
def test_no_requests_today_fails_the_plan_or_skips_it(tmp_path: Path, mapped: bool) -> None:
    uri = jsonl(tmp_path / "r.jsonl", [])
    with pytest.raises(AirflowFailException, match=r"r\.jsonl holds no requests; nothing was sent"):
        plan(uri)
    with pytest.raises(AirflowSkipException, match="holds no requests"):
        plan(uri, on_empty="skip", **({"shards_path": tmp_path / "shards"} if mapped else {}))
    with pytest.raises(ValueError, match="on_empty must be 'fail' or 'skip', not 'ignore'"):
        plan(uri, on_empty="ignore")


def test_requests_with_problems_are_not_an_empty_plan(tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match="max_tokens"):
        plan(jsonl(tmp_path / "r.jsonl", some_requests(1, max_tokens=0)), on_empty="skip")


def test_a_compressed_object_is_planned_into_shards_of_their_own(emulator: Emulator, tmp_path: Path) -> None:
    jsonl(tmp_path / "r.jsonl", some_requests(10))
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress((tmp_path / "r.jsonl").read_bytes()))
    with DAG("d"):
        task = MessageBatchPlanOperator(
            task_id="plan",
            requests=tmp_path / "{{ params.name }}.jsonl.gz",
            shards_path=ObjectStoragePath(f"file://{tmp_path}/{{{{ run_id }}}}"),
            max_requests=4,
        )
    task.render_template_fields({"run_id": "today", "params": {"name": "r"}})
    shards = task.execute(context())
    (tmp_path / "r.jsonl.gz").unlink()
    assert {Path(shard["uri"]).parent.name for shard in shards} == {"today"}
    for shard in shards:
        ctx = context(task_state_store=StateStore())
        MessageBatchSubmitOperator(task_id="task", requests=shard).execute(ctx)
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_a_store_is_reached_by_its_connection_when_shards_are_stored(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_CUT", json.dumps(server.airflow_connection))
        bucket = server.make_bucket("data")
        jsonl(bucket / "r.jsonl", some_requests(10))
        shards = plan("s3://data/r.jsonl", max_requests=4, storage_conn_id="cut", shards_path="s3://data/shards/")
        assert [shard["uri"].rpartition("/")[0] for shard in shards] == ["s3://data/shards"] * 3
        assert plan("s3://cut@data/r.jsonl", max_requests=4, shards_path="s3://cut@data/shards")[0]["requests"] == 4
        (bucket / "r.jsonl").unlink()
        for shard in shards:
            ctx = context(task_state_store=StateStore())
            MessageBatchSubmitOperator(task_id="task", requests=shard, storage_conn_id="cut").execute(ctx)
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [2, 4, 4]


def test_path_objects_are_taken_by_every_operator(emulator: Emulator, tmp_path: Path) -> None:
    """Also as templates, and as another task gives them."""
    uri = jsonl(tmp_path / "r.jsonl", some_requests(3))
    forms: list[Any] = [tmp_path / "r.jsonl", ObjectStoragePath(uri), uri]
    for number, requests in enumerate(forms):
        with DAG("d"):
            task = MessageBatchSubmitOperator(task_id="task", requests=requests)
            land = MessageBatchResultsOperator(
                task_id="land",
                batch_id="{{ params.batch_id }}",
                path=tmp_path / f"{number}-{{{{ run_id }}}}.jsonl",
                failed_path=ObjectStoragePath(f"file://{tmp_path}/{number}-failed.jsonl"),
            )
        task.render_template_fields({})
        batch_id = task.execute(context(task_state_store=StateStore()))
        land.render_template_fields({"params": {"batch_id": batch_id}, "run_id": "today"})
        manifest = land.execute(context())
        assert manifest["results"]["uri"] == f"file://{tmp_path}/{number}-today.jsonl"
    assert [batch["request_counts"]["succeeded"] for batch in emulator.batches()] == [3, 3, 3]
