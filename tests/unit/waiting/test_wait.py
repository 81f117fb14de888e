"""Waiting in a worker: the decision with a clock, a sleep, and a connection that is read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests_mock

from airflow_batches.api import ApiError, BatchesClient, MessageBatch, RetryPolicy
from airflow_batches.api.polling import Answer, KeepWaiting, Watch
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.wait import poll, wait
from tests.unit.api.wire import batch_json
from tests.virtual_clock import START, VirtualClock

URL = "https://api.anthropic.com/v1/messages/batches/b"
WATCH = Watch(batch_id="b", since=START)
RUNNING = MessageBatch(id="b", processing_status="in_progress")


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


def run(
    client: BatchesClient,
    *,
    poll_interval: float = 1.0,
    first: Answer = RUNNING,
    on_answer: Callable[[Answer | None], None] = lambda _: None,
    reconnect: Callable[[], BatchesClient] | None = None,
) -> tuple[Outcome, Answer]:
    return wait(
        client,
        WATCH,
        poll_interval=poll_interval,
        on_answer=on_answer,
        first=first,
        reconnect=reconnect or (lambda: client),
    )


def test_after_a_refused_key_the_connection_is_read_again(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, [api_error(401)] * 2 + [{"json": batch_json("ended")}])
    left = iter([BatchesClient(f"sk-ant-{number}") for number in range(2)])
    outcome, _ = run(client, reconnect=lambda: next(left))
    assert outcome.ending is Ending.ENDED
    assert [request.headers["x-api-key"] for request in api.request_history] == ["sk-ant-test", "sk-ant-0", "sk-ant-1"]


def test_a_connection_that_cannot_be_read_again_ends_no_wait(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def lost() -> BatchesClient:
        raise LookupError("no such connection just now")

    api.get(URL, [api_error(403), {"json": batch_json("ended")}])
    outcome, _ = run(client, reconnect=lost)
    assert outcome.ending is Ending.ENDED
    assert "could not be read again: LookupError" in caplog.text


def test_between_polls_that_are_far_apart_the_log_has_its_heartbeat(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, json=batch_json("ended"))
    answers: list[Answer | None] = []
    run(client, poll_interval=3600, on_answer=answers.append)
    assert answers == [RUNNING, None, None, None]
    assert clock.pauses == [900] * 4


def test_every_answer_after_which_the_wait_goes_on_is_passed_on(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, [{"status_code": 500}, {"json": batch_json("ended")}])
    answers: list[Answer | None] = []
    outcome, answer = run(client, on_answer=answers.append)
    assert isinstance(answer, MessageBatch)
    assert (outcome.ending, outcome.status) == (Ending.ENDED, "ended")
    assert [type(each) for each in answers] == [MessageBatch, ApiError]


def test_a_single_poll_uses_the_clients_own_retries(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, [{"status_code": 500}, {"status_code": 500}, {"json": batch_json("ended")}])
    decision, _ = poll(client, Watch(batch_id="b", since=START))
    assert isinstance(decision, Outcome)
    assert decision.ending is Ending.ENDED
    assert api.call_count == 3


def test_a_single_poll_of_a_batch_that_goes_on_keeps_waiting(
    api: requests_mock.Mocker, client: BatchesClient, clock: VirtualClock
) -> None:
    api.get(URL, json=batch_json())
    decision, answer = poll(client, Watch(batch_id="b", since=START, deadline=START + 1))
    assert decision == KeepWaiting()
    assert isinstance(answer, MessageBatch)
