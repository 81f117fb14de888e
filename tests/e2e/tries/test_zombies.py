"""Tries that are stopped (SIGSTOP), given up by Airflow, and wake after the next try has taken over.

Such a try sends nothing more, except a last piece that was already on its way, and cancels nothing. Every batch is
named by the task's record or by the log of the try that made it.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from airflow_batches.emulator import Fault
from tests.e2e.tries.one_try import ANSWERED, BEFORE_ANY_BATCH, LAST_PIECE
from tests.e2e.tries.task import Process, Task, wait_until

STOPS = {**BEFORE_ANY_BATCH, LAST_PIECE: LAST_PIECE, **ANSWERED}
UNANSWERED = "before the answer"
UNKNOWN = "before a connection that breaks without an answer"


def stop(task: Task, point: str, **changes: Any) -> Process:
    """Stop a try at a point, or after its create was accepted and before the answer is read."""
    if point in STOPS:
        return task.stops(STOPS[point], **changes)
    batches = len(task.batch_ids)
    answer = {UNANSWERED: "slow", UNKNOWN: "stall"}[point]
    task.emulator.fault(Fault(endpoint="create", action=answer, bytes_per_second=1000, seconds=0.5))
    return task.stops_when(lambda: len(task.batch_ids) > batches, **changes)


def assert_told(task: Task, batch_id: str, log: str, *, extra: int) -> None:
    """The record names the task's batch; any other is named by the try that made it; none is canceled."""
    assert task.record["receipt"]["batch_id"] == batch_id
    others = [each for each in task.batch_ids if each != batch_id]
    assert len(others) == extra
    for other in others:
        assert f"batch {other}, which this try created, is left as it is" in log
    assert task.canceled == []


@pytest.mark.parametrize("point", [*STOPS, UNANSWERED, UNKNOWN])
def test_a_try_that_wakes_after_the_next_has_submitted(task: Task, point: str) -> None:
    zombie = stop(task, point)
    batch_id = task.submits()
    log = zombie.wakes()
    assert zombie.exit_code() == 1
    assert_told(task, batch_id, log, extra=point == LAST_PIECE)


@pytest.mark.parametrize("point", ["before the id was stored", UNANSWERED, UNKNOWN])
def test_a_try_that_wakes_while_the_next_waits_for_its_batch(task: Task, point: str) -> None:
    zombie = stop(task, point)
    (batch_id,) = task.batch_ids
    waiting = task.try_()
    assert waiting.result()["deferred_on"] == batch_id
    log = zombie.wakes()
    assert "this try has sent nothing" not in log
    assert (task.batch_ids, task.canceled) == ([batch_id], [])
    assert task.resumes(waiting) == batch_id
    assert_told(task, batch_id, log, extra=False)


@pytest.mark.parametrize("state", ["failed", "success"])
@pytest.mark.parametrize("point", ["within the body", LAST_PIECE, UNANSWERED, "after the id was stored"])
def test_a_try_that_is_terminated_when_it_wakes(task: Task, point: str, state: str) -> None:
    """Its supervisor ends it; by then the next try has ended the task."""
    zombie = stop(task, point, state=state)
    batch_id = task.submits()
    zombie.signal(signal.SIGTERM)
    log = zombie.wakes()
    assert_told(task, batch_id, log, extra=point == LAST_PIECE)


@pytest.mark.parametrize("point", STOPS)
def test_a_try_that_wakes_after_a_clear_with_other_requests(task: Task, point: str) -> None:
    """Neither the batch of the cleared run nor its successor is touched by the try that was overtaken."""
    zombie = stop(task, point)
    task.emulator.end_all()
    task.clear()
    batch_id = task.submits(system="Be brief")
    canceled = task.canceled
    log = zombie.wakes()
    assert task.record["receipt"]["batch_id"] == batch_id
    assert task.canceled == canceled
    if point == LAST_PIECE:
        assert f"batch {task.batch_ids[0]}, which this try created, is left as it is" in log


@pytest.mark.parametrize("point", ["before the id was stored", "after the id was stored"])
def test_a_try_that_replaces_a_batch_and_wakes_late_does_not_cancel_it(task: Task, point: str) -> None:
    """The next try has canceled the old batch, or has been cleared back to the old requests and attached to it."""
    first = task.submits()
    task.clear()
    zombie = stop(task, point, system="Be brief")
    task.emulator.configure(cancel_time=3600.0)
    batch_id = task.submits(system="Be brief")
    assert task.canceled == [first]
    cancels = task.emulator.counters["cancel"]
    zombie.wakes()
    assert task.emulator.counters["cancel"] == cancels
    assert task.record["receipt"]["batch_id"] == batch_id


BLOCKING = {"wait_for_completion": True, "deferrable": False, "poll_interval": 0.1, "cancel_on_timeout": True}


@pytest.mark.parametrize("terminated", [False, True])
def test_a_try_that_waits_on_its_worker_and_wakes_when_its_time_is_over(task: Task, terminated: bool) -> None:
    zombie = task.stops_when(
        lambda: task.emulator.counters["get"] > 1, state="failed", options=BLOCKING | {"timeout": 2.0}
    )
    batch_id = task.submits()
    ended = time.time() + 2.0
    wait_until(lambda: time.time() > ended)
    if terminated:
        zombie.signal(signal.SIGTERM)
    log = zombie.wakes()
    assert zombie.exit_code() == 1
    assert (task.batch_ids, task.canceled) == ([batch_id], [])
    assert f"Batch {batch_id} is not canceled though its timeout is over" in log


def test_a_resumed_try_that_wakes_when_its_time_is_over(task: Task) -> None:
    options = {"wait_for_completion": True, "cancel_on_timeout": True}
    deferred = task.try_(options=options)
    batch_id = deferred.result()["deferred_on"]
    event = {"batch_id": batch_id, "ending": "timed_out", "message": "over"}
    zombie = task.stops_in_the_next_leg(deferred, event, "before resuming")
    assert task.submits() == batch_id
    log = zombie.wakes()
    assert (task.batch_ids, task.canceled) == ([batch_id], [])
    assert f"Batch {batch_id} is not canceled though its timeout is over" in log


def test_a_try_that_is_still_the_current_one_cancels_when_its_time_is_over(task: Task) -> None:
    options = {"wait_for_completion": True, "cancel_on_timeout": True}
    process = task.try_(options=options | BLOCKING | {"timeout": 0.5})
    process.failure()
    assert task.canceled == task.batch_ids
