"""Which waits exist for which batch, and when each batch is polled next. Pure.

The clocks are passed in.

Rules of this file:
- Each wait keeps its own interval and deadline. A cycle also polls batches that are due soon, so that waits that began
  at different times come to share their polls. No wait is polled later than its interval.
- Intervals and hints are measured on the monotonic clock, deadlines on the wall clock: a clock that is set back must
  not stop the polls.
- A batch may have many waits, and each gets every answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from airflow_batches.api.errors import BatchesError, TransportError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.decision import Decision, KeepWaiting, Watch, decide, pause
from airflow_batches.waiting.outcome import Outcome
from airflow_batches.waiting.paging import Wanted, created

EARLY: Final = 0.2
"""Share of its interval by which a batch may be polled early, together with others. Chosen: a quarter more polls of a
batch at most, and waits that began at different times share their polls within a few intervals."""
FIRST_POLL: Final = 10.0
"""Seconds until the first poll of a wait, at most. Chosen: the task has just polled, and a triggerer that restarts
begins many waits at once; no event fires earlier anyway (`triggers.message_batch.QUIET`)."""
RELIST: Final = 600.0
"""Seconds without pages for a batch that they do not show. Chosen: ten default poll intervals, in which a get each time
costs less than searching the whole list again."""
RELIST_FRESH: Final = 15.0
"""Likewise, for a batch so new that the list may lag behind. Chosen: the lag was reported to be seconds."""
NOT_ASKED: Final = TransportError("the server had to be left alone", maybe_sent=False)


class Now(NamedTuple):
    """Both clocks in seconds: `wall` since the epoch, `steady` on the monotonic clock."""

    wall: float
    steady: float


@dataclass(slots=True, eq=False, kw_only=True)
class Seat:
    """One wait.

    `on_end` is called once with the outcome, or `on_crash` with an unexpected error. `on_answer` is called with every
    answer after which the wait goes on, errors included; it must not raise.
    """

    watch: Watch
    poll_interval: float
    on_end: Callable[[Outcome], None]
    on_crash: Callable[[BaseException], None]
    on_answer: Callable[[MessageBatch | BatchesError], None]
    due: float = 0.0
    created_at: float | None = None
    unlisted_until: float = 0.0
    last_error: BatchesError | None = None


@dataclass(slots=True)
class Roster:
    """All waits over one connection, by batch id."""

    _seats: dict[str, list[Seat]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._seats.values()))

    def __iter__(self) -> Iterator[Seat]:
        return (seat for seats in self._seats.values() for seat in seats)

    @property
    def empty(self) -> bool:
        """Whether there are no waits."""
        return not self._seats

    def batch_ids(self) -> tuple[str, ...]:
        """Return every batch that has a wait."""
        return tuple(self._seats)

    def join(self, seat: Seat, now: Now) -> None:
        """Add a wait; its first poll is due soon."""
        deadline = seat.watch.deadline
        left = FIRST_POLL if deadline is None else deadline - now.wall
        seat.due = now.steady + max(0.0, min(seat.poll_interval, FIRST_POLL, left))
        self._seats.setdefault(seat.watch.batch_id, []).append(seat)

    def leave(self, seat: Seat) -> None:
        """Remove a wait; nothing happens if it is not there."""
        seats = self._seats.get(seat.watch.batch_id, [])
        if seat in seats:
            seats.remove(seat)
        if not seats:
            self._seats.pop(seat.watch.batch_id, None)

    def next_due(self) -> float:
        """Return when the next poll is due, on the monotonic clock; infinite without waits."""
        return min((seat.due for seat in self), default=math.inf)

    def next_deadline(self, now: Now) -> float:
        """Return when the next deadline passes, on the monotonic clock.

        It is infinite without deadlines.
        """
        deadlines = [seat.watch.deadline for seat in self if seat.watch.deadline is not None]
        return now.steady + min(deadlines) - now.wall if deadlines else math.inf

    def overdue(self, now: Now) -> list[Seat]:
        """Return the waits whose deadline has passed."""
        return [seat for seat in self if seat.watch.deadline is not None and seat.watch.deadline <= now.wall]

    def expire(self, seat: Seat, now: Now) -> None:
        """End a wait whose deadline has passed during a pause of the polls."""
        self._decide(seat, seat.last_error or NOT_ASKED, now)

    def wanted(self, now: Now, *, pages: bool = True) -> list[Wanted]:
        """Return the batches to fetch in a cycle that begins now, most urgent first.

        The list is empty while none is due.

        :param now: both clocks.
        :param pages: whether pages may be read at all.
        """
        if not any(seat.due <= now.steady for seat in self):
            return []
        soon = [seat for seat in self if seat.due - EARLY * seat.poll_interval <= now.steady]
        soon.sort(key=lambda seat: seat.due)
        unique = {seat.watch.batch_id: seat for seat in reversed(soon)}
        return [
            Wanted(batch_id, seat.created_at, listed=pages and seat.unlisted_until <= now.steady)
            for batch_id, seat in reversed(unique.items())
        ]

    def unlist(self, batch_id: str, now: Now) -> None:
        """Read no pages for a batch for a while."""
        for seat in self._seats.get(batch_id, ()):
            fresh = now.wall - seat.watch.since < FRESH_404.total_seconds()
            seat.unlisted_until = now.steady + (RELIST_FRESH if fresh else RELIST)

    def tell(
        self,
        batch_id: str,
        answer: MessageBatch | BatchesError,
        now: Now,
        *,
        hint: float | None = None,
        haste: float = 1.0,
    ) -> None:
        """Pass a poll's answer to the waits for a batch, which end or become due later.

        :param batch_id: the batch.
        :param answer: the batch, or the error of the poll.
        :param now: both clocks.
        :param hint: seconds until the next poll, as the server asked; None if it did not.
        :param haste: factor of every interval.
        """
        for seat in tuple(self._seats.get(batch_id, ())):
            decision = self._decide(seat, answer, now, hint=hint)
            if isinstance(decision, KeepWaiting):
                wait = pause(seat.watch, decision, poll_interval=seat.poll_interval * haste, now=now.wall)
                seat.due = now.steady + wait
                self._note(seat, answer)

    def fail(self, batch_id: str, error: BatchesError, now: Now) -> None:
        """Pass an error of the connection to the waits for a batch.

        It does not change when they are due.
        """
        for seat in tuple(self._seats.get(batch_id, ())):
            if isinstance(self._decide(seat, error, now), KeepWaiting):
                self._note(seat, error)

    def report(self, batch_id: str, error: BatchesError) -> None:
        """Report failing polls to the waits for a batch that was not polled itself."""
        for seat in tuple(self._seats.get(batch_id, ())):
            self._note(seat, error)

    def _decide(
        self, seat: Seat, answer: MessageBatch | BatchesError, now: Now, *, hint: float | None = None
    ) -> Decision:
        decision = decide(seat.watch, answer, now=now.wall, hint=hint)
        if isinstance(decision, KeepWaiting):
            seat.watch = seat.watch.after(decision)
        else:
            self.leave(seat)
            seat.on_end(decision)
        return decision

    def _note(self, seat: Seat, answer: MessageBatch | BatchesError) -> None:
        if isinstance(answer, BatchesError):
            seat.last_error = answer
        else:
            seat.last_error = None
            seat.created_at = created(answer)
        seat.on_answer(answer)
