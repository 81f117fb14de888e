"""The log lines about a running batch, and how often they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_batches.api.errors import TransportError
from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.progress import HEARTBEAT_S, MIN_GAP_S, BatchesProgressLog, ProgressLog

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


def progress() -> ProgressLog:
    return ProgressLog("msgbatch_1")


def test_a_line_has_counts_age_and_expiry() -> None:
    line = progress().line(batch(40), now=START + 5400)
    assert line == (
        "Batch msgbatch_1 is in_progress: 60 processing, 40 succeeded; 1 h 30 min old, expires in 22 h 30 min"
    )
    assert progress().line(batch(created_at=None, expires_at=None), now=START) == (
        "Batch msgbatch_1 is in_progress: 100 processing"
    )


def test_a_change_is_logged_at_most_once_a_minute_with_the_latest_counts() -> None:
    log = progress()
    lines = [(second, log.line(batch(second), now=START + second)) for second in range(100)]
    assert [second for second, line in lines if line] == [0, int(MIN_GAP_S)]
    assert MIN_GAP_S == 60
    assert "60 succeeded" in str(lines[60][1])


def test_without_a_change_there_is_a_line_every_quarter_of_an_hour() -> None:
    log = progress()
    lines = [(minute, log.line(batch(), now=START + 60 * minute)) for minute in range(61)]
    assert [minute for minute, line in lines if line] == [0, 15, 30, 45, 60]
    assert HEARTBEAT_S == 900
    assert log.line(batch(processing_status="canceling"), now=START + 3660)


def test_without_a_poll_the_heartbeat_says_when_the_last_one_was() -> None:
    log = progress()
    log.line(batch(), now=START)
    assert log.line(None, now=START + 600) is None
    assert log.line(None, now=START + 900) == (
        "Batch msgbatch_1 is in_progress: 100 processing; 15 min old, expires in 23 h 45 min; "
        "last poll 2023-11-14 22:13 UTC (15 min ago)"
    )


def test_an_outage_is_logged_when_it_begins_and_every_quarter_of_an_hour() -> None:
    log = progress()
    log.line(batch(), now=START)
    lines = [
        (minute, log.line(TransportError(f"reset {minute}", maybe_sent=True), now=START + 60 * minute))
        for minute in range(1, 40)
    ]
    assert [minute for minute, line in lines if line] == [1, 16, 31]
    assert lines[15][1] == (
        "Batch msgbatch_1 is waited for, but polls fail; last error: reset 16; last successful poll: "
        "2023-11-14 22:13 UTC (16 min ago); when last polled it was in_progress: 100 processing; "
        "16 min old, expires in 23 h 44 min"
    )


def test_the_end_of_an_outage_is_logged() -> None:
    log = progress()
    log.line(batch(), now=START)
    log.line(TransportError("reset", maybe_sent=True), now=START + 60)
    assert log.line(batch(), now=START + 119) is None
    assert "is in_progress" in str(log.line(batch(), now=START + 120))


def test_a_wait_whose_polls_never_succeeded_says_so() -> None:
    line = progress().line(TransportError("refused", maybe_sent=False), now=START)
    assert line == (
        "Batch msgbatch_1 is waited for, but polls fail; last error: refused; "
        "last successful poll: none since this wait began"
    )
    assert "no answer yet" in str(progress().line(None, now=START))


def test_counts_that_cannot_be_read_do_not_end_the_line() -> None:
    assert progress().line(batch(request_counts=None, created_at="", expires_at=5e20), now=START) == (
        "Batch msgbatch_1 is in_progress: unknown counts"
    )


def together(*ids: str) -> BatchesProgressLog:
    return BatchesProgressLog(ids or ("a", "b"))


def test_several_batches_have_one_line_once_all_were_polled() -> None:
    log = together()
    assert log.line("a", batch(40), now=START + 5400) is None
    younger = batch(created_at=BEGAN + timedelta(hours=1), expires_at=BEGAN + timedelta(hours=25))
    assert log.line("b", younger, now=START + 5400) == (
        "2 batches are under way: 160 processing, 40 succeeded; the oldest is 1 h 30 min old, the first expires in "
        "22 h 30 min"
    )


def test_several_batches_have_a_line_every_quarter_of_an_hour_whatever_their_counts() -> None:
    log = together()
    lines = [
        (minute, log.line(each, batch(minute), now=START + 60 * minute)) for minute in range(61) for each in ("a", "b")
    ]
    assert [minute for minute, line in lines if line] == [0, 15, 30, 45, 60]
    assert log.line("a", None, now=START + 4500) == (
        "2 batches are under way: 80 processing, 120 succeeded; the oldest is 1 h 15 min old, the first expires in "
        "22 h 45 min; last poll 2023-11-14 23:13 UTC (15 min ago)"
    )


def test_an_outage_of_several_batches_is_logged_when_it_begins_and_when_it_ends() -> None:
    log = together()
    log.line("a", batch(), now=START)
    log.line("b", batch(), now=START)
    error = TransportError("reset", maybe_sent=True)
    assert log.line("a", error, now=START + 60) == (
        "2 batches are under way, but polls of 1 fail; last error: reset; last successful poll: 2023-11-14 22:13 UTC "
        "(1 min ago); when last polled: 200 processing; the oldest is 1 min old, the first expires in 23 h 59 min"
    )
    assert log.line("b", error, now=START + 61) is None
    assert "polls of 2 fail" in str(log.line("b", error, now=START + 960))
    assert log.line("a", batch(), now=START + 1020) is None
    assert str(log.line("b", batch(), now=START + 1020)).startswith("2 batches are under way: 200 processing")


def test_several_batches_that_were_never_polled_say_so() -> None:
    assert together().line("a", None, now=START) == (
        "2 batches are under way, but polls of 0 fail; last error: no answer yet; last successful poll: none since "
        "this wait began"
    )
