"""How far a landing has come, and a thread that reports it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

LEAST: Final = 0.01
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
def reported(tell: Callable[[Progress], None] | None, every: float, progress: Callable[[], Progress]) -> Iterator[None]:
    """Call `tell` regularly while the block runs, and once more at its end.

    :param tell: gets the progress, in another thread; what it raises is raised at the end of the block. None for none.
    :param every: seconds between two calls.
    :param progress: gives the present progress.
    """
    if tell is None:
        yield
        return
    over = threading.Event()

    def telling() -> None:
        told = False
        while not over.wait(max(every, LEAST)):
            tell(progress())
            told = True
        if told:
            tell(progress())

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing-progress") as thread:
        told = thread.submit(telling)
        try:
            yield
        finally:
            over.set()
        told.result()
