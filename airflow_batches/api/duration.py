"""Times as callers give them: seconds, or a timedelta."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta


def seconds(value: Seconds) -> float:
    """A time as a number of seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value
