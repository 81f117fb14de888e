"""`BatchesClient.wait_for`: when it polls, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
import requests_mock

from airflow_batches.api import (
    ApiError,
    BatchesClient,
    BatchesError,
    DecodeError,
    ProcessingStatus,
    RetryPolicy,
    TransportError,
    WaitTimeout,
)
from airflow_batches.emulator import Emulator, Fault
from tests.unit.api.wire import answering, batch_bytes, batch_json, serving
from tests.virtual_clock import START, VirtualClock

URL = "https://api.anthropic.com/v1/messages/batches/b"
HTML = {"text": "<html>It works</html>"}
FILTER = {"status_code": 403, "text": "<html>blocked</html>"}
REFUSED = {"exc": requests.ConnectionError("refused")}


def api_error(status: int) -> dict[str, Any]:
    """An error as the API answers it."""
    return {"status_code": status, "json": {"type": "error", "error": {"type": "t", "message": "said by the API"}}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    return VirtualClock(monkeypatch)


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def client() -> Iterator[BatchesClient]:
    with BatchesClient("sk-ant-test", retry=RetryPolicy(attempts=3, base=1.0)) as running:
        yield running


def test_it_polls_at_the_interval_until_the_batch_has_ended(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, [{"json": batch_json(status)} for status in ("in_progress", "in_progress", "canceling", "ended")])
    batch = client.wait_for("b", poll_interval=30, timeout=None)
    assert batch.processing_status is ProcessingStatus.ENDED
    assert clock.pauses == [30, 30, 30]


def test_a_batch_that_has_ended_is_returned_without_a_pause(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, json=batch_json("ended"))
    client.wait_for("b", poll_interval=30, timeout=0)
    assert clock.pauses == []


@pytest.mark.parametrize(("timeout", "pauses"), [(0, []), (10, [10]), (30, [30]), (75, [30, 30, 15])])
def test_the_last_poll_is_at_the_deadline(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, timeout: float, pauses: list[float]
) -> None:
    api.get(URL, json=batch_json())
    with pytest.raises(WaitTimeout, match=r"^b: .*the batch is still in_progress"):
        client.wait_for("b", poll_interval=30, timeout=timeout)
    assert clock.pauses == pauses
    assert api.call_count == len(pauses) + 1


def test_a_batch_that_ends_at_the_last_poll_has_ended(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, [{"json": batch_json()}, {"json": batch_json("ended")}])
    assert client.wait_for("b", poll_interval=30, timeout=10).processing_status is ProcessingStatus.ENDED
    assert clock.pauses == [10]


def test_temporary_failures_are_retried_at_the_interval_or_the_servers_hint(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[dict[str, Any]] = [
        api_error(529),
        {"status_code": 429, "headers": {"retry-after": "90"}},
        {"status_code": 503, "headers": {"retry-after": "86400"}},
        {"text": "<html>"},
        api_error(404),
        api_error(403),
        {"status_code": 403, "text": "<html>blocked</html>"},
    ]
    api.get(URL, [*failures[-3:-2], *failures, {"json": batch_json("ended")}])
    client.wait_for("b", poll_interval=30, timeout=None)
    assert clock.pauses == [30, 30, 90, 600, 30, 30, 30, 30]
    assert caplog.text.count("Polling b failed and is retried") == 8


def test_the_servers_hint_about_a_batch_in_progress_is_obeyed(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    hints = [{"retry-after": "45"}, {}, {"retry-after": "10"}]
    answers: list[dict[str, Any]] = [{"json": batch_json(), "headers": headers} for headers in hints]
    api.get(URL, [*answers, {"json": batch_json("ended")}])
    client.wait_for("b", poll_interval=30, timeout=None)
    assert clock.pauses == [45, 30, 30]


def test_failing_polls_do_not_wait_beyond_the_deadline(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, status_code=529, headers={"retry-after": "200"})
    with pytest.raises(WaitTimeout, match=r"the last poll failed: .*529"):
        client.wait_for("b", poll_interval=30, timeout=60)
    assert clock.now == START + 60
    assert api.call_count == 2


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_raised_as_it_is_when_it_has_stood_for_minutes(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, status: int
) -> None:
    api.get(URL, **api_error(status))
    with pytest.raises(ApiError) as caught:
        client.wait_for("b", poll_interval=30, timeout=3600)
    assert caught.value.status == status
    assert clock.now == START + 300


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_passes_ends_no_wait(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, status: int
) -> None:
    goes_on = {"json": batch_json()}
    answers = [goes_on, api_error(status), api_error(status), goes_on, api_error(status), {"json": batch_json("ended")}]
    api.get(URL, answers)
    assert client.wait_for("b", poll_interval=50, timeout=None).processing_status is ProcessingStatus.ENDED


def test_times_may_be_timedeltas(api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock) -> None:
    api.get(URL, json=batch_json())
    with pytest.raises(WaitTimeout):
        client.wait_for("b", poll_interval=timedelta(seconds=30), timeout=timedelta(minutes=1))
    assert clock.pauses == [30, 30]


def test_an_unknown_batch_is_raised_after_a_minute(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, **api_error(404))
    with pytest.raises(ApiError, match="404"):
        client.wait_for("b", poll_interval=20, timeout=3600)
    assert clock.now == START + 60


def test_an_error_that_is_not_ours_is_not_an_answer(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, exc=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        client.wait_for("b")


def test_a_real_wait_survives_faults_of_the_emulator() -> None:
    request = {
        "custom_id": "a",
        "params": {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]},
    }
    with Emulator(processing_time=0.2) as emulator, BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch_id = client.create([request]).id
        faults = (
            Fault(endpoint="get", action=action, status=status)
            for action, status in (("status", 529), ("reset", 500), ("broken_json", 200), ("status", 404))
        )
        plans = [emulator.fault(fault) for fault in faults]
        batch = client.wait_for(batch_id, poll_interval=0.05, timeout=60)
        assert batch.request_counts.succeeded == 1
        assert [plan.struck for plan in plans] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("unanswered", "kind", "polls"),
    [(REFUSED, TransportError, 4), (HTML, DecodeError, 2), (FILTER, ApiError, 2)],
    ids=["refused", "html", "web filter"],
)
@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_an_api_that_has_never_answered_is_not_waited_for(
    api: requests_mock.Mocker,
    client: BatchesClient,
    clock: VirtualClock,
    unanswered: dict[str, Any],
    kind: type[BatchesError],
    polls: int,
    timeout: float | None,
) -> None:
    api.get(URL, [unanswered] * 9)
    with pytest.raises(kind):
        client.wait_for("b", poll_interval=30, timeout=timeout)
    assert api.call_count == polls
    assert 30 not in clock.pauses


@pytest.mark.parametrize("unanswered", [[REFUSED], [HTML], [REFUSED] * 3])
def test_an_api_that_answers_the_clients_own_retries_is_waited_for(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, unanswered: list[dict[str, Any]]
) -> None:
    api.get(URL, [*unanswered, {"json": batch_json()}, {"json": batch_json("ended")}])
    assert client.wait_for("b", poll_interval=30, timeout=None).processing_status is ProcessingStatus.ENDED
    assert clock.pauses[-1] == 30


@pytest.mark.parametrize("failure", [api_error(404), api_error(503)])
def test_an_error_of_the_api_is_an_answer_also_where_the_first_attempt_had_none(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, failure: dict[str, Any]
) -> None:
    api.get(URL, [REFUSED, *[failure] * 3, REFUSED, {"json": batch_json("ended")}])
    assert client.wait_for("b", poll_interval=10, timeout=None).processing_status is ProcessingStatus.ENDED


@pytest.mark.parametrize("answered", [{"json": batch_json()}, api_error(404), api_error(529), {"status_code": 503}])
@pytest.mark.parametrize("unanswered", [REFUSED, HTML, FILTER])
def test_an_api_that_has_answered_once_is_waited_for_however_it_fails_then(
    api: requests_mock.Mocker,
    client: BatchesClient,
    clock: VirtualClock,
    answered: dict[str, Any],
    unanswered: dict[str, Any],
) -> None:
    api.get(URL, [answered, *[unanswered] * 9, {"json": batch_json("ended")}])
    assert client.wait_for("b", poll_interval=30, timeout=None).processing_status is ProcessingStatus.ENDED
    assert clock.pauses == [30] * 10


def test_an_unknown_host_name_is_raised_also_without_a_timeout() -> None:
    policy = RetryPolicy(attempts=2, base=0.0)
    with (
        BatchesClient("key", base_url="http://api.anthropic.invalid", retry=policy) as client,
        pytest.raises(TransportError, match="the connection failed"),
    ):
        client.wait_for("b")


def test_a_server_that_goes_away_during_the_wait_ends_in_a_timeout() -> None:
    with (
        serving(answering(batch_bytes())) as server,
        BatchesClient("key", base_url=server.url) as client,
        pytest.raises(WaitTimeout, match=r"the last poll failed: .*the connection failed"),
    ):
        client.wait_for("b", poll_interval=0.01, timeout=0.2)
