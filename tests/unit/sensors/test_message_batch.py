"""Waiting for any batch: in the triggerer, in a worker, and in a worker again and again."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import requests_mock
from airflow.sdk import Context, PokeReturnValue

from airflow_batches._compat import (
    TRIGGER_FAILED,
    TRIGGER_TIMED_OUT,
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_batches.api import BatchesClient
from airflow_batches.api.polling import Watch
from airflow_batches.emulator import Emulator, Fault
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
POKING = MODES[1:]


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
def test_a_failure_names_the_commonest_errors_and_the_way_to_the_lines(
    mode: dict[str, Any], emulator: Emulator
) -> None:
    emulator.configure(errored_share=1.0, errored_message="Your credit balance is too low")
    batch_id = submit(emulator)
    with pytest.raises(AirflowFailException) as caught:
        sensor(batch_id, **mode).execute(context())
    assert "The commonest errors: 2 x api_error: Your credit balance is too low" in str(caught.value)
    assert f"`airflow-batches land {batch_id} PATH`" in str(caught.value)


class QuickSensor(MessageBatchSensor):
    """Believes a refusal or a 404 after a fifth of a second instead of minutes."""

    def _watch(self, batch_id: str) -> Watch:
        grace = timedelta(seconds=0.2)
        return replace(super()._watch(batch_id), refusal_grace=grace, missing_grace=grace)


@pytest.mark.parametrize("mode", POKING)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_stands_fails_it_and_a_retry_may_help(
    status: int, mode: dict[str, Any], emulator: Emulator
) -> None:
    batch_id = submit(emulator)
    emulator.fault(Fault(endpoint="get", action="status", status=status, times=None))
    with pytest.raises(
        AirflowException, match=rf"could not be polled: .*: {status} .*a retry of this task waits"
    ) as caught:
        QuickSensor(task_id="task", batch_id=batch_id, poke_interval=0.05, **mode).execute(context())
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("mode", POKING)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusals_that_pass_do_not_fail_it(status: int, mode: dict[str, Any], emulator: Emulator) -> None:
    batch_id = submit(emulator)
    emulator.fault(Fault(endpoint="get", action="status", status=status, times=4))
    assert sensor(batch_id, **mode).execute(context()) == batch_id


@pytest.mark.parametrize("status", [401, 403, 404])
def test_in_the_triggerer_a_refusal_of_the_first_poll_ends_nothing(status: int, emulator: Emulator) -> None:
    batch_id = submit(emulator)
    emulator.fault(Fault(endpoint="get", action="status", status=status))
    with pytest.raises(TaskDeferred):
        sensor(batch_id).execute(context())


@pytest.mark.parametrize("mode", MODES)
def test_a_first_poll_that_reaches_no_api_fails_it_and_names_connection_and_address(
    mode: dict[str, Any], emulator: Emulator
) -> None:
    with requests_mock.Mocker() as http:
        http.get(f"{emulator.url}/v1/messages/batches/msgbatch_1", text="<html>Please log in</html>")
        with pytest.raises(AirflowException) as caught:
            sensor("msgbatch_1", **mode).execute(context())
    assert f"Connection 'anthropic_default' ({emulator.url}): the API was not reached" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_later_poke_waits_out_what_is_not_the_api(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    waiting = sensor("msgbatch_1", deferrable=False, mode="reschedule", poke_interval=60)
    with requests_mock.Mocker() as http:
        http.get(f"{emulator.url}/v1/messages/batches/msgbatch_1", status_code=403, text="<html>Blocked</html>")
        with pytest.raises(AirflowRescheduleException):
            waiting.execute(context(datetime.now(UTC) - timedelta(hours=1)))
    assert re.search("polls fail; last error: .*: 403", caplog.text)


def test_a_poking_sensor_says_how_the_batch_goes_on(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    batch_id = submit(emulator, goes_on=True)
    with pytest.raises(AirflowSensorTimeout):
        sensor(batch_id, deferrable=False, timeout=0.2).execute(context())
    assert caplog.text.count(f"Batch {batch_id} is in_progress: 2 processing") == 1


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
