"""The plan task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_batches._compat import AirflowFailException
from airflow_batches.emulator import Emulator
from airflow_batches.operators import MessageBatchPlanOperator, MessageBatchSubmitOperator
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
