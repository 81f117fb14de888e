"""A batch that failed beyond what is accepted fails its task, and its paid answers land all the same.

`submit` fails when more than 5 % of the requests failed. `land` runs however `submit` ended and takes the id that was
pushed as soon as the batch existed; where nothing was submitted, it is skipped. `use` needs the success of both, so the
run fails where `submit` failed.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, XComArg, task

from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator


@task
def use(manifest: Any) -> str:
    """Where the answers are, for whatever comes next."""
    return f"{manifest['lines']} lines at {manifest['results']['uri']}"


WORDS = ["river", "lantern", "harbour", "meadow", "winter", "copper", "orchard", "signal"]

with DAG(
    "land_what_was_paid",
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
):
    submit = MessageBatchSubmitOperator(
        task_id="submit",
        model="claude-haiku-4-5",
        poll_interval=5,
        max_failure_rate=0.05,
        requests=[
            {
                "custom_id": word,
                "params": {"max_tokens": 50, "messages": [{"role": "user", "content": f"Define: {word}"}]},
            }
            for word in WORDS
        ],
    )
    land = MessageBatchResultsOperator(
        task_id="land",
        batch_id=XComArg(submit, key="batch_id"),
        trigger_rule="all_done",
        path="{{ params.path }}/{{ run_id }}/words.jsonl",
        failed_path="{{ params.path }}/{{ run_id }}/failed.jsonl",
    )
    submit >> use(land.output)
