"""Mapped items that changed places before their run was cleared, on a real Airflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.service import Service

pytestmark = pytest.mark.e2e
DAG = "items_that_move"


def batch_ids(airflow: PrivateAirflow, run_id: str, count: int) -> list[Any]:
    assert airflow.api.wait_for_run(DAG, run_id) == "success"
    return [airflow.api.xcom(DAG, run_id, "submit", map_index=index) for index in range(count)]


def test_items_with_the_same_ids_keep_their_batches_when_another_comes_before_them(
    airflow: PrivateAirflow, service: Service, tmp_path: Path
) -> None:
    with BatchesClient(api_key=service.api_key, base_url=service.url) as client:
        before = {batch.id for batch in client.list_all()}
        path = tmp_path / "items.json"
        path.write_text(json.dumps(["first", "second"]))
        airflow.api.wait_for_dag(DAG)
        run_id = airflow.api.trigger(DAG, {"path": str(path)})
        first, second = batch_ids(airflow, run_id, 2)
        path.write_text(json.dumps(["new", "first", "second"]))
        cleared = {"dag_run_id": run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        airflow.api.call("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", json=cleared)
        new, *moved = batch_ids(airflow, run_id, 3)
        assert moved == [first, second]
        assert {batch.id for batch in client.list_all()} - before == {new, first, second}
