"""What a task knows of its earlier tries, from Airflow's context.

From Airflow 3.3 on, the task state store knows. Where it may have lost what it knew, batches are looked for in the
API's list, from the time given here as `since`:

| task                                                    | `since`                                          |
|---------------------------------------------------------|--------------------------------------------------|
| first try                                               | none: nothing can have been sent                 |
| first try of a mapped task in a run that was cleared    | the run's time: its item may have moved          |
| later try                                               | the run's start                                  |
| later try in a run that was cleared                     | the run's time: its start is that of the clear   |
| later try below Airflow 3.3                             | the run's start                                  |
| later try in a run that was cleared, below Airflow 3.3  | none                                             |
| resumed below 3.3, after waiting for what may be ours   | the run's start                                  |

Below 3.3 a cleared task submits anew: without a store nobody can say whether its prompts are still the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_batches.submission.receipt import StateStore

RECEIPT: Final = "receipt"
"""The XCom key of what was sent."""
NO_STORE: Final = (
    "This Airflow has no task state store (3.3 has one). A retry of this task has to find its batch in the API's list, "
    "by time, size and custom_ids, and only once it has ended; a cleared task submits, and pays for, another one"
)


class EarlierTries(TypedDict):
    """Arguments of `submit`."""

    store: StateStore | None
    since: datetime | None
    mapped: bool
    others: Callable[[str], Collection[str]]


def earlier_tries(context: Context, *, resumed: bool = False) -> EarlierTries:
    """What to tell `submit`; `resumed` says that this try has waited for a batch that may be its own."""
    store = context.get("task_state_store")
    return {
        "store": store,
        "since": _since(context, stored=store is not None, resumed=resumed),
        "mapped": _is_mapped(context),
        "others": lambda fingerprint: _known_as_anothers(context, fingerprint),
    }


def _since(context: Context, *, stored: bool, resumed: bool) -> datetime | None:
    ti, run = context["ti"], context.get("dag_run")
    if run is None:
        return None
    started = run.start_date or run.run_after
    if not stored:
        return started if resumed or (ti.try_number > 1 and not run.clear_number) else None
    if run.clear_number:
        return run.run_after if ti.try_number > 1 or _is_mapped(context) else None
    return started if ti.try_number > 1 else None


def _is_mapped(context: Context) -> bool:
    index = context["ti"].map_index
    return index is not None and index >= 0


def _known_as_anothers(context: Context, fingerprint: str) -> set[str]:
    """Batches that other tasks of this run have published, and items of this task with other requests."""
    from airflow_batches.submission.receipt import Receipt

    own = context["ti"].task_id
    pulled = {task: context["ti"].xcom_pull(task_ids=[task], key=RECEIPT) or () for task in _submitting_tasks(context)}
    receipts = [(task, Receipt.from_dict(value)) for task, values in pulled.items() for value in values if value]
    return {receipt.batch_id for task, receipt in receipts if task != own or receipt.fingerprint != fingerprint}


def _submitting_tasks(context: Context) -> list[str]:
    from airflow_batches.operators.submit import MessageBatchSubmitOperator

    tasks: list[Any] = context["dag"].tasks
    return [task.task_id for task in tasks if issubclass(_operator_class(task), MessageBatchSubmitOperator)]


def _operator_class(task: Any) -> type:
    """A mapped task only names the class of its operators."""
    return task.operator_class if isinstance(getattr(task, "operator_class", None), type) else type(task)
