"""Fill the tables of the Airflow that the environment names: `python -m tests.browser.seed DAGS CROWD`.

| DAG         | rows                                                                          |
|-------------|-------------------------------------------------------------------------------|
| `reviews`   | a job, and a batch that is landed, run for real against an emulator           |
| `under_way` | a job in its second round, and a batch that was created 23 hours ago          |
| `hostile`   | a failed job; markup in each text                                             |
| `crowd`     | as many ended batches as wanted, of the last five days, a minute apart or more |
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from airflow_batches.emulator import Emulator, Rule
from tests.airflows import run_the_dag_in, store_dags_in
from tests.browser.dags.inserted.dags import HOSTILE

NOW: Final = datetime.now(UTC)
Row = tuple[str, str, str, str, datetime, Mapping[str, Any]]
"""DAG, task, operator, state, start, XComs."""

PROGRESS: Final = {
    "round": 2,
    "batches": 7,
    "landed": 4,
    "counts": {"succeeded": 399_998, "errored": 2},
    "under_way": 250_000,
    "unsent": 50_002,
    "spent_usd": "12.3456",
    "projected_usd": "20.5",
    "canary": False,
    "oldest_batch_at": (NOW - timedelta(hours=20)).isoformat(),
}
ESTIMATE: Final = {"input_tokens": 7_000_000, "floor_usd": "3.5", "ceiling_usd": "35"}
MANIFEST_OF_MARKUP: Final = {
    "counts": {"succeeded": 1, HOSTILE: 3},
    "batches": [{"id": HOSTILE, "canary": True}],
    "rounds": [{}],
    "usage": {HOSTILE: {"input_tokens": 5, "output_tokens": "many"}},
    "cost_usd": "1.5",
    "results": [{"uri": "javascript:parent.hurt=1"}],
    "failed": {"uri": HOSTILE},
    "error_types": {HOSTILE: 3},
}


def run_reviews(dags: Path) -> None:
    """Run the DAG `reviews` in this process, against an emulator."""
    rule = Rule(where=lambda request: "review 3" in str(request), outcome="errored", times_per_id=1)
    with Emulator(rules=[rule], processing_time=0.3, retry_after=0) as emulator:
        fields = {"conn_type": "anthropicbatches", "password": emulator.api_key, "host": emulator.url}
        os.environ["AIRFLOW_CONN_ANTHROPIC_DEFAULT"] = json.dumps(fields)
        run_the_dag_in(dags / "run", {})


def receipt(batch_id: str, created: datetime, requests: int = 1_000) -> dict[str, Any]:
    """Return a receipt as the submit operator pushes it."""
    digests = {"bytes": 1, "sha256": "", "ids_digest": "", "fingerprint": ""}
    created_at = created.isoformat()
    return {"batch_id": batch_id, "requests": requests, "source": "requests", "created_at": created_at, **digests}


def rows(crowd: int) -> Iterator[Row]:
    """Yield the rows that are written, not run."""
    job, submit = "MessageBatchJobOperator", "MessageBatchSubmitOperator"
    old = NOW - timedelta(hours=23)
    yield "under_way", "answer", job, "deferred", old, {"progress": PROGRESS, "estimate": ESTIMATE}
    yield "under_way", "submit", submit, "deferred", old, {"receipt": receipt("msgbatch_old", old)}
    yield "hostile", "answer", job, "failed", NOW - timedelta(hours=2), {"return_value": MANIFEST_OF_MARKUP}
    for number in range(crowd):
        start = NOW - timedelta(hours=3, minutes=number)
        state = "failed" if number % 50 == 7 else "success"
        yield "crowd", "submit", submit, state, start, {"receipt": receipt(f"msgbatch_{number:05}", start)}


def insert(dags: Path, crowd: int) -> None:
    """Write runs, task instances and XComs."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.settings import engine
    from sqlalchemy import insert, select

    store_dags_in(dags / "inserted")
    assert engine is not None
    with engine.begin() as connection:
        versions = dict(connection.execute(select(DagVersion.dag_id, DagVersion.id)).all())
        runs, instances, xcoms = [], [], []
        for number, (dag, task, operator, state, start, values) in enumerate(rows(crowd), 10_000):
            run = f"manual__{start:%Y-%m-%dT%H:%M:%S}+00:00_{number}"
            end = None if state == "deferred" else start + timedelta(minutes=40)
            place = {"dag_id": dag, "run_id": run}
            times = {"start_date": start, "end_date": end}
            runs.append({"id": number, "run_type": "manual", "state": "running", "run_after": start, **place, **times})
            instances.append(
                {
                    **place,
                    **times,
                    "task_id": task,
                    "task_display_name": HOSTILE if dag == "hostile" else task,
                    "operator": operator,
                    "state": state,
                    "dag_version_id": versions[dag],
                    "pool": "default_pool",
                    "try_number": 1,
                }
            )
            for key, value in values.items():
                stored = json.dumps(value) if number % 2 else value  # Airflow stores both: a worker's is not a text
                xcoms.append({"dag_run_id": number, "task_id": task, "key": key, "value": stored, **place})
        for model, written in ((DagRun, runs), (TaskInstance, instances), (XComModel, xcoms)):
            connection.execute(insert(model.__table__), written)


if __name__ == "__main__":
    run_reviews(Path(sys.argv[1]))
    insert(Path(sys.argv[1]), int(sys.argv[2]))
