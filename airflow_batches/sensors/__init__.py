"""Waiting for batches submitted elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.sensors.message_batch import MessageBatchSensor as MessageBatchSensor

_MODULES = {"MessageBatchSensor": "message_batch"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
