"""The trigger that waits for several batches, or for a time."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.triggers import MessageBatchesTrigger
from tests.airflows import through_the_database
from tests.eventually import until
from tests.samples import some_requests
from tests.unit.triggers.quick import FAST, QuickBatchesTrigger
from tests.unit.triggers.supervisor import Supervisor, TaskInstance

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0, retry_after=0) as running:
        yield running


@pytest.fixture
def ids(emulator: Emulator) -> list[str]:
    """Three batches under way."""
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return [client.create(some_requests(2)).id for _ in range(3)]


def quick(batch_ids: list[str], **options: Any) -> QuickBatchesTrigger:
    return QuickBatchesTrigger(conn_id="anthropic_default", batch_ids=batch_ids, poll_interval=0.05, **options)


async def fired(trigger: MessageBatchesTrigger) -> list[dict[str, Any]]:
    events = [event async for event in trigger.run()]
    (payload,) = [json.loads(json.dumps(event.payload)) for event in events]
    outcomes: list[dict[str, Any]] = payload["outcomes"]
    return outcomes


def cancel(emulator: Emulator, batch_id: str) -> None:
    """End one batch, and let the others go on."""
    emulator.configure(cancel_time=0.0)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        client.cancel(batch_id)


def test_it_fires_when_the_first_batch_has_ended(emulator: Emulator, ids: list[str]) -> None:
    cancel(emulator, ids[1])
    (outcome,) = asyncio.run(fired(quick(ids)))
    assert (outcome["batch_id"], outcome["ending"]) == (ids[1], "ended")
    assert emulator.counters["cancel"] == 1, "the test's own"


def test_it_fires_when_all_batches_have_ended(emulator: Emulator, ids: list[str]) -> None:
    async def ending_one_by_one() -> list[dict[str, Any]]:
        waiting = asyncio.create_task(fired(quick(ids, until="all")))
        await asyncio.to_thread(cancel, emulator, ids[0])
        await until(lambda: emulator.counters["get"] > 6)
        assert not waiting.done()
        emulator.end_all()
        return await waiting

    assert [outcome["batch_id"] for outcome in asyncio.run(ending_one_by_one())] == ids


def test_it_wakes_at_its_time(ids: list[str]) -> None:
    assert asyncio.run(fired(quick(ids, wake_at=time.time() + 0.2))) == []
    assert asyncio.run(fired(quick([], wake_at=0.0))) == []


def test_a_batch_that_is_given_up_fires_too(emulator: Emulator, ids: list[str]) -> None:
    emulator.fault(Fault(endpoint="get", action="status", status=401, times=None))
    outcomes = asyncio.run(fired(quick(ids)))
    assert {outcome["ending"] for outcome in outcomes} == {"gave_up"}


def test_only_ids_and_times_are_stored(emulator: Emulator) -> None:
    trigger = MessageBatchesTrigger(conn_id="c", batch_ids=["a", "b"], until="all", wake_at=2.5, since=1.5)
    path, kwargs = trigger.serialize()
    assert path == "airflow_batches.triggers.message_batches.MessageBatchesTrigger"
    assert kwargs == {
        "conn_id": "c",
        "batch_ids": ["a", "b"],
        "until": "all",
        "wake_at": 2.5,
        "poll_interval": 60.0,
        "since": 1.5,
        "cancel_on_kill": True,
    }
    read = through_the_database(path, kwargs)
    assert MessageBatchesTrigger(**read, of_a_newer_version=1).serialize() == (path, kwargs)


def test_a_wait_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to wait for"):
        MessageBatchesTrigger(conn_id="c", batch_ids=[])
    with pytest.raises(ValueError, match="until"):
        MessageBatchesTrigger(conn_id="c", batch_ids=["a"], until="last")  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "cancels"), [("failed", 3), ("deferred", 0), ("running", 0), (None, 0)])
def test_a_kill_cancels_all_batches_only_if_the_task_is_over(
    state: str | None, cancels: int, emulator: Emulator, ids: list[str], supervisor: Supervisor
) -> None:
    supervisor.states = {"run": {"task": state}}
    trigger = quick(ids)
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]  # the stand-in's

    async def kill() -> None:
        await trigger.on_kill()

    asyncio.run(kill())
    assert emulator.counters["cancel"] == cancels
    assert [batch["processing_status"] for batch in emulator.batches()].count("canceling") == cancels


def test_each_cancel_that_is_not_confirmed_is_reported(
    emulator: Emulator, ids: list[str], supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    supervisor.states = {"run": {"task": "failed"}}
    emulator.configure(denied=("cancel",))
    trigger = quick(ids)
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]  # the stand-in's
    asyncio.run(trigger.on_kill())
    for batch_id in ids:
        assert f"no cancel of batch {batch_id} is confirmed" in caplog.text


def test_all_batches_have_one_line_and_a_heartbeat_in_the_log(ids: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.triggers")
    trigger = quick(ids)
    trigger.settings = replace(FAST, min_line_gap_s=0.0, heartbeat_s=0.1)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "airflow_batches.triggers.base"]

    async def waiting() -> list[str]:
        firing = asyncio.create_task(fired(trigger))
        await until(lambda: sum("6 processing; the oldest is 0 min old" in line for line in lines()) > 1)
        found = lines()  # before the end, about which Airflow 3.1 has a line of its own
        firing.cancel()
        await asyncio.gather(firing, return_exceptions=True)
        return found

    assert all(line.startswith("3 batches are under way") for line in asyncio.run(waiting()))


def test_a_batch_alone_is_named_in_the_log(ids: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.triggers")
    assert asyncio.run(fired(quick(ids[:1], wake_at=time.time() + 0.5))) == []
    assert f"Batch {ids[0]} is in_progress: 2 processing" in caplog.text
