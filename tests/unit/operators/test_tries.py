"""What a submit task knows of its earlier tries, and what it does when they left something unknown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_batches._compat import AirflowFailException, AirflowSkipException
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.hooks import MessageBatchesHook
from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator
from airflow_batches.operators.tries import known_batches, started_at
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
    ("try_number", "max_tries", "stored", "expected"),
    [
        (1, 2, True, None),
        (2, 2, True, None),
        (1, 2, False, None),
        (2, 2, False, STARTED),
        (3, 4, False, None),  # cleared after the second try
        (4, 4, False, STARTED),
    ],
)
def test_only_a_retry_without_a_store_may_follow_a_try_that_left_no_record(
    try_number: int, max_tries: int, stored: bool, expected: datetime | None
) -> None:
    ctx = context(dag_run=Run(), task_state_store=StateStore() if stored else None)
    ctx["ti"] = TaskInstance(try_number=try_number, max_tries=max_tries, retries=2)  # type: ignore[typeddict-item]  # the tests' stand-in
    assert started_at(ctx, resumed=False) == expected


def test_a_try_without_a_store_that_has_waited_for_what_may_be_its_batch_looks_for_it() -> None:
    assert started_at(context(dag_run=Run()), resumed=True) == STARTED


class PublishedReceipts(TaskInstance):
    """A task instance whose DAG has other submitting tasks."""

    def xcom_pull(self, task_ids: Any, key: str, map_indexes: Any = None) -> Any:
        if isinstance(task_ids, str):  # the task's own, which an earlier try may have pushed late
            return self.xcoms.get("own")
        return [value for task_id in task_ids for value in self.xcoms[f"{task_id}.{key}"]]


def test_what_other_tasks_and_items_have_published_is_known() -> None:
    with DAG("d") as dag:
        MessageBatchSubmitOperator(task_id="other", requests=[])
        MessageBatchSubmitOperator.partial(task_id="task").expand(requests=[[], []])
        MessageBatchResultsOperator(task_id="land", batch_id="b", path="file:///tmp/x")
    published = {
        "other.receipt": [{"batch_id": "of another task"}],
        "task.receipt": [{"batch_id": "of another item"}, None, {"batch_id": "of this one"}],
        "own": {"batch_id": "of this one"},
    }
    ctx = context(dag=dag)
    ctx["ti"] = PublishedReceipts(xcoms=published)  # type: ignore[typeddict-item]  # the tests' stand-in
    assert known_batches(ctx) == {"of another task", "of another item"}


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


def resumed(task: MessageBatchSubmitOperator, ctx: Any, deferred: TaskDeferred) -> Any:
    """What the next leg returns: a new process, with what Airflow kept of this one."""
    again = MessageBatchSubmitOperator(
        task_id="task", requests=some_requests(3), deferrable=task.deferrable, settle_for=task.settle_for
    )
    return getattr(again, deferred.method_name)(ctx, event={}, **(deferred.kwargs or {}))


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
    assert resumed(task, ctx, deferred) == batch["id"]
    assert ctx["ti"].xcoms["receipt"]["batch_id"] == batch["id"]
    assert len(emulator.batches()) == 1


@pytest.mark.parametrize("store", [StateStore(), None])
def test_without_deferral_the_worker_waits(emulator: Emulator, store: StateStore | None) -> None:
    emulator.configure(processing_time=0.5, retry_after=0)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), deferrable=False, poll_interval=0.1)
    with DAG("d") as dag:
        pass
    ctx = context(task_state_store=store, dag=dag, dag_run=Run(start_date=datetime.now(UTC)))
    assert task.execute(ctx) == emulator.batches()[0]["id"]
    assert len(emulator.batches()) == 1


def test_a_batch_that_was_deleted_while_it_was_waited_for_is_no_candidate(emulator: Emulator) -> None:
    task, ctx, deferred = lost(emulator, StateStore())
    emulator.end_all()
    with MessageBatchesHook().get_conn() as client:
        client.delete(emulator.batches()[0]["id"])
    emulator.configure(processing_time=0.0)
    emulator.clock.advance(902)
    assert resumed(task, ctx, deferred) == emulator.batches()[0]["id"]
    assert len(emulator.batches()) == 1


def test_what_only_a_person_can_decide_is_not_retried(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), on_uncertain="fail")
    with pytest.raises(AirflowFailException, match="not known whether a create of 3 requests"):
        task.execute(context(task_state_store=StateStore()))


@pytest.mark.parametrize("store", [StateStore(), None])
def test_a_lost_answer_holds_no_worker_slot_while_its_batch_is_looked_for(
    emulator: Emulator, store: StateStore | None
) -> None:
    class Impatient(MessageBatchSubmitOperator):
        SEARCH_FOR = timedelta(seconds=0.1)

    emulator.fault(Fault(endpoint="create", action="reset"))
    task = Impatient(task_id="task", requests=some_requests(3))
    with DAG("d") as dag:
        pass
    ctx = context(task_state_store=store, dag=dag, dag_run=Run(start_date=datetime.now(UTC)))
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(ctx)
    moment = deferred.value.trigger.serialize()[1]["moment"]
    assert moment - datetime.now(UTC) > timedelta(seconds=10)  # sooner, Airflow may fail the task
    with pytest.raises(TaskDeferred) as again:
        resumed(task, ctx, deferred.value)
    emulator.clock.advance(902)
    assert resumed(task, ctx, again.value) == emulator.batches()[0]["id"]
    assert len(emulator.batches()) == 1


@pytest.mark.parametrize(("on_empty", "expected"), [("fail", AirflowFailException), ("skip", AirflowSkipException)])
def test_no_requests_fail_or_skip_as_asked(emulator: Emulator, on_empty: Any, expected: type[Exception]) -> None:
    task = MessageBatchSubmitOperator(task_id="task", requests=[], on_empty=on_empty)
    with pytest.raises(expected, match="holds no requests"):
        task.execute(context(task_state_store=StateStore()))
    assert emulator.counters["create"] == 0


def test_a_retry_with_other_requests_fails_for_good_and_a_clear_replaces_its_batch(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    store = StateStore()

    def run(prefix: str, max_tries: int) -> str:
        task = MessageBatchSubmitOperator(
            task_id="task", requests=some_requests(3, prefix=prefix), wait_for_completion=False
        )
        ctx = context(task_state_store=store)
        ctx["ti"] = TaskInstance(max_tries=max_tries)  # type: ignore[typeddict-item]  # the tests' stand-in
        return task.execute(ctx)

    first = run("a", 2)
    with pytest.raises(AirflowFailException, match="other custom_ids"):
        run("b", 2)
    second = run("b", 3)
    assert [(batch["id"], bool(batch["cancel_initiated_at"])) for batch in emulator.batches()] == [
        (second, False),
        (first, True),
    ]


@pytest.mark.parametrize("resubmit", [True, "True", "{{ params.resubmit }}"])
def test_resubmit_may_come_from_a_dag_param(emulator: Emulator, resubmit: Any) -> None:
    store = StateStore()

    def run(max_tries: int) -> str:
        task = MessageBatchSubmitOperator(
            task_id="task", requests=some_requests(3), wait_for_completion=False, resubmit=resubmit
        )
        ctx = context(task_state_store=store, params={"resubmit": True})
        ctx["ti"] = TaskInstance(max_tries=max_tries)  # type: ignore[typeddict-item]  # the tests' stand-in
        task.render_template_fields(ctx)
        return task.execute(ctx)

    first = run(0)
    assert run(0) == first
    assert run(1) != first
    assert len(emulator.batches()) == 2


def test_a_flag_that_is_none_is_refused_before_anything_is_sent(emulator: Emulator) -> None:
    task = MessageBatchSubmitOperator(task_id="task", requests=some_requests(3), resubmit="perhaps")
    with pytest.raises(AirflowFailException, match="resubmit must be true or false, not 'perhaps'"):
        task.execute(context(task_state_store=StateStore()))
    assert emulator.counters["create"] == 0


@pytest.mark.parametrize("settle_for", [119, timedelta(days=2)])
def test_a_search_that_would_end_too_soon_or_never_is_refused(settle_for: Any) -> None:
    with pytest.raises(ValueError, match="settle_for must be between 2 minutes and a day"):
        MessageBatchSubmitOperator(task_id="task", requests=[], settle_for=settle_for)


def test_a_replaced_batch_whose_cancel_failed_is_canceled_when_the_task_is_resumed(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    store = StateStore()

    def context_of(max_tries: int) -> Any:
        ctx = context(task_state_store=store)
        ctx["ti"] = TaskInstance(max_tries=max_tries)  # type: ignore[typeddict-item]  # the tests' stand-in
        return ctx

    def task(prefix: str) -> MessageBatchSubmitOperator:
        return MessageBatchSubmitOperator(task_id="task", requests=some_requests(3, prefix=prefix))

    with pytest.raises(TaskDeferred):
        task("a").execute(context_of(0))
    emulator.fault(Fault(endpoint="cancel", action="status", status=403, times=3))
    with pytest.raises(TaskDeferred):
        task("b").execute(context_of(1))
    new, old = emulator.batches()
    assert old["cancel_initiated_at"] is None
    emulator.end(new["id"])
    event = {"ending": "ended", "batch_id": new["id"], "status": "ended", "counts": {"succeeded": 3}}
    task("b").execute_complete(context_of(1), event)
    assert emulator.batches()[1]["cancel_initiated_at"] is not None
