"""Any number of prompts, one task, one folder of answers, within a budget."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.sdk import Param, dag

from airflow_batches.operators import MessageBatchJobOperator


def prompts() -> Iterator[str]:
    """Yield the prompts; each becomes a request."""
    for city in ("Lima", "Oslo", "Cairo", "Quito", "Seoul", "Tunis", "Riga", "Accra"):
        yield f"Describe {city} in one sentence."


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the answers go.")},
)
def answer_in_a_folder() -> None:
    """Send two requests first; then the others, if these were answered; fail before it costs more than 5 USD."""
    MessageBatchJobOperator(
        task_id="answer",
        requests=prompts,
        path="{{ params.path }}/{{ run_id }}",
        model="claude-haiku-4-5",
        defaults={"max_tokens": 200},
        canary=2,
        max_requests=3,
        max_cost_usd=5,
        poll_interval=5,
    )


answer_in_a_folder()
