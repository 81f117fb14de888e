"""A cancel is done when the API has shown `canceling` or `ended`, and never before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.api import BatchesClient, CancelUnconfirmed, MessageBatch, RetryPolicy, cancel_if_running
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from tests.samples import some_requests


class Clock:
    """A clock that is moved by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE) as running:
        yield running


@pytest.fixture
def batch_id(client: BatchesClient) -> str:
    return client.create(some_requests(2)).id


def cancel(
    client: BatchesClient, batch_id: str, clock: Clock, *, look_first: bool = True, watch_404_s: float | None = None
) -> MessageBatch | None:
    return cancel_if_running(
        client,
        batch_id,
        reason="a test",
        look_first=look_first,
        watch_404_s=watch_404_s,
        sleep=clock.sleep,
        clock=clock,
    )


def state(emulator: Emulator) -> str:
    (batch,) = emulator.batches()
    return str(batch["processing_status"])


def test_a_running_batch_is_returned_as_canceling(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    batch = cancel(client, batch_id, clock)
    assert batch is not None
    assert (batch.id, batch.status_text, state(emulator)) == (batch_id, "canceling", "canceling")


@pytest.mark.parametrize("answer", [200, 400])
@pytest.mark.parametrize("look_first", [True, False])
def test_a_batch_that_has_ended_is_returned_whatever_a_cancel_answers(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock, look_first: bool, answer: int
) -> None:
    emulator.configure(cancel_after_ended=answer)
    emulator.end(batch_id)
    batch = cancel(client, batch_id, clock, look_first=look_first)
    assert batch is not None
    assert batch.status_text == "ended"
    assert emulator.counters["cancel"] == (0 if look_first else 1)


def test_a_batch_that_is_canceling_is_sent_no_second_cancel(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    client.cancel(batch_id)
    assert cancel(client, batch_id, clock) is not None
    assert emulator.counters["cancel"] == 1


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
def test_a_refused_cancel_of_a_batch_that_runs_raises_and_says_what_it_costs(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock, status: int
) -> None:
    emulator.fault(Fault(endpoint="cancel", action="status", status=status, times=None))
    with pytest.raises(CancelUnconfirmed) as caught:
        cancel(client, batch_id, clock)
    message = str(caught.value)
    assert message.startswith(f"Canceling {batch_id} was refused ({client.label}: {status}")
    assert "still in_progress: it runs on and is billed. Cancel it again, or in the Console" in message
    assert state(emulator) == "in_progress"


@pytest.mark.parametrize("status", [400, 404, 409, 503])
def test_a_cancel_that_is_refused_once_is_sent_again(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock, status: int
) -> None:
    emulator.fault(Fault(endpoint="cancel", action="status", status=status))
    assert cancel(client, batch_id, clock) is not None
    assert state(emulator) == "canceling"


def test_a_cancel_whose_answer_is_lost_is_done_when_a_look_shows_it(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    emulator.fault(Fault(endpoint="cancel", action="drop_after_accept"))
    batch = cancel(client, batch_id, clock)
    assert batch is not None
    assert batch.status_text == "canceling"
    assert emulator.counters["cancel"] == 1


def test_a_cancel_that_never_arrives_says_so(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    emulator.fault(Fault(endpoint="cancel", action="reset", times=None))
    with pytest.raises(CancelUnconfirmed, match=rf"Canceling {batch_id} failed .*still in_progress"):
        cancel(client, batch_id, clock)


def test_a_batch_that_cannot_be_looked_at_is_never_taken_for_canceled(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    emulator.fault(Fault(endpoint="*", action="status", status=503, times=None))
    with pytest.raises(
        CancelUnconfirmed, match=r"its state could not be read \(.*: 503: .*it may run on and be billed"
    ):
        cancel(client, batch_id, clock)


@pytest.mark.parametrize("action", ["status", "reset"])
def test_a_look_that_fails_does_not_keep_a_cancel_from_being_sent(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock, action: str
) -> None:
    emulator.fault(Fault(endpoint="get", action=action, status=503, times=None))
    assert cancel(client, batch_id, clock) is not None
    assert state(emulator) == "canceling"


def test_a_404_that_stands_for_a_minute_is_no_batch(client: BatchesClient, clock: Clock) -> None:
    assert cancel(client, "msgbatch_01unknown", clock) is None
    assert 60 <= clock.now < 61


def test_a_404_that_ends_within_the_minute_is_a_batch_that_is_canceled(
    emulator: Emulator, client: BatchesClient, batch_id: str, clock: Clock
) -> None:
    for endpoint in ("cancel", "get"):
        emulator.fault(Fault(endpoint=endpoint, action="status", status=404, message="no such batch", times=6))
    batch = cancel(client, batch_id, clock)
    assert batch is not None
    assert batch.status_text == "canceling"


def test_a_404_is_not_believed_by_a_caller_with_little_time(client: BatchesClient, clock: Clock) -> None:
    with pytest.raises(CancelUnconfirmed, match="may run and be billed"):
        cancel(client, "msgbatch_01unknown", clock, watch_404_s=2.0)
    assert clock.now == 2.0


def test_a_404_of_a_wrong_address_is_not_believed(emulator: Emulator, clock: Clock) -> None:
    policy = RetryPolicy(attempts=1)
    with (
        BatchesClient(emulator.api_key, base_url=f"{emulator.url}/v1", retry=policy) as client,
        pytest.raises(CancelUnconfirmed, match=r"must not end in /v1"),
    ):
        cancel(client, "msgbatch_1", clock)
