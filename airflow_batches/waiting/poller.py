"""Waiting on an event loop: the one decision, with a thread for each call so that the loop never blocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from airflow_batches.api.client import BatchesClient
from airflow_batches.waiting.decision import KeepWaiting, Watch, decide
from airflow_batches.waiting.outcome import Outcome
from airflow_batches.waiting.wait import ask

Connect = Callable[[], Awaitable[BatchesClient]]


async def wait_async(connect: Connect, watch: Watch, *, poll_interval: float) -> Outcome:
    """The outcome of a wait; `connect` gives a client, which is closed at the end."""
    client = await connect()
    try:
        while True:
            answer = await asyncio.to_thread(ask, client, watch.batch_id)
            decision = decide(watch, answer, now=time.time())
            if not isinstance(decision, KeepWaiting):
                return decision
            await asyncio.sleep(max(poll_interval, decision.retry_after or 0.0))
    finally:
        client.close()
