"""Which failure is tried again, and after how long. Pure: the attempt, the failure and the randomness come in.

| what failed                                   | a read, cancel, delete | a create             |
|-----------------------------------------------|------------------------|----------------------|
| `x-should-retry: false`                       | no                     | no                   |
| `x-should-retry: true`                        | yes                    | only if listed below |
| 408, 409, 425, other 5xx                      | yes                    | no                   |
| 429, 529                                      | yes                    | yes, if the API's own|
| the environment makes sending impossible      | no                     | no                   |
| no answer, certainly not sent                 | yes                    | yes                  |
| no answer, perhaps sent                       | yes                    | no                   |
| 404 of a batch that `exists`, whatever it says| yes                    | -                    |
| anything else                                 | no                     | no                   |

A create has no idempotency key (docs name none), so a second POST after an unknown first one may be a second,
billed batch: only the server or the socket saying that nothing was accepted permits another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.errors import ApiError, BatchesError, EnvironmentFault, TransportError

NOTHING_ACCEPTED: Final = frozenset({429, 529})
"""Statuses that say for certain that a create was not accepted."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to try again.

    Times are seconds or timedeltas. Delays are exponential with full jitter: between 0 and `base * 2**n`, at most
    `cap`. They are never less than the server's own `retry-after`; where that is beyond `patience`, the error is
    raised, with the hint in it.

    `exists`: the batch asked for is known to be there, so that a 404 is a server's that has not heard of it yet
    (reported for seconds after the creation, and after the end).
    """

    attempts: int = 5
    base: Seconds = 0.5
    cap: Seconds = 30.0
    patience: Seconds = 300.0
    exists: bool = False

    def retries(self, error: BaseException, *, creates: bool) -> bool:
        """Whether this failure is worth another attempt."""
        if isinstance(error, EnvironmentFault):
            return False
        if isinstance(error, TransportError):
            return not (creates and error.maybe_sent)
        if not isinstance(error, ApiError) or (error.retry_after or 0) > seconds(self.patience):
            return False
        if creates:
            return error.passing and error.from_api and error.status in NOTHING_ACCEPTED
        return error.passing or (self.exists and error.status == 404)

    def delay(self, error: BatchesError, attempt: int, rand: Callable[[], float] = random.random) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1)."""
        jittered = rand() * min(seconds(self.cap), seconds(self.base) * 2.0 ** min(attempt - 1, 64))
        hint = error.retry_after if isinstance(error, ApiError) else None
        return max(jittered, hint or 0.0)


ONCE: Final = RetryPolicy(attempts=1)
"""No second attempt: for callers that have a loop of their own."""

KNOWN: Final = RetryPolicy(attempts=8, exists=True)
"""For batches that are known to exist: a 404 is retried too, for half a minute on average."""
