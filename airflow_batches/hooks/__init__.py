"""The connection to the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.hooks.message_batches import MessageBatchesHook as MessageBatchesHook

_MODULES = {"MessageBatchesHook": "message_batches"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
