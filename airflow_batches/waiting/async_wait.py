"""Wait on an event loop: all waits with the same connection share one poller.

Rules of this file:
- There is one poller for each (event loop, connection). The first wait starts it, the last one closes it. Two loops
  share nothing, so nothing is locked.
- Cancelling one wait never affects the others.
- A wait ends at most `deadline_grace_s` after its deadline, whatever the poller does: also while a call hangs, and
  while the server asks for a longer pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta
from typing import Final

from airflow_batches.api.polling import Answer, Watch
from airflow_batches.waiting.client import Connect
from airflow_batches.waiting.metrics import ENDED, WAIT_TIME, Metrics, NoMetrics
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.poller import Poller
from airflow_batches.waiting.settings import DEFAULTS, PollSettings
from airflow_batches.waiting.waiters import Waiter

OnAnswer = Callable[[Answer | None], None]

_pollers: Final[dict[tuple[asyncio.AbstractEventLoop, str], Poller]] = {}


async def wait_async(
    conn_id: str,
    connect: Connect,
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: OnAnswer,
    metrics: Metrics | None = None,
    settings: PollSettings = DEFAULTS,
) -> Outcome:
    """Wait for a batch.

    Its polls are shared with all waits in this loop that have the same `conn_id`.

    :param conn_id: the connection.
    :param connect: makes a client; only the first wait's is used.
    :param watch: the wait.
    :param poll_interval: seconds between polls.
    :param on_answer: called in the caller's context with every answer after which the wait goes on, errors included,
        and three times in a heartbeat with None.
    :param metrics: where metrics go; nowhere by default.
    :param settings: the poller's numbers; only the first wait's are used for the poller.
    :return: the outcome.
    """
    metrics = metrics or NoMetrics()
    key = (asyncio.get_running_loop(), conn_id)
    poller = _pollers.get(key)
    if poller is None or not poller.is_alive:
        poller = _pollers[key] = Poller(conn_id, connect, metrics, settings)
    waiter = _waiter(watch, poll_interval, on_answer)
    poller.add(waiter)
    try:
        outcome = await _outcome(waiter, on_answer, settings)
    finally:
        poller.remove(waiter)
        if poller.is_idle:
            poller.close()
            if _pollers.get(key) is poller:
                del _pollers[key]
    tags = {"conn_id": conn_id, "ending": str(outcome.ending)}
    metrics.incr(ENDED, tags=tags)
    metrics.timing(WAIT_TIME, timedelta(seconds=time.time() - watch.since), tags=tags)
    return outcome


async def _outcome(waiter: Waiter, on_answer: OnAnswer, settings: PollSettings) -> Outcome:
    watch = waiter.watch
    longest = None if watch.deadline is None else max(0.0, watch.deadline - time.time()) + settings.deadline_grace_s
    try:
        async with asyncio.timeout(longest):
            while not waiter.future.done():
                # The log needs lines also where polls are hours apart. A third: a line is late by no more than that.
                await asyncio.wait({waiter.future}, timeout=settings.heartbeat_s / 3)
                if not waiter.future.done():
                    on_answer(None)
            return await waiter.future
    except TimeoutError:
        message = f"the timeout has passed; the last poll: {waiter.last_error or 'not answered'}"
        return Outcome(ending=Ending.TIMED_OUT, batch_id=watch.batch_id, message=message)


def _waiter(watch: Watch, poll_interval: float, on_answer: OnAnswer) -> Waiter:
    context = copy_context()

    def note(answer: Answer) -> None:
        try:
            context.run(on_answer, answer)
        except Exception as error:  # noqa: BLE001  # ends this wait, and must not reach the others
            waiter.end(error)

    future = asyncio.get_running_loop().create_future()
    waiter = Waiter(watch=watch, poll_interval=poll_interval, future=future, on_answer=note)
    return waiter
