"""One thread that does calls in order, so that writing overlaps with reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self, TypeVar

DEPTH: Final = 4
"""Calls that may wait; with blocks of 1 MiB this is also what they hold of memory."""

_Result = TypeVar("_Result")


class Background:
    """Does calls elsewhere, one after the other. A call's error is raised by a later `do`, or by `drain`.

    Leaving the `with` waits for the call that runs, and drops those that wait.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing")
        self._waiting: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def do(self, call: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Queues a call; blocks while `DEPTH` of them wait."""
        while self._waiting and (len(self._waiting) >= DEPTH or self._waiting[0].done()):
            self._waiting.popleft().result()
        queued = self._pool.submit(call, *args)
        self._waiting.append(queued)
        return queued

    def drain(self) -> None:
        """Waits until everything is done."""
        while self._waiting:
            self._waiting.popleft().result()
