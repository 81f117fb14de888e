"""The lines of a task's log while its batch runs. Pure.

A poll's answer and the clock come in, a line goes out.

| the poll gave                                 | a line                                                            |
|-----------------------------------------------|-------------------------------------------------------------------|
| the batch, with another status or counts      | at once, but `MIN_GAP_S` after the last one                       |
| the batch, for the first time after an error  | likewise                                                          |
| an error, for the first time after the batch  | likewise                                                          |
| anything, or no poll was made                 | `HEARTBEAT_S` after the last one                                    |

During an outage a line names the last error and the last successful poll: the poller logs the outage in the triggerer's
log, which the task's owner does not read.

Several batches of one task have lines about all of them together (`BatchesProgressLog`). Their counts change all the
time, so only the first answers, the beginning and the end of an outage, and the heartbeat make a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_batches.api.errors import BatchesError
from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.outcome import Counts, Ending, outcome_of

MIN_GAP_S: Final = 60.0
"""Seconds between two lines. Chosen: the default poll interval."""
HEARTBEAT_S: Final = 900.0
"""Seconds without a line, at most. Chosen: about 100 lines for a batch that takes its whole day."""


@dataclass(slots=True)
class ProgressLog:
    """The last answers about one batch and the last line about it.

    Times are seconds since the epoch.
    """

    batch_id: str
    min_gap_s: float = MIN_GAP_S
    heartbeat_s: float = HEARTBEAT_S
    _batch: MessageBatch | None = None
    _seen_at: float | None = None
    _error: BatchesError | None = None
    _logged: object = None
    _logged_at: float = field(default=float("-inf"))

    def line(self, answer: MessageBatch | BatchesError | None, *, now: float) -> str | None:
        """Return the line to log, or None for no line.

        :param answer: a poll's answer; None if only time has passed.
        :param now: seconds since the epoch.
        """
        if isinstance(answer, MessageBatch):
            self._batch, self._seen_at, self._error = answer, now, None
        elif answer is not None:
            self._error = answer
        state = self._state()
        gap = self.heartbeat_s if answer is None or state == self._logged else self.min_gap_s
        if now - self._logged_at < gap:
            return None
        self._logged, self._logged_at = state, now
        return self._text(now)

    def _state(self) -> object:
        """Return the state that must change for a line before the heartbeat."""
        if self._error is not None or self._batch is None:
            return "no answer"
        return self._batch.status_text, outcome_of(self._batch, Ending.ENDED).counts

    def _text(self, now: float) -> str:
        state = ""
        if self._batch is not None:
            counts = outcome_of(self._batch, Ending.ENDED).counts
            state = f"{self._batch.status_text}: {counts}{_times(self._batch, now)}"
        if self._error is None and self._batch is not None:
            late = now - (self._seen_at or now) >= self.min_gap_s
            return f"Batch {self.batch_id} is {state}" + (f"; last poll {self._last_poll(now)}" if late else "")
        seen = f"; when last polled it was {state}" if state else ""
        return (
            f"Batch {self.batch_id} is waited for, but polls fail; last error: {self._error or 'no answer yet'}; "
            f"last successful poll: {self._last_poll(now)}{seen}"
        )

    def _last_poll(self, now: float) -> str:
        return _ago(self._seen_at, now)


@dataclass(slots=True)
class BatchesProgressLog:
    """The last answers about several batches and the last line about all of them.

    A batch whose wait is over counts no more. Times are seconds since the epoch.
    """

    batch_ids: Sequence[str]
    min_gap_s: float = MIN_GAP_S
    heartbeat_s: float = HEARTBEAT_S
    _batches: dict[str, MessageBatch] = field(default_factory=dict)
    _errors: dict[str, BatchesError] = field(default_factory=dict)
    _seen_at: float | None = None
    _logged: object = None
    _logged_at: float = field(default=float("-inf"))

    def line(self, batch_id: str, answer: MessageBatch | BatchesError | None, *, now: float) -> str | None:
        """Return the line to log, or None for no line.

        :param batch_id: one of the batches.
        :param answer: a poll's answer about it; None if only time has passed.
        :param now: seconds since the epoch.
        """
        if isinstance(answer, MessageBatch):
            self._batches[batch_id], self._seen_at = answer, now
            self._errors.pop(batch_id, None)
        elif answer is not None:
            self._errors[batch_id] = answer
        answered = len(self._batches.keys() | self._errors.keys())
        if self._logged is None and answer is not None and answered < len(self.batch_ids):
            return None  # the first line counts all batches
        state = bool(self._errors) or not self._batches
        gap = self.heartbeat_s if answer is None or state == self._logged else self.min_gap_s
        if now - self._logged_at < gap:
            return None
        self._logged, self._logged_at = state, now
        return self._text(now)

    def _text(self, now: float) -> str:
        seen = self._batches.values()
        counts = _sum(outcome_of(batch, Ending.ENDED).counts for batch in seen)
        state = f"{counts}{_times_of(seen, now)}" if seen else ""
        what = f"{len(self.batch_ids):,} batches are under way"
        if not self._errors and seen:
            late = self._seen_at is not None and now - self._seen_at >= self.min_gap_s
            return f"{what}: {state}" + (f"; last poll {_ago(self._seen_at, now)}" if late else "")
        last = next(reversed(self._errors.values()), None)
        when = f"; when last polled: {state}" if state else ""
        return (
            f"{what}, but polls of {len(self._errors):,} fail; last error: {last or 'no answer yet'}; "
            f"last successful poll: {_ago(self._seen_at, now)}{when}"
        )


def _sum(counts: Iterable[Counts]) -> Counts:
    """Add up counts; unknown if a part is."""
    found = [*counts]
    names = ("processing", "succeeded", "errored", "canceled", "expired", "other")
    sums = {name: sum(getattr(each, name) for each in found) for name in names}
    return Counts(**sums, known=all(each.known for each in found))


def _times_of(batches: Iterable[MessageBatch], now: float) -> str:
    """Return the age of the oldest batch, and when the first one expires."""
    at = datetime.fromtimestamp(now, UTC)
    created = min((batch.created_at for batch in batches if batch.created_at), default=None)
    expires = min((batch.expires_at for batch in batches if batch.expires_at), default=None)
    age = f"; the oldest is {span(at - created)} old" if created else ""
    return age + (f", the first expires in {span(expires - at)}" if expires else "")


def _ago(seen_at: float | None, now: float) -> str:
    if seen_at is None:
        return "none since this wait began"
    at = datetime.fromtimestamp(seen_at, UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC ({span(timedelta(seconds=now - seen_at))} ago)"


def _times(batch: MessageBatch, now: float) -> str:
    at = datetime.fromtimestamp(now, UTC)
    age = f"; {span(at - batch.created_at)} old" if batch.created_at else ""
    return age + (f", expires in {span(batch.expires_at - at)}" if batch.expires_at else "")


def span(time: timedelta) -> str:
    """Write a length of time in minutes, for people."""
    minutes = max(0, round(time.total_seconds() / 60))
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
