"""Triggers: wait in the triggerer, without a worker slot.

The journey of a wait, file by file:
1. Airflow starts `message_batch.MessageBatchTrigger` for a deferred task, or `message_batches.MessageBatchesTrigger`
   for one that waits for several batches (`job.JobTrigger` for a job's). `base` holds what they share.
2. `connect` imports what the wait needs in a thread, because that takes half a second, and makes a client for a
   connection.
3. `waiting.async_wait` shares the polls of all waits over one connection.
4. The trigger fires one event. If the task is ended by hand before that, it cancels the batches.
5. `batch_ended.MessageBatchEndedTrigger` is independent of tasks: it updates an asset when batches end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.triggers.batch_ended import MessageBatchEndedTrigger as MessageBatchEndedTrigger
    from airflow_batches.triggers.message_batch import MessageBatchTrigger as MessageBatchTrigger
    from airflow_batches.triggers.message_batches import MessageBatchesTrigger as MessageBatchesTrigger

_MODULES = {
    "MessageBatchEndedTrigger": "batch_ended",
    "MessageBatchTrigger": "message_batch",
    "MessageBatchesTrigger": "message_batches",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
