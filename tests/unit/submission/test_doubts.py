"""What may be believed of a clock, a list, a 404, a record: one wrong belief is a batch paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests_mock

from airflow_batches.api import ApiError, BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission import Superseded, Unsettled
from airflow_batches.submission.receipt import KEY, Intent, MemoryStore
from airflow_batches.submission.reconcile import Candidates
from airflow_batches.submission.source import ListSource
from airflow_batches.submission.submit import submit
from tests.samples import some_requests
from tests.unit.submission.helpers import SOON, Task

REQUESTS = some_requests(5)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Batches that take hours."""
    with Emulator(processing_time=2 * 3600.0, cancel_time=0.0) as running:
        yield running


def ids(emulator: Emulator) -> list[str]:
    return [batch["id"] for batch in emulator.batches()]


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_batches.submission.submit.LOOK_EVERY", 0.05)


def test_a_lost_answer_is_found_by_a_worker_whose_clock_is_behind(emulator: Emulator) -> None:
    emulator.clock.advance(1200)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(Unsettled) as unsettled:
        Task(emulator).try_(REQUESTS)
    assert [unsettled.value.batch_id] == ids(emulator)


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(minutes=-20)])
def test_a_wiped_store_is_made_up_for_whatever_airflows_clock_says(emulator: Emulator, ahead: timedelta) -> None:
    first = Task(emulator).try_(REQUESTS)
    emulator.end_all()
    second = Task(emulator).try_(REQUESTS, since=datetime.now(UTC) + ahead)
    assert second.batch_id == first.batch_id
    assert ids(emulator) == [first.batch_id]


def test_a_batch_that_comes_into_being_long_after_the_task_was_retried_is_found(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="late_accept", seconds=2.0))
    client = BatchesClient(emulator.api_key, base_url=emulator.url, timeout=0.2)
    task = Task(emulator, settle_for=timedelta(minutes=15))
    task.client = client
    with pytest.raises(Unsettled) as unsettled:
        task.try_(REQUESTS)
    assert [unsettled.value.batch_id] == ids(emulator)


def test_after_an_answer_nothing_is_under_way_and_the_look_is_short(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_batches.submission.outbox.SETTLE", timedelta(seconds=0.2))
    emulator.fault(Fault(endpoint="create", action="status", status=500))
    receipt = Task(emulator, settle_for=timedelta(minutes=15)).try_(REQUESTS)
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
    intent = Intent(fingerprint="f", requests=5, ids_digest="d", since=since, until=since + timedelta(minutes=15))
    page = {"data": [*batches], "has_more": False, "first_id": None, "last_id": None}
    with requests_mock.Mocker() as http, BatchesClient("sk-ant-key") as client:
        http.get(requests_mock.ANY, json=page)
        return [candidate.batch.id for candidate in Candidates(client).of(intent, known=())]


def test_a_server_that_dates_batches_to_the_second_hides_none() -> None:
    assert candidates(batch("ours", "2026-11-24T12:00:00Z"), batch("old", "2026-11-24T11:59:58Z")) == ["ours"]


def test_a_batch_without_counts_may_be_ours() -> None:
    dated = "2026-11-24T12:00:01Z"
    assert candidates(
        batch("bare", dated, request_counts={}), batch("other", dated, request_counts={"errored": 4})
    ) == ["bare"]


def test_a_404_of_a_batch_that_the_list_shows_is_not_believed(emulator: Emulator) -> None:
    task = Task(emulator)
    first = task.try_(REQUESTS)
    emulator.fault(Fault(endpoint="get", action="status", status=404, times=None))
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
    with pytest.raises(ApiError, match="404"):
        task.try_(REQUESTS)
    assert len(ids(emulator)) == 1


class Overtaken(MemoryStore):
    """A store into which another try writes just before this one remembers its batch."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self._other = other

    def get(self, key: str) -> Any:
        stored = super().get(key)
        if self._other is not None and stored is not None and stored["state"] == "intent":
            self.set(key, self._other)
            self._other = None
        return super().get(key)


def overtaken(emulator: Emulator, other: Any) -> str:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client, pytest.raises(Superseded) as error:
        submit(client, ListSource(REQUESTS), store=Overtaken(other), settle_for=SOON)
    return str(error.value)


def test_a_try_that_was_overtaken_after_its_post_cancels_its_batch(emulator: Emulator) -> None:
    said = overtaken(emulator, {"state": "begun", "claim": "of another try"})
    (made,) = emulator.batches()
    assert made["cancel_initiated_at"] is not None
    assert f"batch {made['id']} of this one was canceled" in said


def test_a_try_that_was_overtaken_leaves_its_batch_to_one_that_looks_for_it(emulator: Emulator) -> None:
    window = {"since": "2026-11-24T00:00:00Z", "until": "2026-11-25T00:00:00Z"}
    said = overtaken(
        emulator, {"state": "intent", "fingerprint": "f", "requests": 5, "ids_digest": "d", "claim": "", **window}
    )
    (made,) = emulator.batches()
    assert made["cancel_initiated_at"] is None
    assert f"it looks for batch {made['id']}" in said


@pytest.mark.parametrize("on_uncertain", ["resubmit", "fail"])
def test_who_never_looks_for_a_batch_need_not_be_allowed_to_list_them(emulator: Emulator, on_uncertain: str) -> None:
    emulator.configure(denied=("list",))
    assert Task(emulator, on_uncertain=on_uncertain).try_(REQUESTS).requests == 5


def test_a_mapped_item_whose_requests_changed_does_not_wait_for_its_own_old_batch(emulator: Emulator) -> None:
    began = datetime.now(UTC)
    task = Task(emulator, mapped=True)
    old = task.try_(some_requests(5, prefix="old"))
    new = task.try_(some_requests(5, prefix="new"), since=began)
    assert ids(emulator) == [new.batch_id, old.batch_id]


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
    assert f"Batch {receipt.batch_id} of an earlier try is there" in caplog.text
