"""The emulator's clock: real time plus an offset that only grows.

The state of a batch is computed from this clock and the record written at create and cancel; no timer runs.
Times are integers, microseconds since the epoch, so that `expires_at` is `created_at` plus exactly 24 hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Final

SECOND: Final = 1_000_000
"""Microseconds, because the API's times have as many digits."""
DAY: Final = 24 * 3600 * SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Real time (UTC) plus `offset` microseconds; `keep` is called with every new offset."""

    def __init__(self, offset: int, keep: Callable[[int], None]) -> None:
        self.offset = offset
        self._keep = keep

    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.micros())

    def micros(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1000 + self.offset

    def advance(self, seconds: float) -> datetime:
        """Move the clock forward by `seconds` and return the new time.

        Raises ValueError for a step back.
        """
        # 100 years keep every time within what datetime can hold.
        if not 0 <= seconds <= 100 * 365 * 24 * 3600:
            raise ValueError(f"The clock moves forward only, by at most 100 years, and not by {seconds} s.")
        self._set(self.offset + micros(seconds))
        return self.now()

    def reset(self) -> None:
        """Return to real time."""
        self._set(0)

    def _set(self, offset: int) -> None:
        self.offset = offset
        self._keep(offset)


def micros(seconds: float) -> int:
    return round(seconds * SECOND)


def http_date(at: int) -> str:
    """Return `Fri, 01 May 2026 20:29:05 GMT`."""
    return formatdate(at // SECOND, usegmt=True)


def timestamp(at: int) -> str:
    """Return `2026-05-01T20:29:05.358585+00:00`, the form recorded live (the docs print `Z`)."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds")


def short_timestamp(at: int) -> str:
    """Return `2026-05-01T20:29:07Z`, the form of the rate-limit headers."""
    return (_EPOCH + timedelta(seconds=at // SECOND)).strftime("%Y-%m-%dT%H:%M:%SZ")
