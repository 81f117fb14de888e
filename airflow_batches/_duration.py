"""Times as callers give them: seconds, or a timedelta."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta


def seconds(value: Seconds) -> float:
    """Return a time as a number of seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def seconds_to_wait(value: Seconds) -> float:
    """Return a time to wait as a number of seconds.

    :raises ValueError: unless it is more than 0.
    """
    number = seconds(value)
    if not number > 0:
        raise ValueError(f"a time to wait must be more than 0 seconds, not {value!r}")
    return number
