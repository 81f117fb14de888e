"""From a trigger to an API client: the connection is looked up on the event loop, and never cut short.

Before Airflow 3.2 a cancelled look-up leaves its answer unread, which ends the triggerer. The shield prevents that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, RetryPolicy

READ_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a small answer is given up, unless the connection says less."""


async def connect(conn_id: str, *, retry: RetryPolicy | None = None) -> BatchesClient:
    """A new client for a connection. Raises `InvalidRequest` when it is wrong or cannot be had."""
    from airflow.sdk import BaseHook

    from airflow_batches.api import InvalidRequest
    from airflow_batches.hooks.message_batches import client_for

    look_up = asyncio.ensure_future(BaseHook.aget_connection(conn_id))
    try:
        connection = await asyncio.shield(look_up)
    except Exception as exc:  # Airflow's own type of "not found" moved between versions, backends raise anything
        raise InvalidRequest(f"connection {conn_id!r} cannot be looked up: {type(exc).__name__}") from exc
    return client_for(connection, retry=retry, longest_read=READ_TIMEOUT)
