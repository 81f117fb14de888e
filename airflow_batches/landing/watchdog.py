"""End a read that takes too long: a socket's own timeout starts anew with each byte."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

_Result = TypeVar("_Result")


class Watchdog:
    """Calls `on_timeout` once, from a thread, when something watched takes `patience` seconds, or at the deadline.

    `deadline` is on the monotonic clock. `fired` says whether it did. Use it in a `with`.
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
        """What the call returns; it must not take longer than the patience."""
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
