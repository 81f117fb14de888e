"""The engine, loaded off the event loop: requests and pydantic take half a second, in which no trigger would run."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Final

MODULES: Final = ("airflow_batches.waiting.hub", "airflow_batches.hooks.message_batches")

_loaded = False


async def load() -> None:
    """Import the engine; at once when that has been done before."""
    global _loaded
    if not _loaded:
        await asyncio.to_thread(lambda: [import_module(name) for name in MODULES])
        _loaded = True
