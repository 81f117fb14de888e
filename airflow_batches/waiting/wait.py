"""Wait for a batch by blocking: `api.polling` with a connection that is read again, and a task's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import ApiError
from airflow_batches.api.polling import AUTH_FAILURES, Answer, KeepWaiting, Watch, poll_until_stopped, try_get
from airflow_batches.api.retry import ONCE
from airflow_batches.waiting.outcome import Ending, Outcome, next_step, outcome_after
from airflow_batches.waiting.progress import HEARTBEAT_S

logger = logging.getLogger(__name__)


def poll(client: BatchesClient, watch: Watch) -> tuple[KeepWaiting | Outcome, Answer]:
    """Poll once; return the decision and the answer."""
    answer = try_get(client, watch.batch_id)
    return next_step(watch, answer, now=time.time(), hint=client.retry_after), answer


def wait(
    client: BatchesClient,
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: Callable[[Answer | None], None],
    first: Answer,
    reconnect: Callable[[], BatchesClient],
) -> tuple[Outcome, Answer]:
    """Block until the wait is over.

    :param client: makes the polls; the caller closes it.
    :param watch: the wait.
    :param poll_interval: seconds between polls.
    :param on_answer: called with every answer after which the wait goes on, errors included, and every `HEARTBEAT_S`
        seconds with None between polls that are farther apart.
    :param first: the answer of a poll that was just made with `client`.
    :param reconnect: makes a client after the key was refused, with the connection read again.
    :return: the outcome, and the answer that ended the wait.
    """
    connection = _RenewedClient(client, reconnect)

    def note(answer: Answer) -> None:
        on_answer(answer)
        if isinstance(answer, ApiError) and answer.status in AUTH_FAILURES:
            connection.renew()

    try:
        stop, answer = poll_until_stopped(
            connection.polls(watch.batch_id, first),
            watch,
            poll_interval=poll_interval,
            on_answer=note,
            sleep=partial(_sleep, on_answer),
        )
    finally:
        connection.close()
    return outcome_after(watch.batch_id, answer, Ending(stop.reason), stop.message), answer


class _RenewedClient:
    """A client that can be replaced; `close` closes only those that were opened here."""

    def __init__(self, client: BatchesClient, reconnect: Callable[[], BatchesClient]) -> None:
        self._client = client
        self._reconnect = reconnect
        self._opened: BatchesClient | None = None

    def polls(self, batch_id: str, first: Answer) -> Iterator[tuple[Answer, float | None]]:
        """Give the first answer, then poll without the client's own retries: the next poll is the retry."""
        answer = first
        while True:
            yield answer, self._client.retry_after
            answer = try_get(self._client, batch_id, retry=ONCE)

    def renew(self) -> None:
        """Replace the client by one with the connection read again, if that is possible."""
        try:
            client = self._reconnect()
        except Exception as error:  # noqa: BLE001  # Airflow's look-up may fail in any way; the old client remains
            logger.warning("The connection could not be read again: %s: %s", type(error).__name__, error)
            return
        self.close()
        self._client = self._opened = client

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def _sleep(on_answer: Callable[[Answer | None], None], seconds: float) -> None:
    while seconds > HEARTBEAT_S:
        time.sleep(HEARTBEAT_S)
        seconds -= HEARTBEAT_S
        on_answer(None)
    time.sleep(seconds)
