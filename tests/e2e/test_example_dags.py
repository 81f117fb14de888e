"""The example DAGs on a real Airflow: scheduler, workers, triggerer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from rich.console import Console

from airflow_batches.api import ApiError, BatchesClient
from airflow_batches.demo.example import ExampleRun
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.report import RESULTS_SHOWN
from airflow_batches.demo.screen import Screen
from airflow_batches.demo.service import Service
from airflow_batches.demo.stages import AGAIN, CANARY, OTHERS
from tests.e2e.conftest import SHARD_SIZE

pytestmark = pytest.mark.e2e


def started(airflow: PrivateAirflow, dag_id: str, folder: Path, **params: Any) -> str:
    airflow.api.wait_for_dag(dag_id)
    return airflow.api.trigger(dag_id, {"path": f"file://{folder}", **params})


def control(service: Service, method: str, path: str, **values: Any) -> Any:
    answer = requests.request(method, f"{service.url}/_emulator/{path}", json=values, timeout=10)
    answer.raise_for_status()
    return answer.json()


def test_requests_built_by_a_task_come_back_through_a_sensor(airflow: PrivateAirflow, tmp_path: Path) -> None:
    run_id = started(airflow, "build_wait_land", tmp_path)
    assert airflow.api.wait_for_run("build_wait_land", run_id) == "success"
    lines = (tmp_path / run_id / "reviews.jsonl").read_text().splitlines()
    assert {json.loads(line)["custom_id"] for line in lines} == {"review-0", "review-1", "review-2"}


def test_no_more_shards_are_under_way_than_the_queue_of_the_api_takes(
    airflow: PrivateAirflow, service: Service, tmp_path: Path
) -> None:
    before = control(service, "GET", "counters")["calls"]["create"]
    control(service, "PATCH", "settings", queue_limit=2 * SHARD_SIZE)
    try:
        run_id = started(airflow, "submit_shards", tmp_path, rows=5 * SHARD_SIZE // 2)
        assert airflow.api.wait_for_run("submit_shards", run_id) == "success"
    finally:
        control(service, "PATCH", "settings", queue_limit=None)
    landed = sorted((tmp_path / run_id).glob("results-?.jsonl"))
    assert [path.read_bytes().count(b"\n") for path in landed] == [SHARD_SIZE, SHARD_SIZE, SHARD_SIZE // 2]
    # A third shard sent while two are under way would have been refused (429) and sent again.
    assert control(service, "GET", "counters")["calls"]["create"] - before == 3


def test_a_whole_job_waits_deferred_and_sends_again_what_failed(
    airflow: PrivateAirflow, service: Service, tmp_path: Path
) -> None:
    screen = Screen(Console(file=io.StringIO()))
    with screen, BatchesClient(api_key=service.api_key, base_url=service.url) as client:
        landed = ExampleRun(client, screen, service, tmp_path).to_its_end(airflow)
    stages = [step.title for step in screen.steps]
    assert [title for title in stages if title in (CANARY, OTHERS, AGAIN)] == [CANARY, OTHERS, AGAIN]
    (job,) = tmp_path.iterdir()
    manifest = airflow.api.xcom("answer_in_a_folder", job.name, "answer")
    assert manifest == landed.manifest.to_dict() == json.loads((job / "manifest.json").read_bytes())
    assert manifest["counts"] == {"succeeded": 8}
    assert [each["counts"].get("errored", 0) for each in manifest["rounds"]] == [1, 0]
    lines = [line for part in sorted(job.glob("results-*.jsonl")) for line in part.read_bytes().splitlines(True)]
    assert sorted(json.loads(line)["custom_id"][-1] for line in lines) == [*"01234567"]
    assert landed.first_lines == lines[:RESULTS_SHOWN]
    log = airflow.api.log("answer_in_a_folder", job.name, "answer", 1)
    for event in ("Planned 8 requests", "Landed the canary", "Waiting", "Round 2: 1 request", "Published 8"):
        assert event in log


def test_a_batch_is_called_off_and_deleted(airflow: PrivateAirflow, service: Service, tmp_path: Path) -> None:
    run_id = started(airflow, "cancel_and_delete", tmp_path)
    assert airflow.api.wait_for_run("cancel_and_delete", run_id) == "success"
    batch_id = airflow.api.xcom("cancel_and_delete", run_id, "submit")
    with BatchesClient(api_key=service.api_key, base_url=service.url) as client, pytest.raises(ApiError, match="404"):
        client.get(batch_id)


def test_the_shortest_dag_of_parts_lands_every_result(airflow: PrivateAirflow, tmp_path: Path) -> None:
    run_id = started(airflow, "submit_and_land", tmp_path)
    assert airflow.api.wait_for_run("submit_and_land", run_id) == "success"
    manifest = airflow.api.xcom("submit_and_land", run_id, "land")
    (results,) = tmp_path.glob("*.jsonl")
    assert manifest["results"]["uri"] == f"file://{results}"
    assert len(results.read_bytes().splitlines()) == manifest["lines"] == 8
