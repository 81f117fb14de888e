"""How far a landing has come, and a thread that reports it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from airflow_batches._thread import WorkerThread

MIN_INTERVAL_S: Final = 0.01
"""Seconds between two reports, at least. Chosen: an interval of 0 must not keep a core busy."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a landing has come: `lines` of `expected`, with `size` bytes, in `seconds`.

    `expected` is None if the number of results is unknown. `str()` gives a line for a log.

    Example::

        def show(progress: Progress) -> None:
            print(progress, progress.remaining)

        land(client, "msgbatch_01ab", "file:///data/results.jsonl", progress=show)
    """

    lines: int
    expected: int | None
    size: int
    seconds: float

    @property
    def share(self) -> float:
        """The share of lines that have been read, from 0 to 1; 0 if their number is unknown."""
        return min(1.0, self.lines / self.expected) if self.expected else 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Decimal megabytes of result lines per second, before compression."""
        return self.size / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds left at the present rate, None while that is unknown."""
        if not self.lines or self.expected is None:
            return None
        return self.seconds * (self.expected - self.lines) / self.lines

    def __str__(self) -> str:
        left = "" if self.remaining is None else f", {max(0.0, self.remaining):.0f} s left"
        of = "lines" if self.expected is None else f"of {self.expected:,} lines ({self.share:.0%})"
        return f"{self.lines:,} {of}, {self.size / 1e6:,.1f} MB at {self.megabytes_per_second:,.1f} MB/s{left}"


@contextmanager
def reported(
    report: Callable[[Progress], None] | None, interval_s: float, progress: Callable[[], Progress]
) -> Iterator[None]:
    """Call `report` regularly while the block runs, and once more at its end.

    :param report: gets the progress, in another thread; its error is raised at the end of the block. None for none.
    :param interval_s: seconds between two calls.
    :param progress: gives the present progress.
    """
    if report is None:
        yield
        return
    over = threading.Event()

    def run() -> None:
        reports = 0
        while not over.wait(max(interval_s, MIN_INTERVAL_S)):
            report(progress())
            reports += 1
        if reports:
            report(progress())

    with WorkerThread("landing-progress") as thread:
        running = thread.submit(run)
        try:
            yield
        finally:
            over.set()
        running.result()
