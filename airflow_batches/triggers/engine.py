"""Import what a wait needs in a thread.

Requests and pydantic take half a second (`benchmarks.waiting`), in which no trigger would run on the event loop.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Final

MODULES: Final = ("airflow_batches.waiting.hub", "airflow_batches.hooks.connection")

_loaded = False


async def load() -> None:
    """Import the modules in a thread; return at once if that was done before."""
    global _loaded
    if not _loaded:
        await asyncio.to_thread(lambda: [import_module(name) for name in MODULES])
        _loaded = True
