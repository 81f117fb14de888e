"""Durations given by callers, as seconds or as a timedelta."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta


def seconds(value: Seconds) -> float:
    """Convert a duration to seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def seconds_to_wait(value: Seconds) -> float:
    """Convert a waiting time to seconds.

    :raises ValueError: when it is 0 or less.
    """
    number = seconds(value)
    if not number > 0:
        raise ValueError(f"a time to wait must be more than 0 seconds, not {value!r}")
    return number
