"""Times to wait, as users write them."""

from __future__ import annotations

from datetime import timedelta


def seconds(value: timedelta | float) -> float:
    """Seconds of a number or a timedelta. Raises `ValueError` unless they are more than 0."""
    number = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not number > 0:
        raise ValueError(f"a time to wait must be more than 0 seconds, not {value!r}")
    return number
