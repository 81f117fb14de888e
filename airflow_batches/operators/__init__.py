"""Operators: run a job; plan, submit, land, cancel and delete batches.

The journey of a batch, file by file:
1. `plan` cuts a large source into shards, one for each mapped submit task.
2. `submit` hands its requests (`requests`, `stores`) and what earlier tries did (`tries`) to `submission`, which sends
   them once. `searching` defers while it is unknown whether a batch exists. `kill` cancels the batch if a person ends
   the task.
3. `waiting`, which the sensor shares, polls once, then defers to a trigger or blocks; `conclusion` judges the outcome.
4. `results` lands the batch with `landing`. `cancel` and `delete` make one call each.
5. `job` does all of it in one task; `job_run` runs the engine of `jobs`, and defers until it can go on.
6. `failures` turns permanent errors into `AirflowFailException`; `links` leads from a task to the Console.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.operators.cancel import MessageBatchCancelOperator as MessageBatchCancelOperator
    from airflow_batches.operators.delete import MessageBatchDeleteOperator as MessageBatchDeleteOperator
    from airflow_batches.operators.job import MessageBatchJobOperator as MessageBatchJobOperator
    from airflow_batches.operators.plan import MessageBatchPlanOperator as MessageBatchPlanOperator
    from airflow_batches.operators.results import MessageBatchResultsOperator as MessageBatchResultsOperator
    from airflow_batches.operators.submit import MessageBatchSubmitOperator as MessageBatchSubmitOperator

_MODULES = {
    "MessageBatchCancelOperator": "cancel",
    "MessageBatchDeleteOperator": "delete",
    "MessageBatchJobOperator": "job",
    "MessageBatchPlanOperator": "plan",
    "MessageBatchResultsOperator": "results",
    "MessageBatchSubmitOperator": "submit",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
