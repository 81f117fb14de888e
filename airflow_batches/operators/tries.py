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

In a run that was cleared, a mapped item may lie at another position than before, and each position can read its own
store alone. So each publishes what it is about to remember (XCom `remembered`), and when a try begins, which removes
that, what it remembers then (XCom `displaced`): the item's new position finds its batch in one or the other.

Below 3.3 a cleared task submits anew: without a store nobody can say whether its prompts are still the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_batches.submission.receipt import Record, StateStore

RECEIPT: Final = "receipt"
"""The XCom key of what was sent."""
REMEMBERED: Final = "remembered"
"""The XCom key of what a position of a mapped task remembers."""
DISPLACED: Final = "displaced"
"""The XCom key of what it remembered when its try began, which may be another position's by now."""
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
    elsewhere: Callable[[str], Record | None] | None


def earlier_tries(context: Context, *, resumed: bool = False) -> EarlierTries:
    """What to tell `submit`; `resumed` says that this try has waited for a batch that may be its own."""
    store = context.get("task_state_store")
    return {
        "store": _Publishing(store, context["ti"]) if store is not None and _is_mapped(context) else store,
        "since": _since(context, stored=store is not None, resumed=resumed),
        "mapped": _is_mapped(context),
        "others": lambda fingerprint: _known_as_anothers(context, fingerprint),
        "elsewhere": partial(_remembered, context) if store is not None and _may_have_moved(context) else None,
    }


def publish_displaced(context: Context) -> None:
    """Tell the other positions of a mapped task what this one remembers; to be done before anything else."""
    from airflow_batches.submission.receipt import Memory, to_plain

    store = context.get("task_state_store")
    if store is not None and _is_mapped(context) and (record := Memory(store).read()):
        context["ti"].xcom_push(key=DISPLACED, value=to_plain(record))


class _Publishing:
    """The store of one position of a mapped task. It publishes first: what it remembers is never unknown to others."""

    def __init__(self, store: StateStore, ti: Any) -> None:
        self._store = store
        self._ti = ti

    def get(self, key: str) -> Any:
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        self._ti.xcom_push(key=REMEMBERED, value=value)
        self._store.set(key, value)


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


def _may_have_moved(context: Context) -> bool:
    run = context.get("dag_run")
    return run is not None and bool(run.clear_number) and _is_mapped(context)


def _is_mapped(context: Context) -> bool:
    index = context["ti"].map_index
    return index is not None and index >= 0


def _remembered(context: Context, fingerprint: str) -> Record | None:
    """What any position of this task has published of these requests."""
    from airflow_batches.submission.receipt import fingerprint_of, from_plain

    own = context["ti"].task_id
    values = [*_published(context, own, REMEMBERED), *_published(context, own, DISPLACED)]
    return next((record for record in map(from_plain, values) if fingerprint_of(record) == fingerprint), None)


def _published(context: Context, task_id: str, key: str) -> list[Any]:
    """What all positions of a task have published under a key."""
    return [value for value in context["ti"].xcom_pull(task_ids=[task_id], key=key) or () if value]


def _known_as_anothers(context: Context, fingerprint: str) -> set[str]:
    """Batches that other tasks of this run have published, and items of this task with other requests."""
    from airflow_batches.submission.receipt import Receipt

    own = context["ti"].task_id
    tasks = _submitting_tasks(context)
    receipts = [(task, Receipt.from_dict(value)) for task in tasks for value in _published(context, task, RECEIPT)]
    return {receipt.batch_id for task, receipt in receipts if task != own or receipt.fingerprint != fingerprint}


def _submitting_tasks(context: Context) -> list[str]:
    from airflow_batches.operators.submit import MessageBatchSubmitOperator

    tasks: list[Any] = context["dag"].tasks
    return [task.task_id for task in tasks if issubclass(_operator_class(task), MessageBatchSubmitOperator)]


def _operator_class(task: Any) -> type:
    """A mapped task only names the class of its operators."""
    return task.operator_class if isinstance(getattr(task, "operator_class", None), type) else type(task)
