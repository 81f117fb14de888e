"""Failures that pass: how long the server is left alone, and what is said."""

from __future__ import annotations

import logging

import pytest

from airflow_batches.api.errors import ApiError, TransportError
from airflow_batches.waiting.decision import LONGEST_HINT
from airflow_batches.waiting.outage import LONGEST_PAUSE, Outage

RESET = TransportError("reset", maybe_sent=True)


def test_the_pause_doubles_up_to_a_minute() -> None:
    outage = Outage("conn", rand=lambda: 1.0)
    assert [outage.account(RESET, 0.0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert LONGEST_PAUSE == 60
    assert outage.account(None, 0.0) == 0
    assert outage.account(RESET, 0.0) == 1


def test_half_of_the_pause_is_jitter() -> None:
    assert Outage("conn", rand=lambda: 0.0).account(RESET, 0.0) == 0.5


@pytest.mark.parametrize(("asked", "given"), [(30.0, 30.0), (0.1, 1.0), (86_400.0, LONGEST_HINT)])
def test_the_server_may_ask_for_more_within_reason(asked: float, given: float) -> None:
    error = ApiError(429, "rate_limit_error", "slowly", retry_after=asked)
    assert Outage("conn", rand=lambda: 1.0).account(error, 0.0) == given


def test_an_outage_is_said_once_and_once_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("conn")
    for second in range(5):
        outage.account(RESET, float(second))
    outage.account(None, 9.0)
    outage.account(None, 10.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "works again after 9 s (5 cycles failed)" in caplog.text
