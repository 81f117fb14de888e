"""The README's DAG, on the emulator whose batches are held: each run has the custom_ids of the run before."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, XComArg

from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator

with DAG("classify_reviews", schedule=None):
    submit = MessageBatchSubmitOperator(
        task_id="submit",
        conn_id="held",
        model="claude-haiku-4-5",
        requests=[
            {
                "custom_id": f"review-{number}",
                "params": {
                    "max_tokens": 10,
                    "system": "Answer with one word: positive, negative or neutral.",
                    "messages": [{"role": "user", "content": review}],
                },
            }
            for number, review in enumerate(["Never again.", "Quick and friendly!"])
        ],
        poll_interval=1,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    MessageBatchResultsOperator(
        task_id="land",
        conn_id="held",
        batch_id=submit.output,
        receipt=XComArg(submit, key="receipt"),
        path="{{ dag_run.conf['path'] }}/{{ run_id }}.jsonl",
    )
