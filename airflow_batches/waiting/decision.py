"""What to do after a poll. Pure: the poll's answer and the clock come in, a decision goes out.

Rule: everything that decides whether a wait goes on must live in this file. The trigger, the sensor and every
blocking wait only fetch and sleep.

| the poll gave                         | before the deadline | from the deadline on |
|---------------------------------------|---------------------|----------------------|
| `ended`, or a status unknown here     | ended               | ended                |
| `in_progress`, `canceling`            | keep waiting        | timed out            |
| no such batch, while it may be fresh  | keep waiting        | timed out            |
| no such batch                         | gave up             | gave up              |
| key refused, other permanent error    | gave up             | gave up              |
| passing failure                       | keep waiting        | timed out            |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.waiting.outcome import Counts, Ending, Outcome

LONGEST_HINT: Final = 600.0
"""Seconds. A server may ask for more than this between polls; a wait that believed it might sleep for ever."""

OVERDUE: Final = "the waiting time is over and the batch has not ended"

GOES_ON: Final = frozenset({ProcessingStatus.IN_PROGRESS, ProcessingStatus.CANCELING})


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One wait. Times are seconds since the epoch; `deadline` None waits for ever."""

    batch_id: str
    since: float
    deadline: float | None = None


@dataclass(frozen=True)
class KeepWaiting:
    """Poll again. `retry_after`: seconds the server asked for, at most `LONGEST_HINT`, or None."""

    retry_after: float | None = None


Decision = KeepWaiting | Outcome


def decide(watch: Watch, answer: MessageBatch | BatchesError, *, now: float, hint: float | None = None) -> Decision:
    """What follows from a poll's answer, or from the error that it raised.

    `hint`: seconds that the server asked to wait in spite of a success, which it does for batches in progress.
    """
    if isinstance(answer, MessageBatch):
        return _on_batch(watch, answer, now, hint)
    return _on_error(watch, answer, now)


def outcome_of(batch: MessageBatch, ending: Ending, message: str = "") -> Outcome:
    """A batch as the outcome of a wait."""
    counts = Counts(**batch.request_counts.model_dump(include=set(Counts.__dataclass_fields__)))
    return Outcome(ending=ending, batch_id=batch.id, status=batch.status_text, counts=counts, message=message)


def pause(watch: Watch, decision: KeepWaiting, *, poll_interval: float, now: float) -> float:
    """Seconds until the next poll: never beyond the deadline, where the last one happens."""
    interval = max(poll_interval, decision.retry_after or 0.0)
    left = interval if watch.deadline is None else watch.deadline - now
    return max(0.0, min(interval, left))


def _on_batch(watch: Watch, batch: MessageBatch, now: float, hint: float | None) -> Decision:
    if batch.processing_status not in GOES_ON:
        return outcome_of(batch, Ending.ENDED)
    if _over(watch, now):
        return outcome_of(batch, Ending.TIMED_OUT, OVERDUE)
    return _keep_waiting(hint)


def _on_error(watch: Watch, error: BatchesError, now: float) -> Decision:
    if not _passing(watch, error, now):
        return Outcome(ending=Ending.GAVE_UP, batch_id=watch.batch_id, message=str(error))
    if _over(watch, now):
        message = f"{OVERDUE}; the last poll failed: {error}"
        return Outcome(ending=Ending.TIMED_OUT, batch_id=watch.batch_id, message=message)
    return _keep_waiting(error.retry_after if isinstance(error, ApiError) else None)


def _keep_waiting(hint: float | None) -> KeepWaiting:
    return KeepWaiting(None if hint is None else min(hint, LONGEST_HINT))


def _passing(watch: Watch, error: BatchesError, now: float) -> bool:
    if isinstance(error, ApiError) and error.status == 404:
        return now - watch.since < FRESH_404.total_seconds()
    return isinstance(error, TransportError | DecodeError) or (isinstance(error, ApiError) and error.passing)


def _over(watch: Watch, now: float) -> bool:
    return watch.deadline is not None and now >= watch.deadline
