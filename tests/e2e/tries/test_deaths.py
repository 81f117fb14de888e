"""The crash matrix: a worker is killed (SIGKILL) at each step, and there is one batch for each task and input."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from airflow_batches.emulator import Fault
from tests.e2e.tries.one_try import ANSWERED, BEFORE_ANY_BATCH, LAST_PIECE
from tests.e2e.tries.task import Task, wait_until


@pytest.mark.parametrize("death", [*BEFORE_ANY_BATCH, LAST_PIECE])
def test_killed_before_the_create_could_be_accepted(task: Task, death: str) -> None:
    task.dies(BEFORE_ANY_BATCH.get(death, death))
    assert task.batch_ids == []
    batch_id = task.submits()
    assert task.batch_ids == [batch_id]


def test_killed_after_the_acceptance_and_before_the_answer(task: Task) -> None:
    task.emulator.fault(Fault(endpoint="create", action="stall", seconds=60))
    task.dies_when(lambda: task.batch_ids)
    assert task.state == "intent"
    (batch_id,) = task.batch_ids
    assert task.submits() == batch_id
    assert task.batch_ids == [batch_id]


@pytest.mark.parametrize(("death", "state"), [("before submitted", "intent"), ("after submitted", "submitted")])
def test_killed_after_the_answer(task: Task, death: str, state: str) -> None:
    task.dies(death)
    assert task.state == state
    (batch_id,) = task.batch_ids
    assert task.submits() == batch_id
    assert task.batch_ids == [batch_id]


def test_killed_before_the_batch_came_into_being_late(task: Task) -> None:
    task.emulator.fault(Fault(endpoint="create", action="late_accept", seconds=2.0))
    options = {"settle_for": 6.0}
    task.dies_when(lambda: task.state == "intent", options=options)
    batch_id = task.submits(options=options)
    assert task.batch_ids == [batch_id]


@pytest.mark.parametrize("source", ["generator", "uri"])
@pytest.mark.parametrize("death", ["after claimed", "after intent", *ANSWERED.values()])
def test_killed_wherever_the_requests_come_from(task: Task, source: str, death: str) -> None:
    task.dies(death, source=source)
    made = task.batch_ids
    batch_id = task.submits(source=source)
    assert task.batch_ids == [batch_id]
    assert made in ([], [batch_id])


def test_killed_while_it_searches_for_a_batch(task: Task) -> None:
    task.dies("before submitted")
    (batch_id,) = task.batch_ids
    task.emulator.end_all()
    task.emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=10_000))
    task.dies_when(lambda: task.emulator.counters["results"] == 1)
    assert task.submits() == batch_id
    assert task.batch_ids == [batch_id]


def test_killed_again_and_again(task: Task) -> None:
    for death in ("after claimed", "sending 10", "before intent", "before submitted"):
        task.dies(death)
    (batch_id,) = task.batch_ids
    task.emulator.end_all()
    task.dies("before submitted")
    assert task.submits() == batch_id
    assert task.batch_ids == [batch_id]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("cleared", [False, True])
def test_a_task_that_has_submitted_and_comes_again(task: Task, cleared: bool, ended: bool) -> None:
    batch_id = task.submits()
    if ended:
        task.emulator.end_all()
    if cleared:
        task.clear()
    assert task.try_().result() == {"batch_id": batch_id}
    assert task.batch_ids == [batch_id]


def test_a_retry_with_other_requests_fails_and_neither_sends_nor_cancels(task: Task) -> None:
    first = task.submits()
    log = task.fails(system="Be brief")
    assert "AirflowFailException: This retry has other requests than the try before it" in log
    assert f"Batch {first} of that try" in log
    assert (task.batch_ids, task.canceled) == ([first], [])


@pytest.mark.parametrize("death", ["after intent", "before submitted"])
def test_a_retry_with_other_requests_after_a_create_without_an_answer(task: Task, death: str) -> None:
    """A create that made no batch cost nothing; the batch of one that did is never replaced by a retry."""
    task.dies(death)
    first = task.batch_ids
    task.emulator.end_all()
    if first:
        assert "This retry has other requests" in task.fails(system="Be brief")
        assert task.batch_ids == first
    else:
        second = task.submits(system="Be brief")
        assert task.batch_ids == [second]


CHANGED = {**BEFORE_ANY_BATCH, LAST_PIECE: LAST_PIECE, **ANSWERED, "after the old one was canceled": "before settled"}


@pytest.mark.parametrize("death", CHANGED)
def test_killed_after_a_clear_with_other_requests(task: Task, death: str) -> None:
    """The new batch is sent and recorded before the old one is canceled, so one of them always runs."""
    first = task.submits()
    task.clear()
    task.dies(CHANGED[death], system="Be brief")
    assert task.canceled == ([first] if death == "after the old one was canceled" else [])
    if task.canceled:
        assert task.record["receipt"]["batch_id"] != first
    second = task.submits(system="Be brief")
    assert task.batch_ids == [second, first]
    assert task.canceled == [first]
    assert task.submits(system="Be brief") == second
    assert (len(task.batch_ids), task.canceled) == (2, [first])


def test_killed_after_a_clear_with_other_requests_and_before_the_answer(task: Task) -> None:
    first = task.submits()
    task.clear()
    task.emulator.fault(Fault(endpoint="create", action="stall", seconds=60))
    task.dies_when(lambda: len(task.batch_ids) == 2, system="Be brief")
    assert task.canceled == []
    second = task.submits(system="Be brief")
    assert task.batch_ids == [second, first]
    assert task.canceled == [first]


def test_other_requests_that_the_api_refuses_leave_the_old_batch(task: Task) -> None:
    first = task.submits()
    task.clear()
    task.emulator.fault(Fault(endpoint="create", action="status", status=402))
    assert "402" in task.fails(system="Be brief")
    assert (task.batch_ids, task.canceled) == ([first], [])
    assert task.submits() == first


def test_a_batch_that_was_canceled_meanwhile_is_replaced_after_a_clear_alone(task: Task) -> None:
    first = task.submits()
    with task.client() as client:
        client.cancel(first)
    assert task.submits() == first
    task.clear()
    second = task.submits()
    assert task.batch_ids == [second, first]
    assert task.submits() == second


@pytest.mark.parametrize("death", ["", "after intent", *ANSWERED.values()])
def test_a_clear_that_wipes_the_store_submits_anew(task: Task, death: str) -> None:
    """Nothing tells what was sent before, and a person has asked for the task again."""
    if death:
        task.dies(death)
    else:
        task.submits()
    earlier = task.batch_ids
    task.spec.store.unlink()
    task.clear()
    batch_id = task.submits()
    assert task.batch_ids == [batch_id, *earlier]
    assert task.canceled == []


@pytest.mark.parametrize("point", ["during the body", "before the answer"])
def test_a_task_that_is_terminated_while_it_submits_leaves_no_batch_running(task: Task, point: str) -> None:
    if point == "before the answer":
        task.emulator.fault(Fault(endpoint="create", action="slow", bytes_per_second=200))
        process = task.try_(state="failed")
        wait_until(lambda: task.batch_ids)
    else:
        process = task.stops("sending 10", state="failed")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    assert "SubmitKilled" in process.failure()
    assert task.canceled == task.batch_ids
    task.clear()
    second = task.submits()
    assert [each for each in task.batch_ids if each not in task.canceled] == [second]


@pytest.mark.parametrize(("state", "canceled"), [("failed", True), ("running", False)])
def test_a_task_that_is_terminated_while_it_waits(task: Task, state: str, canceled: bool) -> None:
    options: dict[str, Any] = {"wait_for_completion": True, "deferrable": False, "poll_interval": 0.2}
    process = task.try_(state=state, options=options)
    wait_until(lambda: task.emulator.counters["get"] > 2)
    process.signal(signal.SIGTERM)
    polls = task.emulator.counters["get"]
    wait_until(lambda: task.emulator.counters["get"] > polls + 5 or not process.is_alive)
    assert bool(task.canceled) is canceled
