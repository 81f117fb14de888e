"""Read the headers of answers that the client uses. What cannot be read is None, never an error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that the server asks to wait, or None.

    They are in `retry-after-ms`, else in `retry-after` as seconds or as a date.

    :param headers: the answer's headers.
    :param now: the current time, for a date.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return the value of `x-should-retry`, by which the API overrides what its status means; None without one."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return the time in `Date`; None when it is missing or cannot be read."""
    try:
        date = parsedate_to_datetime(headers["date"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
