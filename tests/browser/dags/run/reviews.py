"""A job and a landed batch, run for real against the emulator."""

from __future__ import annotations

import os

from airflow.sdk import DAG, XComArg

from airflow_batches.operators import (
    MessageBatchJobOperator,
    MessageBatchResultsOperator,
    MessageBatchSubmitOperator,
)

OUT = f"file://{os.environ['PAGE_TEST_OUT']}"
PROMPTS = [f"review {number}" for number in range(12)]

with DAG("reviews", dag_display_name="Reviews of July", schedule=None):
    MessageBatchJobOperator(
        task_id="answer",
        requests=PROMPTS,
        path=f"{OUT}/answers",
        model="claude-haiku-4-5",
        defaults={"max_tokens": 50},
        canary=2,
        max_requests=5,
        poll_interval=0.3,
        max_failure_rate=None,
        deferrable=False,
    )
    submit = MessageBatchSubmitOperator(
        task_id="submit",
        model="claude-haiku-4-5",
        requests=[
            {"custom_id": f"r-{n}", "params": {"max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}}
            for n, prompt in enumerate(PROMPTS)
        ],
        poll_interval=0.3,
        deferrable=False,
        max_failure_rate=None,
    )
    MessageBatchResultsOperator(
        task_id="land",
        batch_id=submit.output,
        receipt=XComArg(submit, key="receipt"),
        path=f"{OUT}/landed.jsonl",
    )
