"""One poll loop for all waits over one connection.

Rules of this file:
- `paging` decides what to fetch, `roster` when, and `decision` what follows; this file only does it.
- It makes one call at a time, and the beginnings of two cycles are at least `TICK` apart.
- An answer about one batch goes to the waits for it; an error of the connection goes to all waits that are due (see
  `line`). A refusal ends a wait only after it has stood for a while, so every due wait must see it each time.
- A cycle in which no call succeeded is reported to all waits that were due, so that their tasks' logs show the outage.
- An outage of the list ends when the list can be read again, even if gets succeed before that. A key that must not read
  the list is not an outage.
- A cycle in which no call succeeded slows the whole loop down. Temporary failures end no wait before its deadline, and
  keep none beyond it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Final, TypeVar

from airflow_batches.api.errors import ApiError, BatchesError
from airflow_batches.api.models import BatchPage, MessageBatch
from airflow_batches.waiting.line import Connect, Line, Reply, refused
from airflow_batches.waiting.metrics import POLL_ERRORS, POLLS, WAITING, Metrics
from airflow_batches.waiting.outage import Outage
from airflow_batches.waiting.paging import FEW, RUNS_AT_MOST, Answer, Call, Findings, Get, Wanted, cycle
from airflow_batches.waiting.roster import RELIST, Now, Roster, Seat

logger = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds. Chosen: at most one cycle a second for each connection and process, however many waits begin or end, and no
delay that matters beside a poll interval of a minute."""
MOST_HASTE: Final = 0.9
"""Intervals are shortened by a random factor down to this, so that processes started together drift apart. Chosen: a
tenth more calls at most, and waits started together are spread over a minute's interval after about ten polls."""
LIST_PAUSE: Final = 15.0
"""Seconds without pages after one has failed. Chosen: a quarter of the default poll interval, so that the next poll of
a batch tries the list again."""
BREATH: Final = 100
"""Waits or batches that are handled before other tasks of the loop run. Chosen with `benchmarks.waiting`, where a page
of 1,000 at once blocked the loop; in portions of 100, 1,000 waits blocked it for 43 ms at most."""

_T = TypeVar("_T")

Sight = tuple[str, MessageBatch | BatchesError]
"""A batch's id, and what a call showed of it."""


class Poller:
    """The poll loop of one connection.

    It runs on the running event loop, from its creation until `close`.

    :param name: the connection's id, for logs and metrics.
    :param connect: makes a client.
    :param metrics: where metrics go.
    """

    def __init__(self, name: str, connect: Connect, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics
        self._roster = Roster()
        self._line = Line(f"batches-{name}", connect)
        self._outage = Outage(name)
        self._loop = asyncio.get_running_loop()
        self._sooner = asyncio.Event()
        self._wakes_at = 0.0
        self._rests_until = 0.0
        self._no_pages_until = 0.0
        self._list_fails = False
        self._may_list = True
        # In a new context: its log lines do not belong to the task whose wait started it.
        self._task = self._loop.create_task(self._run(), name=f"batches-{name}", context=Context())
        self._task.add_done_callback(self._on_done)

    @property
    def idle(self) -> bool:
        """Whether there are no waits."""
        return self._roster.empty

    @property
    def alive(self) -> bool:
        """Whether the loop runs: it is not closed, and no unexpected error has ended it."""
        return not self._task.done()

    def join(self, seat: Seat) -> None:
        """Add a wait."""
        self._roster.join(seat, self._now())
        if seat.due < self._wakes_at:
            self._sooner.set()

    def leave(self, seat: Seat) -> None:
        """Remove a wait, which may have ended."""
        self._roster.leave(seat)

    def close(self) -> None:
        """End the loop and close the connection, after a call under way whose answer is dropped."""
        self._task.cancel()
        self._line.hang_up()
        self._metrics.gauge(WAITING, 0, tags=self._tags)

    @property
    def _tags(self) -> dict[str, str]:
        return {"conn_id": self._name}

    def _now(self) -> Now:
        return Now(wall=time.time(), steady=self._loop.time())

    async def _run(self) -> None:
        while True:
            await self._until_due()
            await self._cycle()

    async def _until_due(self) -> None:
        while True:
            resting = self._rests_until - self._loop.time() > TICK
            if resting:
                await self._expire()
            self._wakes_at = max(self._roster.next_due(), self._rests_until)
            self._sooner.clear()
            if self._wakes_at <= self._loop.time():
                return
            deadline = self._roster.next_deadline(self._now()) if resting else math.inf
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(self._wakes_at, deadline)):
                    await self._sooner.wait()

    async def _cycle(self) -> None:
        began = self._now()
        self._rests_until = began.steady + TICK
        self._metrics.gauge(WAITING, len(self._roster), tags=self._tags)
        wanted = self._roster.wanted(began, pages=began.steady >= self._no_pages_until)
        flow = cycle(wanted, oldest_running=began.wall - RUNS_AT_MOST)
        failure, useful = await self._follow(flow, wanted)
        if failure is None and self._list_fails and len(self._roster) > FEW:
            return
        pause = self._outage.account(failure, self._loop.time())
        if not useful:
            self._rests_until = self._loop.time() + pause

    async def _follow(
        self, flow: Generator[Call, Answer, Findings], wanted: list[Wanted]
    ) -> tuple[BatchesError | None, bool]:
        """Make a cycle's calls and pass on their answers.

        Return the last failure, and whether any call was useful.
        """
        haste = random.uniform(MOST_HASTE, 1.0)
        failure: BatchesError | None = None
        useful = False
        told: set[str] = set()
        step = _advance(flow, None)
        while not isinstance(step, Findings):
            reply = await self._ask(step)
            if reply.shared is not None:
                await self._fail(reply.shared, wanted)
                return reply.shared, False
            self._list_fails = self._list_fails and not isinstance(reply.answer, BatchPage)
            useful = useful or not isinstance(reply.answer, BatchesError)
            failure = (_failure(reply.answer) if isinstance(step, Get) else None) or failure
            sights = _sights(step, reply.answer)
            told.update(batch_id for batch_id, _ in sights)
            await self._tell(sights, reply.hint, haste)
            step = _advance(flow, reply.answer)
        self._learn(step)
        failure = failure if refused(step.failure) else step.failure or failure
        if failure is not None and not useful:
            await self._report(failure, [each.batch_id for each in wanted if each.batch_id not in told])
        return failure, useful or failure is None

    async def _ask(self, call: Call) -> Reply:
        self._metrics.incr(POLLS, tags=self._tags)
        reply = await self._line.ask(call)
        if isinstance(reply.answer, BatchesError):
            self._metrics.incr(POLL_ERRORS, tags=self._tags)
        return reply

    async def _tell(self, sights: Sequence[Sight], hint: float | None, haste: float) -> None:
        now = self._now()
        async for batch_id, sight in _breathing(sights):
            self._roster.tell(batch_id, sight, now, hint=hint, haste=haste)

    async def _fail(self, error: BatchesError, wanted: list[Wanted]) -> None:
        """Pass an error to the waits that were due; the others have not missed a poll."""
        now = self._now()
        async for batch_id in _breathing([each.batch_id for each in wanted]):
            self._roster.fail(batch_id, error, now)

    async def _report(self, error: BatchesError, batch_ids: Sequence[str]) -> None:
        async for batch_id in _breathing(batch_ids):
            self._roster.report(batch_id, error)

    async def _expire(self) -> None:
        now = self._now()
        async for seat in _breathing(self._roster.overdue(now)):
            self._roster.expire(seat, now)

    def _learn(self, findings: Findings) -> None:
        now = self._now()
        for batch_id in findings.unlisted:
            self._roster.unlist(batch_id, now)
        if refused(findings.failure):
            self._no_pages_until = now.steady + RELIST
            self._say_refusal(findings.failure)
        elif findings.failure is not None:
            self._no_pages_until, self._list_fails = now.steady + LIST_PAUSE, True

    def _say_refusal(self, error: BatchesError | None) -> None:
        if self._may_list:
            logger.warning(
                "Batches cannot be listed over connection %s, and are asked for one by one: %s", self._name, error
            )
        self._may_list = False

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            for seat in tuple(self._roster):
                seat.on_crash(error)


async def _breathing(things: Sequence[_T]) -> AsyncIterator[_T]:
    """Give the things one by one; the loop's other tasks run after each `BREATH` of them."""
    for start in range(0, len(things), BREATH):
        for thing in things[start : start + BREATH]:
            yield thing
        await asyncio.sleep(0)


def _advance(flow: Generator[Call, Answer, Findings], answer: Answer | None) -> Call | Findings:
    try:
        return next(flow) if answer is None else flow.send(answer)
    except StopIteration as end:
        findings: Findings = end.value
        return findings


def _sights(call: Call, answer: Answer) -> Sequence[Sight]:
    """Return what an answer says about single batches."""
    if isinstance(answer, BatchPage):
        return [(batch.id, batch) for batch in answer.data]
    return [(call.batch_id, answer)] if isinstance(call, Get) else []


def _failure(answer: Answer) -> BatchesError | None:
    """Return an answer's error, unless it is only that a batch does not exist."""
    error = answer if isinstance(answer, BatchesError) else None
    return None if isinstance(error, ApiError) and error.status == 404 else error
