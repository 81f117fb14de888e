"""Waiting on an event loop: all waits with the same connection share one poller.

Rules of this file:
- One poller for each (event loop, connection). The first wait starts it, the last one closes it, the next starts
  another. Nothing is shared by two loops, and nothing is locked.
- Cancelling one wait never affects the others.
- A wait ends `PATIENCE` after its deadline, whatever the poller does.
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
"""Seconds for which a poll at the deadline may be under way."""

LOOK_AT_CLOCK: Final = HEARTBEAT / 3
"""Seconds between two calls of `on_answer` without an answer, so that a heartbeat is late by a third at most."""

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
    """The outcome of a wait, whose polls are shared with all others in this loop that name the same `conn_id`.

    `connect` is used by the wait that comes first. `on_answer` is called in the caller's context with every answer
    after which the wait goes on, errors included, and now and then with None, whatever the polls do. Times are seconds.
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
        except Exception as error:  # noqa: BLE001  # concerns this wait, and must not reach the others
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
