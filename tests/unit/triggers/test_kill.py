"""When a deferred task is killed: the batch is canceled if, and only if, Airflow says that the task is over."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_batches.api import BatchesClient
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.triggers import MessageBatchTrigger, base
from tests.eventually import until
from tests.samples import some_requests
from tests.unit.triggers.quick import QuickTrigger
from tests.unit.triggers.supervisor import Supervisor, TaskInstance

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0) as running:
        yield running


@pytest.fixture
def trigger(emulator: Emulator) -> MessageBatchTrigger:
    """Waits for a batch that goes on."""
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch_id = client.create(some_requests(2)).id
    return deferred(batch_id)


def deferred(batch_id: str, *, map_index: int = -1, cancel_on_kill: bool = True) -> MessageBatchTrigger:
    trigger = QuickTrigger(conn_id="anthropic_default", batch_id=batch_id, cancel_on_kill=cancel_on_kill)
    trigger.task_instance = TaskInstance(map_index=map_index)  # type: ignore[assignment]  # the stand-in's
    return trigger


def kill(trigger: MessageBatchTrigger, *, interrupt_after: float | None = None) -> None:
    """As Airflow does it: again and again, until the trigger is gone."""

    async def killing() -> None:
        work = asyncio.create_task(trigger.on_kill())
        while interrupt_after is not None and not work.done():
            await asyncio.wait({work}, timeout=interrupt_after)
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await asyncio.gather(*trigger._cancels)

    asyncio.run(killing())


def status(emulator: Emulator) -> str:
    (batch,) = emulator.batches()
    return str(batch["processing_status"])


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed"])
def test_a_task_that_is_over_cancels_its_batch(
    state: str, trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    supervisor.states = {"run": {"task": state}}
    kill(trigger)
    assert status(emulator) == "canceling"


@pytest.mark.parametrize(
    "state", [None, "scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting"]
)
def test_a_task_that_goes_on_or_runs_again_cancels_nothing(
    state: str | None, trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    """Cleared (no state, or any of the next try), or handed to another triggerer (deferred)."""
    supervisor.states = {"run": {"task": state}}
    kill(trigger)
    assert supervisor.answered == 1
    assert emulator.counters["cancel"] == 0


@pytest.mark.parametrize("states", [{}, {"run": {}}])
def test_a_run_that_was_deleted_cancels_its_batch(
    states: dict[str, dict[str, str | None]], trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    supervisor.states = states
    kill(trigger)
    assert status(emulator) == "canceling"


def test_a_mapped_task_is_asked_for_by_its_index(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    supervisor.states = {"run": {"task_0": "failed", "task_2": "deferred"}}
    kill(deferred(trigger.batch_id, map_index=2))
    assert emulator.counters["cancel"] == 0

    kill(deferred(trigger.batch_id, map_index=0))
    assert status(emulator) == "canceling"
    assert [asked.map_index for asked in supervisor.asked] == [2, 0]


def test_it_is_canceled_though_the_answers_come_late_and_airflow_interrupts_again_and_again(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    supervisor.states = {"run": {"task": "failed"}}
    supervisor.delay = 0.4
    emulator.fault(Fault(endpoint="cancel", action="status", status=503))
    kill(trigger, interrupt_after=0.05)
    assert status(emulator) == "canceling"


def test_what_could_not_be_found_out_cancels_nothing(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.error = AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
    kill(trigger)
    assert emulator.counters["cancel"] == 0
    assert trigger.batch_id in caplog.text


def test_without_anybody_to_ask_nothing_is_canceled(trigger: MessageBatchTrigger, emulator: Emulator) -> None:
    trigger.task_instance = None
    kill(trigger)
    assert emulator.counters["cancel"] == 0


def test_a_cancel_that_is_refused_is_said(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.states = {"run": {"task": "failed"}}
    emulator.configure(denied=("cancel",))
    kill(trigger)
    assert re.search(r"was refused \(.*: 403", caplog.text)
    assert "still in_progress: it runs on and is billed" in caplog.text
    assert emulator.api_key not in caplog.text


@pytest.mark.parametrize("answer", [400, 409])
def test_a_cancel_that_is_refused_is_never_said_to_be_done(
    answer: int,
    trigger: MessageBatchTrigger,
    supervisor: Supervisor,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("airflow_batches.api.client.RetryPolicy", lambda: ONCE)
    supervisor.states = {"run": {"task": "failed"}}
    emulator.fault(Fault(endpoint="cancel", action="status", status=answer, times=None))
    kill(trigger)
    assert status(emulator) == "in_progress"
    assert f"no cancel of batch {trigger.batch_id} is confirmed" in caplog.text
    assert "cancel requested" not in caplog.text


def test_nobody_is_asked_if_the_batch_is_to_go_on_anyway(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    kill(deferred(trigger.batch_id, cancel_on_kill=False))
    assert not supervisor.asked
    assert emulator.counters["cancel"] == 0


def test_after_its_event_a_kill_means_nothing(
    trigger: MessageBatchTrigger, supervisor: Supervisor, emulator: Emulator
) -> None:
    supervisor.states = {"run": {"task": "failed"}}
    trigger.deadline = 0.0

    async def fire_then_kill() -> None:
        async for _ in trigger.run():
            await trigger.on_kill()

    asyncio.run(fire_then_kill())
    assert not supervisor.asked


@pytest.mark.parametrize(("state", "cancels"), [("failed", 1), ("deferred", 0)])
def test_where_triggers_do_not_hear_kills_a_cancellation_is_looked_into(
    state: str,
    cancels: int,
    trigger: MessageBatchTrigger,
    supervisor: Supervisor,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Airflow 3.1 and 3.2: a kill and a shutdown look the same, and both cancel again and again."""
    monkeypatch.setattr(base, "TRIGGERS_HEAR_KILLS", False)
    supervisor.states = {"run": {"task": state}}
    supervisor.delay = 0.2

    async def killing() -> None:
        run = asyncio.ensure_future(anext(aiter(trigger.run())))
        await until(lambda: emulator.counters["get"] > 0)
        while not run.done():
            run.cancel()
            await asyncio.wait({run}, timeout=0.05)
        assert run.cancelled()
        await asyncio.gather(*trigger._cancels)

    trigger.poll_interval = 0.05
    asyncio.run(killing())
    assert supervisor.answered == 1
    assert emulator.counters["cancel"] == cancels


def test_a_run_of_many_tasks_that_is_failed_does_not_storm_the_api(emulator: Emulator, supervisor: Supervisor) -> None:
    supervisor.states = {"run": {"task": "failed"}}
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        triggers = [deferred(client.create(some_requests(1)).id) for _ in range(12)]
    most = 0

    async def killing() -> None:
        nonlocal most
        kills = asyncio.gather(*(trigger.on_kill() for trigger in triggers))
        while not kills.done():
            most = max(most, sum(thread.name.startswith("cancel-") for thread in threading.enumerate()))
            await asyncio.sleep(0.001)

    emulator.configure(cancel_time=3600.0)
    asyncio.run(killing())
    assert {batch["processing_status"] for batch in emulator.batches()} == {"canceling"}
    assert emulator.counters["cancel"] == 12
    assert 0 < most <= 4, "one may be on its way out"
