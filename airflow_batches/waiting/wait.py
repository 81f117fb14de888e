"""Wait for a batch by blocking: `decision` with a real clock and a real sleep."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import ApiError, BatchesError, WaitTimeout
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.retry import ONCE, RetryPolicy
from airflow_batches.waiting.decision import (
    AUTH_FAILURES,
    Decision,
    KeepWaiting,
    Watch,
    decide,
    pause,
    unreached,
)
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.progress import HEARTBEAT

logger = logging.getLogger(__name__)

Answer = MessageBatch | BatchesError


def ask(client: BatchesClient, batch_id: str, *, retry: RetryPolicy | None = None) -> Answer:
    """Return the batch, or the error of the call: `decide` takes both."""
    try:
        return client.get(batch_id, retry=retry)
    except BatchesError as error:
        return error


def poll(client: BatchesClient, watch: Watch) -> tuple[Decision, Answer]:
    """Poll once; return the decision and the answer."""
    answer = ask(client, watch.batch_id)
    return decide(watch, answer, now=time.time(), hint=client.retry_after), answer


def wait(
    client: BatchesClient,
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: Callable[[Answer | None], None] | None = None,
    first: Answer | None = None,
    reconnect: Callable[[], BatchesClient] | None = None,
) -> tuple[Outcome, Answer]:
    """Block until the wait is over.

    :param client: makes the polls; the caller closes it.
    :param watch: the wait.
    :param poll_interval: seconds between polls.
    :param on_answer: called with every answer after which the wait goes on, errors included, and every `HEARTBEAT`
        seconds with None between polls that are farther apart.
    :param first: the answer of a poll that was just made; None polls at once.
    :param reconnect: makes a client after the key was refused, with the connection read again; by default the same
        client goes on.
    :return: the outcome, and the answer that ended the wait.
    """
    with _connection(client, reconnect) as connection:
        while True:
            # Without the client's own retries: the next poll is the retry, and the deadline is kept.
            answer = first or ask(connection.client, watch.batch_id, retry=ONCE)
            first = None
            decision = decide(watch, answer, now=time.time(), hint=connection.client.retry_after)
            if not isinstance(decision, KeepWaiting):
                return decision, answer
            watch = watch.after(decision)
            if on_answer is not None:
                on_answer(answer)
            elif isinstance(answer, BatchesError):
                logger.warning("Poll of %s failed, trying again: %s", watch.batch_id, answer)
            if isinstance(answer, ApiError) and answer.status in AUTH_FAILURES:
                connection.renew()
            _sleep(pause(watch, decision, poll_interval=poll_interval, now=time.time()), on_answer)


def wait_for(
    client: BatchesClient, batch_id: str, *, poll_interval: timedelta | float, timeout: timedelta | float | None
) -> MessageBatch:
    """Block until a batch has ended, and return it.

    If the API does not answer the first poll, in spite of the client's retries, the error is raised: with a wrong
    address the wait would never end. After a first answer such failures are waited out.

    :param client: makes the polls.
    :param batch_id: the batch.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most; None for no limit.
    :raises WaitTimeout: the timeout passed and the batch has not ended.
    :raises TransportError: the API did not answer the first poll.
    :raises DecodeError: another server answered the first poll.
    :raises ApiError: the API refused every poll for minutes, or another server answered the first poll.
    """
    now = time.time()
    deadline = None if timeout is None else now + _seconds(timeout)
    watch = Watch(batch_id=batch_id, since=now, deadline=deadline)
    outcome, answer = wait(client, watch, poll_interval=_seconds(poll_interval), first=_first_answer(client, batch_id))
    if outcome.ending is Ending.TIMED_OUT:
        raise WaitTimeout(f"{batch_id}: {outcome.message}")
    if isinstance(answer, BatchesError):
        raise answer
    return answer


def _first_answer(client: BatchesClient, batch_id: str) -> Answer:
    answer = ask(client, batch_id, retry=ONCE)
    if unreached(answer):  # only then, because the client's retries do not know the wait's deadline
        answer = ask(client, batch_id)
    if isinstance(answer, BatchesError) and unreached(answer):
        raise answer
    return answer


class _Connection:
    """A client that can be replaced; `close` closes only those that were opened here."""

    def __init__(self, client: BatchesClient, reconnect: Callable[[], BatchesClient] | None) -> None:
        self.client = client
        self._reconnect = reconnect
        self._opened: BatchesClient | None = None

    def renew(self) -> None:
        """Replace the client by one with the connection read again, if that is possible."""
        if self._reconnect is None:
            return
        try:
            fresh = self._reconnect()
        except Exception as error:  # noqa: BLE001  # Airflow's look-up may fail in any way; the old client remains
            logger.warning("The connection could not be read anew: %s: %s", type(error).__name__, error)
            return
        self.close()
        self.client = self._opened = fresh

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


@contextmanager
def _connection(client: BatchesClient, reconnect: Callable[[], BatchesClient] | None) -> Iterator[_Connection]:
    connection = _Connection(client, reconnect)
    try:
        yield connection
    finally:
        connection.close()


def _sleep(seconds: float, on_answer: Callable[[Answer | None], None] | None) -> None:
    while seconds > HEARTBEAT and on_answer is not None:
        time.sleep(HEARTBEAT)
        seconds -= HEARTBEAT
        on_answer(None)
    time.sleep(seconds)


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value
