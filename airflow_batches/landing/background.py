"""One thread that makes a store's calls in order, so that writing overlaps with reading.

No wait is unbounded: if a store hangs, its thread is abandoned, and ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from airflow_batches.landing.errors import StoreTimeout

DEPTH: Final = 4
"""Calls that may be queued. Chosen: enough to bridge a slow write, and with blocks of 1 MiB they hold 4 MiB at most."""

_Result = TypeVar("_Result")


class Background:
    """A thread that makes calls in order, for use in a `with`.

    Leaving it drops the calls that have not begun.

    The error of a queued call is raised by a later `do` or by `drain`.

    :param deadline: seconds on the monotonic clock after which waiting for a call raises `StoreTimeout`.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._waiting: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        threading.Thread(target=self._work, name="landing", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._drop()
        self._calls.put(None)

    def do(self, call: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Queue a call; block while `DEPTH` of them are queued.

        :raises StoreTimeout: an earlier call did not end before the deadline.
        """
        while self._waiting and (len(self._waiting) >= DEPTH or self._waiting[0].done()):
            self._finished(self._waiting.popleft())
        queued = self._queue(call, *args)
        self._waiting.append(queued)
        return queued

    def call(self, call: Callable[..., _Result], *args: Any, grace: float = 0.0) -> _Result:
        """Make a call after all queued ones and return its result.

        :param call: the call.
        :param args: its arguments.
        :param grace: seconds to wait at least, even beyond the deadline.
        :raises StoreTimeout: it did not end in time.
        """
        return self._finished(self._queue(call, *args), grace)

    def drain(self) -> None:
        """Wait until every queued call has ended."""
        while self._waiting:
            self._finished(self._waiting.popleft())

    def undo(self, call: Callable[[], None], patience: float) -> None:
        """Make this call instead of those that have not begun.

        :param call: the call; if the wait for it times out, it is still made later.
        :param patience: seconds to wait for it.
        :raises StoreTimeout: it did not end in time.
        """
        self._drop()
        _result(self._queue(call), patience)

    def _queue(self, call: Callable[..., _Result], *args: Any) -> Future[_Result]:
        queued: Future[_Result] = Future()
        self._calls.put((queued, call, args))
        return queued

    def _drop(self) -> None:
        while self._waiting:
            self._waiting.popleft().cancel()

    def _finished(self, future: Future[_Result], grace: float = 0.0) -> _Result:
        try:
            return _result(future, max(self._deadline - time.monotonic(), grace, 0.0))
        except StoreTimeout:
            future.cancel()
            raise

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            future, call, args = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*args))
                except BaseException as error:  # noqa: BLE001  # raised in the waiting thread
                    future.set_exception(error)


def _result(future: Future[_Result], seconds: float) -> _Result:
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():  # it ended just now, or the call itself raised TimeoutError
            return future.result()
        raise StoreTimeout("the store did not do in time what it was asked for") from None
