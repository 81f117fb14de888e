"""The crash matrix: a worker is killed (SIGKILL) wherever it hurts, and there is one batch for each task and input.

Every try is a process of its own against an emulator in another; a row is a death, then what happens to the task.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from tests.e2e.one_try import COUNT, Try

pytestmark = pytest.mark.usefixtures("connection")
ROOT = Path(__file__).parents[2]


@dataclass
class Task:
    """A task whose tries are processes."""

    emulator: Emulator
    spec: Try

    def try_(self, **changes: Any) -> subprocess.Popen[str]:
        """Begin the next try."""
        spec = replace(self.spec, **changes)
        self.spec = replace(self.spec, number=spec.number + 1)
        return subprocess.Popen(spec.command(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def dies(self, **changes: Any) -> None:
        """A try that ends by SIGKILL."""
        process = self.try_(**changes)
        out, err = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, out + err

    def dies_from_outside(self, when: Callable[[], bool], **changes: Any) -> None:
        """A try that is killed at the moment that is waited for."""
        process = self.try_(**changes)
        wait_until(lambda: when() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate(timeout=120)

    def ends(self, **changes: Any) -> dict[str, str]:
        """A try that comes to its end, and what it came to."""
        process = self.try_(**changes)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        said: dict[str, str] = json.loads(out.splitlines()[-1])
        return said

    def submits(self, **changes: Any) -> str:
        """The batch that the task has in the end; while one has to be waited for, time passes and it is resumed."""
        said = self.ends(**changes)
        if "deferred_on" in said:
            assert said["deferred_on"] in ids(self.emulator)
            self.emulator.end_all()
            said = self.ends(**changes)
        return said["batch_id"]

    def state(self) -> str:
        """The state that the task's record is in."""
        path = Path(self.spec.store)
        return next(iter(json.loads(path.read_text()).values()))["state"] if path.exists() else "none"


@pytest.fixture
def task(emulator: Emulator, tmp_path: Path) -> Task:
    """A task whose batches take hours."""
    emulator.configure(processing_time=7200.0, cancel_time=0.0)
    return Task(emulator, Try(store=str(tmp_path / "store.json")))


def ids(emulator: Emulator) -> list[str]:
    return [batch["id"] for batch in emulator.batches()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


BEFORE = {
    "before the store was read": "before begun",
    "before the requests were weighed": "after begun",
    "before the first byte of the body": "sending 0",
    "within the body": f"sending {COUNT - 10}",
    "before the intent was stored": "before intent",
}
"""Deaths after which no batch can exist."""


@pytest.mark.parametrize("death", BEFORE)
def test_killed_before_the_post_could_be_accepted(task: Task, death: str) -> None:
    task.dies(die=BEFORE[death])
    assert ids(task.emulator) == []
    batch_id = task.submits()
    assert ids(task.emulator) == [batch_id]


def test_killed_after_the_intent_and_before_the_last_byte(task: Task) -> None:
    task.dies(die="after intent")
    assert (task.state(), ids(task.emulator)) == ("intent", [])
    batch_id = task.submits()
    assert ids(task.emulator) == [batch_id]


def test_killed_after_the_acceptance_and_before_the_answer(task: Task) -> None:
    task.emulator.fault(Fault(endpoint="create", action="stall", seconds=60))
    task.dies_from_outside(lambda: bool(ids(task.emulator)))
    assert task.state() == "intent"
    (batch_id,) = ids(task.emulator)
    assert task.submits() == batch_id
    assert ids(task.emulator) == [batch_id]


def test_killed_after_the_answer_and_before_the_id_was_stored(task: Task) -> None:
    task.dies(die="before submitted")
    assert task.state() == "intent"
    (batch_id,) = ids(task.emulator)
    assert task.submits() == batch_id
    assert ids(task.emulator) == [batch_id]


def test_killed_before_the_batch_came_into_being_late(task: Task) -> None:
    task.emulator.fault(Fault(endpoint="create", action="late_accept", seconds=3.5))
    task.dies_from_outside(lambda: task.state() == "intent")
    batch_id = task.submits()
    assert ids(task.emulator) == [batch_id]


@pytest.mark.parametrize("source", ["generator", "uri"])
@pytest.mark.parametrize("death", ["after begun", "after intent", "before submitted", "after submitted"])
def test_killed_wherever_the_requests_come_from(task: Task, source: str, death: str) -> None:
    task.dies(die=death, source=source)
    made = ids(task.emulator)
    batch_id = task.submits(source=source)
    assert ids(task.emulator) == [batch_id]
    assert made in ([], [batch_id])


def test_killed_while_it_looks_for_a_batch(task: Task) -> None:
    task.dies(die="before submitted")
    (batch_id,) = ids(task.emulator)
    task.emulator.end_all()
    task.emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=10_000))
    task.dies_from_outside(lambda: task.emulator.counters["results"] == 1)
    assert task.submits() == batch_id
    assert ids(task.emulator) == [batch_id]


def test_killed_between_the_cancel_of_the_old_batch_and_the_post_of_the_new_one(task: Task) -> None:
    first = task.submits()
    task.dies(die="before begun", system="Be brief")
    assert task.emulator.counters["cancel"] == 1
    second = task.submits(system="Be brief")
    assert ids(task.emulator) == [second, first]


def test_killed_after_the_id_was_stored(task: Task) -> None:
    task.dies(die="after submitted")
    (batch_id,) = ids(task.emulator)
    assert task.ends() == {"batch_id": batch_id}
    assert ids(task.emulator) == [batch_id]


def test_killed_again_and_again(task: Task) -> None:
    for death in ("after begun", "sending 10", "before intent", "before submitted"):
        task.dies(die=death)
    (batch_id,) = ids(task.emulator)
    task.emulator.end_all()
    task.dies(die="before submitted")
    assert task.submits() == batch_id
    assert ids(task.emulator) == [batch_id]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("after", [{}, {"cleared": True}], ids=["retried", "cleared"])
def test_a_task_that_has_submitted_and_comes_again(task: Task, after: dict[str, bool], ended: bool) -> None:
    batch_id = task.submits()
    if ended:
        task.emulator.end_all()
    assert task.ends(**after) == {"batch_id": batch_id}
    assert ids(task.emulator) == [batch_id]


def test_input_changed_between_tries_makes_one_batch_each_and_cancels_the_first(task: Task) -> None:
    first = task.submits()
    second = task.submits(system="Be brief")
    assert ids(task.emulator) == [second, first]
    assert [bool(batch["cancel_initiated_at"]) for batch in task.emulator.batches()] == [False, True]
    assert task.submits(system="Be brief") == second
    assert len(ids(task.emulator)) == 2


@pytest.mark.parametrize("death", ["after intent", "before submitted"])
def test_input_changed_after_a_post_of_unknown_fate(task: Task, death: str) -> None:
    task.dies(die=death)
    first = ids(task.emulator)
    second = task.submits(system="Be brief")
    assert ids(task.emulator) == [second, *first]
    assert task.submits(system="Be brief") == second
    assert len(ids(task.emulator)) == 1 + len(first)


def test_mapped_items_that_changed_places(emulator: Emulator, task: Task, tmp_path: Path) -> None:
    began = datetime.now(UTC).isoformat()
    tasks = [
        Task(emulator, Try(store=str(tmp_path / f"{index}.json"), map_index=index, run_started=began))
        for index in range(3)
    ]
    batches = [each.submits(prefix=item) for each, item in zip(tasks[:2], "ab", strict=True)]
    moved = {index: tasks[index].submits(prefix=item, cleared=True) for index, item in [(1, "a"), (2, "b")]}
    assert moved == {1: batches[0], 2: batches[1]}
    new = tasks[0].submits(prefix="new", cleared=True)
    assert ids(emulator) == [new, *reversed(batches)]
    assert not any(batch["cancel_initiated_at"] for batch in emulator.batches())


@pytest.mark.parametrize(("order", "told"), [([0, 1, 2], True), ([2, 1, 0], True), ([2, 1, 0], False)])
def test_mapped_items_with_the_same_ids_that_changed_places(
    emulator: Emulator, tmp_path: Path, order: list[int], told: bool
) -> None:
    """Only what the positions remember tells the batches of such items apart: the API keeps no prompts."""
    shared: Any = {"xcoms": str(tmp_path / "xcoms"), "run_started": datetime.now(UTC).isoformat()}
    tasks = [
        Task(emulator, Try(store=str(tmp_path / f"{index}.json"), map_index=index, **shared)) for index in range(3)
    ]
    emulator.configure(processing_time=7200.0)
    for each, item in zip(tasks, "ab", strict=False):
        if told:
            each.submits(system=item)
        else:
            each.dies(system=item, die="after submitted")
    batches = ids(emulator)[::-1]
    items = ["new", "a", "b"]
    now = {index: tasks[index].submits(system=items[index], cleared=True) for index in order}
    assert (now[1], now[2]) == (batches[0], batches[1])
    assert ids(emulator) == [now[0], *reversed(batches)]
    assert not any(batch["cancel_initiated_at"] for batch in emulator.batches())


def test_a_batch_that_was_canceled_meanwhile(task: Task) -> None:
    first = task.submits()
    client(task.emulator).cancel(first)
    second = task.submits()
    assert ids(task.emulator) == [second, first]
    assert task.submits() == second


def test_a_batch_that_was_deleted_meanwhile(task: Task) -> None:
    first = task.submits()
    task.emulator.end_all()
    client(task.emulator).delete(first)
    path = Path(task.spec.store)
    created = json.loads(path.read_text())["airflow_batches.submission"]["receipt"]["created_at"]
    path.write_text(path.read_text().replace(created, "2026-01-01T00:00:00Z"))
    second = task.submits()
    assert ids(task.emulator) == [second]


@pytest.mark.parametrize("ended", [False, True])
def test_a_store_that_was_wiped_on_clear(task: Task, ended: bool) -> None:
    batch_id = task.submits()
    if ended:
        task.emulator.end_all()
    Path(task.spec.store).unlink()
    assert task.submits(cleared=True) == batch_id
    assert ids(task.emulator) == [batch_id]


@pytest.mark.parametrize("death", ["after intent", "before submitted", "after submitted"])
def test_a_store_that_was_wiped_after_a_death(task: Task, death: str) -> None:
    task.dies(die=death)
    task.emulator.end_all()
    Path(task.spec.store).unlink()
    batch_id = task.submits(cleared=True)
    assert ids(task.emulator) == [batch_id]


@pytest.mark.parametrize("point", ["during the body", "before the answer"])
def test_a_task_that_is_terminated_while_it_submits_leaves_no_batch_running(task: Task, point: str) -> None:
    if point == "before the answer":
        task.emulator.fault(Fault(endpoint="create", action="slow", bytes_per_second=200))
    process = task.try_(state="failed")
    wait_until(lambda: task.state() == ("begun" if point == "during the body" else "intent"))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SubmitKilled" in err
    assert all(batch["cancel_initiated_at"] for batch in task.emulator.batches())
    second = task.submits()
    assert [batch["id"] for batch in task.emulator.batches() if not batch["cancel_initiated_at"]] == [second]


@pytest.mark.parametrize(("state", "canceled"), [("failed", True), ("running", False)])
def test_a_task_that_is_terminated_while_it_waits(task: Task, state: str, canceled: bool) -> None:
    task.emulator.configure(retry_after=0)
    options = {"wait_for_completion": True, "deferrable": False, "poll_interval": 0.2}
    process = task.try_(state=state, options=options)
    wait_until(lambda: task.emulator.counters["get"] > 2)
    process.send_signal(signal.SIGTERM)
    polls = task.emulator.counters["get"]
    wait_until(lambda: task.emulator.counters["get"] > polls + 5 or process.poll() is not None)
    process.kill()
    process.communicate(timeout=60)
    (batch,) = task.emulator.batches()
    assert (batch["cancel_initiated_at"] is not None) is canceled


def client(emulator: Emulator) -> BatchesClient:
    return BatchesClient(emulator.api_key, base_url=emulator.url)
