"""On a real Airflow: a lost answer after a run with the same ids, and a try that wakes after it was given up."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.emulator import Emulator, Fault

pytestmark = pytest.mark.e2e

DAG = "classify_reviews"


@pytest.fixture
def emulator(held: Emulator) -> Emulator:
    """The emulator of the DAG's connection."""
    return held


def until(condition: Callable[[], Any], *, timeout: float = 90.0) -> Any:
    """What the condition gives, as soon as it gives something."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


@dataclass
class Run:
    """A run of the DAG."""

    airflow: PrivateAirflow
    emulator: Emulator
    run_id: str
    folder: Path

    @classmethod
    def start(cls, airflow: PrivateAirflow, emulator: Emulator, folder: Path) -> Run:
        airflow.api.wait_for_dag(DAG)
        return cls(airflow, emulator, airflow.api.trigger(DAG, {"path": f"file://{folder}"}), folder)

    def task(self, task_id: str = "submit") -> dict[str, Any]:
        tasks = self.airflow.api.task_instances(DAG, self.run_id)
        return next((task for task in tasks if task["task_id"] == task_id), {})

    def log(self, try_number: int = 1) -> str:
        """Of the submit task; from the file, because a try's log is read while its process is stopped."""
        folder = self.airflow.home / "logs" / f"dag_id={DAG}" / f"run_id={self.run_id}" / "task_id=submit"
        path = folder / f"attempt={try_number}.log"
        return path.read_text() if path.exists() else ""

    def until_deferred(self, try_number: int) -> None:
        until(lambda: (self.task().get("state"), self.task().get("try_number")) == ("deferred", try_number))

    def succeeds(self) -> None:
        """End all batches; the answers that landed are those of this run's batch."""
        self.emulator.end_all()
        assert self.airflow.api.wait_for_run(DAG, self.run_id) == "success"
        lines = (self.folder / f"{self.run_id}.jsonl").read_text().splitlines()
        assert {json.loads(line)["custom_id"] for line in lines} == {"review-0", "review-1"}

    @property
    def batch_id(self) -> str:
        """The batch whose answers landed, which is also that of the receipt."""
        receipt = self.airflow.api.xcom(DAG, self.run_id, "submit", "receipt")
        manifest = self.airflow.api.xcom(DAG, self.run_id, "land")
        assert manifest["batch_id"] == receipt["batch_id"]
        return str(receipt["batch_id"])


def test_a_lost_answer_never_lands_the_answers_of_the_run_before(
    airflow: PrivateAirflow, emulator: Emulator, tmp_path: Path
) -> None:
    others = {batch["id"] for batch in emulator.batches()}
    yesterday = Run.start(airflow, emulator, tmp_path)
    yesterday.until_deferred(1)
    yesterday.succeeds()
    fault = emulator.fault(Fault(endpoint="create", action="reset"))
    today = Run.start(airflow, emulator, tmp_path)
    until(lambda: fault.struck)
    emulator.clock.advance(901)  # from here on, no batch of the lost create can appear
    today.until_deferred(1)
    today.succeeds()
    ours = [batch["id"] for batch in emulator.batches() if batch["id"] not in others]
    assert ours == [today.batch_id, yesterday.batch_id]
    assert today.batch_id != yesterday.batch_id


def test_a_try_that_wakes_after_airflow_gave_it_up_leaves_the_batch_that_its_retry_waits_for(
    airflow: PrivateAirflow, emulator: Emulator, tmp_path: Path
) -> None:
    batches, cancels = len(emulator.batches()), emulator.counters["cancel"]
    emulator.fault(Fault(endpoint="create", action="slow", bytes_per_second=200))
    run = Run.start(airflow, emulator, tmp_path)
    until(lambda: len(emulator.batches()) > batches)
    zombie = stopped_task(airflow, str(run.task()["id"]))
    run.until_deferred(2)
    for process in zombie:
        process.send_signal(signal.SIGCONT)
    psutil.wait_procs(zombie[1:], timeout=60)
    until(lambda: "another try of this task has taken over" in run.log(1))
    assert run.task()["state"] == "deferred"
    run.succeeds()
    assert emulator.batches()[0]["id"] == run.batch_id
    assert len(emulator.batches()) == batches + 1
    assert emulator.counters["cancel"] == cancels


def stopped_task(airflow: PrivateAirflow, task_instance_id: str) -> list[psutil.Process]:
    """Stop a task's supervisor, then its process, as a machine that freezes does."""
    task = until(lambda: task_process(airflow, task_instance_id))
    zombie = [task.parent(), task]
    for process in zombie:
        process.suspend()
    return zombie


def task_process(airflow: PrivateAirflow, task_instance_id: str) -> psutil.Process | None:
    """The process of a task; both it and its supervisor name the task instance in their titles."""
    pids = [pid for component in airflow.components for pid in component.members()]
    named = {pid for pid in pids if task_instance_id in title(psutil.Process(pid))}
    return next((psutil.Process(pid) for pid in named if psutil.Process(pid).ppid() in named), None)


def title(process: psutil.Process) -> str:
    """What a process calls itself."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
