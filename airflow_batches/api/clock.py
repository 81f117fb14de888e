"""The API's clock, as the header `Date` of its answers shows it.

The API dates the batches by its clock, so times of batches are compared with this clock, not with that of this host.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from airflow_batches.api.headers import date_of


class ApiClock:
    """Tells the time by the API's clock, to about a second: `Date` is rounded down to whole seconds."""

    def __init__(self) -> None:
        self._read: tuple[datetime, float] | None = None

    def read(self, headers: Mapping[str, str]) -> None:
        """Read the clock from an answer of the API. An answer without a `Date` changes nothing."""
        if date := date_of(headers):
            self._read = date, time.monotonic()

    def now(self) -> datetime | None:
        """Return the time, None before the first answer. Changes of this host's clock do not affect it."""
        if self._read is None:
            return None
        date, at = self._read
        return date + timedelta(seconds=time.monotonic() - at)
