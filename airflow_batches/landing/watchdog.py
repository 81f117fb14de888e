"""End a read that takes too long: a socket's own timeout restarts with each byte."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

_Result = TypeVar("_Result")


class Watchdog:
    """A timer for reads, for use in a `with`.

    `fired` says whether it has called `on_timeout`.

    :param on_timeout: called once, from another thread, when a watched call takes too long, or at the deadline.
    :param patience: seconds that a watched call may take.
    :param deadline: seconds on the monotonic clock.
    """

    def __init__(self, on_timeout: Callable[[], None], patience: float, deadline: float) -> None:
        self.fired = False
        self._on_timeout = on_timeout
        self._patience = patience
        self._deadline = deadline
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="results-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def watched(self, call: Callable[[], _Result]) -> _Result:
        """Make a call under the timer and return its result."""
        self._since = time.monotonic()
        try:
            return call()
        finally:
            self._since = None

    def _watch(self) -> None:
        while (left := self._left()) > 0:
            if self._over.wait(left):
                return
        self.fired = True
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # the read has ended meanwhile
            self._on_timeout()

    def _left(self) -> float:
        now = time.monotonic()
        return min((self._since or now) + self._patience, self._deadline) - now
