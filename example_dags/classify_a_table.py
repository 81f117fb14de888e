"""A folder of Parquet files in, the same rows with typed columns out."""

from __future__ import annotations

from typing import Literal

from airflow.sdk import Param, dag
from pydantic import BaseModel

from airflow_batches.operators import MessageBatchJobOperator


class Verdict(BaseModel):
    """What is asked about each review; the answers become columns of these types."""

    sentiment: Literal["positive", "negative", "neutral"]
    stars: Literal[1, 2, 3, 4, 5]
    product: str | None


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={
        "reviews": Param("s3://lake/reviews/", type="string", description="A file, a folder or a glob."),
        "path": Param("file:///tmp/airflow-batches", type="string", description="Where the answers go."),
    },
)
def classify_a_table() -> None:
    """Only the columns `id` and `text` are read. An answer that is no `Verdict` is asked for again."""
    MessageBatchJobOperator(
        task_id="classify",
        rows="{{ params.reviews }}",
        prompt="Classify this review: ${text}",
        key="id",
        output_type=Verdict,
        path="{{ params.path }}/{{ run_id }}",
        model="claude-haiku-4-5",
        defaults={"max_tokens": 200},
        canary=100,
        max_cost_usd=5,
        poll_interval=5,
    )


classify_a_table()
