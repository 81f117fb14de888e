"""One batch for each task and input, whatever fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_batches.api import ApiError, BatchesClient, InvalidRequest, TransportError
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission import (
    Receipt,
    ReconcilePending,
    RecordStore,
    RequestsChanged,
    SubmitKilled,
    Superseded,
    UncertainSubmit,
)
from airflow_batches.submission.record import KEY, MemoryStore
from airflow_batches.submission.source import ListSource
from airflow_batches.submission.submit import MAX_UNANSWERED, submit
from tests.records import state_of
from tests.samples import some_requests
from tests.unit.submission.helpers import SOON, Task, client_of

REQUESTS = some_requests(5)
HOURS = 3600.0


@pytest.fixture
def slow(emulator: Emulator) -> Emulator:
    """An emulator whose batches take hours."""
    emulator.configure(processing_time=2 * HOURS, cancel_time=0.0)
    return emulator


def ids(emulator: Emulator) -> list[str]:
    return [batch["id"] for batch in emulator.batches()]


def lost_in_the_post(emulator: Emulator, task: Task, requests: Any = REQUESTS) -> str:
    """A try whose batch was accepted, and whose answer was lost; gives the batch that may be ours."""
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(ReconcilePending) as pending:
        task.try_(requests)
    assert pending.value.batch_id is not None
    return pending.value.batch_id


def test_a_retried_task_takes_its_batch_up_again(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    assert task.try_(REQUESTS) == first
    assert task.try_(reversed(REQUESTS)) == first
    assert task.try_(lambda: iter(REQUESTS)) == first
    assert ids(slow) == [first.batch_id]


def test_a_cleared_task_takes_up_its_batch_when_that_has_ended(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    slow.end_all()
    assert task.try_(REQUESTS) == first
    assert ids(slow) == [first.batch_id]


def test_two_tasks_with_the_same_requests_have_a_batch_each(slow: Emulator) -> None:
    first, second = Task(slow).try_(REQUESTS), Task(slow).try_(REQUESTS)
    assert first.batch_id != second.batch_id
    assert first.fingerprint == second.fingerprint


CHANGES = {
    "ids from uuid4": (some_requests(5, prefix="other"), "other custom_ids"),
    "fewer rows": (some_requests(4), "4 requests instead of 5"),
    "an edited prompt": (some_requests(5, system="Be brief"), "the same custom_ids with other params"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ended", [False, True])
def test_a_retry_with_other_requests_sends_nothing_and_says_what_differs(
    slow: Emulator, change: str, ended: bool
) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    if ended:
        slow.end_all()
    requests, differs = CHANGES[change]
    with pytest.raises(RequestsChanged, match=differs) as changed:
        task.try_(requests)
    assert changed.value.batch_id == first.batch_id
    assert slow.counters["cancel"] == 0
    assert ids(slow) == [first.batch_id]
    assert task.try_(REQUESTS) == first


@pytest.mark.parametrize("how", ["a clear", "on_changed"])
def test_changed_requests_that_somebody_wants_are_sent_and_the_old_batch_is_canceled(
    slow: Emulator, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    if how == "a clear":
        task.clear()
    second = task.try_(some_requests(5, system="Be brief"), on_changed="cancel" if how == "on_changed" else "fail")
    assert second.batch_id != first.batch_id
    new, old = slow.batches()
    assert (new["id"], new["processing_status"]) == (second.batch_id, "in_progress")
    assert (old["id"], old["cancel_initiated_at"] is not None) == (first.batch_id, True)
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert [first.batch_id in warning and second.batch_id not in warning for warning in warnings] == [True]
    assert task.try_(some_requests(5, system="Be brief")) == second
    assert ids(slow) == [second.batch_id, first.batch_id]


@pytest.mark.parametrize("cleared", [False, True])
def test_keep_sends_the_changed_requests_and_leaves_the_old_batch(slow: Emulator, cleared: bool) -> None:
    task = Task(slow, on_changed="keep")
    first = task.try_(REQUESTS)
    if cleared:
        task.clear()
    second = task.try_(some_requests(6))
    assert ids(slow) == [second.batch_id, first.batch_id]
    assert slow.counters["cancel"] == 0


@pytest.mark.parametrize("status", [402, 403, 400])
def test_a_refused_create_costs_the_old_batch_nothing(slow: Emulator, status: int) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    task.clear()
    slow.fault(Fault(endpoint="create", action="status", status=status))
    with pytest.raises(ApiError, match=str(status)):
        task.try_(some_requests(6))
    assert slow.counters["cancel"] == 0
    assert task.try_(REQUESTS) == first
    assert ids(slow) == [first.batch_id]


def test_a_cancel_of_a_replaced_batch_that_fails_is_told_and_made_up_for(
    slow: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    task.clear()
    slow.fault(Fault(endpoint="cancel", action="status", status=403, times=None))
    second = task.try_(some_requests(6))
    assert f"Batch {first.batch_id} was replaced, may still run, and is billed" in caplog.text
    slow.faults.clear()
    assert task.try_(some_requests(6)) == second
    new, old = slow.batches()
    assert (old["id"], old["cancel_initiated_at"] is not None) == (first.batch_id, True)
    assert new["cancel_initiated_at"] is None
    cancels = slow.counters["cancel"]
    task.try_(some_requests(6))
    assert slow.counters["cancel"] == cancels


def test_a_replaced_batch_is_canceled_though_the_answer_for_its_successor_was_lost(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    task.clear()
    second = lost_in_the_post(slow, task, some_requests(6))
    assert slow.counters["cancel"] == 0
    slow.end(second)
    assert task.try_(some_requests(6)).batch_id == second
    new, old = slow.batches()
    assert (new["id"], new["cancel_initiated_at"]) == (second, None)
    assert (old["id"], old["cancel_initiated_at"] is not None) == (first.batch_id, True)


def test_resubmit_submits_once_more_after_a_clear_and_not_at_a_retry(emulator: Emulator) -> None:
    task = Task(emulator, resubmit=True)
    first = task.try_(REQUESTS)
    assert task.try_(REQUESTS) == first
    task.clear()
    second = task.try_(REQUESTS)
    assert task.try_(REQUESTS) == second
    assert ids(emulator) == [second.batch_id, first.batch_id]
    assert task.try_(REQUESTS, resubmit=False) == second


def test_resubmit_cancels_the_old_batch_if_that_still_runs(slow: Emulator) -> None:
    task = Task(slow, resubmit=True)
    task.try_(REQUESTS)
    task.clear()
    task.try_(REQUESTS)
    assert [bool(batch["cancel_initiated_at"]) for batch in slow.batches()] == [False, True]


def test_a_cleared_task_with_a_lost_answer_pays_once_for_its_resubmission(slow: Emulator) -> None:
    task = Task(slow, resubmit=True)
    task.try_(REQUESTS)
    slow.end_all()
    task.clear()
    second = lost_in_the_post(slow, task)
    slow.end_all()
    assert task.try_(REQUESTS).batch_id == second
    assert len(ids(slow)) == 2


def test_a_batch_that_was_canceled_is_replaced_after_a_clear_and_not_by_a_retry(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    task.client.cancel(first.batch_id)
    assert task.try_(REQUESTS) == first
    task.clear()
    second = task.try_(REQUESTS)
    assert ids(slow) == [second.batch_id, first.batch_id]


def test_a_batch_that_was_deleted_is_replaced(emulator: Emulator) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.clock.advance(HOURS)
    task.client.delete(first.batch_id)
    task.store.set(KEY, aged(task.store.get(KEY)))
    second = task.try_(REQUESTS)
    assert ids(emulator) == [second.batch_id]


def aged(record: Any) -> Any:
    """A record as if written some minutes ago: a batch just created may answer 404 and be there."""
    created = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    return record | {"receipt": record["receipt"] | {"created_at": created}}


def test_a_404_right_after_the_creation_is_not_believed(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    missing = f"Message Batch {first.batch_id} not found."
    slow.fault(Fault(endpoint="get", action="status", status=404, message=missing, times=3))
    assert task.try_(REQUESTS) == first


def test_a_batch_without_a_single_answer_has_cost_nothing_and_is_replaced(emulator: Emulator) -> None:
    emulator.configure(errored_share=1.0)
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.configure(errored_share=0.0)
    assert task.try_(REQUESTS).batch_id != first.batch_id


FATES = {
    "connection dropped before the body": Fault(endpoint="create", action="drop_before_body"),
    "connection dropped within the body": Fault(endpoint="create", action="drop_in_body", after_bytes=100_000),
    "connection dropped after the body": Fault(endpoint="create", action="drop_after_accept"),
    "500 after acceptance": Fault(endpoint="create", action="error_after_accept"),
    "500 before acceptance": Fault(endpoint="create", action="status", status=500),
    "504 of a proxy": Fault(endpoint="create", action="status", status=504),
    "529": Fault(endpoint="create", action="status", status=529, retry_after=0),
    "429": Fault(endpoint="create", action="status", status=429, retry_after=0),
    "accepted late": Fault(endpoint="create", action="late_accept", seconds=0.5),
    "an answer that is none": Fault(endpoint="create", action="broken_json"),
}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("count", [3, 3000])
def test_whatever_becomes_of_the_post_there_is_one_batch(emulator: Emulator, fate: str, count: int) -> None:
    plan = emulator.fault(FATES[fate])
    task = Task(emulator, settle_for=timedelta(seconds=2))
    receipt = task.try_(some_requests(count))
    assert ids(emulator) == [receipt.batch_id]
    assert plan.struck == 1
    assert task.try_(some_requests(count)) == receipt
    assert ids(emulator) == [receipt.batch_id]


@pytest.mark.parametrize("accepted_after", [0.0, 1.5])
def test_a_read_timeout_of_a_batch_created_late_makes_one_batch(emulator: Emulator, accepted_after: float) -> None:
    action = "late_accept" if accepted_after else "stall"
    emulator.fault(Fault(endpoint="create", action=action, seconds=accepted_after or 2.0))
    task = Task(emulator, settle_for=timedelta(seconds=4))
    task.client = BatchesClient(emulator.api_key, base_url=emulator.url, timeout=0.5)
    receipt = task.try_(REQUESTS)
    assert ids(emulator) == [receipt.batch_id]


def test_a_refused_create_leaves_nothing_to_reconcile(emulator: Emulator) -> None:
    task = Task(emulator)
    emulator.fault(Fault(endpoint="create", action="status", status=400))
    with pytest.raises(ApiError, match="400"):
        task.try_(REQUESTS)
    assert task.state == "claimed"
    receipt = task.try_(REQUESTS, on_uncertain="fail")
    assert ids(emulator) == [receipt.batch_id]


def test_a_refused_connection_leaves_nothing_to_reconcile(emulator: Emulator) -> None:
    task = Task(emulator)
    emulator.close()
    with pytest.raises(TransportError):
        task.try_(REQUESTS)
    assert task.state == "claimed"


def test_a_candidate_is_waited_for_and_then_told_by_its_ids(slow: Emulator) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    assert [candidate] == ids(slow)
    with pytest.raises(ReconcilePending):
        task.try_(REQUESTS)
    slow.end_all()
    assert task.try_(REQUESTS).batch_id == candidate
    assert ids(slow) == [candidate]
    assert task.try_(REQUESTS).batch_id == candidate


def lost_before_the_api(emulator: Emulator, task: Task) -> Receipt:
    """A try whose create got lost on its way; then another task submits as many requests."""
    emulator.fault(Fault(endpoint="create", action="reset"))
    with pytest.raises(ReconcilePending):
        task.try_(REQUESTS, settle_for=timedelta(minutes=15), search_for=timedelta())
    return Task(emulator).try_(some_requests(5, prefix="foreign"))


def settled(emulator: Emulator, task: Task) -> None:
    """Time passes until no batch can come of an unanswered create any more."""
    emulator.clock.advance(902)
    task.client = client_of(emulator)


def test_a_candidate_of_another_task_is_left_alone(slow: Emulator) -> None:
    task = Task(slow)
    foreign = lost_before_the_api(slow, task)
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    assert pending.value.batch_id == foreign.batch_id
    slow.end_all()
    settled(slow, task)
    receipt = task.try_(REQUESTS)
    assert ids(slow) == [receipt.batch_id, foreign.batch_id]
    assert not any(batch["cancel_initiated_at"] for batch in slow.batches())


def test_a_batch_known_as_anothers_is_no_candidate(slow: Emulator) -> None:
    task = Task(slow)
    foreign = lost_before_the_api(slow, task)
    settled(slow, task)
    receipt = task.try_(REQUESTS, known_batches=lambda: {foreign.batch_id})
    assert ids(slow) == [receipt.batch_id, foreign.batch_id]


def test_two_candidates_with_our_ids_need_a_person(slow: Emulator) -> None:
    task = Task(slow)
    lost_in_the_post(slow, task)
    Task(slow).try_(some_requests(5, system="another task, the same ids"))
    slow.end_all()
    with pytest.raises(UncertainSubmit, match="2 batches with the same custom_ids") as uncertain:
        task.try_(REQUESTS)
    assert sorted(uncertain.value.batch_ids) == sorted(ids(slow))


def test_resubmit_sends_again_and_fail_leaves_it_to_a_person(slow: Emulator) -> None:
    task = Task(slow)
    lost_in_the_post(slow, task)
    with pytest.raises(UncertainSubmit, match="not known whether a create of 5 requests"):
        task.try_(REQUESTS, on_uncertain="fail")
    receipt = task.try_(REQUESTS, on_uncertain="resubmit")
    assert ids(slow)[0] == receipt.batch_id
    assert len(ids(slow)) == 2


def test_a_candidate_that_was_canceled_is_replaced_whosever_it_was(slow: Emulator) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    task.client.cancel(candidate)
    receipt = task.try_(REQUESTS)
    assert ids(slow) == [receipt.batch_id, candidate]


def test_a_list_that_cannot_be_had_is_not_an_empty_one(slow: Emulator) -> None:
    task = Task(slow)
    lost_in_the_post(slow, task)
    slow.fault(Fault(endpoint="list", action="status", status=403))
    with pytest.raises(ApiError, match="403"):
        task.try_(REQUESTS)
    assert len(ids(slow)) == 1


@pytest.mark.parametrize("action", ["cut", "torn_line", "broken_line", "missing_line", "end_early"])
def test_results_that_break_off_prove_nothing(slow: Emulator, action: str) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    slow.end_all()
    slow.fault(Fault(endpoint="results", action=action, after_bytes=100))
    with pytest.raises(Exception, match=r"broke off|not complete"):
        task.try_(REQUESTS)
    assert task.try_(REQUESTS).batch_id == candidate
    assert ids(slow) == [candidate]


def test_a_retry_without_a_store_finds_its_batch(emulator: Emulator) -> None:
    began = datetime.now(UTC)
    first = Task(emulator).try_(REQUESTS)
    second = Task(emulator).try_(REQUESTS, started_at=began)
    assert second.batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


def test_a_kill_before_the_end_of_the_body_sends_nothing(emulator: Emulator) -> None:
    task = Task(emulator)
    with pytest.raises(SubmitKilled, match="nothing was sent"):
        task.try_(REQUESTS, killed=lambda: True)
    assert ids(emulator) == []


def test_a_batch_is_told_of_before_anything_else_can_fail(slow: Emulator) -> None:
    class Broken(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            if state_of(value) == "submitted":
                raise RuntimeError("the API server is away")
            super().set(key, value)

    told: list[str] = []
    with pytest.raises(RuntimeError, match="away"):
        Task(slow).try_(REQUESTS, store=Broken(), on_created=told.append)
    assert told == ids(slow)


def test_a_kill_while_the_fate_of_the_post_is_unknown_cancels_nothing_on_suspicion(slow: Emulator) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    with pytest.raises(SubmitKilled, match="not known"):
        task.try_(REQUESTS, killed=lambda: True)
    assert slow.batches()[0]["cancel_initiated_at"] is None
    slow.end_all()
    assert task.try_(REQUESTS).batch_id == candidate


def test_a_record_that_makes_no_sense_is_not_taken_for_none(emulator: Emulator) -> None:
    task = Task(emulator)
    task.store.set(KEY, {"receipt": {}})
    with pytest.raises(UncertainSubmit, match="cannot be read"):
        task.try_(REQUESTS)
    assert ids(emulator) == []


def test_a_store_that_fails_before_the_end_of_the_body_sends_nothing(emulator: Emulator) -> None:
    class Broken:
        def get(self, key: str) -> Any:
            return None

        def set(self, key: str, value: Any) -> None:
            raise RuntimeError("the API server is away")

    with pytest.raises(RuntimeError, match="away"):
        Task(emulator).try_(REQUESTS, store=Broken())
    assert ids(emulator) == []


def test_adoption_is_told(slow: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    slow.end_all()
    with caplog.at_level(logging.WARNING):
        task.try_(REQUESTS)
    assert f"Adopted batch {candidate}: creation time, size and custom_ids match" in caplog.text


class Lingering(ListSource):
    """A source at whose first reading something else happens."""

    def __init__(self, requests: list[dict[str, Any]], meanwhile: Callable[[], Any]) -> None:
        super().__init__(requests)
        self._meanwhile: Callable[[], Any] | None = meanwhile

    def blocks(self) -> Iterator[bytes]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().blocks()


def test_a_try_that_lingers_while_the_next_one_submits_sends_nothing(emulator: Emulator) -> None:
    task = Task(emulator)
    requests = some_requests(3)
    source = Lingering(requests, lambda: task.try_(requests))
    with pytest.raises(Superseded, match="another try of this task has taken over; this try has sent nothing"):
        submit(task.client, source, records=RecordStore(task.store), settle_for=SOON)
    assert len(emulator.batches()) == 1
    assert task.try_(requests).batch_id == emulator.batches()[0]["id"]


def test_resubmit_leaves_the_next_post_to_the_next_try(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="error_after_accept", status=500, times=None))
    task = Task(emulator, on_uncertain="resubmit")
    for tries in (1, 2):
        with pytest.raises(ApiError, match="500"):
            task.try_(some_requests(3))
        assert emulator.counters["create"] == tries


def test_a_create_that_fails_for_ever_ends_with_its_error_and_no_batch(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="status", status=500, times=None))
    task = Task(emulator)
    with pytest.raises(ApiError, match="500"):
        task.try_(some_requests(3))
    assert emulator.counters["create"] == MAX_UNANSWERED
    emulator.reset()
    task.try_(some_requests(3))
    assert len(emulator.batches()) == 1


@pytest.mark.parametrize("option", [{"preflight": "strict"}, {"on_uncertain": "ask"}, {"on_changed": "cancle"}])
def test_an_option_that_is_none_of_its_choices_sends_nothing(emulator: Emulator, option: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="must be one of"):
        Task(emulator).try_(some_requests(1), **option)
    assert not emulator.batches()
