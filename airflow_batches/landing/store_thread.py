"""One thread that makes a store's calls in order, so that writing overlaps with reading.

No wait is unbounded: if a store hangs, its thread is abandoned, and ends with the process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from airflow_batches._thread import WorkerThread
from airflow_batches.landing.errors import StoreTimeout

DEPTH: Final = 4
"""Calls that may be queued. Chosen: enough to bridge a slow write, and with blocks of 1 MiB they hold 4 MiB at most."""

_Result = TypeVar("_Result")


class StoreThread:
    """A thread that makes calls in order, for use in a `with`.

    Leaving it drops the calls that have not begun.

    The error of a queued call is raised by a later `queue` or by `drain`.

    :param uri: where the results go, for messages.
    :param deadline: seconds on the monotonic clock after which waiting for a call raises `StoreTimeout`.
    :param grace_s: seconds that `call` and `clean_up` wait at least, even beyond the deadline.
    """

    def __init__(self, uri: str, deadline: float, grace_s: float) -> None:
        self._uri = uri
        self._deadline = deadline
        self._grace_s = grace_s
        self._thread = WorkerThread("landing")
        self._queued: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._cancel_queued()
        self._thread.finish()

    def queue(self, call: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Queue a call; block while `DEPTH` of them are queued.

        :raises StoreTimeout: an earlier call did not end before the deadline.
        """
        while self._queued and (len(self._queued) >= DEPTH or self._queued[0].done()):
            self._result(self._queued.popleft())
        queued = self._thread.submit(call, *args)
        self._queued.append(queued)
        return queued

    def drain(self) -> None:
        """Wait until every queued call has ended.

        :raises StoreTimeout: one of them did not end before the deadline.
        """
        while self._queued:
            self._result(self._queued.popleft())

    def call(self, call: Callable[..., _Result], *args: Any) -> _Result:
        """Make a call after all queued ones and return its result.

        :raises StoreTimeout: it did not end in time. If it has not begun by then, it is never made.
        """
        return self._result(self._thread.submit(call, *args), self._grace_s)

    def clean_up(self, call: Callable[[], object]) -> None:
        """Make this call instead of those that have not begun.

        :raises StoreTimeout: it did not end in time; it is still made later.
        """
        self._cancel_queued()
        self._wait(self._thread.submit(call), self._grace_s)

    def _cancel_queued(self) -> None:
        while self._queued:
            self._queued.popleft().cancel()

    def _result(self, future: Future[_Result], at_least_s: float = 0.0) -> _Result:
        try:
            return self._wait(future, max(self._deadline - time.monotonic(), at_least_s))
        except StoreTimeout:
            future.cancel()
            raise

    def _wait(self, future: Future[_Result], timeout_s: float) -> _Result:
        if not wait([future], timeout_s).done:
            raise StoreTimeout(f"the store of {self._uri} did not answer in time; a retry lands again")
        return future.result()
