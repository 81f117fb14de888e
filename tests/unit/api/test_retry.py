"""Which failure is tried again, and after how long: every row of the table, in both columns."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import (
    ApiError,
    BatchesError,
    DecodeError,
    InvalidRequest,
    RetryPolicy,
    StreamInterrupted,
    TransportError,
    WaitTimeout,
)
from airflow_batches.api.retry import ONCE, RETRY_404

POLICY = RetryPolicy()


def answered(status: int, *, should_retry: bool | None = None, retry_after: float | None = None) -> ApiError:
    return ApiError(status, "kind", "message", should_retry=should_retry, retry_after=retry_after)


PERMANENT = [301, 400, 401, 402, 403, 404, 405, 410, 413, 422]
UNCERTAIN = [408, 409, 425, 500, 501, 502, 503, 504, 520, 524, 599]
NOTHING_ACCEPTED = [429, 529]


@pytest.mark.parametrize(
    ("error", "read", "create"),
    [
        *[(answered(status, should_retry=False), False, False) for status in PERMANENT + UNCERTAIN + NOTHING_ACCEPTED],
        *[(answered(status, should_retry=True), True, False) for status in PERMANENT + UNCERTAIN],
        *[(answered(status, should_retry=True), True, True) for status in NOTHING_ACCEPTED],
        *[(answered(status), True, False) for status in UNCERTAIN],
        *[(answered(status), True, True) for status in NOTHING_ACCEPTED],
        *[(answered(status), False, False) for status in PERMANENT],
        (TransportError("refused", maybe_sent=False), True, True),
        (TransportError("reset", maybe_sent=True), True, False),
        (DecodeError("x"), False, False),
        (InvalidRequest("x"), False, False),
        (StreamInterrupted("x", lines_read=0), False, False),
        (WaitTimeout("x"), False, False),
        (OSError("not ours"), False, False),
        (KeyboardInterrupt(), False, False),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}" if isinstance(value, BaseException) else None,
)
def test_the_table(error: BaseException, read: bool, create: bool) -> None:
    assert POLICY.retries(error, creates=False) is read
    assert POLICY.retries(error, creates=True) is create


@given(st.integers(100, 999), st.none() | st.booleans())
def test_a_create_is_never_sent_again_where_a_read_would_not_be(status: int, should_retry: bool | None) -> None:
    error = answered(status, should_retry=should_retry)
    assert POLICY.retries(error, creates=False) or not POLICY.retries(error, creates=True)


@pytest.mark.parametrize(("hint", "worth_it"), [(300.0, True), (300.1, False), (1e300, False)])
def test_a_retry_after_above_the_maximum_is_raised_instead(hint: float, worth_it: bool) -> None:
    assert POLICY.retries(answered(429, retry_after=hint), creates=False) is worth_it
    assert POLICY.retries(answered(429, retry_after=hint), creates=True) is worth_it


@given(
    attempt=st.integers(1, 10_000),
    rand=st.floats(0, 1, exclude_max=True),
    base=st.floats(0, 10),
    cap=st.floats(0, 100),
)
def test_delays_double_up_to_the_cap_with_full_jitter(attempt: int, rand: float, base: float, cap: float) -> None:
    policy = RetryPolicy(base=base, cap=cap)
    delay = policy.delay(TransportError("x", maybe_sent=False), attempt, rand=lambda: rand)
    full = min(cap, base * 2 ** min(attempt - 1, 64))
    assert delay == rand * full
    assert 0 <= delay <= cap


def test_the_first_delays_are_what_they_are_said_to_be() -> None:
    delays = [POLICY.delay(answered(500), attempt, rand=lambda: 1.0) for attempt in range(1, 9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(hint=st.floats(0, 300), attempt=st.integers(1, 8), rand=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_less_than_the_servers_hint(hint: float, attempt: int, rand: float) -> None:
    delay = POLICY.delay(answered(429, retry_after=hint), attempt, rand=lambda: rand)
    unhinted = POLICY.delay(answered(429), attempt, rand=lambda: rand)
    assert delay == max(hint, unhinted)


def test_randomness_is_real_when_none_is_given() -> None:
    delays = {POLICY.delay(answered(500), 5) for _ in range(20)}
    assert len(delays) > 1
    assert all(0 <= delay <= 8 for delay in delays)


def test_once_is_one_attempt() -> None:
    assert RetryPolicy(attempts=1) == ONCE


@pytest.mark.parametrize("error", [BatchesError("x"), answered(404)])
def test_the_worth_of_a_retry_does_not_depend_on_the_number_of_attempts(error: BatchesError) -> None:
    assert ONCE.retries(error, creates=False) is POLICY.retries(error, creates=False)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (answered(404), True),
        (answered(404, should_retry=False), True),
        (answered(404, retry_after=301), False),
        (answered(403), False),
        (answered(410), False),
        (answered(500, should_retry=False), False),
        (answered(500), True),
        (TransportError("reset", maybe_sent=True), True),
        (DecodeError("x"), False),
    ],
    ids=str,
)
def test_a_batch_that_is_known_to_exist_makes_a_404_worth_another_attempt(error: BatchesError, again: bool) -> None:
    assert RetryPolicy(exists=True).retries(error, creates=False) is again


def test_what_is_known_to_exist_changes_nothing_for_a_create() -> None:
    assert RetryPolicy(exists=True).retries(answered(404), creates=True) is False


def test_known_waits_some_twenty_seconds_for_what_is_not_there_yet() -> None:
    delays = [RETRY_404.delay(answered(404), attempt, rand=lambda: 0.5) for attempt in range(1, RETRY_404.attempts)]
    assert RETRY_404.exists
    assert 20 <= sum(delays) <= 40


def test_times_may_be_timedeltas() -> None:
    policy = RetryPolicy(base=timedelta(seconds=2), cap=timedelta(seconds=3), max_retry_after=timedelta(seconds=10))
    refused = TransportError("no answer", maybe_sent=False)
    assert [policy.delay(refused, attempt, rand=lambda: 1.0) for attempt in (1, 2)] == [2.0, 3.0]
    assert not policy.retries(ApiError(429, "rate_limit_error", "later", retry_after=11.0), creates=False)
