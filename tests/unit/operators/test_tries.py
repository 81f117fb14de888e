"""What a submit task knows of its earlier tries, and what it does when they left something unknown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_batches._compat import AirflowFailException
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.hooks import MessageBatchesHook
from airflow_batches.operators import MessageBatchSubmitOperator
from airflow_batches.operators.tries import earlier_tries, publish_displaced
from airflow_batches.submission import Receipt
from airflow_batches.submission.receipt import Begun, Intent, Memory, to_plain
from airflow_batches.triggers import MessageBatchTrigger
from tests.contexts import StateStore, TaskDeferred, TaskInstance, context
from tests.samples import some_requests

pytestmark = pytest.mark.usefixtures("connection")
STARTED, RUN_AFTER = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)


@dataclass
class Run:
    clear_number: int = 0
    start_date: datetime | None = STARTED
    run_after: datetime = RUN_AFTER


@pytest.mark.parametrize(
    ("try_number", "map_index", "clear_number", "stored", "since"),
    [
        (1, -1, 0, True, None),
        (1, 3, 0, True, None),
        (1, 3, 1, True, RUN_AFTER),
        (2, -1, 0, True, STARTED),
        (2, -1, 1, True, RUN_AFTER),
        (1, -1, 0, False, None),
        (2, -1, 0, False, STARTED),
        (2, -1, 1, False, None),
        (1, 3, 1, False, None),
    ],
)
def test_the_time_from_which_something_may_have_been_forgotten(
    try_number: int, map_index: int, clear_number: int, stored: bool, since: datetime | None
) -> None:
    ti = TaskInstance(try_number=try_number, map_index=map_index)
    ctx = context(dag_run=Run(clear_number), task_state_store=StateStore() if stored else None)
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the tests' stand-in
    tries = earlier_tries(ctx)
    assert (tries["since"], tries["mapped"]) == (since, map_index >= 0)


def test_a_try_without_a_store_that_has_waited_for_what_may_be_its_batch_looks_for_it() -> None:
    ctx = context(dag_run=Run(clear_number=1))
    assert earlier_tries(ctx, resumed=True)["since"] == STARTED


class PublishedReceipts(TaskInstance):
    """A task instance whose DAG has other submitting tasks."""

    def xcom_pull(self, task_ids: Any, key: str, map_indexes: Any = None) -> Any:
        return [value for task_id in task_ids for value in self.xcoms[f"{task_id}.{key}"]]


def test_what_other_tasks_and_items_have_published_is_not_ours() -> None:
    def receipt(batch_id: str, fingerprint: str) -> dict[str, Any]:
        values = {"requests": 1, "bytes": 1, "sha256": "", "ids_digest": ""}
        return Receipt(batch_id=batch_id, fingerprint=fingerprint, **values).to_dict()  # type: ignore[arg-type]

    with DAG("d") as dag:
        MessageBatchSubmitOperator(task_id="other", requests=[])
        MessageBatchSubmitOperator.partial(task_id="task").expand(requests=[[], []])
    published = {
        "other.receipt": [receipt("of another task", "ours")],
        "task.receipt": [receipt("of another item", "theirs"), receipt("may be ours", "ours"), None],
    }
    ctx = context(dag=dag)
    ctx["ti"] = PublishedReceipts(xcoms=published)  # type: ignore[typeddict-item]  # the tests' stand-in
    assert earlier_tries(ctx)["others"]("ours") == {"of another task", "of another item"}


def position(ti: TaskInstance, store: StateStore | None, *, cleared: bool = True) -> Any:
    ctx = context(dag_run=Run(int(cleared)), task_state_store=store)
    ctx["ti"] = ti  # type: ignore[typeddict-item]  # the tests' stand-in
    return ctx


INTENT = Intent(fingerprint="ours", requests=1, ids_digest="", since=STARTED, until=STARTED)


@pytest.mark.parametrize("key", ["remembered", "displaced"])
def test_an_item_that_moved_finds_what_another_position_has_published(key: str) -> None:
    published = {
        "task.remembered": [],
        "task.displaced": [],
        f"task.{key}": [to_plain(Begun()), None, to_plain(INTENT)],
    }
    ctx = position(PublishedReceipts(map_index=1, xcoms=published), StateStore())
    elsewhere = earlier_tries(ctx)["elsewhere"]
    assert elsewhere is not None
    assert (elsewhere("ours"), elsewhere("theirs")) == (INTENT, None)


@pytest.mark.parametrize(
    ("map_index", "store", "cleared"), [(-1, StateStore(), True), (1, None, True), (1, StateStore(), False)]
)
def test_what_cannot_have_moved_is_not_looked_for_elsewhere(
    map_index: int, store: StateStore | None, cleared: bool
) -> None:
    ctx = position(TaskInstance(map_index=map_index), store, cleared=cleared)
    assert earlier_tries(ctx)["elsewhere"] is None


@pytest.mark.parametrize("cleared", [True, False])
def test_only_a_position_that_remembers_something_publishes_it(cleared: bool) -> None:
    store = StateStore()
    ctx, alone = position(TaskInstance(map_index=1), store, cleared=cleared), position(TaskInstance(), store)
    publish_displaced(ctx)
    assert ctx["ti"].xcoms == {}
    Memory(store).write(INTENT)
    publish_displaced(ctx)
    publish_displaced(alone)
    assert (ctx["ti"].xcoms, alone["ti"].xcoms) == ({"displaced": to_plain(INTENT)}, {})


def test_a_position_publishes_what_it_remembers_before_it_is_stored() -> None:
    class Full(StateStore):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            raise OSError("the store is full")

    ctx = position(TaskInstance(map_index=1), Full(), cleared=False)
    store = earlier_tries(ctx)["store"]
    assert store is not None
    with pytest.raises(OSError, match="full"):
        Memory(store).write(INTENT)
    assert ctx["ti"].xcoms == {"remembered": to_plain(INTENT)}


def test_a_position_of_a_cleared_run_publishes_what_it_remembered_once(emulator: Emulator) -> None:
    store = StateStore()
    Memory(store).write(INTENT)
    ctx = position(TaskInstance(map_index=1), store)
    task = MessageBatchSubmitOperator(task_id="task", requests=[], conn_id="missing")
    with pytest.raises(Exception, match="missing"):
        task.execute(ctx)
    assert ctx["ti"].xcoms["displaced"] == to_plain(INTENT)
    ctx["ti"].xcoms.clear()
    with pytest.raises(Exception, match="missing"):
        task.execute_again(ctx)
    assert "displaced" not in ctx["ti"].xcoms


def lost(
    emulator: Emulator, store: StateStore | None = None, **options: Any
) -> tuple[MessageBatchSubmitOperator, Any, TaskDeferred]:
    """A task whose POST was accepted and never answered, deferred on what may be its batch."""
    emulator.configure(processing_time=3600.0)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), **options)
    with DAG("d") as dag:
        pass
    ctx = context(task_state_store=store, dag=dag, dag_run=Run(start_date=datetime.now(UTC)))
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(ctx)
    return task, ctx, deferred.value


def test_a_batch_that_may_be_ours_is_waited_for_and_never_canceled(emulator: Emulator) -> None:
    task, ctx, deferred = lost(emulator)
    (batch,) = emulator.batches()
    assert isinstance(deferred.trigger, MessageBatchTrigger)
    assert deferred.trigger.serialize()[1]["batch_id"] == batch["id"]
    assert deferred.trigger.serialize()[1]["cancel_on_kill"] is False
    assert "batch_id" not in ctx["ti"].xcoms
    task.on_kill()
    assert emulator.batches()[0]["cancel_initiated_at"] is None


@pytest.mark.parametrize("store", [StateStore(), None])
def test_once_it_has_ended_its_ids_tell_that_it_is_ours(emulator: Emulator, store: StateStore | None) -> None:
    task, ctx, deferred = lost(emulator, store)
    emulator.end_all()
    (batch,) = emulator.batches()
    assert getattr(task, deferred.method_name)(ctx, event={}) == batch["id"]
    assert ctx["ti"].xcoms["receipt"]["batch_id"] == batch["id"]
    assert len(emulator.batches()) == 1


@pytest.mark.parametrize("store", [StateStore(), None])
def test_without_deferral_the_worker_waits(emulator: Emulator, store: StateStore | None) -> None:
    emulator.configure(processing_time=0.5)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), deferrable=False, poll_interval=0.1)
    with DAG("d") as dag:
        pass
    ctx = context(task_state_store=store, dag=dag, dag_run=Run(start_date=datetime.now(UTC)))
    assert task.execute(ctx) == emulator.batches()[0]["id"]
    assert len(emulator.batches()) == 1


def test_a_batch_that_was_deleted_while_it_was_waited_for_is_nobodys(emulator: Emulator) -> None:
    task, ctx, deferred = lost(emulator, StateStore(), settle_for=0.2)
    emulator.end_all()
    with MessageBatchesHook().get_conn() as client:
        client.delete(emulator.batches()[0]["id"])
    emulator.configure(processing_time=0.0)
    assert getattr(task, deferred.method_name)(ctx, event={}) == emulator.batches()[0]["id"]
    assert len(emulator.batches()) == 1


def test_what_only_a_person_can_decide_is_not_retried(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), on_uncertain="fail")
    with pytest.raises(AirflowFailException, match="nobody knows what came of a create"):
        task.execute(context(task_state_store=StateStore()))
