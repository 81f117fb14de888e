"""The waits over one connection, and when each is polled next. Pure: the clocks are passed in.

Rules of this file:
- Each wait keeps its own interval and deadline. No wait is polled later than its interval or the server's hint.
- A cycle also polls batches that are due soon (`COALESCE`), so that waits that began at different times come to share
  their polls.
- Intervals and hints are measured on the monotonic clock, deadlines on the wall clock: a clock that is set back must
  not stop the polls.
- A batch may have many waits, and each gets every answer.
- The waits are scanned in each cycle, not kept in a heap: a page makes all of them due later, so most of a heap would
  be stale. A scan of 10,000 waits takes 2 ms, and 20 to 30 ms when all of them are due (measured).
"""

from __future__ import annotations

import math
from asyncio import Future
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from airflow_batches.api.errors import BatchesError
from airflow_batches.api.polling import Answer, Watch, next_pause
from airflow_batches.waiting.outcome import Outcome, next_step
from airflow_batches.waiting.paging import Wanted, created_at

COALESCE: Final = 0.2
"""Share of its interval by which a batch may be polled early, together with others. Chosen by simulation: 20 to 200
waits that begin evenly over a minute cost 20 to 200 calls a minute without it, and 1.1 with it; with half of it, 20
waits still cost 20. A batch is polled a quarter more often at most (`tests/unit/waiting/test_waiters.py`)."""


class Now(NamedTuple):
    """Both clocks in seconds: `wall` since the epoch, `steady` on the monotonic clock."""

    wall: float
    steady: float


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter:
    """One wait; its `future` gets the outcome.

    `on_answer` is called with every answer after which the wait goes on, errors included; it must not raise.
    """

    watch: Watch
    poll_interval: float
    future: Future[Outcome]
    on_answer: Callable[[Answer], None]
    due: float = 0.0
    created_at: float | None = None
    unlisted_until: float = 0.0
    last_error: BatchesError | None = None

    def end(self, outcome: Outcome | BaseException) -> None:
        """End the wait with its outcome, or with an unexpected error."""
        if self.future.done():
            return
        if isinstance(outcome, Outcome):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def note(self, answer: Answer) -> None:
        """Remember an answer after which the wait goes on, and pass it on."""
        if isinstance(answer, BatchesError):
            self.last_error = answer
        else:
            self.last_error = None
            self.created_at = created_at(answer)
        self.on_answer(answer)


@dataclass(slots=True)
class Waiters:
    """All waits over one connection, by batch id."""

    _by_batch: dict[str, list[Waiter]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._by_batch.values()))

    def __iter__(self) -> Iterator[Waiter]:
        return (waiter for waiters in self._by_batch.values() for waiter in waiters)

    def add(self, waiter: Waiter, now: Now, *, first_poll_s: float) -> None:
        """Add a wait; its first poll is due soon."""
        deadline = waiter.watch.deadline
        left = first_poll_s if deadline is None else deadline - now.wall
        waiter.due = now.steady + max(0.0, min(waiter.poll_interval, first_poll_s, left))
        self._by_batch.setdefault(waiter.watch.batch_id, []).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Remove a wait; nothing happens if it is not there."""
        waiters = self._by_batch.get(waiter.watch.batch_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._by_batch.pop(waiter.watch.batch_id, None)

    def next_due(self) -> float:
        """Return when the next poll is due, on the monotonic clock; infinite without waits."""
        return min((waiter.due for waiter in self), default=math.inf)

    def wanted(self, now: Now, *, use_list: bool = True) -> list[Wanted]:
        """Return the batches to fetch in a cycle that begins now, most urgent first; none while none is due."""
        if self.next_due() > now.steady:
            return []
        soon = [waiter for waiter in self if waiter.due - COALESCE * waiter.poll_interval <= now.steady]
        soon.sort(key=lambda waiter: waiter.due)
        first = {waiter.watch.batch_id: waiter for waiter in reversed(soon)}
        return [
            Wanted(batch_id, waiter.created_at, listed=use_list and waiter.unlisted_until <= now.steady)
            for batch_id, waiter in reversed(first.items())
        ]

    def set_unlisted(self, batch_id: str, until: float) -> None:
        """Read no list pages for a batch until a time on the monotonic clock."""
        for waiter in self._by_batch.get(batch_id, ()):
            waiter.unlisted_until = until

    def deliver(
        self, batch_id: str, answer: Answer, now: Now, *, hint: float | None = None, reschedule: bool = True
    ) -> None:
        """Pass an answer to the waits for a batch, which end or become due later.

        :param batch_id: the batch.
        :param answer: the batch, or the error of the poll.
        :param now: both clocks.
        :param hint: seconds until the next poll, as the server asked; None if it did not.
        :param reschedule: false for an error of the connection: the poll is made up for as soon as it works again.
        """
        for waiter in tuple(self._by_batch.get(batch_id, ())):
            step = next_step(waiter.watch, answer, now=now.wall, hint=hint)
            if isinstance(step, Outcome):
                self.remove(waiter)
                waiter.end(step)
                continue
            waiter.watch = waiter.watch.after(step)
            if reschedule:
                pause = next_pause(waiter.watch, step, poll_interval=waiter.poll_interval, now=now.wall)
                waiter.due = now.steady + pause
            waiter.note(answer)
