"""Decide which failures are retried, and after how long.

Pure: no clock, no network; randomness is an argument.

| failure                                       | a read, cancel, delete | a create             |
|-----------------------------------------------|------------------------|----------------------|
| `x-should-retry: false`                       | no                     | no                   |
| `x-should-retry: true`                        | yes                    | only if listed below |
| 408, 409, 425, other 5xx                      | yes                    | no                   |
| 429, 529                                      | yes                    | if from the API      |
| the environment makes sending impossible      | no                     | no                   |
| no answer, certainly not sent                 | yes                    | yes                  |
| no answer, perhaps sent                       | yes                    | no                   |
| 404 of a batch that `exists`, any message     | yes                    | -                    |
| anything else                                 | no                     | no                   |

A create has no idempotency key (the docs name none). After a create with an unknown outcome, a second POST may make a
second, billed batch. It is sent only when the server or the socket says that nothing was accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.errors import ApiError, BatchesError, EnvironmentFault, TransportError

NOTHING_ACCEPTED: Final = frozenset({429, 529})
"""Statuses after which certainly no batch was created: the API is over a limit or overloaded (docs, page "Errors")."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Which failures are retried, and after how long.

    Times are seconds or timedeltas. Delays are exponential with full jitter, and never shorter than the server's
    `retry-after`. `base` is that of Anthropic's SDK. The other defaults are chosen: a few attempts outlast a short
    outage, and no single delay is longer than 5 minutes.

    :param attempts: calls in total, the first included.
    :param base: longest delay after the first attempt; it doubles with each further one.
    :param cap: longest delay without a `retry-after`.
    :param max_retry_after: longest `retry-after` to wait for. After a longer one the error is raised at once.
    :param exists: the batch is known to exist, so a 404 comes from a replica that lags, and is retried. This was
        reported for seconds after a batch's creation and after its end (anthropic-sdk-python issue 1432).

    Example::

        client = BatchesClient(key, retry=RetryPolicy(attempts=8, cap=timedelta(minutes=1)))
    """

    attempts: int = 5
    base: Seconds = 0.5
    cap: Seconds = 30.0
    max_retry_after: Seconds = 300.0
    exists: bool = False

    def retries(self, error: BaseException, *, creates: bool) -> bool:
        """Whether to try again after this failure, attempts permitting.

        :param error: the failure.
        :param creates: the call was a create.
        """
        if isinstance(error, EnvironmentFault):
            return False
        if isinstance(error, TransportError):
            return not (creates and error.maybe_sent)
        if not isinstance(error, ApiError) or (error.retry_after or 0) > seconds(self.max_retry_after):
            return False
        if creates:
            return error.retryable and error.from_api and error.status in NOTHING_ACCEPTED
        return error.retryable or (self.exists and error.status == 404)

    def delay(self, error: BatchesError, attempt: int, rand: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait before the next attempt.

        :param error: the failure.
        :param attempt: the number of the failed attempt, from 1.
        :param rand: returns a number from 0 to 1.
        """
        jittered = rand() * min(seconds(self.cap), seconds(self.base) * 2.0 ** min(attempt - 1, 64))
        hint = error.retry_after if isinstance(error, ApiError) else None
        return max(jittered, hint or 0.0)


ONCE: Final = RetryPolicy(attempts=1)
"""No second attempt: for callers that retry themselves."""

RETRY_404: Final = RetryPolicy(attempts=8, exists=True)
"""For batches that are known to exist: a 404 is retried too. Chosen: 8 attempts take about 30 s on average, longer than
the lag that was reported."""
