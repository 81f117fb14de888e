"""A daily run over a table that grows: only new and changed rows are sent, the others keep their answers."""

from __future__ import annotations

from airflow.sdk import Param, Variable, dag, task

from airflow_batches.operators import MessageBatchJobOperator

LAST = "airflow_batches_example_last_folder"


@dag(
    schedule=None,  # "@daily"
    max_active_runs=1,
    tags=["airflow-batches"],
    params={
        "products": Param("s3://lake/products.csv", type="string", description="The table of today."),
        "path": Param("file:///tmp/airflow-batches", type="string", description="Where the answers go."),
    },
)
def pay_only_for_new_rows() -> None:
    """Take the answers of the last run for rows whose request is the same, then remember this run's folder."""
    translate = MessageBatchJobOperator(
        task_id="translate",
        rows="{{ params.products }}",
        prompt="Translate into French: ${text}",
        key="id",
        path="{{ params.path }}/{{ run_id }}",
        reuse="{{ var.value.get('" + LAST + "', '') }}",
        format="csv",
        model="claude-haiku-4-5",
        defaults={"max_tokens": 300},
        max_cost_usd=5,
        poll_interval=5,
    )

    @task
    def remember(path: str) -> None:
        Variable.set(LAST, path)

    translate >> remember("{{ params.path }}/{{ run_id }}")


pay_only_for_new_rows()
