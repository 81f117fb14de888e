"""Rare orders of events in which a submission could lose money or answers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_batches.api import ApiError, BatchesClient, BatchesError, BatchPage, MessageBatch
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.operators.tries import known_batches
from airflow_batches.submission import (
    ReconcilePending,
    RecordStore,
    RequestsChanged,
    Superseded,
    UncertainSubmit,
)
from airflow_batches.submission.listing import api_now
from airflow_batches.submission.record import KEY, MemoryStore
from airflow_batches.submission.source import ListSource
from airflow_batches.submission.submit import submit
from tests.samples import some_requests
from tests.unit.submission.helpers import Task, client_of

REQUESTS = some_requests(5)
OTHERS = some_requests(6)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Batches that take hours."""
    with Emulator(processing_time=2 * 3600.0, cancel_time=0.0) as running:
        yield running


def ids(emulator: Emulator) -> list[str]:
    return [batch["id"] for batch in emulator.batches()]


class Died(BaseException):
    """The process was killed."""


def test_a_retry_after_a_clear_that_attached_does_not_pay_for_other_requests(emulator: Emulator) -> None:
    task = Task(emulator)
    task.try_(REQUESTS)
    task.clear()
    task.try_(REQUESTS)
    with pytest.raises(RequestsChanged):
        task.try_(OTHERS)
    assert len(ids(emulator)) == 1


def test_a_resubmit_that_is_switched_on_between_retries_waits_for_a_clear(emulator: Emulator) -> None:
    task = Task(emulator)
    task.try_(REQUESTS)
    task.clear()
    task.try_(REQUESTS)
    task.try_(REQUESTS, resubmit=True)
    assert len(ids(emulator)) == 1


@pytest.mark.parametrize("retry", ["has other requests", "cannot read its source"])
def test_a_replaced_batch_is_canceled_even_if_the_next_try_ends_early(
    emulator: Emulator, retry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    task = Task(emulator)
    old = task.try_(REQUESTS)
    task.clear()

    def die(*args: Any, **kwargs: Any) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):  # noqa: PT012
        patch.setattr("airflow_batches.submission.sender.cancel_if_running", die)
        task.try_(OTHERS)
    with pytest.raises(BatchesError):
        task.try_(some_requests(7) if retry == "has other requests" else f"file://{tmp_path}/gone.jsonl")
    (batch,) = (batch for batch in emulator.batches() if batch["id"] == old.batch_id)
    assert batch["cancel_initiated_at"], "the replaced batch runs on and is billed"


class Filtered(BatchesClient):
    """Behind a proxy that forwards the create and blocks its answer."""

    def create_streamed(self, body: Any, **options: Any) -> MessageBatch:
        super().create_streamed(body, **options)
        raise ApiError(403, "", "<html>blocked by policy</html>", from_api=False)


def test_a_403_of_a_web_filter_does_not_prove_that_a_create_was_refused(emulator: Emulator) -> None:
    """Filters look at answers too: what is not the API's own answer says nothing about the create."""
    task = Task(emulator)
    task.client = Filtered(emulator.api_key, base_url=emulator.url)
    with pytest.raises(BatchesError):
        task.try_(REQUESTS)
    task.client = client_of(emulator)
    with contextlib.suppress(BatchesError):
        task.try_(REQUESTS)
    assert len(ids(emulator)) == 1


def test_a_batch_that_another_task_made_during_a_long_upload_is_not_taken_for_ours(emulator: Emulator) -> None:
    """A create is accepted after its last piece: what was created before that is another's."""
    foreign: list[str] = []

    def another_task_submits() -> bool:
        if not foreign and emulator.counters["list"] > 0:  # after the fence
            emulator.clock.advance(10)
            with client_of(emulator) as client:
                foreign.append(client.create(some_requests(5, model="claude-sonnet-4-6")).id)
            emulator.end_all()
            emulator.clock.advance(10)
        return False

    task = Task(emulator)
    emulator.fault(Fault(endpoint="create", action="reset", skip=1))
    try:
        receipt = task.try_(REQUESTS, killed=another_task_submits)
    except UncertainSubmit:
        return
    assert receipt.batch_id not in foreign


class Lagging(BatchesClient):
    """Reads from a replica that lags behind for as long as `LIST_LAG` allows."""

    lag = timedelta(seconds=110)

    def list(self, **options: Any) -> BatchPage:
        page = super().list(**options)
        newest = api_now(self) - self.lag
        shown = [batch for batch in page.data if batch.created_at is None or batch.created_at < newest]
        return page.model_copy(update={"data": shown})


def test_one_404_of_a_batch_that_is_90_seconds_old_is_not_believed(emulator: Emulator) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.clock.advance(90)
    task.client = Lagging(emulator.api_key, base_url=emulator.url)
    missing = f"Message Batch {first.batch_id} not found."
    emulator.fault(Fault(endpoint="get", action="status", status=404, message=missing, batch_id=first.batch_id))
    assert task.try_(REQUESTS).batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


def test_a_retry_that_pays_again_names_the_batch_of_the_earlier_try(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.end_all()
    task.client.delete(first.batch_id)
    emulator.clock.advance(3600)
    task.client = client_of(emulator)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert task.try_(REQUESTS).batch_id != first.batch_id
    assert f"Batch {first.batch_id} of an earlier try does not exist for this key any more" in caplog.text


def test_a_try_that_was_stopped_during_a_write_sends_nothing(emulator: Emulator) -> None:
    class Stopped(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            time.sleep(0.2 if "intent" in value else 0)
            super().set(key, value)

    with pytest.raises(Superseded):
        Task(emulator).try_(REQUESTS, store=Stopped(), stalled_s=0.1)
    assert ids(emulator) == []


def test_a_try_that_goes_on_after_waiting_in_its_slot_does_not_read_the_record_as_if_it_were_its_own(
    emulator: Emulator,
) -> None:
    """The operator calls `submit` again with the same `RecordStore` after it waited, `deferrable=False`."""
    store = MemoryStore()
    records = RecordStore(store)
    records.write(records.read().replace(claim="of the stopped try"))
    store.set(KEY, {"claim": "of the next try"})
    with client_of(emulator) as client, pytest.raises(Superseded):
        submit(client, ListSource(REQUESTS), records=records)
    assert ids(emulator) == []


def test_a_receipt_that_an_earlier_try_of_the_task_published_late_does_not_hide_its_batch() -> None:
    """Airflow 3.1: a try that was stopped after its POST wakes, and pushes its receipt while the next try searches."""
    submitting = SimpleNamespace(
        task_id="submit", submits_batches=True, operator_class=type("T", (), {"submits_batches": True})
    )
    own = {"batch_id": "msgbatch_ours"}
    ti = SimpleNamespace(
        task_id="submit",
        map_index=-1,
        xcom_pull=lambda task_ids, key, **_: own if isinstance(task_ids, str) else [own],
    )
    context: Any = {"ti": ti, "dag": SimpleNamespace(tasks=[submitting])}
    assert known_batches(context) == set()


def test_a_batch_of_ours_is_not_missed_though_its_time_is_behind_the_answers_dates(emulator: Emulator) -> None:
    """Then its time does not prove that it is ours: a person decides, and no second batch is paid."""

    class Ahead(BatchesClient):
        """A client to which the `Date` of the answers seems half a minute ahead of the batches' times."""

        def api_time(self) -> datetime | None:
            time = super().api_time()
            return time and time + timedelta(seconds=30)

    task = Task(emulator, settle_for=timedelta(minutes=15), search_for=timedelta())
    task.client = Ahead(emulator.api_key, base_url=emulator.url)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(ReconcilePending) as pending:
        task.try_(REQUESTS)
    assert [pending.value.batch_id] == ids(emulator)
    emulator.end_all()
    with pytest.raises(UncertainSubmit, match="may be that of another run"):
        task.try_(REQUESTS)
    assert len(ids(emulator)) == 1
