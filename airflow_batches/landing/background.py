"""One thread that does a store's calls in order, so that writing overlaps with reading and nothing waits for ever.

A store that hangs is left alone with its thread, which ends with the process.
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
"""Calls that may wait; with blocks of 1 MiB this is also what they hold of memory."""

_Result = TypeVar("_Result")


class Background:
    """Does calls elsewhere, one after the other. A call's error is raised by a later `do`, or by `drain`.

    `deadline`, on the monotonic clock, is how long anything is waited for; `StoreTimeout` after it. Leaving the
    `with` drops the calls that wait.
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
        """Queues a call; blocks while `DEPTH` of them wait."""
        while self._waiting and (len(self._waiting) >= DEPTH or self._waiting[0].done()):
            self._finished(self._waiting.popleft())
        queued = self._queue(call, *args)
        self._waiting.append(queued)
        return queued

    def call(self, call: Callable[..., _Result], *args: Any, grace: float = 0.0) -> _Result:
        """What a call returns that comes after all others; it has `grace` seconds even when the deadline is near."""
        return self._finished(self._queue(call, *args), grace)

    def drain(self) -> None:
        """Waits until everything is done."""
        while self._waiting:
            self._finished(self._waiting.popleft())

    def undo(self, call: Callable[[], None], patience: float) -> None:
        """Does this instead of the calls that have not begun; later, where it is not waited for any more."""
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
                except BaseException as error:  # noqa: BLE001  # told to the one who waits, whatever it is
                    future.set_exception(error)


def _result(future: Future[_Result], seconds: float) -> _Result:
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():  # just now, or the timeout is the call's own
            return future.result()
        raise StoreTimeout("the store did not do in time what it was asked for") from None
