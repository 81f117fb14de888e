"""Waiting in the foreground: the one decision, with a real clock and a real sleep."""

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
    """The batch, or why it could not be had: both are answers to decide on."""
    try:
        return client.get(batch_id, retry=retry)
    except BatchesError as error:
        return error


def poll(client: BatchesClient, watch: Watch) -> tuple[Decision, Answer]:
    """One poll, what follows from it, and its answer."""
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

    :param client: for the polls; closed by the caller.
    :param watch: the wait.
    :param poll_interval: seconds.
    :param on_answer: called with every answer after which the wait goes on, errors included, and with None in between
        where polls are far apart.
    :param first: the answer of a poll that has just been made.
    :param reconnect: gives a client with the connection read anew, after the key was refused.
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
    """The batch once it has ended. Raises `WaitTimeout` when the timeout is over, or the error that stood.

    An API that has not answered yet, whatever the client's own retries, is not waited for: with a wrong address the
    wait would never end. The `TransportError`, the `DecodeError` or the other server's error is raised. Once the API
    has answered, such failures are waited out.
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
    if unreached(answer):  # not otherwise: the client's retries know no deadline of ours
        answer = ask(client, batch_id)
    if isinstance(answer, BatchesError) and unreached(answer):
        raise answer
    return answer


class _Connection:
    """A client that can be replaced; those that it opened itself are closed in the end."""

    def __init__(self, client: BatchesClient, reconnect: Callable[[], BatchesClient] | None) -> None:
        self.client = client
        self._reconnect = reconnect
        self._opened: BatchesClient | None = None

    def renew(self) -> None:
        """Read the connection anew, where that is possible."""
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
