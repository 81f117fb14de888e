"""Preparing a wait in the triggerer: imports in a thread, a look-up that is never cut short, a short read timeout."""

from __future__ import annotations

import asyncio
import threading

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


def test_a_server_that_sends_no_byte_fails_the_call(emulator: Emulator, connection: str) -> None:
    """The hook's own timeout, ten minutes, suits results; a poll would miss its deadline."""
    assert module.READ_TIMEOUT <= 60
    emulator.fault(Fault(endpoint="list", action="stall", seconds=3600.0))
    with asyncio.run(connect(connection, retry=ONCE, longest_read=0.2)) as client, pytest.raises(TransportError):
        client.list(limit=1)


def test_a_connection_that_cannot_be_looked_up_is_named_without_its_backends_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        LookUp(monkeypatch, RuntimeError("the vault does not take the token s.1234")).may_answer.set()
        with pytest.raises(InvalidRequest, match=r"'c' cannot be looked up: RuntimeError$"):
            await connect("c")

    asyncio.run(main())


def test_the_engine_is_imported_once_and_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[tuple[str, bool]] = []

    def import_module(name: str) -> None:
        imported.append((name, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(module, "_loaded", False)
    monkeypatch.setattr(module, "import_module", import_module)

    async def main() -> None:
        await module.load()
        await module.load()

    asyncio.run(main())
    assert imported == [(name, False) for name in module.MODULES]
