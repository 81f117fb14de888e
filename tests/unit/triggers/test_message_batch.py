"""The trigger of a deferred wait: what it stores, when it fires, and what it logs meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.triggers import MessageBatchTrigger
from airflow_batches.waiting.outcome import Ending, Outcome
from tests.airflows import through_the_database
from tests.eventually import until
from tests.samples import some_requests
from tests.unit.triggers.quick import FAST, QuickTrigger, waiting_for

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, retry_after=0) as running:
        yield running


def submit(emulator: Emulator, count: int = 2) -> str:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(count)).id


async def events(trigger: MessageBatchTrigger) -> list[TriggerEvent]:
    return [event async for event in trigger.run()]


def outcome(trigger: MessageBatchTrigger) -> Outcome:
    """What it fires, once."""
    (event,) = asyncio.run(events(trigger))
    return Outcome.from_event(json.loads(json.dumps(event.payload)))


def test_nothing_fires_in_the_first_seconds(emulator: Emulator) -> None:
    """Not a timing: the batch has ended before, and the trigger sleeps for that long in any case."""
    assert MessageBatchTrigger.QUIET_S == 10.0
    batch_id = submit(emulator)
    emulator.end_all()
    trigger = waiting_for(batch_id)
    trigger.QUIET_S = 0.5  # type: ignore[misc]  # of this one
    began = time.monotonic()
    assert outcome(trigger).ending is Ending.ENDED
    assert time.monotonic() - began >= 0.5


def test_a_trigger_that_fails_does_not_fire_sooner_either() -> None:
    """To Airflow, a trigger that raises has fired: the same race, lost by a bug of ours."""

    class Broken(QuickTrigger):
        async def payload(self) -> dict[str, Any]:
            raise LookupError("a bug in here")

    began = time.monotonic()
    with pytest.raises(LookupError, match="a bug in here"):
        asyncio.run(events(Broken(conn_id="anthropic_default", batch_id="msgbatch_1")))
    assert time.monotonic() - began >= Broken.QUIET_S


def test_it_fires_once_with_the_outcome(emulator: Emulator) -> None:
    batch_id = submit(emulator)
    emulator.end_all()
    end = outcome(waiting_for(batch_id))
    assert (end.batch_id, end.ending, end.status, end.counts.succeeded) == (batch_id, Ending.ENDED, "ended", 2)


def test_it_fires_at_the_deadline_and_leaves_the_batch_alone(emulator: Emulator) -> None:
    end = outcome(waiting_for(submit(emulator), since=time.time(), deadline=time.time() + 0.2))
    assert (end.ending, end.counts.processing) == (Ending.TIMED_OUT, 2)
    assert emulator.counters["cancel"] == 0


def test_it_gives_up_on_a_batch_that_stays_missing(emulator: Emulator) -> None:
    end = outcome(waiting_for("msgbatch_01unknown", since=time.time() - 3600))
    assert end.ending is Ending.GAVE_UP
    assert "404" in end.message


def test_without_a_beginning_in_its_kwargs_the_wait_begins_now(emulator: Emulator) -> None:
    """So a batch that is not there yet may still be fresh."""
    trigger = waiting_for("msgbatch_01unknown", deadline=time.time() + 0.3)
    trigger.grace = timedelta(seconds=60)
    end = outcome(trigger)
    assert end.ending is Ending.TIMED_OUT


def test_a_missing_connection_ends_the_wait_and_names_no_secret(emulator: Emulator) -> None:
    end = outcome(waiting_for("msgbatch_1", conn_id="nowhere", settings=replace(FAST, connection_grace_s=0.0)))
    assert end.ending is Ending.GAVE_UP
    assert "nowhere" in end.message


def test_its_kwargs_are_plain_json_without_a_secret(emulator: Emulator) -> None:
    _, kwargs = waiting_for("msgbatch_1", since=1.5, deadline=2.5).serialize()
    assert kwargs == {
        "conn_id": "anthropic_default",
        "batch_id": "msgbatch_1",
        "poll_interval": 0.05,
        "since": 1.5,
        "deadline": 2.5,
        "cancel_on_kill": True,
    }
    assert emulator.api_key not in json.dumps(kwargs)


def test_it_survives_the_way_through_airflows_database() -> None:
    trigger = MessageBatchTrigger(conn_id="c", batch_id="b", since=1.5, deadline=2.5, cancel_on_kill=False)
    path, kwargs = trigger.serialize()
    read = through_the_database(path, kwargs)
    assert path == "airflow_batches.triggers.message_batch.MessageBatchTrigger"
    assert MessageBatchTrigger(**read).serialize() == (path, kwargs)


def test_it_takes_the_kwargs_of_an_older_and_of_a_newer_version() -> None:
    older = MessageBatchTrigger(conn_id="c", batch_id="b")
    newer = MessageBatchTrigger(conn_id="c", batch_id="b", shard=3)
    assert older.serialize() == newer.serialize()


def test_it_logs_changes_of_the_batch(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    batch_id = submit(emulator)

    async def main() -> None:
        firing = asyncio.create_task(events(waiting_for(batch_id, settings=replace(FAST, min_line_gap_s=0.0))))
        for status in ("in_progress", "canceling"):
            await until(lambda status=status: f"{batch_id} is {status}" in caplog.text)  # type: ignore[misc]
            polls = emulator.counters["get"]
            await until(lambda polls=polls: emulator.counters["get"] >= polls + 3)  # type: ignore[misc]
            with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
                await asyncio.to_thread(client.cancel, batch_id)
        emulator.end_all()
        await firing

    emulator.configure(cancel_time=3600.0)
    asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records if f"Batch {batch_id} is" in record.getMessage()]
    assert [line.split(";")[0] for line in lines] == [
        f"Batch {batch_id} is in_progress: 2 processing",
        f"Batch {batch_id} is canceling: 2 processing",
    ]
    assert "0 min old, expires in 24 h 00 min" in lines[0]


def test_its_metrics_go_to_airflow(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: set[str] = set()

    class Stats:
        def __getattr__(self, kind: str) -> Callable[..., None]:
            return lambda name, *_, **__: counted.add(f"{kind} {name}")

    monkeypatch.setattr("airflow_batches._compat.triggerer_stats", Stats)
    batch_id = submit(emulator)
    emulator.end_all()
    outcome(waiting_for(batch_id))
    assert counted == {
        "gauge airflow_batches.waiting",
        "incr airflow_batches.polls",
        "incr airflow_batches.ended",
        "timing airflow_batches.wait_time",
    }


OFTEN = replace(FAST, min_line_gap_s=0.05, heartbeat_s=0.1)
"""Heartbeats after a tenth of a second instead of a quarter of an hour."""


def logged_until(trigger: MessageBatchTrigger, caplog: pytest.LogCaptureFixture, text: str, times: int) -> list[str]:
    """Return what the trigger logs until a text has appeared so often; then cancel it."""

    async def main() -> None:
        firing = asyncio.create_task(events(trigger))
        await until(lambda: caplog.text.count(text) >= times)
        firing.cancel()

    asyncio.run(main())
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_a_batch_that_does_not_change_is_logged_at_each_heartbeat(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    batch_id = submit(emulator)
    waiting = waiting_for(batch_id, settings=OFTEN, cancel_on_kill=False)
    lines = logged_until(waiting, caplog, f"Batch {batch_id} is in_progress", 3)
    assert all("2 processing; 0 min old, expires in 24 h 00 min" in line for line in lines)


@pytest.mark.parametrize("action", ["reset", "broken_json"])
def test_an_outage_shows_in_the_tasks_own_log(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    caplog.set_level(logging.INFO)
    batch_id = submit(emulator)
    emulator.fault(Fault(endpoint="get", action=action, times=None))
    logged_until(waiting_for(batch_id, settings=OFTEN, cancel_on_kill=False), caplog, "polls fail; last error", 2)
    records = [record for record in caplog.records if "polls fail" in record.getMessage()]
    assert {record.name for record in records} == {"airflow_batches.triggers.base"}
    assert "last successful poll: none since this wait began" in records[0].getMessage()


def test_a_server_that_does_not_answer_at_all_shows_in_the_tasks_own_log(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    batch_id = submit(emulator)
    emulator.fault(Fault(endpoint="get", action="stall", times=None, seconds=3600))
    logged_until(waiting_for(batch_id, settings=OFTEN, cancel_on_kill=False), caplog, "no answer yet", 2)


def test_the_poll_interval_may_be_a_timedelta() -> None:
    _, kwargs = waiting_for("msgbatch_1", poll_interval=timedelta(minutes=2)).serialize()
    assert kwargs["poll_interval"] == 120.0
    with pytest.raises(ValueError, match="more than 0 seconds"):
        waiting_for("msgbatch_1", poll_interval=0)


def test_the_key_is_nowhere_but_in_the_request(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    emulator.configure(denied=("get",))
    trigger = waiting_for(submit(emulator))
    assert outcome(trigger).ending is Ending.GAVE_UP
    for text in (caplog.text, repr(trigger), repr(vars(trigger))):
        assert emulator.api_key not in text
