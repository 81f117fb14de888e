"""The engine is loaded once, and not on the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_batches.triggers import engine


def test_it_is_imported_once_and_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[tuple[str, bool]] = []

    def import_module(name: str) -> None:
        imported.append((name, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(engine, "_loaded", False)
    monkeypatch.setattr(engine, "import_module", import_module)

    async def main() -> None:
        await engine.load()
        await engine.load()

    asyncio.run(main())
    assert imported == [(name, False) for name in engine.MODULES]
