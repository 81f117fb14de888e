"""What a task knows about its earlier tries, from Airflow's context.

From Airflow 3.3 on, the task state store holds the task's record, which survives retries and clears. Before 3.3 there
is no record, and batches are searched for in the API's list:

| try, before Airflow 3.3                               | batches are searched for                               |
|-------------------------------------------------------|--------------------------------------------------------|
| the first                                             | not at all: none can have been sent                    |
| the first after a clear                               | not at all: without a record it is unknown whether the |
|                                                       | prompts are the same, so the task submits again        |
| a retry                                               | since the run's start                                  |
| resumed after waiting for a batch that may be its     | since the run's start                                  |

Before 3.3 a retry after `retries` was lowered in the DAG looks like the first try after a clear. From 3.3 on, if a
clear has emptied the store, the task submits again and the batch of the lost record is not canceled.

A clear raises a task's `max_tries`, a retry does not (`airflow.models.taskinstance.clear_task_instances`): this is how
a run that a person asked for is distinguished from a retry. Clearing a task while it runs on a worker does not raise
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

RECEIPT: Final = "receipt"
"""The XCom key of the submission's receipt."""
NO_STORE: Final = (
    "This Airflow has no task state store (3.3 has one). A retry of this task finds its batch in the API's list, by "
    "time, size and custom_ids, and only once it has ended. A cleared task submits, and pays for, another batch"
)


def started_at(context: Context, *, resumed: bool) -> datetime | None:
    """Return since when an earlier try may have sent a batch without a record.

    The time is of Airflow's clock.

    :param context: Airflow's context.
    :param resumed: whether this try has waited for a batch that may be its own.
    :return: None if no earlier try can have sent one.
    """
    run = context.get("dag_run")
    if run is None or context.get("task_state_store") is not None or (is_first(context) and not resumed):
        return None
    return run.start_date or run.run_after


def known_batches(context: Context) -> set[str]:
    """Return the batches in the receipts of the run's other tasks and mapped items.

    The receipt of this task is left out: an earlier try that was stopped may have pushed it late.
    """
    ti: Any = context["ti"]
    pulled = (ti.xcom_pull(task_ids=[task_id], key=RECEIPT) or () for task_id in _submitting_tasks(context))
    own = ti.xcom_pull(task_ids=ti.task_id, key=RECEIPT, map_indexes=ti.map_index)
    return {receipt["batch_id"] for receipts in pulled for receipt in receipts if receipt and receipt != own}


def is_first(context: Context) -> bool:
    """Whether this is the first try in the run, or the first after the task was cleared."""
    ti: Any = context["ti"]
    return bool(ti.try_number == ti.max_tries - (ti.task.retries or 0) + 1)


def _submitting_tasks(context: Context) -> list[str]:
    return [task.task_id for task in context["dag"].tasks if getattr(_operator_class(task), "submits_batches", False)]


def _operator_class(task: Any) -> type:
    """Return the class of a task's operator; a mapped task only refers to it."""
    return task.operator_class if isinstance(getattr(task, "operator_class", None), type) else type(task)
