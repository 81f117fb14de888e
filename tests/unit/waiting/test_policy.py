"""What an outcome means for the task that waited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.operators import waiting as operators_waiting
from airflow_batches.operators.waiting import WaitsForBatch
from airflow_batches.sensors import MessageBatchSensor
from airflow_batches.waiting.outcome import Counts, Ending, Outcome
from airflow_batches.waiting.policy import MAX_FAILURE_RATE, Action, judge

numbers = st.integers(min_value=0, max_value=100_000)
finished = st.builds(Counts, succeeded=numbers, errored=numbers, canceled=numbers, expired=numbers, other=numbers)


def ended(status: str = "ended", **counts: Any) -> Outcome:
    return Outcome(ending=Ending.ENDED, batch_id="msgbatch_1", status=status, counts=Counts(**counts))


@pytest.mark.parametrize(
    ("outcome", "action", "words"),
    [
        (ended(succeeded=3), Action.SUCCEED, ""),
        (ended(succeeded=19, errored=1), Action.SUCCEED, "1 of 20 requests failed (19 succeeded, 1 errored)"),
        (ended(succeeded=18, errored=1), Action.FAIL, "5.26% of the requests failed, above the 5.00% allowed"),
        (ended(succeeded=1, other=9), Action.FAIL, "90.00% of the requests failed"),
        (ended(errored=100_000), Action.FAIL, "without a single success (100,000 errored)"),
        (ended(expired=2), Action.FAIL, "without a single success"),
        (ended(errored=1, canceled=1), Action.FAIL, "without a single success"),
        (ended(canceled=4), Action.SKIP, "canceled before any of its 4 requests"),
        (ended(status="paused", processing=2), Action.RETRY, "the status 'paused' with 2 processing, which is no end"),
        (ended(), Action.RETRY, "the status 'ended' with no requests, which is no end known here"),
        (Outcome(ending=Ending.TIMED_OUT, batch_id="msgbatch_1", message="too late"), Action.RETRY, "too late"),
        (Outcome(ending=Ending.UNREADABLE, batch_id="", message="not one of ours"), Action.RETRY, "not one of ours"),
        (
            Outcome(ending=Ending.GAVE_UP, batch_id="msgbatch_1", message="401"),
            Action.RETRY,
            "could not be polled: 401. It may still run and be billed",
        ),
        (
            Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=Counts(succeeded=9, known=False)),
            Action.RETRY,
            "with counts that cannot be read: 9 succeeded: how many requests succeeded is not known",
        ),
    ],
)
def test_each_row_of_the_table(outcome: Outcome, action: Action, words: str) -> None:
    verdict = judge(outcome)
    assert verdict.action is action
    assert words in verdict.message


@pytest.mark.parametrize(("rate", "action"), [(None, Action.SUCCEED), (0.5, Action.SUCCEED), (0.49, Action.FAIL)])
def test_a_failure_rate_is_a_share_that_may_be_reached_but_not_passed(rate: float | None, action: Action) -> None:
    assert judge(ended(succeeded=1, errored=1), max_failure_rate=rate).action is action


def test_none_accepts_any_share_of_failures_but_not_that_nothing_succeeded() -> None:
    assert judge(ended(succeeded=1, errored=99_999), max_failure_rate=None).action is Action.SUCCEED
    assert judge(ended(errored=100_000), max_failure_rate=None).action is Action.FAIL


def test_the_default_is_one_in_twenty_for_the_policy_and_for_every_task_that_waits() -> None:
    assert MAX_FAILURE_RATE == operators_waiting.MAX_FAILURE_RATE == WaitsForBatch.max_failure_rate == 0.05
    assert MessageBatchSensor(task_id="t", batch_id="b").max_failure_rate == 0.05


@given(finished)
def test_unknown_counts_are_never_green(counts: Counts) -> None:
    outcome = Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=replace(counts, known=False))
    assert judge(outcome, max_failure_rate=None).action is Action.RETRY


@given(finished)
def test_no_batch_without_a_success_is_ever_green(counts: Counts) -> None:
    outcome = Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=counts)
    if judge(outcome, max_failure_rate=1.0).action is Action.SUCCEED:
        assert counts.succeeded


@given(finished)
def test_with_a_rate_of_zero_only_a_whole_success_is_green(counts: Counts) -> None:
    outcome = Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=counts)
    green = judge(outcome, max_failure_rate=0.0).action is Action.SUCCEED
    assert green == (counts.succeeded == counts.total > 0)
