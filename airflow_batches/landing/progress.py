"""How far a landing is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

LEAST: Final = 0.01
"""Seconds between two tellings, at least."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`lines` of `expected` have landed, `size` bytes of them, in `seconds`. `expected` may not be known (None)."""

    lines: int
    expected: int | None
    size: int
    seconds: float

    @property
    def share(self) -> float:
        """0 to 1; 0 where the number of lines is not known."""
        return min(1.0, self.lines / self.expected) if self.expected else 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Decimal megabytes of result lines, before compression."""
        return self.size / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds at the rate so far, None while that is not known."""
        if not self.lines or self.expected is None:
            return None
        return self.seconds * (self.expected - self.lines) / self.lines

    def __str__(self) -> str:
        left = "" if self.remaining is None else f", {max(0.0, self.remaining):.0f} s left"
        of = "lines" if self.expected is None else f"of {self.expected:,} lines ({self.share:.0%})"
        return f"{self.lines:,} {of}, {self.size / 1e6:,.1f} MB at {self.megabytes_per_second:,.1f} MB/s{left}"


@contextmanager
def reported(tell: Callable[[Progress], None] | None, every: float, progress: Callable[[], Progress]) -> Iterator[None]:
    """Calls `tell` every so many seconds while the block runs, also while nothing comes, and then once at its end.

    Raises what `tell` raised.
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
