"""Three jobs of three batches each, on the emulator whose batches are held."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_batches.operators import MessageBatchJobOperator

with DAG("held_jobs", schedule=None):
    for name in ("marked_failed", "marked_success", "cleared"):
        MessageBatchJobOperator(
            task_id=name,
            conn_id="held",
            requests=[f"prompt {number}" for number in range(9)],
            path="{{ dag_run.conf['path'] }}/" + name,
            model="claude-haiku-4-5",
            defaults={"max_tokens": 10},
            max_requests=3,
            poll_interval=1,
        )
