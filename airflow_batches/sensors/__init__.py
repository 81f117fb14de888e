"""A sensor that waits for batches, whatever submitted them.

The journey of a sensor, file by file:
1. `message_batch.MessageBatchSensor` polls once and defers to `triggers.message_batch`; `operators.waiting` does both,
   as for the submit operator.
2. With `deferrable=False` it pokes instead: one poll with `waiting.wait`, more while the API refuses.
3. `waiting.policy` judges the outcome; the sensor raises what Airflow expects of a sensor (`soft_fail`, its timeout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.sensors.message_batch import MessageBatchSensor as MessageBatchSensor

_MODULES = {"MessageBatchSensor": "message_batch"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
