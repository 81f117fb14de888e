"""Waiting in the foreground: the one decision, with a real clock and a real sleep."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import BatchesError, DecodeError, TransportError, WaitTimeout
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.retry import ONCE, RetryPolicy
from airflow_batches.waiting.decision import Decision, KeepWaiting, Watch, decide, pause
from airflow_batches.waiting.outcome import Ending, Outcome

logger = logging.getLogger(__name__)

Answer = MessageBatch | BatchesError

NO_ANSWER: Final = (TransportError, DecodeError)
"""What is raised where nothing answered, or nothing that is the API."""


def ask(client: BatchesClient, batch_id: str, *, retry: RetryPolicy | None = None) -> Answer:
    """The batch, or why it could not be had: both are answers to decide on."""
    try:
        return client.get(batch_id, retry=retry)
    except BatchesError as error:
        return error


def poll(client: BatchesClient, watch: Watch) -> Decision:
    """One poll and what follows from it."""
    answer = ask(client, watch.batch_id)
    return decide(watch, answer, now=time.time(), hint=client.retry_after)


def wait(
    client: BatchesClient,
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: Callable[[Answer], None] | None = None,
    first: Answer | None = None,
) -> tuple[Outcome, Answer]:
    """Block until the wait is over; gives its outcome and the answer that ended it.

    `poll_interval` is in seconds; `on_answer` sees every answer after which the wait goes on; `first` is the answer
    of a poll that has just been made.
    """
    while True:
        answer = first or ask(client, watch.batch_id, retry=ONCE)  # the next poll is the retry, before the deadline
        first = None
        decision = decide(watch, answer, now=time.time(), hint=client.retry_after)
        if not isinstance(decision, KeepWaiting):
            return decision, answer
        if isinstance(answer, BatchesError):
            logger.warning("Poll of %s failed, trying again: %s", watch.batch_id, answer)
        if on_answer is not None:
            on_answer(answer)
        time.sleep(pause(watch, decision, poll_interval=poll_interval, now=time.time()))


def wait_for(client: BatchesClient, batch_id: str, *, poll_interval: float, timeout: float | None) -> MessageBatch:
    """The batch once it has ended. Raises `WaitTimeout` when `timeout` seconds are over, or the permanent error.

    An API that has not answered yet, whatever the client's own retries, is not waited for: a wrong address would
    never end. Its `TransportError` or `DecodeError` is raised. Once it has answered, such failures are waited out.
    """
    now = time.time()
    watch = Watch(batch_id=batch_id, since=now, deadline=None if timeout is None else now + timeout)
    outcome, answer = wait(client, watch, poll_interval=poll_interval, first=_first_answer(client, batch_id))
    if outcome.ending is Ending.TIMED_OUT:
        raise WaitTimeout(f"{batch_id}: {outcome.message}")
    if isinstance(answer, BatchesError):
        raise answer
    return answer


def _first_answer(client: BatchesClient, batch_id: str) -> Answer:
    answer = ask(client, batch_id, retry=ONCE)
    if isinstance(answer, NO_ANSWER):  # not otherwise: the client's retries know no deadline of ours
        answer = ask(client, batch_id)
    if isinstance(answer, NO_ANSWER):
        raise answer
    return answer
