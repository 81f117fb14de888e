"""The calls over one connection: what a failure concerns, how long calls may take, and how failures slow the loop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from airflow_batches.api import BatchesClient, BatchesError, InvalidRequest
from airflow_batches.api.errors import ApiError, TransportError
from airflow_batches.api.polling import MAX_HINT_S
from airflow_batches.waiting.client import Outage, PollClient
from airflow_batches.waiting.paging import ListCall
from airflow_batches.waiting.settings import DEFAULTS
from tests.unit.waiting.service import FAST, Service

RESET = TransportError("reset", maybe_sent=True)


def test_the_pause_doubles_up_to_a_minute() -> None:
    outage = Outage("Polling", rand=lambda: 1.0)
    assert [outage.record(RESET, 0.0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert DEFAULTS.max_backoff_s == 60
    assert outage.record(None, 0.0) == 0
    assert outage.record(RESET, 0.0) == 1


def test_half_of_the_pause_is_random() -> None:
    assert Outage("Polling", rand=lambda: 0.0).record(RESET, 0.0) == 0.5


@pytest.mark.parametrize(("asked", "given"), [(30.0, 30.0), (0.1, 1.0), (86_400.0, MAX_HINT_S)])
def test_the_server_may_ask_for_a_longer_pause_within_limits(asked: float, given: float) -> None:
    error = ApiError(429, "rate_limit_error", "slowly", retry_after=asked)
    assert Outage("Polling", rand=lambda: 1.0).record(error, 0.0) == given


def test_the_beginning_and_the_end_of_an_outage_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("Polling")
    for second in range(5):
        outage.record(RESET, float(second))
    outage.record(None, 9.0)
    outage.record(None, 10.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "Polling fails and is retried: reset" in caplog.text
    assert "Polling works again after 9 s (5 failures)" in caplog.text


def test_a_connection_that_is_missing_now_and_then_is_not_given_up(service: Service) -> None:
    there = iter([False, True, False])

    async def connect() -> BatchesClient:
        if next(there):
            return await service.connect()
        raise InvalidRequest("connection 'conn' cannot be looked up")

    async def main() -> list[BatchesError | None]:
        client = PollClient("polls", connect, replace(FAST, connection_grace_s=0.05))
        shared = []
        for _ in range(3):
            shared.append((await client.call(ListCall())).shared)
            client.close()
            await asyncio.sleep(0.06)
        return shared

    assert [type(error) for error in asyncio.run(main())] == [TransportError, type(None), TransportError]


def test_a_client_that_is_closed_before_its_first_call_leaves_no_thread(service: Service) -> None:
    async def main() -> None:
        client = PollClient("polls", service.connect, FAST)
        client.close()
        assert (await client.call(ListCall())).shared is None
        client.close()

    asyncio.run(main())
    assert len(service.opened) == 1
