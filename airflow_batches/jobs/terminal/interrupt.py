"""Stop a run at Ctrl-C between two steps, so that its ledger says what was sent and another run can go on at once.

| signal            | while the run waits | during a step                          |
|-------------------|---------------------|----------------------------------------|
| SIGINT or SIGTERM | stops at once       | stops after the step                   |
| a second one      | is ignored, while   | stops at once; the next run looks what |
|                   | the lease is given  | came of the step                       |
|                   | up                  |                                        |
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

from airflow_batches.jobs.run import SystemClock

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A person or the system stops this process.

    Example::

        raise Interrupted(signal.SIGINT)
    """


class InterruptibleClock(SystemClock):
    """The system's time; a wait ends at SIGINT or SIGTERM.

    :param on_first: is called at the first signal during a step. It runs in the signal's handler.

    Example::

        with InterruptibleClock(lambda: None) as clock:
            run_job(client, requests, path, clock=clock, progress=lambda ledger: clock.check())
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.received: int | None = None
        self._on_first = on_first
        self._waits = False
        self._ends = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        """Handle the signals."""
        self._before = [signal.signal(number, self._receive) for number in SIGNALS]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Restore the handlers; ignore the signals after an interruption, because the process is about to end."""
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, signal.SIG_IGN if self._ends else handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it."""
        return 128 + (self.received or signal.SIGINT)

    def sleep(self, seconds: float) -> None:
        """Wait.

        :raises Interrupted: a signal arrived.
        """
        self._waits = True
        try:
            self.check()
            time.sleep(seconds)
        finally:
            self._waits = False

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self.received is not None:
            self._end(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._ends:
            return
        first, self.received = self.received is None, number
        if self._waits or not first:
            self._end(number)
        self._on_first()

    def _end(self, number: int) -> NoReturn:
        self._ends = True
        raise Interrupted(number)
