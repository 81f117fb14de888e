"""Shards, TaskFlow and resumed tries, whole DAGs through `dag.test()` against the emulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission.encode import encode_requests
from tests.integration.test_example_dags import EXAMPLES, results, run, states
from tests.samples import some_requests

pytestmark = pytest.mark.usefixtures("database", "connection")


def test_250_000_requests_run_in_three_shards(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    finished = run(dags, (EXAMPLES / "submit_shards.py").read_text(), path=f"file://{tmp_path}/out")
    assert set(states(finished).values()) == {"success"}
    assert sorted(batch["request_counts"]["succeeded"] for batch in emulator.batches()) == [50_000, 100_000, 100_000]
    landed = sorted((tmp_path / "out").rglob("results-?.jsonl"))
    assert [path.read_bytes().count(b"\n") for path in landed] == [100_000, 100_000, 50_000]


def test_a_function_that_yields_requests_is_a_batch(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    finished = run(dags, (EXAMPLES / "taskflow.py").read_text(), path=f"file://{tmp_path}/out")
    assert set(states(finished).values()) == {"success"}
    assert results(tmp_path / "out") == dict.fromkeys(["review-0", "review-1", "review-2"], "succeeded")
    assert emulator.counters["create"] == 1


SUBMIT = """
from airflow.sdk import DAG
from airflow_batches.operators import MessageBatchSubmitOperator

ONE = [{"custom_id": "a", "params": {"max_tokens": 5, "messages": [{"role": "user", "content": "{{ braces }}"}]}}]

with DAG("mapped_submit", schedule=None):
    MessageBatchSubmitOperator.partial(task_id="submit", model="claude-haiku-4-5", poll_interval=0.5).expand(
        requests=[ONE, [ONE[0] | {"custom_id": "b"}]]
    )
"""


def test_prompts_of_mapped_tasks_are_not_rendered(dags: Path, emulator: Emulator) -> None:
    finished = run(dags, SUBMIT)
    assert states(finished) == {"submit": "success"}
    assert emulator.counters["create"] == 2


EACH = """
import os
from airflow.sdk import DAG, Param, task_group
from airflow_batches.operators import (
    MessageBatchPlanOperator, MessageBatchResultsOperator, MessageBatchSubmitOperator,
)

with DAG("mapped_group", schedule=None, params={"folder": Param(type="string")}) as dag:
    plan = MessageBatchPlanOperator(
        task_id="plan", requests="{{ params.folder }}/requests.jsonl", max_requests=2, model="claude-haiku-4-5"
    )

    @task_group
    def each(shard):
        submit = MessageBatchSubmitOperator(
            task_id="submit", requests=shard, model="claude-haiku-4-5", poll_interval=0.5
        )
        path = "{{ params.folder }}/out-{{ ti.map_index }}.jsonl"
        MessageBatchResultsOperator(
            task_id="land", batch_id=submit.output, path=path, submitted_requests=shard, verify="warn"
        )

    each.expand(shard=plan.output)
"""


def test_a_mapped_group_submits_and_lands_each_shard_and_names_what_is_missing(
    dags: Path, tmp_path: Path, emulator: Emulator
) -> None:
    emulator.configure(order="submitted")
    emulator.fault(Fault(endpoint="results", action="missing_line", line=1, times=None))
    (tmp_path / "requests.jsonl").write_bytes(b"".join(encode_requests(some_requests(4))))
    finished = run(dags, EACH, folder=f"file://{tmp_path}")
    assert set(states(finished).values()) == {"success"}
    manifests = [json.loads((tmp_path / f"out-{number}.jsonl.manifest.json").read_bytes()) for number in range(2)]
    assert [manifest["mismatch"]["missing_ids"] for manifest in manifests] == [["r-1"], ["r-3"]]


KEPT = """
from airflow.sdk import DAG, task
from airflow_batches.operators import MessageBatchSubmitOperator
from tests.samples import some_requests

with DAG("mapped_model", schedule=None):

    @task
    def make():
        return some_requests(1, system="secret sauce")

    MessageBatchSubmitOperator.partial(task_id="submit", requests=make(), poll_interval=0.5).expand(
        model=["claude-haiku-4-5"]
    )
"""


def test_prompts_of_mapped_tasks_are_not_stored_as_rendered_fields(dags: Path, emulator: Emulator) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    finished = run(dags, KEPT)
    assert states(finished)["submit"] == "success"
    (ti,) = [ti for ti in finished.get_task_instances() if ti.task_id == "submit"]
    rendered = RenderedTaskInstanceFields.get_templated_fields(ti)
    assert rendered is not None
    assert rendered["requests"] == "1 requests"


def test_a_lost_answer_is_waited_for_without_a_worker_slot_and_adopted(
    dags: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_batches.triggers.message_batch.MessageBatchTrigger.QUIET_S", 0.1)
    emulator.configure(processing_time=2.0, retry_after=0)
    emulator.fault(Fault(endpoint="create", action="error_after_accept"))
    source = SUBMIT.replace('.expand(\n        requests=[ONE, [ONE[0] | {"custom_id": "b"}]]\n    )', "").replace(
        "MessageBatchSubmitOperator.partial(", "MessageBatchSubmitOperator(requests=ONE, "
    )
    source = source.replace("mapped_submit", "lost_answer")  # Airflow caches DAGs by name
    finished = run(dags, source)
    assert states(finished) == {"submit": "success"}
    (batch,) = emulator.batches()
    (ti,) = finished.get_task_instances()
    assert ti.xcom_pull(task_ids="submit", key="receipt")["batch_id"] == batch["id"]
    assert emulator.counters["create"] == 1
