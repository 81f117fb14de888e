"""Cancel and delete: one call each, safe to repeat."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests_mock

from airflow_batches._compat import AirflowFailException
from airflow_batches.api import ApiError, BatchesClient, CancelUnconfirmed
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.operators import MessageBatchCancelOperator, MessageBatchDeleteOperator
from airflow_batches.operators.delete import delete_batch
from tests.contexts import context
from tests.samples import some_requests


def submitted(emulator: Emulator) -> str:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return client.create(some_requests(3)).id


def cancel(batch_id: str) -> dict[str, object]:
    return MessageBatchCancelOperator(task_id="cancel", batch_id=batch_id).execute(context())


def delete(batch_id: str) -> dict[str, object]:
    return MessageBatchDeleteOperator(task_id="delete", batch_id=batch_id).execute(context())


@pytest.mark.usefixtures("connection")
def test_cancel_returns_the_batch_as_it_is_then_and_may_be_repeated(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600)
    batch_id = submitted(emulator)
    batch = cancel(batch_id)
    assert (batch["id"], batch["processing_status"]) == (batch_id, "canceling")
    assert batch["request_counts"] == {"processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    assert cancel(batch_id)["processing_status"] == "canceling"
    assert emulator.counters["cancel"] == 1


@pytest.mark.usefixtures("connection")
def test_cancel_leaves_a_batch_that_has_ended_as_it_is(emulator: Emulator) -> None:
    assert cancel(submitted(emulator))["processing_status"] == "ended"
    assert emulator.counters["cancel"] == 0


@pytest.mark.usefixtures("connection")
def test_delete_confirms_and_may_be_repeated(emulator: Emulator) -> None:
    batch_id = submitted(emulator)
    confirmation = {"id": batch_id, "type": "message_batch_deleted"}
    assert delete(batch_id) == confirmation
    assert not emulator.batches()
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        again = delete_batch(client, batch_id, missing_after=timedelta(seconds=0.1), retry_every_s=0.05)
    assert again.model_dump(mode="json") == confirmation


@pytest.mark.usefixtures("connection")
def test_deleting_a_batch_that_goes_on_fails_at_once_and_says_what_to_do(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600)
    with pytest.raises(AirflowFailException, match="Consider canceling the batch instead"):
        delete(submitted(emulator))


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("endpoint", ["get", "cancel"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_the_cancel_and_a_retry_may_help(emulator: Emulator, status: int, endpoint: str) -> None:
    emulator.configure(processing_time=3600)
    batch_id = submitted(emulator)
    emulator.fault(Fault(endpoint=endpoint, action="status", status=status, times=None))
    emulator.fault(Fault(endpoint="cancel", action="status", status=403, times=None))
    with pytest.raises(CancelUnconfirmed, match=str(status)):
        cancel(batch_id)


@pytest.mark.usefixtures("connection")
def test_a_batch_that_is_too_fresh_to_be_found_is_canceled_all_the_same(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600)
    batch_id = submitted(emulator)
    emulator.fault(Fault(endpoint="get", action="status", status=404, times=2))
    emulator.fault(Fault(endpoint="cancel", action="status", status=404))
    assert cancel(batch_id)["processing_status"] == "canceling"


@pytest.mark.usefixtures("connection")
def test_an_unknown_batch_fails_the_cancel_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_batches.api.cancellation.FRESH_404", timedelta(seconds=0.1))
    with pytest.raises(AirflowFailException, match=r"msgbatch_no does not exist for connection 'anthropic_default'"):
        cancel("msgbatch_no")


@pytest.mark.usefixtures("connection")
def test_a_cancel_that_is_refused_while_the_batch_runs_fails_the_task(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0)
    batch_id = submitted(emulator)
    emulator.fault(Fault(endpoint="cancel", action="status", status=400, message="not now", times=None))
    with pytest.raises(CancelUnconfirmed, match=rf"{batch_id} was refused \(.*: 400 .*still in_progress: it runs on"):
        cancel(batch_id)


@pytest.mark.usefixtures("connection")
def test_a_cancel_that_is_refused_since_the_batch_has_ended_returns_it(emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0, cancel_after_ended=400)
    batch_id = submitted(emulator)
    emulator.fault(Fault(endpoint="get", action="status", status=400))
    emulator.end(batch_id)
    assert cancel(batch_id)["processing_status"] == "ended"


@pytest.mark.usefixtures("connection")
def test_a_batch_in_an_unknown_state_is_canceled_too(emulator: Emulator) -> None:
    batch = {"id": "msgbatch_1", "processing_status": "finalizing"}
    canceling = {"id": "msgbatch_1", "processing_status": "canceling"}
    with requests_mock.Mocker() as http:
        http.get(f"{emulator.url}/v1/messages/batches/msgbatch_1", json=batch)
        sent = http.post(f"{emulator.url}/v1/messages/batches/msgbatch_1/cancel", json=canceling)
        assert cancel("msgbatch_1")["processing_status"] == "canceling"
    assert sent.call_count == 1


def test_a_single_404_does_not_make_a_batch_count_as_deleted(emulator: Emulator) -> None:
    batch_id = submitted(emulator)
    emulator.fault(Fault(endpoint="delete", action="status", status=404, message="no such batch", times=2))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        delete_batch(client, batch_id, retry_every_s=0.01)
    assert not emulator.batches()


@pytest.mark.usefixtures("connection")
def test_a_web_filters_page_is_retried_by_airflow(emulator: Emulator) -> None:
    with requests_mock.Mocker() as http:
        http.delete(f"{emulator.url}/v1/messages/batches/msgbatch_1", status_code=403, text="<html>blocked</html>")
        with pytest.raises(ApiError, match="403"):
            delete("msgbatch_1")


@pytest.mark.parametrize("kind", [MessageBatchCancelOperator, MessageBatchDeleteOperator])
def test_the_batch_and_the_connection_are_templates(kind: type[MessageBatchCancelOperator]) -> None:
    task = kind(task_id="t", batch_id="{{ batch }}", conn_id="{{ conn }}")
    task.render_template_fields({"batch": "msgbatch_1", "conn": "other"})  # type: ignore[typeddict-unknown-key]
    assert (task.batch_id, task.conn_id) == ("msgbatch_1", "other")
