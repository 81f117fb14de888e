"""Waiting for any batch: in the triggerer, in a worker, and in a worker again and again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from airflow.sdk import Context, PokeReturnValue

from airflow_batches._compat import (
    TRIGGER_FAILED,
    TRIGGER_TIMED_OUT,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.sensors import MessageBatchSensor
from airflow_batches.triggers import MessageBatchTrigger
from airflow_batches.waiting.outcome import Counts, Ending, Outcome
from tests import contexts
from tests.contexts import TaskDeferred
from tests.samples import some_requests

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowRescheduleException  # type: ignore[no-redef,attr-defined,unused-ignore]

pytestmark = pytest.mark.usefixtures("connection")


@dataclass
class TaskInstance(contexts.TaskInstance):
    """Of a sensor: knows when its first poke was, if there was one before."""

    first_poke: datetime | None = None

    def get_first_reschedule_date(self, _: Context) -> datetime | None:
        return self.first_poke


def context(first_poke: datetime | None = None) -> Context:
    return cast("Context", {"ti": TaskInstance(first_poke=first_poke)})


def submit(emulator: Emulator, *, goes_on: bool = False) -> str:
    emulator.configure(processing_time=3600.0 if goes_on else 0.0, retry_after=0)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(2)).id


def sensor(batch_id: str, **options: Any) -> MessageBatchSensor:
    given: dict[str, Any] = {"task_id": "task", "batch_id": batch_id, "poke_interval": 0.05, **options}
    return MessageBatchSensor(**given)


MODES: list[dict[str, Any]] = [
    {"deferrable": True},
    {"deferrable": False, "mode": "poke"},
    {"deferrable": False, "mode": "reschedule"},
]


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_that_has_ended_is_its_answer_at_once(mode: dict[str, Any], emulator: Emulator) -> None:
    batch_id = submit(emulator)
    assert sensor(batch_id, **mode).execute(context()) == batch_id


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_without_a_success_fails_it(mode: dict[str, Any], emulator: Emulator) -> None:
    emulator.configure(errored_share=1.0)
    with pytest.raises(AirflowFailException, match="without a single success"):
        sensor(submit(emulator), **mode).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_that_was_canceled_whole_skips_it(mode: dict[str, Any], emulator: Emulator) -> None:
    emulator.configure(cancel_time=0.0)
    batch_id = submit(emulator, goes_on=True)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        client.cancel(batch_id)
    with pytest.raises(AirflowSkipException, match="canceled"):
        sensor(batch_id, **mode).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_is_refused_fails_it(mode: dict[str, Any], emulator: Emulator) -> None:
    batch_id = submit(emulator)
    emulator.configure(api_key="sk-ant-another")
    with pytest.raises(AirflowFailException, match="401"):
        sensor(batch_id, **mode).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_failing_softly_it_skips(mode: dict[str, Any], emulator: Emulator) -> None:
    emulator.configure(errored_share=1.0)
    with pytest.raises(AirflowSkipException):
        sensor(submit(emulator), soft_fail=True, **mode).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_failing_softly_it_skips_also_where_the_connection_is_at_fault(
    mode: dict[str, Any], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KEYLESS", '{"conn_type": "anthropicbatches"}')
    with pytest.raises(AirflowSkipException):
        sensor(submit(emulator), conn_id="keyless", soft_fail=True, **mode).execute(context())
    with pytest.raises(AirflowFailException, match="no API key"):
        sensor(submit(emulator), conn_id="keyless", **mode).execute(context())


@pytest.mark.parametrize(("rate", "passes"), [(0.5, True), (0.4, False)])
def test_the_failure_rate_it_bears_is_the_users(rate: float, passes: bool, emulator: Emulator) -> None:
    event = Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=Counts(succeeded=1, errored=1)).to_event()
    waiting = sensor("b", max_failure_rate=rate)
    if passes:
        assert waiting.execute_complete(context(), event) == "b"
    else:
        with pytest.raises(AirflowFailException):
            waiting.execute_complete(context(), event)


def test_in_the_triggerer_it_waits_and_cancels_nothing(emulator: Emulator) -> None:
    batch_id = submit(emulator, goes_on=True)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(batch_id, poke_interval=timedelta(seconds=30), timeout=timedelta(hours=1)).execute(context())

    trigger = deferred.value.trigger
    assert isinstance(trigger, MessageBatchTrigger)
    assert (trigger.batch_id, trigger.poll_interval, trigger.cancel_on_kill) == (batch_id, 30.0, False)
    assert trigger.deadline == trigger.since + 3600


def test_in_a_worker_it_pokes_until_the_end(emulator: Emulator) -> None:
    batch_id = submit(emulator, goes_on=True)
    waiting = sensor(batch_id, deferrable=False)
    poke = waiting.poke

    def then_end(context: Context) -> PokeReturnValue:
        answer = poke(context)
        if emulator.counters["get"] == 3:
            emulator.end_all()
        return answer

    waiting.poke = then_end  # type: ignore[method-assign]  # only to know when it has poked
    assert waiting.execute(context()) == batch_id
    assert emulator.counters["get"] == 4


def test_in_a_worker_its_time_is_limited(emulator: Emulator) -> None:
    batch_id = submit(emulator, goes_on=True)
    with pytest.raises(AirflowSensorTimeout):
        sensor(batch_id, deferrable=False, timeout=0.2).execute(context())
    assert emulator.counters["cancel"] == 0


def test_in_a_worker_again_and_again_it_gives_the_slot_back(emulator: Emulator) -> None:
    batch_id = submit(emulator, goes_on=True)
    waiting = sensor(batch_id, deferrable=False, mode="reschedule", poke_interval=60)
    with pytest.raises(AirflowRescheduleException):
        waiting.execute(context())

    emulator.end_all()
    assert waiting.execute(context(datetime.now(UTC) - timedelta(minutes=1))) == batch_id


def test_a_batch_that_is_not_there_is_believed_to_be_fresh_for_a_minute_after_the_first_poke() -> None:
    waiting = sensor("msgbatch_01unknown", deferrable=False, mode="reschedule", poke_interval=60)
    with pytest.raises(AirflowRescheduleException):
        waiting.execute(context(datetime.now(UTC) - timedelta(seconds=30)))
    with pytest.raises(AirflowFailException, match="404"):
        waiting.execute(context(datetime.now(UTC) - timedelta(seconds=61)))


def test_the_triggers_deadline_is_its_timeout() -> None:
    event = Outcome(ending=Ending.TIMED_OUT, batch_id="b", message="too late").to_event()
    with pytest.raises(AirflowSensorTimeout, match="too late"):
        sensor("b").execute_complete(context(), event)
    with pytest.raises(AirflowSkipException, match="too late"):
        sensor("b", soft_fail=True).execute_complete(context(), event)


def test_a_lost_trigger_gets_a_last_look_at_the_batch(emulator: Emulator) -> None:
    batch_id = submit(emulator, goes_on=True)
    waiting, ctx = sensor(batch_id), context()
    with pytest.raises(TaskDeferred):
        waiting.execute(ctx)
    lost = {"error": TRIGGER_TIMED_OUT}
    with pytest.raises(AirflowSensorTimeout):
        waiting.resume_execution(TRIGGER_FAILED, dict(lost), ctx)

    emulator.end_all()
    assert waiting.resume_execution(TRIGGER_FAILED, dict(lost), ctx) == batch_id
