"""A mapped submission whose list of items may be another one when the run is cleared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_batches.operators import MessageBatchSubmitOperator


@task
def items(path: str) -> list[list[dict[str, Any]]]:
    """A request for each prompt that the file names, all with the same id."""
    return [
        [{"custom_id": "r-0", "params": {"max_tokens": 10, "messages": [{"role": "user", "content": prompt}]}}]
        for prompt in json.loads(Path(path).read_text())
    ]


with DAG("items_that_move"):
    MessageBatchSubmitOperator.partial(
        task_id="submit", model="claude-haiku-4-5", wait_for_completion=False, settle_for=20
    ).expand(requests=items("{{ dag_run.conf['path'] }}"))
