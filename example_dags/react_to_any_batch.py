"""Land every batch of the workspace that ends, wherever it was submitted: an asset, its watcher, a DAG it schedules.

Paused at first: once unpaused, it lands whatever ends from then on.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, Param, dag, task

from airflow_batches.operators import MessageBatchResultsOperator
from airflow_batches.triggers import MessageBatchEndedTrigger

ended = Asset(
    "anthropic_batches_ended",
    watchers=[AssetWatcher(name="every_batch", trigger=MessageBatchEndedTrigger(poll_interval=60))],
)


@dag(
    schedule=[ended],
    is_paused_upon_creation=True,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
)
def react_to_any_batch() -> None:
    """One run for the batches that have ended since the last, a mapped task for each."""

    @task
    def ended_batches(
        triggering_asset_events: Any = None, params: dict[str, Any] | None = None
    ) -> list[dict[str, str]]:
        folder = (params or {})["path"]
        return [
            {"batch_id": batch["batch_id"], "path": f"{folder}/{batch['batch_id']}.jsonl"}
            for event in triggering_asset_events[ended]
            for batch in event.extra["payload"]["batches"]
        ]

    MessageBatchResultsOperator.partial(task_id="land").expand_kwargs(ended_batches())


react_to_any_batch()
