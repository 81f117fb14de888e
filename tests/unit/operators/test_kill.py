"""A task that is killed while it runs on a worker: its batch is canceled if, and only if, the task is over."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.operators import MessageBatchSubmitOperator
from airflow_batches.operators.kill import KillHandler
from airflow_batches.submission import SubmitKilled
from tests.contexts import StateStore, TaskInstance, context
from tests.samples import some_requests

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0, retry_after=0) as running:
        yield running


def operator(**options: Any) -> MessageBatchSubmitOperator:
    return MessageBatchSubmitOperator(**({"task_id": "task", "requests": some_requests(3)} | options))


def status(emulator: Emulator) -> list[str]:
    return [batch["processing_status"] for batch in emulator.batches()]


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Waiting:
    """A task that blocks a worker until its batch has ended."""

    def __init__(self, emulator: Emulator, ti: TaskInstance, **options: Any) -> None:
        self.task = operator(deferrable=False, poll_interval=0.05, **options)
        self._emulator = emulator
        self._ctx = context(task_state_store=StateStore())
        self._ctx["ti"] = ti  # type: ignore[typeddict-item]  # the tests' stand-in
        self._thread = threading.Thread(target=self._execute)

    def _execute(self) -> None:
        try:
            self.task.execute(self._ctx)
        except Exception as error:  # noqa: BLE001  # that of a batch that was canceled
            self.error = error

    def __enter__(self) -> MessageBatchSubmitOperator:
        self._thread.start()
        until(lambda: self._emulator.counters["get"] > 1)
        return self.task

    def __exit__(self, *_: object) -> None:
        self._emulator.end_all()
        self._thread.join(30)
        assert not [thread for thread in threading.enumerate() if thread.name == "kill-handler"]


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed"])
def test_a_task_that_was_ended_by_hand_cancels_its_batch(emulator: Emulator, state: str) -> None:
    ti = TaskInstance(state=state)
    with Waiting(emulator, ti) as task:
        task.on_kill()
        until(lambda: status(emulator) == ["canceling"])


@pytest.mark.parametrize("state", ["running", "restarting", "queued", None])
def test_a_task_that_goes_on_elsewhere_leaves_its_batch(
    emulator: Emulator, state: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker is shut down, its time is over, or it was cleared."""
    caplog.set_level(logging.INFO)
    with Waiting(emulator, TaskInstance(state=state)) as task:
        task.on_kill()
        until(lambda: "The task was killed" in caplog.text)
    assert emulator.counters["cancel"] == 0
    assert f"The task was killed, but is {state}" in caplog.text


def test_a_cancel_that_is_refused_once_is_sent_again(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="cancel", action="status", status=400, message="not now"))
    with Waiting(emulator, TaskInstance(state="failed")) as task:
        task.on_kill()
        until(lambda: status(emulator) == ["canceling"])


def test_a_cancel_that_is_refused_is_never_taken_for_done(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    emulator.fault(Fault(endpoint="cancel", action="status", status=400, message="not now", times=None))
    with Waiting(emulator, TaskInstance(state="failed")) as task:
        task.on_kill()
        until(lambda: "CancelUnconfirmed" in caplog.text)
    assert re.search(r"was refused \(.*: 400", caplog.text)
    assert "still in_progress: it runs on and is billed" in caplog.text


def test_a_batch_that_has_ended_meanwhile_is_shown_by_a_look(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    emulator.configure(cancel_after_ended=400)
    client = BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE)
    batch_id = client.create(some_requests(1)).id
    emulator.end_all()
    with KillHandler(client, TaskInstance(state="failed"), lambda: True) as handler:
        handler.set_batch(batch_id)
        handler.request()
    assert f"Batch {batch_id} is ended: cancel requested (the task is failed)" in caplog.text


def test_of_several_batches_one_that_hangs_delays_no_other_and_is_named(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    client = BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE)
    ids = [client.create(some_requests(1)).id for _ in range(12)]
    for endpoint in ("cancel", "get"):
        emulator.fault(Fault(endpoint=endpoint, action="stall", batch_id=ids[0], seconds=60, times=None))
    with KillHandler(client, TaskInstance(state="failed"), lambda: True) as handler:
        handler.set_batches(ids)
        handler.request()
    assert set(status(emulator)) == {"canceling"}
    assert f"Canceling {ids[0]} failed after the task was killed. It may still run and be billed" in caplog.text
    assert caplog.text.count("failed after the task was killed") == 1


@pytest.mark.parametrize(("outlives_run", "cancels"), [(False, 1), (True, 0)])
def test_a_record_that_outlives_the_run_is_looked_at_even_if_the_run_was_deleted(
    emulator: Emulator, outlives_run: bool, cancels: int
) -> None:
    client = BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE)
    batch_id = client.create(some_requests(1)).id

    class Deleted(TaskInstance):
        def get_task_states(self, *args: Any, **kwargs: Any) -> Any:
            return {}

    with KillHandler(client, Deleted(), lambda: False, outlives_run=outlives_run) as handler:
        handler.set_batch(batch_id)
        handler.request()
    assert emulator.counters["cancel"] == cancels


def test_the_handler_waits_for_nothing_since_what_it_interrupted_may_hold_the_lock(emulator: Emulator) -> None:
    lock = threading.Lock()

    class Busy(TaskInstance):
        def get_task_states(self, *args: Any, **kwargs: Any) -> Any:
            with lock:
                return super().get_task_states(*args, **kwargs)

    with Waiting(emulator, Busy(state="failed")) as task:
        with lock:
            task.on_kill()
        until(lambda: status(emulator) == ["canceling"])


def test_nothing_is_canceled_where_it_was_not_wanted(emulator: Emulator) -> None:
    with Waiting(emulator, TaskInstance(state="failed"), cancel_on_kill=False) as task:
        task.on_kill()
    assert emulator.counters["cancel"] == 0


class Killing(list[dict[str, Any]]):
    """Requests at whose first or second reading the task that submits them is killed."""

    def __init__(self, requests: list[dict[str, Any]], reading: int) -> None:
        super().__init__(requests)
        self.task: MessageBatchSubmitOperator | None = None
        self._reading = reading

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._reading -= 1
        if not self._reading and self.task is not None:
            self.task.on_kill()
        return super().__iter__()


def killed(requests: Killing, store: StateStore, state: str, **options: Any) -> None:
    task = requests.task = operator(requests=requests, **options)
    ctx = context(task_state_store=store)
    ctx["ti"] = TaskInstance(state=state)  # type: ignore[typeddict-item]  # the tests' stand-in
    task.execute(ctx)


@pytest.mark.parametrize("cancel_on_kill", [True, False])
@pytest.mark.parametrize("reading", [1, 2])
def test_a_task_killed_before_the_end_of_the_body_sends_nothing(
    emulator: Emulator, reading: int, cancel_on_kill: bool
) -> None:
    requests = Killing(some_requests(3), reading)
    with pytest.raises(SubmitKilled, match="nothing was sent"):
        killed(requests, StateStore(), "failed", cancel_on_kill=cancel_on_kill)
    assert not emulator.batches()


@pytest.mark.parametrize(("state", "becomes"), [("failed", "canceling"), ("running", "in_progress")])
def test_a_task_killed_while_it_takes_its_batch_up_again(emulator: Emulator, state: str, becomes: str) -> None:
    store = StateStore()
    operator(wait_for_completion=False).execute(context(task_state_store=store))
    with pytest.raises(SubmitKilled, match="goes on if the task does"):
        killed(Killing(some_requests(3), 1), store, state)
    assert status(emulator) == [becomes]


@pytest.mark.parametrize(("state", "becomes"), [("failed", "canceling"), ("restarting", "in_progress")])
def test_a_task_killed_during_the_post(emulator: Emulator, state: str, becomes: str) -> None:
    class Store(StateStore):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            super().set(key, value)
            if "intent" in value:
                task.on_kill()

    store = Store()
    task = operator()
    ctx = context(task_state_store=store)
    ctx["ti"] = TaskInstance(state=state)  # type: ignore[typeddict-item]  # the tests' stand-in
    with pytest.raises(SubmitKilled, match="goes on if the task does"):
        task.execute(ctx)
    assert status(emulator) == [becomes]
    if state == "restarting":
        assert operator(wait_for_completion=False).execute(context(task_state_store=store)) in str(emulator.batches())
        assert len(emulator.batches()) == 1
