"""Signals as exceptions, raised only where they are safe.

Ctrl-C, SIGTERM (sent by a supervisor) and SIGHUP (the terminal is closed) all become exceptions, so that `with` blocks
clean up. Inside `held()` they are postponed: between starting a process and recording it, and during the clean-up
itself, an exception would leave something running.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """Turns `SIGNALS` into exceptions during a `with` block.

    SIGINT raises KeyboardInterrupt, the others SystemExit with 128 + the signal's number.

    Python allows signal handlers in the main thread only; in another thread the block changes nothing.
    """

    def __init__(self) -> None:
        self._holds = 0
        self._waiting: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Run the block to its end; an interruption that arrives meanwhile is raised after it."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds and self._waiting is not None:
                number, self._waiting = self._waiting, None
                _raise_for(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self._waiting = number
        else:
            _raise_for(number)


def _raise_for(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
