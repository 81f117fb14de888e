"""Wait on an event loop: all waits with the same connection share one poller.

Rules of this file:
- There is one poller for each (event loop, connection). The first wait starts it, the last one closes it. Two loops
  share nothing, so nothing is locked.
- Cancelling one wait never affects the others.
- A wait ends at most `PATIENCE` after its deadline, whatever the poller does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta
from typing import Final

from airflow_batches.api.errors import BatchesError
from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.decision import OVERDUE, Watch
from airflow_batches.waiting.line import Connect
from airflow_batches.waiting.metrics import ENDED, WAIT_TIME, Metrics, NoMetrics
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.poller import Poller
from airflow_batches.waiting.progress import HEARTBEAT
from airflow_batches.waiting.roster import Seat

PATIENCE: Final = 60.0
"""Seconds that the poll at the deadline may take. Chosen: as `triggers.connect.READ_TIMEOUT`, after which a silent call
fails by itself."""

LOOK_AT_CLOCK: Final = HEARTBEAT / 3
"""Seconds between two calls of `on_answer` without an answer. Chosen: a heartbeat is late by a third at most."""

OnAnswer = Callable[[MessageBatch | BatchesError | None], None]

_pollers: Final[dict[tuple[asyncio.AbstractEventLoop, str], Poller]] = {}


async def wait_async(
    conn_id: str,
    connect: Connect,
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: OnAnswer | None = None,
    metrics: Metrics | None = None,
) -> Outcome:
    """Wait for a batch.

    Its polls are shared with all waits in this loop that have the same `conn_id`.

    :param conn_id: the connection.
    :param connect: makes a client; only the first wait's is used.
    :param watch: the wait.
    :param poll_interval: seconds between polls.
    :param on_answer: called in the caller's context with every answer after which the wait goes on, errors included,
        and every `LOOK_AT_CLOCK` seconds with None.
    :param metrics: where metrics go; nowhere by default.
    :return: the outcome.
    """
    metrics = metrics or NoMetrics()
    key = (asyncio.get_running_loop(), conn_id)
    poller = _pollers.get(key)
    if poller is None or not poller.alive:
        poller = _pollers[key] = Poller(conn_id, connect, metrics)
    outcome = await _wait(poller, key, watch, poll_interval, on_answer)
    tags = {"conn_id": conn_id, "ending": str(outcome.ending)}
    metrics.incr(ENDED, tags=tags)
    metrics.timing(WAIT_TIME, timedelta(seconds=time.time() - watch.since), tags=tags)
    return outcome


async def _wait(
    poller: Poller,
    key: tuple[asyncio.AbstractEventLoop, str],
    watch: Watch,
    poll_interval: float,
    on_answer: OnAnswer | None,
) -> Outcome:
    end: asyncio.Future[Outcome] = key[0].create_future()
    seat = _seat(end, watch, poll_interval, on_answer)
    poller.join(seat)
    try:
        async with asyncio.timeout(_longest(watch)):
            while not end.done():
                await asyncio.wait({end}, timeout=LOOK_AT_CLOCK)
                if on_answer is not None and not end.done():
                    on_answer(None)
            return await end
    except TimeoutError:
        message = f"{OVERDUE}; the last poll: {seat.last_error or 'not answered'}"
        return Outcome(ending=Ending.TIMED_OUT, batch_id=watch.batch_id, message=message)
    finally:
        poller.leave(seat)
        if poller.idle:
            poller.close()
            if _pollers.get(key) is poller:
                del _pollers[key]


def _seat(end: asyncio.Future[Outcome], watch: Watch, poll_interval: float, on_answer: OnAnswer | None) -> Seat:
    context = copy_context()

    def hear(answer: MessageBatch | BatchesError) -> None:
        try:
            if on_answer is not None:
                context.run(on_answer, answer)
        except Exception as error:  # noqa: BLE001  # ends this wait, and must not reach the others
            crash(error)

    def tell(outcome: Outcome) -> None:
        if not end.done():
            end.set_result(outcome)

    def crash(error: BaseException) -> None:
        if not end.done():
            end.set_exception(error)

    return Seat(watch=watch, poll_interval=poll_interval, on_end=tell, on_crash=crash, on_answer=hear)


def _longest(watch: Watch) -> float | None:
    return None if watch.deadline is None else max(0.0, watch.deadline - time.time()) + PATIENCE
