"""DAGs of one task each: a wait that lasts, one whose time is soon over, and one that blocks its worker."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_batches.operators import MessageBatchSubmitOperator

REQUESTS = [
    {
        "custom_id": f"question-{number}",
        "params": {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]},
    }
    for number in range(3)
]

with DAG("waits_long"):
    MessageBatchSubmitOperator(task_id="batch", requests=REQUESTS, poll_interval=1)

with DAG("waits_short"):
    MessageBatchSubmitOperator(task_id="batch", requests=REQUESTS, poll_interval=1, timeout=20, cancel_on_timeout=True)

with DAG("waits_on_worker"):
    MessageBatchSubmitOperator(task_id="batch", requests=REQUESTS, poll_interval=1, deferrable=False)
