"""Decide what to do after a poll. Pure.

The poll's answer and the clock come in, a decision goes out.

Rule: only this file decides whether a wait goes on. The trigger, the sensor and every blocking wait only fetch and
sleep.

| the poll gave                                           | before the deadline | from the deadline on |
|---------------------------------------------------------|---------------------|----------------------|
| `ended`, or an unknown status                           | ended               | ended                |
| `in_progress`, `canceling`                              | keep waiting        | timed out            |
| temporary failure, or an answer that is not the API's   | keep waiting        | timed out            |
| 404, for less than `FRESH_404`                          | keep waiting        | timed out            |
| 404, for longer                                         | gave up             | gave up              |
| 401, 403, other permanent error, for less than `REFUSED`| keep waiting        | timed out            |
| the same, for longer                                    | gave up             | gave up              |
| no connection, and other errors of this package         | gave up             | gave up              |

An error stands as long as every poll gives an error of the same row. Any other answer ends it: a replica lagged behind,
a key was being replaced, a permission was missing for a moment. The wait's `Watch` holds since when an error stands;
`Watch.after` gives the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.waiting.outcome import Counts, Ending, Outcome

LONGEST_HINT: Final = 600.0
"""Seconds of a server's hint that are obeyed at most, because a wrong hint must not stop a wait. Chosen: 60 times the
10 s that the API sends with a batch in progress (recorded in September 2026), ten times the default poll interval."""
REFUSED: Final = timedelta(minutes=5)
"""How long a refusal must stand. Chosen: longer than it takes to replace a key in a secret store and in the Console."""
AUTH_FAILURES: Final = frozenset({401, 403})
"""Statuses after which the connection is read again: keys are replaced while batches run."""

OVERDUE: Final = "the timeout is over and the batch has not ended"

GOES_ON: Final = frozenset({ProcessingStatus.IN_PROGRESS, ProcessingStatus.CANCELING})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """An error that ends the wait if it stands.

    `since` is when it was first seen, in seconds since the epoch.
    """

    missing: bool
    """Whether it is a 404, not a refusal."""
    since: float


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One wait. Times are seconds since the epoch; without a `deadline` it has no end."""

    batch_id: str
    since: float
    deadline: float | None = None
    standing: Standing | None = None
    """The last poll's error, if it ends the wait once it has stood."""

    def after(self, decision: KeepWaiting) -> Watch:
        """Return the wait after a poll with this decision."""
        return self if self.standing == decision.standing else replace(self, standing=decision.standing)


@dataclass(frozen=True)
class KeepWaiting:
    """The decision to poll again.

    `retry_after`: seconds the server asked for, at most `LONGEST_HINT`, or None. `standing`: the error that ends the
    wait if the next polls give it too.
    """

    retry_after: float | None = None
    standing: Standing | None = None


Decision = KeepWaiting | Outcome


def decide(watch: Watch, answer: MessageBatch | BatchesError, *, now: float, hint: float | None = None) -> Decision:
    """Decide what follows from a poll's answer.

    :param watch: the wait.
    :param answer: the batch, or the error that the poll raised.
    :param now: seconds since the epoch.
    :param hint: seconds that the server asked to wait; it sends them with batches in progress. None for none.
    :return: `KeepWaiting`, or the outcome that ends the wait.
    """
    if isinstance(answer, MessageBatch):
        return _on_batch(watch, answer, now, hint)
    return _on_error(watch, answer, now)


def outcome_of(batch: MessageBatch, ending: Ending, message: str = "") -> Outcome:
    """Make a wait's outcome from a batch."""
    seen = batch.request_counts
    counts = Counts(
        processing=seen.processing,
        succeeded=seen.succeeded,
        errored=seen.errored,
        canceled=seen.canceled,
        expired=seen.expired,
        other=seen.other,
        known=seen.known,
    )
    return Outcome(ending=ending, batch_id=batch.id, status=batch.status_text, counts=counts, message=message)


def pause(watch: Watch, decision: KeepWaiting, *, poll_interval: float, now: float) -> float:
    """Return the seconds until the next poll; the last one happens at the deadline."""
    interval = max(poll_interval, decision.retry_after or 0.0)
    left = interval if watch.deadline is None else watch.deadline - now
    return max(0.0, min(interval, left))


def not_the_api(answer: MessageBatch | BatchesError) -> bool:
    """Whether a poll got no answer of the API: an outage, a proxy's page, a wrong address."""
    return isinstance(answer, TransportError | DecodeError) or (isinstance(answer, ApiError) and not answer.from_api)


def unreached(answer: MessageBatch | BatchesError) -> bool:
    """Whether the answer to a first poll points at a wrong address, which a wait would hide.

    A 5xx or 429 without the API's body does not: the API's own front end answers so when it is overloaded.
    """
    return not_the_api(answer) and not (isinstance(answer, ApiError) and answer.retryable)


def _on_batch(watch: Watch, batch: MessageBatch, now: float, hint: float | None) -> Decision:
    if batch.processing_status not in GOES_ON:
        return outcome_of(batch, Ending.ENDED)
    if _over(watch, now):
        return outcome_of(batch, Ending.TIMED_OUT, OVERDUE)
    return _keep_waiting(hint)


def _on_error(watch: Watch, error: BatchesError, now: float) -> Decision:
    standing = None
    if isinstance(error, ApiError) and not _passing(error):
        standing = _standing(watch, error, now)
        stood, needed = now - standing.since, (FRESH_404 if standing.missing else REFUSED).total_seconds()
        if stood >= needed:
            return _gave_up(watch, f"{error} (answered so for {stood:.0f} s)")
    elif not _passing(error):
        return _gave_up(watch, str(error))
    if _over(watch, now):
        message = f"{OVERDUE}; the last poll failed: {error}"
        return Outcome(ending=Ending.TIMED_OUT, batch_id=watch.batch_id, message=message)
    return _keep_waiting(error.retry_after if isinstance(error, ApiError) else None, standing)


def _standing(watch: Watch, error: ApiError, now: float) -> Standing:
    missing = error.status == 404
    before = watch.standing
    return before if before is not None and before.missing is missing else Standing(missing=missing, since=now)


def _gave_up(watch: Watch, message: str) -> Outcome:
    return Outcome(ending=Ending.GAVE_UP, batch_id=watch.batch_id, message=message)


def _keep_waiting(hint: float | None, standing: Standing | None = None) -> KeepWaiting:
    return KeepWaiting(None if hint is None else min(hint, LONGEST_HINT), standing)


def _passing(error: BatchesError) -> bool:
    # Even with `x-should-retry: true`, a 404 may mean that the batch does not exist.
    return not_the_api(error) or (isinstance(error, ApiError) and error.retryable and error.status != 404)


def _over(watch: Watch, now: float) -> bool:
    return watch.deadline is not None and now >= watch.deadline
