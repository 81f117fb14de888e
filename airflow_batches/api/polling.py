"""Decide what to do after a poll of a batch, and poll until the wait is over.

Rule: only this file decides whether a wait goes on. Everything else that waits only fetches and sleeps.

| the poll gave                                        | before the deadline | from the deadline on |
|------------------------------------------------------|---------------------|----------------------|
| `ended`, or an unknown status                        | ended               | ended                |
| `in_progress`, `canceling`                           | keep waiting        | timed out            |
| temporary failure, or an answer that is not the API's| keep waiting        | timed out            |
| 404, for less than `FRESH_404`                       | keep waiting        | timed out            |
| 404, for longer                                      | gave up             | gave up              |
| 401, 403, other permanent error, for less than       | keep waiting        | timed out            |
| `REFUSAL_GRACE`                                      |                     |                      |
| the same, for longer                                 | gave up             | gave up              |
| no connection, and other errors of this package      | gave up             | gave up              |

An error stands as long as every poll gives an error of the same row. Any other answer ends it: a replica lagged behind,
a key was being replaced, a permission was missing for a moment. The wait's `Watch` holds since when an error stands;
`Watch.after` gives the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError, WaitTimeout
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.api.retry import ONCE, RetryPolicy

logger = logging.getLogger(__name__)

MAX_HINT_S: Final = 600.0
"""Seconds of a server's hint that are obeyed at most, because a wrong hint must not stop a wait. Chosen: 60 times the
10 s that the API sends with a batch in progress (recorded in September 2026), ten times the default poll interval."""
REFUSAL_GRACE: Final = timedelta(minutes=5)
"""How long a refusal must stand. Chosen: longer than it takes to replace a key in a secret store and in the Console."""
AUTH_FAILURES: Final = frozenset({401, 403})
"""Statuses after which the connection is read again: keys are replaced while batches run."""
RUNNING: Final = frozenset({ProcessingStatus.IN_PROGRESS, ProcessingStatus.CANCELING})

Answer = MessageBatch | BatchesError
"""What a poll gave: the batch, or the error of the call."""


class StopReason(StrEnum):
    """Why polling stops."""

    ENDED = "ended"
    """The batch has ended, or has a status that this version does not know."""
    TIMED_OUT = "timed_out"
    """The deadline passed; the batch goes on."""
    GAVE_UP = "gave_up"
    """The API has refused all polls for minutes: a wrong key, no permission, no such batch."""


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
    refusal_grace: timedelta = REFUSAL_GRACE
    missing_grace: timedelta = FRESH_404
    """How long a 404 must stand."""

    def after(self, decision: KeepWaiting) -> Watch:
        """Return the wait after a poll with this decision."""
        return self if self.standing == decision.standing else replace(self, standing=decision.standing)


@dataclass(frozen=True)
class KeepWaiting:
    """The decision to poll again.

    `retry_after`: seconds the server asked for, at most `MAX_HINT_S`, or None. `standing`: the error that ends the wait
    if the next polls give it too.
    """

    retry_after: float | None = None
    standing: Standing | None = None


@dataclass(frozen=True)
class StopWaiting:
    """The decision that the wait is over; `message` says why unless the batch has ended."""

    reason: StopReason
    message: str = ""


Decision = KeepWaiting | StopWaiting


def decide(watch: Watch, answer: Answer, *, now: float, hint: float | None = None) -> Decision:
    """Decide what follows from a poll's answer. Pure.

    :param watch: the wait.
    :param answer: the batch, or the error that the poll raised.
    :param now: seconds since the epoch.
    :param hint: seconds that the server asked to wait; it sends them with batches in progress. None for none.
    :return: whether the wait goes on.
    """
    if isinstance(answer, MessageBatch):
        return _on_batch(watch, answer, now, hint)
    return _on_error(watch, answer, now)


def next_pause(watch: Watch, decision: KeepWaiting, *, poll_interval: float, now: float) -> float:
    """Return the seconds until the next poll; the last one happens at the deadline."""
    interval = max(poll_interval, decision.retry_after or 0.0)
    left = interval if watch.deadline is None else watch.deadline - now
    return max(0.0, min(interval, left))


def is_foreign(answer: Answer) -> bool:
    """Whether a poll got no answer of the API: an outage, a proxy's page, a wrong address."""
    return isinstance(answer, TransportError | DecodeError) or (isinstance(answer, ApiError) and not answer.from_api)


def is_unreached(answer: Answer) -> bool:
    """Whether the answer to a first poll points at a wrong address, which a wait would hide.

    A 5xx or 429 without the API's body does not: the API's own front end answers so when it is overloaded.
    """
    return is_foreign(answer) and not (isinstance(answer, ApiError) and answer.retryable)


class BatchGetter(Protocol):
    """The part of `BatchesClient` that polls."""

    retry_after: float | None

    def get(self, batch_id: str, *, retry: RetryPolicy | None = None) -> MessageBatch: ...


def try_get(client: BatchGetter, batch_id: str, *, retry: RetryPolicy | None = None) -> Answer:
    """Return the batch, or the error of the call: `decide` takes both."""
    try:
        return client.get(batch_id, retry=retry)
    except BatchesError as error:
        return error


def poll_until_stopped(
    polls: Iterator[tuple[Answer, float | None]],
    watch: Watch,
    *,
    poll_interval: float,
    on_answer: Callable[[Answer], None],
    sleep: Callable[[float], None],
) -> tuple[StopWaiting, Answer]:
    """Block until the wait is over.

    :param polls: polls the batch each time that it is advanced, without end; gives the answer and the server's hint.
    :param watch: the wait.
    :param poll_interval: seconds between polls.
    :param on_answer: called with every answer after which the wait goes on, errors included.
    :param sleep: sleeps for seconds.
    :return: why the wait is over, and the answer that ended it.
    """
    while True:
        answer, hint = next(polls)
        decision = decide(watch, answer, now=time.time(), hint=hint)
        if isinstance(decision, StopWaiting):
            return decision, answer
        watch = watch.after(decision)
        on_answer(answer)
        sleep(next_pause(watch, decision, poll_interval=poll_interval, now=time.time()))


def wait_for(client: BatchGetter, batch_id: str, *, poll_interval: float, timeout: float | None) -> MessageBatch:
    """Block until a batch has ended, and return it: `BatchesClient.wait_for`, with times in seconds."""
    now = time.time()
    watch = Watch(batch_id=batch_id, since=now, deadline=None if timeout is None else now + timeout)

    def warn(answer: Answer) -> None:
        if isinstance(answer, BatchesError):
            logger.warning("Polling %s failed and is retried: %s", batch_id, answer)

    polls = _polls(client, batch_id)
    stop, answer = poll_until_stopped(polls, watch, poll_interval=poll_interval, on_answer=warn, sleep=time.sleep)
    if stop.reason is StopReason.TIMED_OUT:
        raise WaitTimeout(f"{batch_id}: {stop.message}")
    if isinstance(answer, BatchesError):
        raise answer
    return answer


def _polls(client: BatchGetter, batch_id: str) -> Iterator[tuple[Answer, float | None]]:
    # Without the client's own retries: they do not know the deadline, and the next poll is the retry. Only an API that
    # has never answered gets them, because then the next poll does not come.
    answer = try_get(client, batch_id, retry=ONCE)
    if is_unreached(answer):
        answer = try_get(client, batch_id)
    if isinstance(answer, BatchesError) and is_unreached(answer):
        raise answer
    while True:
        yield answer, client.retry_after
        answer = try_get(client, batch_id, retry=ONCE)


def _on_batch(watch: Watch, batch: MessageBatch, now: float, hint: float | None) -> Decision:
    if batch.processing_status not in RUNNING:
        return StopWaiting(StopReason.ENDED)
    if _is_over(watch, now):
        return StopWaiting(StopReason.TIMED_OUT, f"the timeout has passed and the batch is still {batch.status_text}")
    return _keep_waiting(hint)


def _on_error(watch: Watch, error: BatchesError, now: float) -> Decision:
    standing = None
    if isinstance(error, ApiError) and not _is_temporary(error):
        standing = _standing(watch, error, now)
        stood = now - standing.since
        grace = watch.missing_grace if standing.missing else watch.refusal_grace
        if stood >= grace.total_seconds():
            return StopWaiting(StopReason.GAVE_UP, f"{error} (the same answer for {stood:.0f} s)")
    elif not _is_temporary(error):
        return StopWaiting(StopReason.GAVE_UP, str(error))
    if _is_over(watch, now):
        return StopWaiting(StopReason.TIMED_OUT, f"the timeout has passed; the last poll failed: {error}")
    return _keep_waiting(error.retry_after if isinstance(error, ApiError) else None, standing)


def _standing(watch: Watch, error: ApiError, now: float) -> Standing:
    missing = error.status == 404
    before = watch.standing
    return before if before is not None and before.missing is missing else Standing(missing=missing, since=now)


def _keep_waiting(hint: float | None, standing: Standing | None = None) -> KeepWaiting:
    return KeepWaiting(None if hint is None else min(hint, MAX_HINT_S), standing)


def _is_temporary(error: BatchesError) -> bool:
    # Even with `x-should-retry: true`, a 404 may mean that the batch does not exist.
    return is_foreign(error) or (isinstance(error, ApiError) and error.retryable and error.status != 404)


def _is_over(watch: Watch, now: float) -> bool:
    return watch.deadline is not None and now >= watch.deadline
