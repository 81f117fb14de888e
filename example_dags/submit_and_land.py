"""The shortest useful DAG: submit a batch, wait without a worker slot, land its results."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator

CITIES = ["Lima", "Oslo", "Cairo", "Quito", "Seoul", "Tunis", "Riga", "Accra"]

with DAG(
    "submit_and_land",
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
):
    submit = MessageBatchSubmitOperator(
        task_id="submit",
        model="claude-haiku-4-5",
        poll_interval=5,
        # One of so few is more than the 5 % that may fail by default.
        max_failure_rate=0.5,
        requests=[
            {
                "custom_id": city.lower(),
                "params": {
                    "max_tokens": 100,
                    "messages": [{"role": "user", "content": f"In one sentence: what is {city} known for?"}],
                },
            }
            for city in CITIES
        ],
    )

    MessageBatchResultsOperator(
        task_id="land",
        batch_id=submit.output,
        path="{{ params.path }}/{{ run_id }}.jsonl",
    )
