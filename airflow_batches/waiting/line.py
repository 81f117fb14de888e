"""Make the calls over one connection off the event loop, one at a time.

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
- A missing connection is believed only after `CONNECTION_GRACE`, because a failed look-up looks the same.
- No call takes longer than `LONGEST_CALL`, even if its bytes arrive slowly, and neither does making a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.waiting.decision import AUTH_FAILURES, not_the_api
from airflow_batches.waiting.paging import Answer, Call, Get
from airflow_batches.waiting.thread import CallThread

Connect = Callable[[], Awaitable[BatchesClient]]
"""Makes a new client, whose calls are not retried; raises BatchesError."""

CROWDED: Final = frozenset({429, 529})
"""Statuses of a rate limit and of an overloaded API (docs, page "Errors"): every call would get them now."""
LONGEST_CALL: Final = 120.0
"""Seconds. Chosen: twice `triggers.connect.READ_TIMEOUT`, which bounds each silence but not the whole call."""
CONNECTION_GRACE: Final = 120.0
"""Seconds for which a connection may be missing. Chosen: longer than a restart of the database or of a secrets backend
usually takes, short beside the hours of a batch."""


class Reply(NamedTuple):
    """The answer to a call.

    `hint`: seconds to wait before the next call, as the server asked, or None. `shared`: the error, if it concerns all
    waits over the connection.
    """

    answer: Answer
    hint: float | None = None
    shared: BatchesError | None = None


def refused(answer: Answer | None) -> bool:
    """Whether the API refused the key or its permissions.

    A web filter's 403 is not the API's.
    """
    return isinstance(answer, ApiError) and answer.from_api and answer.status in AUTH_FAILURES


class Line:
    """One connection, which opens at the first call; its owner closes it with `hang_up`.

    :param name: name of its thread.
    :param connect: makes a client.
    """

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._connect = connect
        self._client: BatchesClient | None = None
        self._thread = CallThread(name)
        self._missing_since: float | None = None

    async def ask(self, call: Call) -> Reply:
        """Make a call, a second time with a fresh client if the key was refused."""
        had_client = self._client is not None
        reply = await self._ask(call)
        if had_client and refused(reply.answer):
            self.hang_up()
            reply = await self._ask(call)
        return reply

    def hang_up(self) -> None:
        """Close the client after a call that is under way; the next call opens a new one."""
        if self._client is not None:
            self._thread.finish(self._client.close)
        self._client, self._thread = None, CallThread(self._name)

    async def _ask(self, call: Call) -> Reply:
        try:
            async with asyncio.timeout(LONGEST_CALL):  # not wait_for, which in Python 3.11 may swallow a cancellation
                client = self._client = self._client or await self._connect()
        except (BatchesError, TimeoutError) as exc:
            error = self._no_client(exc)
            return Reply(error, shared=error)
        self._missing_since = None
        try:
            async with asyncio.timeout(LONGEST_CALL):
                return await self._thread.run(lambda: _make(client, call))
        except TimeoutError:
            self.hang_up()
            return _failed(call, TransportError(f"no answer within {LONGEST_CALL:.0f} s", maybe_sent=True))

    def _no_client(self, error: BatchesError | TimeoutError) -> BatchesError:
        now = asyncio.get_running_loop().time()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if isinstance(error, TimeoutError) or now - self._missing_since < CONNECTION_GRACE:
            return TransportError(f"no connection yet: {error}", maybe_sent=False)
        return error


def _make(client: BatchesClient, call: Call) -> Reply:
    try:
        if isinstance(call, Get):
            return Reply(client.get(call.batch_id), client.retry_after)
        return Reply(client.list(limit=MAX_PAGE, after_id=call.after_id), client.retry_after)
    except BatchesError as error:
        return _failed(call, error)


def _failed(call: Call, error: BatchesError) -> Reply:
    crowded = isinstance(error, ApiError) and error.status in CROWDED
    # Not a DecodeError: one batch's odd object must not fail the polls of all others.
    gone = not isinstance(error, DecodeError) and (not_the_api(error) or refused(error))
    return Reply(error, shared=error if crowded or (isinstance(call, Get) and gone) else None)
