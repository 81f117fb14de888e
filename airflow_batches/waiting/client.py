"""Make the calls over one connection off the event loop, one at a time, and slow down while they fail.

Every failure is an answer.

| what failed                     | a get: concerns | a page: concerns |
|---------------------------------|-----------------|------------------|
| no client could be made         | all             | all              |
| 401, 403, with a fresh key too  | all             | the page         |
| an answer that is not the API's | all             | the page         |
| 429, 529                        | all             | all              |
| no answer                       | all             | the page         |
| anything else                   | the batch       | the page         |

Rules of this file:
- The connection is read once, and again after each 401 or 403 of the API: keys are replaced while batches run.
- A missing connection is believed only after `connection_grace_s`, because a failed look-up looks the same.
- No call takes longer than `max_call_s`, even if its bytes arrive slowly, and neither does making a client.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from airflow_batches._thread import WorkerThread
from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.polling import AUTH_FAILURES, MAX_HINT_S, is_foreign
from airflow_batches.waiting.paging import Call, CallAnswer, GetCall
from airflow_batches.waiting.settings import DEFAULTS, PollSettings

logger = logging.getLogger(__name__)

Connect = Callable[[], Awaitable[BatchesClient]]
"""Makes a new client, whose calls are not retried; raises BatchesError."""

OVERLOADED: Final = frozenset({429, 529})
"""Statuses of a rate limit and of an overloaded API (docs, page "Errors"): every call would get them now."""


class Reply(NamedTuple):
    """The answer to a call.

    `hint`: seconds to wait before the next call, as the server asked, or None. `shared`: the error, if it concerns all
    waits over the connection.
    """

    answer: CallAnswer
    hint: float | None = None
    shared: BatchesError | None = None


class PollClient:
    """One connection, which opens at the first call; its owner closes it.

    :param name: name of its thread.
    :param connect: makes a client.
    :param settings: how long calls may take.
    """

    def __init__(self, name: str, connect: Connect, settings: PollSettings = DEFAULTS) -> None:
        self._name = name
        self._connect = connect
        self._settings = settings
        self._client: BatchesClient | None = None
        self._thread = WorkerThread(name)
        self._missing_since: float | None = None

    async def call(self, call: Call) -> Reply:
        """Make a call, a second time with a fresh client if the key was refused."""
        had_client = self._client is not None
        reply = await self._call(call)
        if had_client and _is_refused(reply.answer):
            self.close()
            reply = await self._call(call)
        return reply

    def close(self) -> None:
        """Close the client after a call that is under way; the next call opens a new one."""
        if self._client is not None:
            self._thread.submit(self._client.close)
        self._thread.finish()
        self._client, self._thread = None, WorkerThread(self._name)

    async def _call(self, call: Call) -> Reply:
        max_call_s = self._settings.max_call_s
        try:
            async with asyncio.timeout(max_call_s):  # not wait_for, which in Python 3.11 may swallow a cancellation
                client = self._client = self._client or await self._connect()
        except (BatchesError, TimeoutError) as exc:
            error = self._no_client(exc)
            return Reply(error, shared=error)
        self._missing_since = None
        try:
            async with asyncio.timeout(max_call_s):
                return await asyncio.wrap_future(self._thread.submit(_make, client, call, self._settings.page_size))
        except TimeoutError:
            self.close()
            return _failed(call, TransportError(f"no answer within {max_call_s:.0f} s", maybe_sent=True))

    def _no_client(self, error: BatchesError | TimeoutError) -> BatchesError:
        now = asyncio.get_running_loop().time()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if isinstance(error, TimeoutError) or now - self._missing_since < self._settings.connection_grace_s:
            return TransportError(f"no connection yet: {error}", maybe_sent=False)
        return error


@dataclass(slots=True)
class Outage:
    """The time in which calls fail: with growing pauses between them, and one log line at its beginning and its end.

    Times are seconds on the monotonic clock. `what` fails, in words that begin a sentence.
    """

    what: str
    max_backoff_s: float = DEFAULTS.max_backoff_s
    rand: Callable[[], float] = random.random
    began: float = 0.0
    failures: int = 0

    def record(self, error: BatchesError | None, now: float) -> float:
        """Record a success or a failure, and return the seconds to wait before the next try.

        :param error: the failure; None for a success.
        :param now: seconds on the monotonic clock.
        """
        if error is None:
            self._worked(now)
            return 0.0
        self._failed(error, now)
        # Exponential with jitter, and never less than the server asks for.
        backoff = min(self.max_backoff_s, 2.0 ** min(self.failures - 1, 16)) * (0.5 + self.rand() / 2)
        hint = error.retry_after if isinstance(error, ApiError) else None
        return max(backoff, min(hint or 0.0, MAX_HINT_S))

    def _failed(self, error: BatchesError, now: float) -> None:
        self.failures += 1
        if self.failures == 1:
            self.began = now
            logger.warning("%s fails and is retried: %s", self.what, error)

    def _worked(self, now: float) -> None:
        if self.failures:
            logger.info("%s works again after %.0f s (%d failures)", self.what, now - self.began, self.failures)
        self.failures = 0


def _make(client: BatchesClient, call: Call, page_size: int) -> Reply:
    try:
        if isinstance(call, GetCall):
            return Reply(client.get(call.batch_id), client.retry_after)
        return Reply(client.list(limit=page_size, after_id=call.after_id), client.retry_after)
    except BatchesError as error:
        return _failed(call, error)


def _failed(call: Call, error: BatchesError) -> Reply:
    overloaded = isinstance(error, ApiError) and error.status in OVERLOADED
    # Not a DecodeError: one batch's odd object must not fail the polls of all others.
    unusable = not isinstance(error, DecodeError) and (is_foreign(error) or _is_refused(error))
    return Reply(error, shared=error if overloaded or (isinstance(call, GetCall) and unusable) else None)


def _is_refused(answer: CallAnswer) -> bool:
    """Whether the API refused the key or its permissions; a web filter's 403 is not the API's."""
    return isinstance(answer, ApiError) and answer.from_api and answer.status in AUTH_FAILURES
