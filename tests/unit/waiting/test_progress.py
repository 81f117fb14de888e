"""What is said of a batch that goes on, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.progress import LEAST_GAP, Progress

START = 1_700_000_000.0
BEGAN = datetime.fromtimestamp(START, UTC)


def batch(done: int = 0, **more: Any) -> MessageBatch:
    return MessageBatch.model_validate(
        {
            "id": "msgbatch_1",
            "processing_status": "in_progress",
            "request_counts": {"processing": 100 - done, "succeeded": done},
            "created_at": BEGAN,
            "expires_at": BEGAN + timedelta(hours=24),
            **more,
        }
    )


def test_counts_age_and_expiry_are_told() -> None:
    line = Progress().line(batch(40), now=START + 5400)
    assert line == (
        "Batch msgbatch_1 is in_progress: 60 processing, 40 succeeded; 1 h 30 min old, expires in 22 h 30 min"
    )
    assert Progress().line(batch(created_at=None, expires_at=None), now=START) == (
        "Batch msgbatch_1 is in_progress: 100 processing"
    )


def test_a_change_is_told_at_most_once_a_minute_and_the_latest_then() -> None:
    progress = Progress()
    told = [(second, progress.line(batch(second), now=START + second)) for second in range(100)]
    assert [second for second, line in told if line] == [0, int(LEAST_GAP)]
    assert LEAST_GAP == 60
    assert "60 succeeded" in str(told[60][1])


def test_what_does_not_change_is_not_told_again() -> None:
    progress = Progress()
    assert progress.line(batch(), now=START)
    assert progress.line(batch(), now=START + 7200) is None
    assert progress.line(batch(processing_status="canceling"), now=START + 7201)
