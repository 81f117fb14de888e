"""Requests built by a task, a sensor that waits on its own, ids proved by the receipt, failed lines landed apart."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, XComArg, dag, task

from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator
from airflow_batches.sensors import MessageBatchSensor


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
)
def build_wait_land() -> None:
    """One batch, four tasks: each can be retried or cleared on its own."""

    @task
    def build() -> list[dict[str, Any]]:
        reviews = ["Never again.", "Quick, friendly, would return!", "It was {{ fine }}."]
        return [
            {
                "custom_id": f"review-{number}",
                "params": {
                    "max_tokens": 10,
                    "system": "Answer with one word: positive, negative or neutral.",
                    "messages": [{"role": "user", "content": review}],
                },
            }
            for number, review in enumerate(reviews)
        ]

    submit = MessageBatchSubmitOperator(
        task_id="submit", requests=build(), model="claude-haiku-4-5", wait_for_completion=False
    )
    ended = MessageBatchSensor(task_id="ended", batch_id=submit.output, poke_interval=5, max_failure_rate=0.5)
    MessageBatchResultsOperator(
        task_id="land",
        batch_id=ended.output,
        receipt=XComArg(submit, key="receipt"),
        path="{{ params.path }}/{{ run_id }}/reviews.jsonl",
        failed_path="{{ params.path }}/{{ run_id }}/failed.jsonl",
    )


build_wait_land()
