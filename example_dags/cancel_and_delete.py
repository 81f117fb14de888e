"""A batch that is called off: canceled, awaited, deleted with all its lines."""

from __future__ import annotations

from airflow.sdk import DAG, chain

from airflow_batches.operators import (
    MessageBatchCancelOperator,
    MessageBatchDeleteOperator,
    MessageBatchSubmitOperator,
)
from airflow_batches.sensors import MessageBatchSensor

with DAG("cancel_and_delete", schedule=None, tags=["airflow-batches"]):
    submit = MessageBatchSubmitOperator(
        task_id="submit",
        model="claude-haiku-4-5",
        wait_for_completion=False,
        requests=[
            {
                "custom_id": f"joke-{number}",
                "params": {"max_tokens": 100, "messages": [{"role": "user", "content": "Tell me a joke."}]},
            }
            for number in range(10)
        ],
    )
    cancel = MessageBatchCancelOperator(task_id="cancel", batch_id=submit.output)
    # A batch that was canceled whole skips the sensor; deleting is right all the same. Canceled requests count as
    # failed ones, so any share of them is accepted.
    ended = MessageBatchSensor(task_id="ended", batch_id=submit.output, poke_interval=5, max_failure_rate=None)
    delete = MessageBatchDeleteOperator(task_id="delete", batch_id=submit.output, trigger_rule="none_failed")
    chain(cancel, ended, delete)
