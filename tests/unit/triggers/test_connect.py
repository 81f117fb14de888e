"""From a trigger to a client: a look-up is never cut short, and no answer is waited for long."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow.sdk import BaseHook, Connection

from airflow_batches.api import InvalidRequest, TransportError
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.triggers import connect as module
from airflow_batches.triggers.connect import connect


class LookUp:
    """Airflow's look-up of a connection, which answers when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.answered = 0
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self._error = error
        monkeypatch.setattr(BaseHook, "aget_connection", self._look_up)

    async def _look_up(self, conn_id: str) -> Connection:
        self.asked.set()
        await self.may_answer.wait()
        self.answered += 1
        if self._error is not None:
            raise self._error
        return Connection(conn_id=conn_id, conn_type="anthropicbatches", password="sk-ant-1")


def test_a_look_up_is_answered_even_if_the_trigger_is_cancelled_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        look_up = LookUp(monkeypatch)
        connecting = asyncio.create_task(connect("c"))
        await look_up.asked.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        look_up.may_answer.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        assert look_up.answered == 1

    asyncio.run(main())


def test_a_server_that_sends_no_byte_is_given_up_after_a_while(
    emulator: Emulator, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook's own patience, ten minutes, suits results; a poll would miss its deadline."""
    assert module.READ_TIMEOUT <= 60
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.2)
    emulator.fault(Fault(endpoint="list", action="stall", seconds=5.0))
    began = time.monotonic()
    with asyncio.run(connect(connection, retry=ONCE)) as client, pytest.raises(TransportError):
        client.list(limit=1)
    assert time.monotonic() - began < 4


def test_a_connection_that_cannot_be_had_is_named_and_what_its_backend_said_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        LookUp(monkeypatch, RuntimeError("the vault does not take the token s.1234")).may_answer.set()
        with pytest.raises(InvalidRequest, match=r"'c' cannot be looked up: RuntimeError$"):
            await connect("c")

    asyncio.run(main())
