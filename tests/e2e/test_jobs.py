"""A person ends or clears the task of a job that waits deferred: what becomes of its batches."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.emulator import Emulator
from tests.e2e.test_kill_and_handover import until

pytestmark = pytest.mark.e2e

DAG_ID = "held_jobs"
FAILED, SUCCESS, CLEARED = "marked_failed", "marked_success", "cleared"


@dataclass
class Run:
    """A run of the DAG, whose jobs have a folder each."""

    airflow: PrivateAirflow
    emulator: Emulator
    run_id: str
    folder: Path

    def task(self, name: str) -> dict[str, Any]:
        found = self.airflow.api.task_instances(DAG_ID, self.run_id)
        return next(instance for instance in found if instance["task_id"] == name)

    def batches(self, name: str) -> list[dict[str, Any]]:
        """The batches in the job's ledger, as the API has them."""
        ledger = json.loads((self.folder / name / "_job/ledger.json").read_bytes())
        ids = {batch["id"] for batch in ledger["batches"]}
        return [batch for batch in self.emulator.batches() if batch["id"] in ids]

    def canceled(self, name: str) -> int:
        return sum(batch["cancel_initiated_at"] is not None for batch in self.batches(name))

    def answers(self, name: str) -> Counter[str]:
        parts = (self.folder / name).glob("results-*.jsonl")
        return Counter(json.loads(line)["custom_id"] for part in parts for line in part.read_text().splitlines())

    def until_deferred(self, name: str, try_number: int = 1) -> None:
        """Until the trigger of this try polls."""

        def waits() -> bool:
            task = self.task(name)
            trigger = task["trigger"] or {}
            return bool(task["try_number"] == try_number and task["state"] == "deferred" and trigger["triggerer_id"])

        until(waits, timeout=240)
        before = self._polls()
        until(lambda: self._polls() > before + 2)

    def _polls(self) -> int:
        return self.emulator.counters["get"] + self.emulator.counters["list"]

    def mark(self, name: str, state: str) -> None:
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{name}"
        self.airflow.api.call("PATCH", path, json={"new_state": state})

    def clear(self, name: str) -> None:
        body = {
            "dry_run": False, "dag_run_id": self.run_id, "task_ids": [name], "only_failed": False,
            "reset_dag_runs": True,
        }  # fmt: skip
        self.airflow.api.call("POST", f"/api/v2/dags/{DAG_ID}/clearTaskInstances", json=body)


@pytest.fixture
def run(airflow: PrivateAirflow, held: Emulator, tmp_path: Path) -> Run:
    airflow.api.wait_for_dag(DAG_ID)
    begun = Run(airflow, held, airflow.api.trigger(DAG_ID, {"path": f"file://{tmp_path}"}), tmp_path)
    for name in (FAILED, SUCCESS, CLEARED):
        begun.until_deferred(name)
    return begun


def test_batches_are_canceled_only_if_the_task_is_over_and_a_clear_sends_nothing_twice(run: Run) -> None:
    creates = run.emulator.counters["create"]
    run.mark(FAILED, "failed")
    run.mark(SUCCESS, "success")
    # The triggerer's first question to Airflow takes minutes on a busy machine.
    until(lambda: run.canceled(FAILED) == run.canceled(SUCCESS) == 3, timeout=300)

    run.clear(CLEARED)
    run.until_deferred(CLEARED, try_number=2)
    assert (len(run.batches(CLEARED)), run.canceled(CLEARED)) == (3, 0)
    assert run.emulator.counters["create"] == creates

    run.clear(FAILED)
    until(lambda: len(run.batches(FAILED)) == 6, timeout=240)
    for batch in [*run.batches(FAILED), *run.batches(CLEARED)]:
        run.emulator.end(batch["id"])
    for name, batches in ((CLEARED, 3), (FAILED, 6)):
        until(lambda name=name: run.task(name)["state"] == "success", timeout=240)  # type: ignore[misc]
        assert len(run.batches(name)) == batches
        assert sorted(run.answers(name).values()) == [1] * 9
    assert run.emulator.counters["create"] == creates + 3
    assert run.canceled(CLEARED) == 0
