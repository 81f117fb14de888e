"""What may be believed of a clock, a list, a 404, a record: one wrong belief is a batch paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests_mock

from airflow_batches.api import BatchesClient, DecodeError
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission import LookupRefused, ReconcilePending, RecordStore, Superseded, UncertainSubmit
from airflow_batches.submission.listing import CLOCK_SPREAD
from airflow_batches.submission.receipt import Sent
from airflow_batches.submission.reconcile import Reconciler
from airflow_batches.submission.record import KEY, Intent, MemoryStore
from airflow_batches.submission.source import ListSource
from airflow_batches.submission.submit import submit
from tests.records import state_of
from tests.samples import some_requests
from tests.unit.submission.helpers import Task, client_of

REQUESTS = some_requests(5)
MISSING = "Message Batch msgbatch_1 not found."


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Batches that take hours."""
    with Emulator(processing_time=2 * 3600.0, cancel_time=0.0) as running:
        yield running


def ids(emulator: Emulator) -> list[str]:
    return [batch["id"] for batch in emulator.batches()]


def test_a_lost_answer_is_found_by_a_worker_whose_clock_is_behind(emulator: Emulator) -> None:
    emulator.clock.advance(1200)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(ReconcilePending) as pending:
        Task(emulator).try_(REQUESTS)
    assert [pending.value.batch_id] == ids(emulator)


@pytest.mark.parametrize("minutes", [0, 1, 5, 10])
def test_a_retry_without_a_record_finds_its_batch_though_the_clock_of_the_api_is_ahead(
    emulator: Emulator, minutes: int
) -> None:
    emulator.clock.advance(60.0 * minutes)
    began = datetime.now(UTC)
    first = Task(emulator).try_(REQUESTS)
    emulator.end_all()
    assert Task(emulator).try_(REQUESTS, started_at=began).batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


@pytest.mark.parametrize("minutes", [0, 5, 10])
def test_a_retry_without_a_record_leaves_an_earlier_run_s_batch_to_a_person(emulator: Emulator, minutes: int) -> None:
    emulator.clock.advance(60.0 * minutes)
    yesterdays = Task(emulator).try_(REQUESTS)
    emulator.end_all()
    with pytest.raises(UncertainSubmit, match="may be that of another run") as doubt:
        Task(emulator).try_(REQUESTS, started_at=datetime.now(UTC) + timedelta(seconds=1.5))
    assert doubt.value.batch_ids == (yesterdays.batch_id,)
    assert ids(emulator) == [yesterdays.batch_id]


LOST = {
    "a reset": Fault(endpoint="create", action="reset"),
    "502 of a proxy": Fault(endpoint="create", action="status", status=502),
    "504 of a proxy": Fault(endpoint="create", action="status", status=504),
    "409": Fault(endpoint="create", action="status", status=409),
}


@pytest.mark.parametrize("lost", LOST)
def test_yesterdays_batch_is_never_taken_for_todays(emulator: Emulator, lost: str) -> None:
    """The README's own DAG gives each run the same custom_ids: review-0, review-1, …"""
    yesterdays = Task(emulator).try_(REQUESTS)
    emulator.end_all()
    emulator.fault(LOST[lost])
    todays = Task(emulator).try_(REQUESTS)
    assert ids(emulator) == [todays.batch_id, yesterdays.batch_id]
    assert todays.batch_id != yesterdays.batch_id


def test_an_edited_prompt_with_the_same_ids_never_gets_the_answers_of_the_old_one(emulator: Emulator) -> None:
    task = Task(emulator)
    old = task.try_(REQUESTS)
    emulator.end_all()
    task.clear()
    emulator.fault(Fault(endpoint="create", action="reset"))
    new = task.try_(some_requests(5, system="Be brief"))
    assert new.batch_id != old.batch_id
    assert ids(emulator) == [new.batch_id, old.batch_id]


def test_an_older_twin_does_not_make_the_batch_of_a_lost_answer_doubtful(emulator: Emulator) -> None:
    twins = {Task(emulator).try_(REQUESTS).batch_id for _ in range(3)}
    task = Task(emulator)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    assert pending.value.batch_id not in twins
    emulator.end_all()
    assert task.try_(REQUESTS).batch_id == pending.value.batch_id


def test_a_batch_that_the_record_names_for_other_requests_is_no_candidate_even_if_the_list_lags(
    emulator: Emulator,
) -> None:
    task = Task(emulator)
    old = task.try_(REQUESTS)
    emulator.end_all()
    task.clear()
    requests = some_requests(5, system="Be brief")
    emulator.fault(Fault(endpoint="create", action="reset"))
    with pytest.raises(ReconcilePending):
        task.try_(requests, settle_for=timedelta(minutes=15), search_for=timedelta())
    record = task.store.get(KEY)
    assert old.batch_id in record["intent"]["before"]


@pytest.mark.parametrize("minutes", [-1, 1, 3, 5, 10])
def test_before_the_first_answer_the_time_is_asked_for(emulator: Emulator, minutes: int) -> None:
    """A process that begins with a search knows only its own clock."""
    emulator.clock.advance(3600)
    task = Task(emulator, settle_for=timedelta(minutes=15))
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    emulator.end_all()
    task.client = BatchesClient(
        emulator.api_key, base_url=emulator.url, clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes)
    )
    assert task.try_(REQUESTS).batch_id == pending.value.batch_id
    assert len(ids(emulator)) == 1


def test_a_search_is_put_off_instead_of_holding_a_worker_slot(emulator: Emulator) -> None:
    task = Task(emulator, settle_for=timedelta(minutes=15), search_for=timedelta(seconds=0.2))
    emulator.fault(Fault(endpoint="create", action="reset"))
    with pytest.raises(ReconcilePending, match="No batch of the create") as pending:
        task.try_(REQUESTS)
    assert pending.value.batch_id is None
    assert 0 < pending.value.retry_in <= 900
    emulator.clock.advance(902)
    task.client = client_of(emulator)
    receipt = task.try_(REQUESTS)
    assert ids(emulator) == [receipt.batch_id]


def test_a_batch_that_comes_into_being_long_after_the_task_was_retried_is_found(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="late_accept", seconds=2.0))
    client = BatchesClient(emulator.api_key, base_url=emulator.url, timeout=0.2)
    task = Task(emulator, settle_for=timedelta(minutes=15))
    task.client = client
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    assert [pending.value.batch_id] == ids(emulator)


def test_after_an_answer_nothing_is_under_way_and_the_search_is_short(emulator: Emulator) -> None:
    task = Task(emulator, settle_for=timedelta(minutes=15), search_for=timedelta())
    emulator.fault(Fault(endpoint="create", action="status", status=500))
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    assert pending.value.retry_in <= 121
    emulator.clock.advance(122)
    task.client = client_of(emulator)
    receipt = task.try_(REQUESTS)
    assert ids(emulator) == [receipt.batch_id]


def batch(batch_id: str, created_at: str, **more: Any) -> dict[str, Any]:
    counts = {"processing": 5}
    return {
        "id": batch_id,
        "processing_status": "in_progress",
        "request_counts": counts,
        "created_at": created_at,
        **more,
    }


def candidates(*batches: dict[str, Any]) -> list[str]:
    """Those that may have come of an intent after 12:00:00.7."""
    since = datetime(2026, 11, 24, 12, 0, 0, 700_000, tzinfo=UTC)
    sent = Sent(requests=5, bytes=1, sha256="", ids_digest="d", fingerprint="f")
    intent = Intent(
        sent=sent,
        sent_at=since,
        since=since - CLOCK_SPREAD,
        certain_from=since - CLOCK_SPREAD,
        certain_until=since + timedelta(minutes=2),
        before=("known",),
        until=since + timedelta(minutes=15),
    )
    page = {"data": [*batches], "has_more": False, "first_id": None, "last_id": None}
    with requests_mock.Mocker() as http, BatchesClient("sk-ant-key") as client:
        http.get(requests_mock.ANY, json=page)
        found = Reconciler(client=client, records=RecordStore(None)).candidates(intent)
        return [candidate.batch.id for candidate in found]


def test_a_server_that_dates_batches_to_the_second_hides_none() -> None:
    assert candidates(batch("ours", "2026-11-24T12:00:00Z"), batch("old", "2026-11-24T11:59:50Z")) == ["ours"]


def test_a_batch_that_existed_before_is_no_candidate_whatever_its_time() -> None:
    assert candidates(batch("known", "2026-11-24T12:00:01Z")) == []


def test_a_batch_without_a_time_may_be_ours() -> None:
    assert candidates(batch("undated", "")) == ["undated"]


def test_a_batch_without_counts_may_be_ours() -> None:
    dated = "2026-11-24T12:00:01Z"
    assert candidates(
        batch("bare", dated, request_counts={}), batch("other", dated, request_counts={"errored": 4})
    ) == ["bare"]


def test_a_404_of_a_batch_that_the_list_shows_is_not_believed(emulator: Emulator) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.fault(Fault(endpoint="get", action="status", status=404, message=MISSING, times=None))
    task.store.set(KEY, aged(task.store.get(KEY)))
    assert task.try_(REQUESTS).batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


def aged(record: Any) -> Any:
    created = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    return record | {"receipt": record["receipt"] | {"created_at": created}}


def test_a_404_from_all_sides_is_no_proof(emulator: Emulator) -> None:
    task = Task(emulator)
    task.try_(REQUESTS)
    for endpoint in ("get", "list"):
        emulator.fault(Fault(endpoint=endpoint, action="status", status=404, times=None))
    with pytest.raises(LookupRefused, match="Nothing was sent"):
        task.try_(REQUESTS)
    assert len(ids(emulator)) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_look_at_the_batch_of_an_earlier_try_can_be_retried(emulator: Emulator, status: int) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.fault(Fault(endpoint="get", action="status", status=status))
    with pytest.raises(LookupRefused, match=first.batch_id):
        task.try_(REQUESTS)
    assert task.try_(REQUESTS) == first


class Overtaken(MemoryStore):
    """A store into which another try writes just before this one stores its batch, or from which it vanishes."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self._other = other
        self._overtaken = False

    def get(self, key: str) -> Any:
        stored = super().get(key)
        if self._overtaken:
            return self._other
        return stored

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self.written = value

    def overtake(self, batch_id: str) -> None:
        self._overtaken = True


OTHERS = {
    "another claim": {"claim": "of another try"},
    "another try's batch": {"receipt": {"batch_id": "x"}},
    "nothing: the task instance has another id now": None,
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_try_that_was_overtaken_after_its_post_cancels_nothing_and_says_what_it_created(
    emulator: Emulator, other: str
) -> None:
    store = Overtaken(OTHERS[other])
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client, pytest.raises(Superseded) as error:
        submit(client, ListSource(REQUESTS), records=RecordStore(store), on_created=store.overtake)
    (made,) = emulator.batches()
    assert made["cancel_initiated_at"] is None
    assert f"batch {made['id']}, which this try created, is left as it is" in str(error.value)


def test_a_try_that_was_stopped_while_it_stored_its_intent_sends_nothing(emulator: Emulator) -> None:
    class Stopped(MemoryStore):
        """Stopped after the store took the intent, until another try has written."""

        def set(self, key: str, value: Any) -> None:
            super().set(key, value)
            if state_of(value) == "intent":
                super().set(key, {"claim": "of another try"})

    with pytest.raises(Superseded, match="this try has sent nothing"):
        Task(emulator).try_(REQUESTS, store=Stopped())
    assert ids(emulator) == []


def test_a_try_that_was_overtaken_does_not_cancel_what_its_batch_replaced(emulator: Emulator) -> None:
    task = Task(emulator)
    old = task.try_(REQUESTS)
    task.clear()
    store = Overtaken({"claim": "of another try"})
    store.set(KEY, task.store.get(KEY))
    with pytest.raises(Superseded):
        task.try_(some_requests(6), store=store, on_created=store.overtake)
    assert emulator.counters["cancel"] == 0
    assert old.batch_id in ids(emulator)


@pytest.mark.parametrize("on_uncertain", ["resubmit", "fail"])
def test_who_never_looks_for_a_batch_need_not_be_allowed_to_list_them(emulator: Emulator, on_uncertain: str) -> None:
    emulator.configure(denied=("list",))
    assert Task(emulator, on_uncertain=on_uncertain).try_(REQUESTS).requests == 5


def test_a_source_that_is_gone_says_which_batch_it_has_become(
    emulator: Emulator, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"custom_id":"a","params":{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}}'
    )
    task = Task(emulator)
    receipt = task.try_(str(path))
    path.unlink()
    with pytest.raises(Exception, match="cannot read"):
        task.try_(str(path))
    assert f"Batch {receipt.batch_id} of an earlier try exists, and can be landed" in caplog.text


def test_a_list_with_a_batch_that_cannot_be_read_proves_nothing() -> None:
    with pytest.raises(DecodeError, match="1 batches of the list cannot be read"):
        candidates({"processing_status": "in_progress"}, batch("ours", "2026-11-24T12:00:01Z"))


def test_a_batch_whose_counts_cannot_be_read_may_be_ours() -> None:
    assert candidates(batch("odd", "2026-11-24T12:00:01Z", request_counts={"processing": None, "errored": 2})) == [
        "odd"
    ]
