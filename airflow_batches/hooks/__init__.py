"""The Airflow connection to the API.

Operators and triggers ask `MessageBatchesHook` (`message_batches`) for a client. It reads the connection from Airflow.
`client_for` (`connection`) checks the connection's fields, also those of Airflow's official Anthropic provider, and
makes a `BatchesClient` from them. A wrong field raises `InvalidRequest` with the connection's id. The connection form
is in `airflow_batches.provider`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.hooks.message_batches import MessageBatchesHook as MessageBatchesHook

_MODULES = {"MessageBatchesHook": "message_batches"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
