"""One batch for each task and input, whatever fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_batches.api import ApiError, BatchesClient, BatchesError, InvalidRequest, TransportError
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission import Receipt, SubmitKilled, Superseded, UncertainSubmit, Unsettled
from airflow_batches.submission.outbox import POSTS
from airflow_batches.submission.receipt import KEY, MemoryStore, Submitted
from airflow_batches.submission.source import ListSource
from airflow_batches.submission.submit import submit
from tests.samples import some_requests
from tests.unit.submission.helpers import SOON, Task

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
    with pytest.raises(Unsettled) as unsettled:
        task.try_(requests)
    return unsettled.value.batch_id


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


def test_changed_requests_cancel_the_batch_and_become_another(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    second = task.try_(some_requests(5, system="Be brief"))
    assert second.batch_id != first.batch_id
    new, old = slow.batches()
    assert (new["id"], new["processing_status"]) == (second.batch_id, "in_progress")
    assert (old["id"], old["cancel_initiated_at"] is not None) == (first.batch_id, True)
    assert task.try_(some_requests(5, system="Be brief")) == second


@pytest.mark.parametrize("endpoint", ["cancel", "get"])
def test_nothing_is_sent_while_it_is_not_known_what_became_of_the_old_batch(slow: Emulator, endpoint: str) -> None:
    task = Task(slow)
    task.try_(REQUESTS)
    slow.fault(Fault(endpoint=endpoint, action="status", status=403, times=None))
    with pytest.raises(BatchesError, match="403"):
        task.try_(some_requests(6))
    assert len(ids(slow)) == 1


def test_a_batch_that_was_canceled_is_replaced(slow: Emulator) -> None:
    task = Task(slow)
    first = task.try_(REQUESTS)
    task.client.cancel(first.batch_id)
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


def test_a_404_right_after_the_creation_is_not_believed(slow: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_batches.submission.submit.LOOK_EVERY", 0.05)
    task = Task(slow)
    first = task.try_(REQUESTS)
    slow.fault(Fault(endpoint="get", action="status", status=404, times=3))
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
def test_whatever_becomes_of_the_post_there_is_one_batch(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, fate: str, count: int
) -> None:
    monkeypatch.setattr("airflow_batches.submission.submit.LOOK_EVERY", 0.1)
    plan = emulator.fault(FATES[fate])
    task = Task(emulator, settle_for=timedelta(seconds=2))
    receipt = task.try_(some_requests(count))
    assert ids(emulator) == [receipt.batch_id]
    assert plan.struck == 1
    assert task.try_(some_requests(count)) == receipt
    assert ids(emulator) == [receipt.batch_id]


@pytest.mark.parametrize("accepted_after", [0.0, 1.5])
def test_a_read_timeout_of_a_batch_created_late_makes_one_batch(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, accepted_after: float
) -> None:
    monkeypatch.setattr("airflow_batches.submission.submit.LOOK_EVERY", 0.1)
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
    assert task.store.get(KEY) == {"state": "begun"}
    receipt = task.try_(REQUESTS, on_uncertain="fail")
    assert ids(emulator) == [receipt.batch_id]


def test_a_refused_connection_leaves_nothing_to_reconcile(emulator: Emulator) -> None:
    task = Task(emulator)
    emulator.close()
    with pytest.raises(TransportError):
        task.try_(REQUESTS)
    assert task.store.get(KEY) == {"state": "begun"}


def test_a_candidate_is_waited_for_and_then_told_by_its_ids(slow: Emulator) -> None:
    task = Task(slow)
    candidate = lost_in_the_post(slow, task)
    assert [candidate] == ids(slow)
    with pytest.raises(Unsettled):
        task.try_(REQUESTS)
    slow.end_all()
    assert task.try_(REQUESTS).batch_id == candidate
    assert ids(slow) == [candidate]
    assert task.try_(REQUESTS).batch_id == candidate


def lost_before_the_api(emulator: Emulator, foreign: list[Receipt]) -> Callable[[], bool]:
    """What happens while a task sends: another one submits as many requests, and the POST gets lost."""

    def meanwhile() -> bool:
        if not foreign:
            foreign.append(Task(emulator).try_(some_requests(5, prefix="foreign")))
            emulator.fault(Fault(endpoint="create", action="reset"))
        return False

    return meanwhile


def test_a_candidate_of_another_task_is_left_alone(slow: Emulator) -> None:
    task = Task(slow)
    foreign: list[Receipt] = []
    with pytest.raises(Unsettled) as unsettled:
        task.try_(REQUESTS, killed=lost_before_the_api(slow, foreign))
    assert unsettled.value.batch_id == foreign[0].batch_id
    slow.end_all()
    receipt = task.try_(REQUESTS)
    assert ids(slow) == [receipt.batch_id, foreign[0].batch_id]
    assert not any(batch["cancel_initiated_at"] for batch in slow.batches())


def test_a_batch_known_as_anothers_is_no_candidate(slow: Emulator) -> None:
    foreign: list[Receipt] = []
    lost = lost_before_the_api(slow, foreign)
    receipt = Task(slow).try_(REQUESTS, killed=lost, others=lambda _: {foreign[0].batch_id})
    assert ids(slow) == [receipt.batch_id, foreign[0].batch_id]


def test_two_candidates_with_our_ids_need_a_person(slow: Emulator) -> None:
    task = Task(slow)
    lost_in_the_post(slow, task)
    Task(slow).try_(some_requests(5, system="another task, the same ids"))
    slow.end_all()
    with pytest.raises(UncertainSubmit, match="nobody knows which batch is ours") as uncertain:
        task.try_(REQUESTS)
    assert sorted(uncertain.value.batch_ids) == sorted(ids(slow))


def test_resubmit_sends_again_and_fail_leaves_it_to_a_person(slow: Emulator) -> None:
    task = Task(slow)
    lost_in_the_post(slow, task)
    with pytest.raises(UncertainSubmit, match="nobody knows what came of a create of 5 requests"):
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


def test_a_wiped_store_does_not_make_a_second_batch(emulator: Emulator) -> None:
    began = datetime.now(UTC)
    first = Task(emulator).try_(REQUESTS)
    second = Task(emulator).try_(REQUESTS, since=began)
    assert second.batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


def test_items_of_a_mapped_task_that_changed_places_find_their_batches(slow: Emulator) -> None:
    began = datetime.now(UTC)
    items = [some_requests(5, prefix="a"), some_requests(5, prefix="b")]
    tasks = [Task(slow, mapped=True) for _ in items]
    receipts = [task.try_(item) for task, item in zip(tasks, items, strict=True)]
    slow.end_all()
    moved = [task.try_(item, since=began) for task, item in zip(tasks, reversed(items), strict=True)]
    assert [receipt.batch_id for receipt in moved] == [receipt.batch_id for receipt in reversed(receipts)]
    assert len(ids(slow)) == 2


def test_an_item_of_a_mapped_task_that_moved_waits_for_its_batch_and_cancels_none(slow: Emulator) -> None:
    began = datetime.now(UTC)
    task = Task(slow, mapped=True)
    task.try_(some_requests(5, prefix="a"))
    own = Task(slow).try_(some_requests(5, prefix="b"))
    with pytest.raises(Unsettled):
        task.try_(some_requests(5, prefix="b"), since=began)
    slow.end_all()
    assert task.try_(some_requests(5, prefix="b"), since=began).batch_id == own.batch_id
    assert not any(batch["cancel_initiated_at"] for batch in slow.batches())


def test_an_item_that_moved_takes_what_its_old_position_says_of_it_late(slow: Emulator) -> None:
    old, new = Task(slow, mapped=True), Task(slow, mapped=True)
    receipt = old.try_(some_requests(5, system="a"))
    new.try_(some_requests(5, system="b"))
    answers = iter([None, None, Submitted(receipt=receipt)])
    moved = new.try_(some_requests(5, system="a"), since=datetime.now(UTC), elsewhere=lambda _: next(answers))
    assert moved == receipt
    assert len(ids(slow)) == 2
    assert new.try_(some_requests(5, system="a")) == receipt


def test_an_item_that_no_position_knows_is_new(slow: Emulator) -> None:
    task = Task(slow, mapped=True)
    first = task.try_(some_requests(5, system="a"))
    second = task.try_(some_requests(5, system="b"), since=datetime.now(UTC), elsewhere=lambda _: None)
    assert ids(slow) == [second.batch_id, first.batch_id]


def test_a_kill_while_other_positions_are_asked_sends_nothing(slow: Emulator) -> None:
    with pytest.raises(SubmitKilled, match="nothing was sent"):
        Task(slow).try_(REQUESTS, since=datetime.now(UTC), elsewhere=lambda _: None, killed=lambda: True)
    assert ids(slow) == []


def test_a_kill_before_the_end_of_the_body_sends_nothing(emulator: Emulator) -> None:
    task = Task(emulator)
    with pytest.raises(SubmitKilled, match="nothing was sent"):
        task.try_(REQUESTS, killed=lambda: True)
    assert ids(emulator) == []


def test_a_batch_is_told_of_before_anything_else_can_fail(slow: Emulator) -> None:
    class Broken(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            if value["state"] == "submitted":
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
    task.store.set(KEY, {"state": "submitted", "receipt": {}})
    with pytest.raises(UncertainSubmit, match="cannot be read"):
        task.try_(REQUESTS)
    assert ids(emulator) == []


def test_a_store_that_fails_before_the_end_of_the_body_sends_nothing(emulator: Emulator) -> None:
    class Broken:
        def get(self, key: str) -> Any:
            return {"state": "begun"}

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
    assert f"Batch {candidate} is taken for ours by its time, size and custom_ids" in caplog.text


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
    with pytest.raises(Superseded, match="another try of this task"):
        submit(task.client, source, store=task.store, settle_for=SOON)
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
    assert emulator.counters["create"] == POSTS
    emulator.reset()
    task.try_(some_requests(3))
    assert len(emulator.batches()) == 1


@pytest.mark.parametrize("option", [{"preflight": "strict"}, {"on_uncertain": "ask"}])
def test_an_option_that_is_none_of_its_choices_sends_nothing(emulator: Emulator, option: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="must be one of"):
        Task(emulator).try_(some_requests(1), **option)
    assert not emulator.batches()
