"""An emulator as the waits over one connection see it, and what their tests share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from airflow_batches.api import BatchesClient
from airflow_batches.api.polling import Watch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator
from airflow_batches.waiting.async_wait import wait_async
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.settings import PollSettings
from tests.eventually import until
from tests.samples import some_requests

INTERVAL = 0.05
FAST = PollSettings(first_poll_s=0.02, min_gap_s=0.01, list_pause_s=0.15, max_backoff_s=0.05, deadline_grace_s=0.5)
"""The usual times, a hundred times shorter or more."""


class Service:
    """An emulator as a connection sees it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.key = emulator.api_key
        self.settings = FAST
        self.opened: list[BatchesClient] = []
        self.closed: list[BatchesClient] = []

    async def connect(self) -> BatchesClient:
        service = self

        class Client(BatchesClient):
            def close(self) -> None:
                service.closed.append(self)
                super().close()

        self.opened.append(Client(self.key, base_url=self.emulator.url, retry=ONCE, timeout=5.0))
        return self.opened[-1]

    def submit(self, count: int = 1) -> list[str]:
        with BatchesClient(self.emulator.api_key, base_url=self.emulator.url) as client:
            return [client.create(some_requests(1)).id for _ in range(count)]

    def polls(self) -> int:
        counters = self.emulator.counters
        return counters["get"] + counters["list"]

    def wait(self, batch_id: str, *, timeout: float | None = 30.0, **options: Any) -> Coroutine[Any, Any, Outcome]:
        """Wait for a batch; the options are those of `wait_async` and of `Watch`."""
        now = time.time()
        watch = Watch(
            batch_id=batch_id,
            deadline=None if timeout is None else now + timeout,
            **{"since": now, **{name: options.pop(name) for name in WATCH_OPTIONS & options.keys()}},
        )
        given: dict[str, Any] = {
            "poll_interval": INTERVAL,
            "connect": self.connect,
            "on_answer": lambda _: None,
            "settings": self.settings,
            **options,
        }
        return wait_async("conn", watch=watch, **given)


WATCH_OPTIONS = {"since", "refusal_grace", "missing_grace"}


async def then(condition: Callable[[], bool], act: Callable[[], object], *waits: Awaitable[Outcome]) -> list[Outcome]:
    """Wait for all; when the condition holds, act."""

    async def acting() -> None:
        await until(condition)
        await asyncio.to_thread(act)

    actor = asyncio.create_task(acting())
    outcomes = await asyncio.gather(*waits)
    await actor
    return list(outcomes)


def endings(outcomes: list[Outcome]) -> set[Ending]:
    return {outcome.ending for outcome in outcomes}


async def gather(*waits: Awaitable[Outcome]) -> list[Outcome]:
    """`asyncio.run` wants a coroutine."""
    return list(await asyncio.gather(*waits))
