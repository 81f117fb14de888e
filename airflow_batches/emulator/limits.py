"""The rate limit: calls per minute of the emulator's clock, shown in the headers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from airflow_batches.emulator.clock import SECOND, short_timestamp

_MINUTE: Final = 60 * SECOND
"""The window: the docs give rate limits in requests per minute ("Rate limits")."""


class RateWindow:
    """The calls of the current minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._calls = 0

    def enter(self, now: int) -> int:
        """Count a call, and return the number of calls in this minute."""
        with self._lock:
            if now // _MINUTE != self._minute:
                self._minute, self._calls = now // _MINUTE, 0
            self._calls += 1
            return self._calls

    def headers(self, now: int, limit: int) -> Mapping[str, str]:
        """Return the `anthropic-ratelimit-requests-*` headers (recorded live, 2026-09)."""
        with self._lock:
            calls = self._calls if now // _MINUTE == self._minute else 0
        return {
            "anthropic-ratelimit-requests-limit": str(limit),
            "anthropic-ratelimit-requests-remaining": str(max(0, limit - calls)),
            "anthropic-ratelimit-requests-reset": short_timestamp((now // _MINUTE + 1) * _MINUTE),
        }


def seconds_left(now: int) -> int:
    """Return the whole seconds until the next window, at least one."""
    return 1 + (_MINUTE - now % _MINUTE - 1) // SECOND
