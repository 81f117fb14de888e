"""Waiting in the foreground: the decision with a clock and a sleep."""

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
    MessageBatch,
    ProcessingStatus,
    RetryPolicy,
    TransportError,
    WaitTimeout,
)
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.waiting.decision import KeepWaiting, Watch
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.wait import Answer, ask, poll, wait, wait_for
from tests.unit.api.wire import answering, batch_bytes, batch_json, serving

URL = "https://api.anthropic.com/v1/messages/batches/b"
START = 1_000_000.0


def api_error(status: int) -> dict[str, Any]:
    """An error as the API answers it."""
    return {"status_code": status, "json": {"type": "error", "error": {"type": "t", "message": "said by the API"}}}


class Clock:
    """Time that passes only in a sleep."""

    def __init__(self) -> None:
        self.now = START
        self.naps: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    monkeypatch.setattr("time.sleep", clock.sleep)
    return clock


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def client() -> Iterator[BatchesClient]:
    with BatchesClient("sk-ant-test", retry=RetryPolicy(attempts=3, base=1.0)) as running:
        yield running


def test_it_polls_at_the_interval_until_the_batch_has_ended(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [{"json": batch_json(status)} for status in ("in_progress", "in_progress", "canceling", "ended")])
    batch = wait_for(client, "b", poll_interval=30, timeout=None)
    assert batch.processing_status is ProcessingStatus.ENDED
    assert clock.naps == [30, 30, 30]


def test_a_batch_that_has_ended_is_not_slept_for(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, json=batch_json("ended"))
    wait_for(client, "b", poll_interval=30, timeout=0)
    assert clock.naps == []


@pytest.mark.parametrize(("timeout", "naps"), [(0, []), (10, [10]), (30, [30]), (75, [30, 30, 15])])
def test_the_last_poll_is_at_the_deadline(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, timeout: float, naps: list[float]
) -> None:
    api.get(URL, json=batch_json())
    with pytest.raises(WaitTimeout, match=r"^b: .*has not ended"):
        wait_for(client, "b", poll_interval=30, timeout=timeout)
    assert clock.naps == naps
    assert api.call_count == len(naps) + 1


def test_a_batch_that_ends_at_the_last_poll_has_ended(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [{"json": batch_json()}, {"json": batch_json("ended")}])
    assert wait_for(client, "b", poll_interval=30, timeout=10).processing_status is ProcessingStatus.ENDED
    assert clock.naps == [10]


def test_passing_failures_are_waited_out_at_the_interval_or_the_servers_hint(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, caplog: pytest.LogCaptureFixture
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
    wait_for(client, "b", poll_interval=30, timeout=None)
    assert clock.naps == [30, 30, 90, 600, 30, 30, 30, 30]
    assert caplog.text.count("Poll of b failed, trying again") == 8


def test_the_servers_hint_about_a_batch_in_progress_is_heeded(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    hints = [{"retry-after": "45"}, {}, {"retry-after": "10"}]
    answers: list[dict[str, Any]] = [{"json": batch_json(), "headers": headers} for headers in hints]
    api.get(URL, [*answers, {"json": batch_json("ended")}])
    wait_for(client, "b", poll_interval=30, timeout=None)
    assert clock.naps == [45, 30, 30]


def test_failing_polls_do_not_wait_beyond_the_deadline(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, status_code=529, headers={"retry-after": "200"})
    with pytest.raises(WaitTimeout, match=r"the last poll failed: .*529"):
        wait_for(client, "b", poll_interval=30, timeout=60)
    assert clock.now == START + 60
    assert api.call_count == 2


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_raised_as_it_is_when_it_has_stood_for_minutes(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, status: int
) -> None:
    api.get(URL, **api_error(status))
    with pytest.raises(ApiError) as caught:
        wait_for(client, "b", poll_interval=30, timeout=3600)
    assert caught.value.status == status
    assert clock.now == START + 300


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_passes_ends_no_wait(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, status: int
) -> None:
    goes_on = {"json": batch_json()}
    answers = [goes_on, api_error(status), api_error(status), goes_on, api_error(status), {"json": batch_json("ended")}]
    api.get(URL, answers)
    assert wait_for(client, "b", poll_interval=50, timeout=None).processing_status is ProcessingStatus.ENDED


def test_a_wait_after_a_refused_key_goes_on_with_the_connection_read_anew(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [api_error(401)] * 2 + [{"json": batch_json("ended")}])
    fresh = [BatchesClient(f"sk-ant-{number}") for number in range(2)]
    left = iter(fresh)
    watch = Watch(batch_id="b", since=START)
    outcome, _ = wait(client, watch, poll_interval=1, reconnect=lambda: next(left))
    assert outcome.ending is Ending.ENDED
    assert [request.headers["x-api-key"] for request in api.request_history] == ["sk-ant-test", "sk-ant-0", "sk-ant-1"]


def test_a_connection_that_cannot_be_read_anew_ends_no_wait(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def lost() -> BatchesClient:
        raise LookupError("no such connection just now")

    api.get(URL, [api_error(403), {"json": batch_json("ended")}])
    outcome, _ = wait(client, Watch(batch_id="b", since=START), poll_interval=1, reconnect=lost)
    assert outcome.ending is Ending.ENDED
    assert "could not be read anew: LookupError" in caplog.text


def test_where_polls_are_far_apart_the_time_between_them_is_told(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [{"json": batch_json()}, {"json": batch_json("ended")}])
    told: list[Answer | None] = []
    wait(client, Watch(batch_id="b", since=START), poll_interval=3600, on_answer=told.append)
    assert told[1:] == [None] * 3
    assert clock.naps == [900] * 4


def test_times_may_be_timedeltas(api: requests_mock.Mocker, client: BatchesClient, clock: Clock) -> None:
    api.get(URL, json=batch_json())
    with pytest.raises(WaitTimeout):
        wait_for(client, "b", poll_interval=timedelta(seconds=30), timeout=timedelta(minutes=1))
    assert clock.naps == [30, 30]


def test_an_unknown_batch_is_raised_after_a_minute(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, **api_error(404))
    with pytest.raises(ApiError, match="404"):
        wait_for(client, "b", poll_interval=20, timeout=3600)
    assert clock.now == START + 60


def test_a_wait_tells_every_answer_after_which_it_goes_on(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [{"json": batch_json()}, {"status_code": 500}, {"json": batch_json("ended")}])
    told: list[Answer | None] = []
    watch = Watch(batch_id="b", since=START)
    outcome, answer = wait(client, watch, poll_interval=1, on_answer=told.append)
    assert isinstance(answer, MessageBatch)
    assert (outcome.ending, outcome.status) == (Ending.ENDED, "ended")
    assert [type(each) for each in told] == [MessageBatch, ApiError]


def test_asking_gives_the_batch_or_the_error(api: requests_mock.Mocker, client: BatchesClient, clock: Clock) -> None:
    api.get(URL, [{"json": batch_json()}, {"status_code": 403}])
    first, second = ask(client, "b"), ask(client, "b")
    assert isinstance(first, MessageBatch)
    assert isinstance(second, ApiError)


def test_a_single_poll_uses_the_clients_own_patience(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, [{"status_code": 500}, {"status_code": 500}, {"json": batch_json("ended")}])
    decision, _ = poll(client, Watch(batch_id="b", since=START))
    assert isinstance(decision, Outcome)
    assert decision.ending is Ending.ENDED
    assert api.call_count == 3


def test_a_single_poll_of_a_batch_that_goes_on_keeps_waiting(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, json=batch_json())
    decision, answer = poll(client, Watch(batch_id="b", since=START, deadline=START + 1))
    assert decision == KeepWaiting()
    assert isinstance(answer, MessageBatch)


def test_an_error_that_is_not_ours_is_not_an_answer(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock
) -> None:
    api.get(URL, exc=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        ask(client, "b")


def test_a_real_wait_gets_over_whatever_the_emulator_does_to_it() -> None:
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


HTML = {"text": "<html>It works</html>"}
FILTER = {"status_code": 403, "text": "<html>blocked</html>"}
REFUSED = {"exc": requests.ConnectionError("refused")}


@pytest.mark.parametrize(
    ("unanswered", "kind", "polls"),
    [(REFUSED, TransportError, 4), (HTML, DecodeError, 2), (FILTER, ApiError, 2)],
    ids=["refused", "html", "web filter"],
)
@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_an_api_that_has_never_answered_is_not_waited_for(
    api: requests_mock.Mocker,
    client: BatchesClient,
    clock: Clock,
    unanswered: dict[str, Any],
    kind: type[BatchesError],
    polls: int,
    timeout: float | None,
) -> None:
    api.get(URL, [unanswered] * 9)
    with pytest.raises(kind):
        wait_for(client, "b", poll_interval=30, timeout=timeout)
    assert api.call_count == polls
    assert 30 not in clock.naps


@pytest.mark.parametrize("unanswered", [[REFUSED], [HTML], [REFUSED] * 3])
def test_an_api_that_answers_the_clients_own_retries_is_waited_for(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, unanswered: list[dict[str, Any]]
) -> None:
    api.get(URL, [*unanswered, {"json": batch_json()}, {"json": batch_json("ended")}])
    assert wait_for(client, "b", poll_interval=30, timeout=None).processing_status is ProcessingStatus.ENDED
    assert clock.naps[-1] == 30


@pytest.mark.parametrize("failure", [api_error(404), api_error(503)])
def test_an_error_of_the_api_is_an_answer_also_where_the_first_attempt_had_none(
    api: requests_mock.Mocker, client: BatchesClient, clock: Clock, failure: dict[str, Any]
) -> None:
    api.get(URL, [REFUSED, *[failure] * 3, REFUSED, {"json": batch_json("ended")}])
    assert wait_for(client, "b", poll_interval=10, timeout=None).processing_status is ProcessingStatus.ENDED


@pytest.mark.parametrize("answered", [{"json": batch_json()}, api_error(404), api_error(529), {"status_code": 503}])
@pytest.mark.parametrize("unanswered", [REFUSED, HTML, FILTER])
def test_an_api_that_has_answered_once_is_waited_for_however_it_fails_then(
    api: requests_mock.Mocker,
    client: BatchesClient,
    clock: Clock,
    answered: dict[str, Any],
    unanswered: dict[str, Any],
) -> None:
    api.get(URL, [answered, *[unanswered] * 9, {"json": batch_json("ended")}])
    assert wait_for(client, "b", poll_interval=30, timeout=None).processing_status is ProcessingStatus.ENDED
    assert clock.naps == [30] * 10


def test_a_name_that_nobody_has_is_raised_by_a_wait_without_an_end() -> None:
    policy = RetryPolicy(attempts=2, base=0.0)
    with (
        BatchesClient("key", base_url="http://api.anthropic.invalid", retry=policy) as client,
        pytest.raises(TransportError, match="the connection failed"),
    ):
        client.wait_for("b")


def test_a_server_that_goes_away_meanwhile_times_out_like_a_batch_that_goes_on() -> None:
    with (
        serving(answering(batch_bytes())) as server,
        BatchesClient("key", base_url=server.url) as client,
        pytest.raises(WaitTimeout, match=r"the last poll failed: .*the connection failed"),
    ):
        client.wait_for("b", poll_interval=0.01, timeout=0.2)
