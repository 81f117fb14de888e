"""250,000 requests: cut into shards that one batch each can take, submitted side by side, landed one object each.

The API counts the requests that wait in its queue (200,000 in the smallest tier), so no more than two shards of
100,000 are under way at a time: `max_active_tis_per_dag` counts a task that waits without a worker slot, too (in
Airflow 3.1 it does not; there, use a pool that includes deferred tasks).
"""

from __future__ import annotations

import json

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_batches.operators import (
    MessageBatchPlanOperator,
    MessageBatchResultsOperator,
    MessageBatchSubmitOperator,
)

MODEL = "claude-haiku-4-5"


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={
        "path": Param("file:///tmp/airflow-batches", type="string", description="Where requests and results lie."),
        "rows": Param(250_000, type="integer", minimum=1),
    },
)
def submit_shards() -> None:
    """Rows to JSONL, JSONL to shards, each shard to a batch, each batch to an object."""

    @task
    def write_requests(folder: str, rows: str) -> str:
        def line(row: int) -> str:
            message = {"role": "user", "content": f"Is {row} a prime number? Answer yes or no."}
            return json.dumps({"custom_id": f"row-{row}", "params": {"max_tokens": 5, "messages": [message]}}) + "\n"

        target = ObjectStoragePath(folder) / "requests.jsonl"
        if target.protocol == "file":
            target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wt") as file:
            for start in range(0, int(rows), 10_000):
                file.write("".join(map(line, range(start, min(start + 10_000, int(rows))))))
        return str(target)

    plan = MessageBatchPlanOperator(
        task_id="plan",
        requests=write_requests("{{ params.path }}/{{ run_id }}", "{{ params.rows }}"),
        model=MODEL,
        max_requests=100_000,
    )
    submit = MessageBatchSubmitOperator.partial(
        task_id="submit", model=MODEL, poll_interval=5, max_active_tis_per_dag=2
    ).expand(requests=plan.output)
    MessageBatchResultsOperator.partial(
        task_id="land", path="{{ params.path }}/{{ run_id }}/results-{{ ti.map_index }}.jsonl"
    ).expand(batch_id=submit.output)


submit_shards()
