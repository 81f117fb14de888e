"""Prepare a wait in the triggerer: import the engine in a thread, and make an API client.

Requests and pydantic take half a second to import (`benchmarks.waiting`), in which no trigger would run on the event
loop.

The connection is looked up on the event loop, and the look-up is never cancelled. Before Airflow 3.2 a cancelled
look-up leaves its answer unread, which ends the triggerer. The shield prevents that.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, RetryPolicy

READ_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a call fails, unless the connection says less. Chosen: the default poll interval,
after which the next poll is due anyway."""

MODULES: Final = ("airflow_batches.waiting.async_wait", "airflow_batches.hooks.connection")

_loaded = False


async def load() -> None:
    """Import the modules in a thread; return at once if that was done before."""
    global _loaded
    if not _loaded:
        await asyncio.to_thread(lambda: [import_module(name) for name in MODULES])
        _loaded = True


async def connect(
    conn_id: str, *, retry: RetryPolicy | None = None, longest_read: float = READ_TIMEOUT
) -> BatchesClient:
    """Make a client for a connection.

    :param conn_id: the connection.
    :param retry: the client's retries; the default ones by default.
    :param longest_read: seconds without a byte after which a call fails, unless the connection says less.
    :raises InvalidRequest: the connection is wrong or cannot be looked up.
    """
    from airflow.sdk import BaseHook

    from airflow_batches.api import InvalidRequest
    from airflow_batches.hooks.connection import client_for

    look_up = asyncio.ensure_future(BaseHook.aget_connection(conn_id))
    try:
        connection = await asyncio.shield(look_up)
    except Exception as exc:  # Airflow's "not found" error moved between versions, and backends raise anything
        raise InvalidRequest(f"connection {conn_id!r} cannot be looked up: {type(exc).__name__}") from exc
    return client_for(connection, retry=retry, longest_read=longest_read)
