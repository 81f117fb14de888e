"""Waiting without a worker slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.triggers.batch_ended import MessageBatchEndedTrigger as MessageBatchEndedTrigger
    from airflow_batches.triggers.message_batch import MessageBatchTrigger as MessageBatchTrigger

_MODULES = {"MessageBatchEndedTrigger": "batch_ended", "MessageBatchTrigger": "message_batch"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
