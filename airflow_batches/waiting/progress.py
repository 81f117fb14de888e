"""What to say of a batch that goes on: when its counts have changed, and at most once a minute. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.decision import outcome_of
from airflow_batches.waiting.outcome import Counts, Ending

LEAST_GAP: Final = 60.0
"""Seconds between two lines."""


@dataclass(slots=True)
class Progress:
    """Remembers what was said last."""

    _said: tuple[str, Counts] | None = None
    _said_at: float = float("-inf")

    def line(self, batch: MessageBatch, *, now: float) -> str | None:
        """The line to say now (seconds since the epoch), or None for silence."""
        counts = outcome_of(batch, Ending.ENDED).counts
        seen = (batch.status_text, counts)
        if seen == self._said or now - self._said_at < LEAST_GAP:
            return None
        self._said, self._said_at = seen, now
        return f"Batch {batch.id} is {batch.status_text}: {counts}{_times(batch, now)}"


def _times(batch: MessageBatch, now: float) -> str:
    at = datetime.fromtimestamp(now, UTC)
    age = f"; {_span(at - batch.created_at)} old" if batch.created_at else ""
    return age + (f", expires in {_span(batch.expires_at - at)}" if batch.expires_at else "")


def _span(span: timedelta) -> str:
    minutes = max(0, round(span.total_seconds() / 60))
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
