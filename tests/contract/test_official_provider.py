"""The official provider's operator and trigger work against the emulator, and with our connection's fields."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator
from airflow.providers.anthropic.triggers.batch import AnthropicBatchTrigger

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.hooks import MessageBatchesHook
from tests.contexts import context
from tests.samples import some_requests


@pytest.fixture
def official(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection of the official provider's type."""
    fields = {"conn_type": "anthropic", "password": emulator.api_key, "host": emulator.url}
    monkeypatch.setenv("AIRFLOW_CONN_OFFICIAL", json.dumps(fields))
    return "official"


async def first_event(trigger: AnthropicBatchTrigger) -> object:
    return (await anext(aiter(trigger.run()))).payload


def test_its_operator_submits_and_waits(emulator: Emulator, official: str) -> None:
    emulator.configure(processing_time=1.0, errored_share=0.3)
    operator = AnthropicBatchOperator(
        task_id="official", requests=some_requests(20), conn_id=official, deferrable=False, poll_interval=0.2
    )
    batch_id = operator.execute(context())
    (batch,) = emulator.batches()
    assert batch["id"] == batch_id
    assert batch["request_counts"]["errored"] > 0


def test_its_trigger_sees_the_end(emulator: Emulator, official: str) -> None:
    emulator.configure(processing_time=1.0)
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch_id = client.create(some_requests(2)).id
    trigger = AnthropicBatchTrigger(official, batch_id, poll_interval=0.2, end_time=time.time() + 60)
    event = asyncio.run(first_event(trigger))
    counts = {"succeeded": 2, "errored": 0, "canceled": 0, "expired": 0, "processing": 0}
    assert isinstance(event, dict)
    assert (event["status"], event["request_counts"]) == ("success", counts)


def test_our_hook_takes_its_connection_as_it_is(emulator: Emulator, official: str) -> None:
    assert MessageBatchesHook(official).test_connection() == (True, f"{emulator.url} accepts the key.")
