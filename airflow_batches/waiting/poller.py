"""One poll loop for all waits over one connection.

A cycle: `waiters` says which batches are due, `paging` which calls show them, `client` makes each call, and its answer
goes back to the waits.

Rules of this file:
- It makes one call at a time, and the beginnings of two cycles are at least `min_gap_s` apart.
- An answer about one batch goes to the waits for it; an error of the connection (see `client`) ends the cycle.
- The error of a cycle in which no call succeeded goes to all waits that were due, so that their tasks' logs show the
  outage, and so that a refusal ends a wait once it has stood. It also slows the loop down. Temporary failures end no
  wait before its deadline, and keep none beyond it (`async_wait`).
- If only the list fails, or the key must not read it, batches are fetched one by one, and the list is tried again
  after growing pauses.

Left out to keep this small, and what that costs:
- Random intervals: nothing, because a process makes one call in an interval for each connection.
- A timer for deadlines during a pause: such a wait ends up to `deadline_grace_s` late.
- Pauses of minutes for the list: a page a minute where no page shows a waiting batch, and two calls and a look-up of
  the connection a minute where the key must not list batches.
`benchmarks.waiting` counted the same calls with them and without: 1.0 a cycle for 30, 100 and 1,000 batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import TypeVar

from airflow_batches.api.errors import ApiError, BatchesError
from airflow_batches.api.models import BatchPage
from airflow_batches.api.polling import Answer
from airflow_batches.waiting.client import Connect, Outage, PollClient, Reply
from airflow_batches.waiting.metrics import POLL_ERRORS, POLLS, WAITING, Metrics
from airflow_batches.waiting.paging import (
    RUNS_AT_MOST,
    Call,
    CallAnswer,
    GetCall,
    ListResult,
    Wanted,
    choose_calls,
)
from airflow_batches.waiting.settings import PollSettings
from airflow_batches.waiting.waiters import Now, Waiter, Waiters

_T = TypeVar("_T")

Observation = tuple[str, Answer]
"""A batch's id, and what a call showed of it."""


class Poller:
    """The poll loop of one connection.

    It runs on the running event loop, from its creation until `close`.

    :param conn_id: the connection's id, for logs and metrics.
    :param connect: makes a client.
    :param metrics: where metrics go.
    :param settings: its numbers.
    """

    def __init__(self, conn_id: str, connect: Connect, metrics: Metrics, settings: PollSettings) -> None:
        self._metrics = metrics
        self._tags = {"conn_id": conn_id}
        self._settings = settings
        self._waiters = Waiters()
        self._client = PollClient(f"batches-{conn_id}", connect, settings)
        self._outage = Outage(f"Polling over connection {conn_id}", settings.max_backoff_s)
        self._list_outage = Outage(f"Listing batches over connection {conn_id}", settings.max_backoff_s)
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._wakes_at = 0.0
        self._rests_until = 0.0
        self._no_list_until = 0.0
        # In a new context: its log lines do not belong to the task whose wait started it.
        self._task = self._loop.create_task(self._run(), name=f"batches-{conn_id}", context=Context())
        self._task.add_done_callback(self._on_done)

    @property
    def is_idle(self) -> bool:
        """Whether there are no waits."""
        return not len(self._waiters)

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs: it is not closed, and no unexpected error has ended it."""
        return not self._task.done()

    def add(self, waiter: Waiter) -> None:
        """Add a wait."""
        self._waiters.add(waiter, self._now(), first_poll_s=self._settings.first_poll_s)
        if waiter.due < self._wakes_at:
            self._woken.set()

    def remove(self, waiter: Waiter) -> None:
        """Remove a wait, which may have ended."""
        self._waiters.remove(waiter)

    def close(self) -> None:
        """End the loop and close the connection, after a call under way whose answer is dropped."""
        self._task.cancel()
        self._client.close()
        self._metrics.gauge(WAITING, 0, tags=self._tags)

    def _now(self) -> Now:
        return Now(wall=time.time(), steady=self._loop.time())

    async def _run(self) -> None:
        while True:
            await self._sleep_until_due()
            await self._cycle()

    async def _sleep_until_due(self) -> None:
        while True:
            self._wakes_at = max(self._waiters.next_due(), self._rests_until)
            self._woken.clear()
            if self._wakes_at <= self._loop.time():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._wakes_at):
                    await self._woken.wait()

    async def _cycle(self) -> None:
        began = self._now()
        self._rests_until = began.steady + self._settings.min_gap_s
        self._metrics.gauge(WAITING, len(self._waiters), tags=self._tags)
        wanted = self._waiters.wanted(began, use_list=began.steady >= self._no_list_until)
        error = await self._make_calls(wanted, choose_calls(wanted, oldest_running=began.wall - RUNS_AT_MOST))
        pause = self._outage.record(error, self._loop.time())
        if error is not None:
            self._rests_until = self._loop.time() + pause

    async def _make_calls(
        self, wanted: Sequence[Wanted], calls: Generator[Call, CallAnswer, ListResult]
    ) -> BatchesError | None:
        """Make a cycle's calls and pass on their answers; return the error if none succeeded."""
        unanswered = {each.batch_id: None for each in wanted}
        error, has_worked = None, False
        step = _advance(calls, None)
        while not isinstance(step, ListResult):
            reply = await self._call(step)
            if reply.shared is not None:
                error, has_worked = reply.shared, False
                break
            failure = _failure(reply.answer)
            error, has_worked = failure or error, has_worked or failure is None
            seen = _observations(step, reply.answer)
            for batch_id, _ in seen:
                unanswered.pop(batch_id, None)
            await self._deliver(seen, hint=reply.hint)
            step = _advance(calls, reply.answer)
        else:
            self._note_list(step, has_worked=has_worked)
        if error is None or has_worked:
            return None
        await self._deliver([(batch_id, error) for batch_id in unanswered], reschedule=False)
        return error

    async def _call(self, call: Call) -> Reply:
        self._metrics.incr(POLLS, tags=self._tags)
        reply = await self._client.call(call)
        if isinstance(reply.answer, BatchesError):
            self._metrics.incr(POLL_ERRORS, tags=self._tags)
        elif isinstance(reply.answer, BatchPage):
            self._list_outage.record(None, self._loop.time())
        return reply

    async def _deliver(
        self, seen: Iterable[Observation], *, hint: float | None = None, reschedule: bool = True
    ) -> None:
        now = self._now()
        async for batch_id, answer in _in_chunks([*seen], self._settings.yield_every):
            self._waiters.deliver(batch_id, answer, now, hint=hint, reschedule=reschedule)

    def _note_list(self, result: ListResult, *, has_worked: bool) -> None:
        now = self._loop.time()
        for batch_id in result.unlisted:
            self._waiters.set_unlisted(batch_id, now + self._settings.list_pause_s)
        if result.failure is not None and has_worked:
            self._no_list_until = now + self._list_outage.record(result.failure, now)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            for waiter in tuple(self._waiters):
                waiter.end(error)


async def _in_chunks(things: Sequence[_T], size: int) -> AsyncIterator[_T]:
    """Give the things one by one; the loop's other tasks run after each chunk of them."""
    for start in range(0, len(things), size):
        for thing in things[start : start + size]:
            yield thing
        await asyncio.sleep(0)


def _advance(calls: Generator[Call, CallAnswer, ListResult], answer: CallAnswer | None) -> Call | ListResult:
    try:
        return next(calls) if answer is None else calls.send(answer)
    except StopIteration as end:
        result: ListResult = end.value
        return result


def _observations(call: Call, answer: CallAnswer) -> Sequence[Observation]:
    """Return what an answer says about single batches."""
    if isinstance(answer, BatchPage):
        return [(batch.id, batch) for batch in answer.data]
    return [(call.batch_id, answer)] if isinstance(call, GetCall) else []


def _failure(answer: CallAnswer) -> BatchesError | None:
    """Return an answer's error, unless it is only that a batch does not exist."""
    error = answer if isinstance(answer, BatchesError) else None
    return None if isinstance(error, ApiError) and error.status == 404 else error
