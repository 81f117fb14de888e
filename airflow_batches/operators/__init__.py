"""Plan, submit, land, cancel, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.operators.cancel import MessageBatchCancelOperator as MessageBatchCancelOperator
    from airflow_batches.operators.delete import MessageBatchDeleteOperator as MessageBatchDeleteOperator
    from airflow_batches.operators.plan import MessageBatchPlanOperator as MessageBatchPlanOperator
    from airflow_batches.operators.results import MessageBatchResultsOperator as MessageBatchResultsOperator
    from airflow_batches.operators.submit import MessageBatchSubmitOperator as MessageBatchSubmitOperator

_MODULES = {
    "MessageBatchCancelOperator": "cancel",
    "MessageBatchDeleteOperator": "delete",
    "MessageBatchPlanOperator": "plan",
    "MessageBatchResultsOperator": "results",
    "MessageBatchSubmitOperator": "submit",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
