"""What follows from a poll: every row of the table, and what holds for any order of answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import (
    ApiError,
    BatchesError,
    DecodeError,
    InvalidRequest,
    MessageBatch,
    StreamInterrupted,
    TransportError,
)
from airflow_batches.waiting.decision import LONGEST_HINT, KeepWaiting, Watch, decide, outcome_of, pause
from airflow_batches.waiting.outcome import Counts, Ending, Outcome

SINCE, DEADLINE = 1_000.0, 2_000.0
WATCH = Watch(batch_id="msgbatch_1", since=SINCE, deadline=DEADLINE)
FOREVER = Watch(batch_id="msgbatch_1", since=SINCE)
BEFORE, AT, AFTER = 1_999.9, 2_000.0, 9_999.0


def batch(status: str, **counts: int) -> MessageBatch:
    return MessageBatch.model_validate({"id": "msgbatch_1", "processing_status": status, "request_counts": counts})


def answered(status: int, **more: Any) -> ApiError:
    return ApiError(status, "kind", "what the API said", **more)


PASSING = [
    *[answered(status) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)],
    answered(400, should_retry=True),
    TransportError("reset", maybe_sent=True),
    TransportError("refused", maybe_sent=False),
    DecodeError("a proxy's page"),
]
PERMANENT = [
    *[answered(status) for status in (301, 400, 401, 402, 403, 405, 410, 413)],
    answered(500, should_retry=False),
    answered(429, should_retry=False),
    InvalidRequest("no id"),
    BatchesError("what is this"),
    StreamInterrupted("not even a poll", lines_read=0),
]


@pytest.mark.parametrize("now", [BEFORE, AT, AFTER])
@pytest.mark.parametrize("status", ["ended", "paused", "", "other", "ENDED"])
def test_an_end_or_an_unknown_status_ends_the_wait_whatever_the_time(status: str, now: float) -> None:
    decision = decide(WATCH, batch(status, succeeded=3, expired=1), now=now)
    counts = Counts(succeeded=3, expired=1)
    assert decision == Outcome(ending=Ending.ENDED, batch_id="msgbatch_1", status=status, counts=counts)


@pytest.mark.parametrize("status", ["in_progress", "canceling"])
def test_a_batch_that_goes_on_is_waited_for_until_the_deadline(status: str) -> None:
    answer = batch(status, processing=5)
    assert decide(WATCH, answer, now=BEFORE) == KeepWaiting()
    for now in (AT, AFTER):
        late = decide(WATCH, answer, now=now)
        assert isinstance(late, Outcome)
        assert (late.ending, late.status, late.counts.processing) == (Ending.TIMED_OUT, status, 5)
        assert "has not ended" in late.message
    assert decide(FOREVER, answer, now=1e12) == KeepWaiting()


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_passing_failure_is_waited_out_until_the_deadline(error: BatchesError) -> None:
    assert decide(WATCH, error, now=BEFORE) == KeepWaiting()
    assert decide(FOREVER, error, now=1e12) == KeepWaiting()
    late = decide(WATCH, error, now=AT)
    assert isinstance(late, Outcome)
    assert (late.ending, late.batch_id, late.counts) == (Ending.TIMED_OUT, "msgbatch_1", Counts())
    assert str(error) in late.message


@pytest.mark.parametrize("now", [SINCE, BEFORE, AT, AFTER])
@pytest.mark.parametrize("error", PERMANENT, ids=str)
def test_a_permanent_failure_gives_up_at_once(error: BatchesError, now: float) -> None:
    assert decide(WATCH, error, now=now) == Outcome(ending=Ending.GAVE_UP, batch_id="msgbatch_1", message=str(error))


@pytest.mark.parametrize("should_retry", [None, False])
def test_a_batch_not_found_is_given_a_minute_to_appear(should_retry: bool | None) -> None:
    missing = answered(404, should_retry=should_retry)
    assert decide(WATCH, missing, now=SINCE) == KeepWaiting()
    assert decide(WATCH, missing, now=SINCE + 59.9) == KeepWaiting()
    given_up = decide(WATCH, missing, now=SINCE + 60)
    assert isinstance(given_up, Outcome)
    assert (given_up.ending, given_up.message) == (Ending.GAVE_UP, str(missing))


def test_a_batch_not_found_while_it_may_be_fresh_still_times_out() -> None:
    hurried = Watch(batch_id="msgbatch_1", since=SINCE, deadline=SINCE + 5)
    late = decide(hurried, answered(404), now=SINCE + 5)
    assert isinstance(late, Outcome)
    assert late.ending is Ending.TIMED_OUT


@pytest.mark.parametrize(
    ("asked", "heeded"), [(None, None), (0.0, 0.0), (10.0, 10.0), (LONGEST_HINT, LONGEST_HINT), (1e300, LONGEST_HINT)]
)
def test_the_servers_hint_is_passed_on_within_reason(asked: float | None, heeded: float | None) -> None:
    assert decide(WATCH, answered(429, retry_after=asked), now=BEFORE) == KeepWaiting(heeded)
    assert decide(WATCH, batch("in_progress"), now=BEFORE, hint=asked) == KeepWaiting(heeded)


ANSWERS = st.sampled_from(
    [batch(status, processing=1) for status in ("in_progress", "canceling", "ended", "paused")]
    + PASSING
    + PERMANENT
    + [answered(404)]
)
TIMES = st.floats(SINCE, 3_000.0)


def run(watch: Watch, polls: list[tuple[MessageBatch | BatchesError, float]]) -> tuple[int, Outcome] | None:
    """A wait: at which poll it ended, and how; None when it goes on."""
    for number, (answer, now) in enumerate(polls):
        decision = decide(watch, answer, now=now)
        if isinstance(decision, Outcome):
            return number, decision
    return None


POLLS = st.lists(st.tuples(ANSWERS, TIMES), max_size=8).map(lambda polls: sorted(polls, key=lambda poll: poll[1]))


@given(POLLS)
def test_a_deadline_only_ever_ends_a_wait_that_would_have_gone_on(
    polls: list[tuple[MessageBatch | BatchesError, float]],
) -> None:
    endless, timed = run(FOREVER, polls), run(WATCH, polls)
    if timed is None or timed[1].ending is not Ending.TIMED_OUT:
        assert timed == endless
    else:
        number = timed[0]
        assert polls[number][1] >= DEADLINE
        assert endless is None or endless[0] > number
    if endless is not None:
        assert timed is not None
        assert timed[0] <= endless[0]


@given(POLLS)
def test_no_wait_goes_on_after_the_deadline(polls: list[tuple[MessageBatch | BatchesError, float]]) -> None:
    if polls and polls[-1][1] >= DEADLINE:
        assert run(WATCH, polls) is not None


@given(ANSWERS, TIMES, TIMES)
def test_a_terminal_answer_means_the_same_at_any_time(
    answer: MessageBatch | BatchesError, one: float, other: float
) -> None:
    first, second = decide(WATCH, answer, now=min(one, other)), decide(WATCH, answer, now=max(one, other))
    if isinstance(first, Outcome) and first.ending is not Ending.TIMED_OUT:
        assert second == first


@given(ANSWERS, TIMES)
def test_every_outcome_names_the_batch_and_gives_a_reason_unless_it_ended(
    answer: MessageBatch | BatchesError, now: float
) -> None:
    decision = decide(WATCH, answer, now=now)
    if isinstance(decision, Outcome):
        assert decision.batch_id == "msgbatch_1"
        assert bool(decision.message) is (decision.ending is not Ending.ENDED)


def test_an_outcome_keeps_the_five_counts_and_no_other() -> None:
    seen = batch("ended", processing=1, succeeded=2, errored=3, canceled=4, expired=5, deferred=6)
    outcome = outcome_of(seen, Ending.ENDED, "why")
    assert outcome.counts == Counts(processing=1, succeeded=2, errored=3, canceled=4, expired=5)
    assert (outcome.status, outcome.message) == ("ended", "why")


@pytest.mark.parametrize(
    ("hint", "now", "seconds"),
    [
        (None, SINCE, 30.0),
        (0.0, SINCE, 30.0),
        (45.0, SINCE, 45.0),
        (None, DEADLINE - 10, 10.0),
        (45.0, DEADLINE - 10, 10.0),
        (None, DEADLINE, 0.0),
        (None, DEADLINE + 5, 0.0),
    ],
)
def test_a_pause_heeds_the_hint_and_never_passes_the_deadline(hint: float | None, now: float, seconds: float) -> None:
    assert pause(WATCH, KeepWaiting(hint), poll_interval=30.0, now=now) == seconds


def test_without_a_deadline_a_pause_is_the_interval_or_the_hint() -> None:
    assert pause(FOREVER, KeepWaiting(), poll_interval=30.0, now=1e12) == 30.0
    assert pause(FOREVER, KeepWaiting(90.0), poll_interval=30.0, now=1e12) == 90.0
