"""Requests from a function: `@task.message_batch` submits what it yields, written to local disk as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_batches.operators import MessageBatchResultsOperator


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
)
def taskflow() -> None:
    """Rows from a task, a batch from a function, results in an object."""

    @task
    def rows() -> list[str]:
        return ["Never again.", "Quick, friendly, would return!", "It was {{ fine }}."]

    @task.message_batch(model="claude-haiku-4-5", poll_interval=5)
    def classify(reviews: list[str]) -> Iterator[dict[str, Any]]:
        for number, review in enumerate(reviews):
            yield {
                "custom_id": f"review-{number}",
                "params": {
                    "max_tokens": 10,
                    "system": "Answer with one word: positive, negative or neutral.",
                    "messages": [{"role": "user", "content": review}],
                },
            }

    MessageBatchResultsOperator(
        task_id="land",
        batch_id=classify(rows()),  # type: ignore[arg-type]  # as for any task, Airflow passes the value
        path="{{ params.path }}/{{ run_id }}/reviews.jsonl",
    )


taskflow()
