"""The decision after a poll: every row of the table, and what holds for any order of answers."""

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
from airflow_batches.api.polling import (
    MAX_HINT_S,
    KeepWaiting,
    Standing,
    StopReason,
    StopWaiting,
    Watch,
    decide,
    is_foreign,
    is_unreached,
    next_pause,
)

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
    *[answered(status, from_api=False) for status in (301, 400, 401, 403, 404, 413)],
]
REFUSALS = [
    *[answered(status) for status in (301, 400, 401, 402, 403, 405, 410, 413)],
    answered(500, should_retry=False),
    answered(429, should_retry=False),
]
MISSING = [answered(404), answered(404, should_retry=False), answered(404, should_retry=True)]
PERMANENT = [
    InvalidRequest("no id"),
    BatchesError("what is this"),
    StreamInterrupted("not even a poll", lines_read=0),
]


@pytest.mark.parametrize("now", [BEFORE, AT, AFTER])
@pytest.mark.parametrize("status", ["ended", "paused", "", "other", "ENDED"])
def test_an_end_or_an_unknown_status_ends_the_wait_whatever_the_time(status: str, now: float) -> None:
    decision = decide(WATCH, batch(status, succeeded=3, expired=1), now=now)
    assert decision == StopWaiting(StopReason.ENDED)


@pytest.mark.parametrize("status", ["in_progress", "canceling"])
def test_a_batch_that_goes_on_is_waited_for_until_the_deadline(status: str) -> None:
    answer = batch(status, processing=5)
    assert decide(WATCH, answer, now=BEFORE) == KeepWaiting()
    for now in (AT, AFTER):
        message = f"the timeout has passed and the batch is still {status}"
        assert decide(WATCH, answer, now=now) == StopWaiting(StopReason.TIMED_OUT, message)
    assert decide(FOREVER, answer, now=1e12) == KeepWaiting()


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_passing_failure_is_waited_out_until_the_deadline(error: BatchesError) -> None:
    assert decide(WATCH, error, now=BEFORE) == KeepWaiting()
    assert decide(FOREVER, error, now=1e12) == KeepWaiting()
    late = decide(WATCH, error, now=AT)
    assert isinstance(late, StopWaiting)
    assert late.reason is StopReason.TIMED_OUT
    assert str(error) in late.message


@pytest.mark.parametrize("now", [SINCE, BEFORE, AT, AFTER])
@pytest.mark.parametrize("error", PERMANENT, ids=str)
def test_a_permanent_failure_gives_up_at_once(error: BatchesError, now: float) -> None:
    assert decide(WATCH, error, now=now) == StopWaiting(StopReason.GAVE_UP, str(error))


STOOD = [*[(error, 300.0) for error in REFUSALS], *[(error, 60.0) for error in MISSING]]


@pytest.mark.parametrize(("error", "needed"), STOOD, ids=str)
def test_a_refusal_or_an_absence_is_believed_when_it_has_stood_and_no_sooner(error: ApiError, needed: float) -> None:
    watch, began = FOREVER, SINCE + 100
    for now in (began, began + 0.5, began + needed - 0.1):
        decision = decide(watch, error, now=now)
        assert decision == KeepWaiting(standing=Standing(missing=error.status == 404, since=began))
        watch = watch.after(decision)
    given_up = decide(watch, error, now=began + needed)
    assert isinstance(given_up, StopWaiting)
    assert given_up == StopWaiting(StopReason.GAVE_UP, f"{error} (the same answer for {needed:.0f} s)")


@pytest.mark.parametrize(("error", "needed"), STOOD, ids=str)
@pytest.mark.parametrize("between", [batch("in_progress"), answered(503), DecodeError("a page")], ids=str)
def test_any_other_answer_ends_what_stood(between: MessageBatch | BatchesError, error: ApiError, needed: float) -> None:
    watch = FOREVER
    for answer, now in ((error, SINCE), (between, SINCE + needed - 1), (error, SINCE + needed)):
        decision = decide(watch, answer, now=now)
        assert isinstance(decision, KeepWaiting)
        watch = watch.after(decision)
    assert watch.standing == Standing(missing=error.status == 404, since=SINCE + needed)


def test_a_401_and_a_403_stand_together_and_a_404_is_another_matter() -> None:
    watch = FOREVER
    for error, now in ((answered(401), SINCE), (answered(403), SINCE + 299)):
        decision = decide(watch, error, now=now)
        assert isinstance(decision, KeepWaiting)
        watch = watch.after(decision)
    assert isinstance(decide(watch, answered(401), now=SINCE + 300), StopWaiting)
    assert isinstance(decide(watch, answered(404), now=SINCE + 300), KeepWaiting)


def test_a_single_404_after_a_day_of_polls_ends_nothing() -> None:
    assert isinstance(decide(FOREVER, answered(404), now=SINCE + 86_400), KeepWaiting)


@pytest.mark.parametrize("error", [*REFUSALS, *MISSING], ids=str)
def test_what_has_not_stood_yet_still_times_out(error: ApiError) -> None:
    late = decide(WATCH, error, now=DEADLINE)
    assert isinstance(late, StopWaiting)
    assert late.reason is StopReason.TIMED_OUT
    assert str(error) in late.message


@pytest.mark.parametrize(
    ("answer", "foreign", "wrong_address"),
    [
        (TransportError("reset", maybe_sent=True), True, True),
        (DecodeError("a login page"), True, True),
        (answered(403, from_api=False), True, True),
        (answered(503, from_api=False), True, False),
        (answered(403), False, False),
        (answered(503), False, False),
        (batch("in_progress"), False, False),
        (InvalidRequest("no id"), False, False),
    ],
    ids=str,
)
def test_what_is_not_an_answer_of_the_api_is_known(
    answer: MessageBatch | BatchesError, foreign: bool, wrong_address: bool
) -> None:
    assert (is_foreign(answer), is_unreached(answer)) == (foreign, wrong_address)


@pytest.mark.parametrize(
    ("asked", "heeded"), [(None, None), (0.0, 0.0), (10.0, 10.0), (MAX_HINT_S, MAX_HINT_S), (1e300, MAX_HINT_S)]
)
def test_the_servers_hint_is_passed_on_within_reason(asked: float | None, heeded: float | None) -> None:
    assert decide(WATCH, answered(429, retry_after=asked), now=BEFORE) == KeepWaiting(heeded)
    assert decide(WATCH, batch("in_progress"), now=BEFORE, hint=asked) == KeepWaiting(heeded)


ANSWERS = st.sampled_from(
    [batch(status, processing=1) for status in ("in_progress", "canceling", "ended", "paused")]
    + PASSING
    + PERMANENT
    + REFUSALS
    + MISSING
)
TIMES = st.floats(SINCE, 3_000.0)


def run(watch: Watch, polls: list[tuple[MessageBatch | BatchesError, float]]) -> tuple[int, StopWaiting] | None:
    """A wait: at which poll it ended, and how; None when it goes on."""
    for number, (answer, now) in enumerate(polls):
        decision = decide(watch, answer, now=now)
        if isinstance(decision, StopWaiting):
            return number, decision
        watch = watch.after(decision)
    return None


POLLS = st.lists(st.tuples(ANSWERS, TIMES), max_size=8).map(lambda polls: sorted(polls, key=lambda poll: poll[1]))


@given(POLLS)
def test_a_deadline_only_ever_ends_a_wait_that_would_have_gone_on(
    polls: list[tuple[MessageBatch | BatchesError, float]],
) -> None:
    endless, timed = run(FOREVER, polls), run(WATCH, polls)
    if timed is None or timed[1].reason is not StopReason.TIMED_OUT:
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
    if isinstance(first, StopWaiting) and first.reason is not StopReason.TIMED_OUT:
        assert second == first


@given(ANSWERS, TIMES)
def test_every_stop_says_why_unless_the_batch_ended(answer: MessageBatch | BatchesError, now: float) -> None:
    decision = decide(WATCH, answer, now=now)
    if isinstance(decision, StopWaiting):
        assert bool(decision.message) is (decision.reason is not StopReason.ENDED)


@given(st.lists(st.tuples(st.sampled_from(REFUSALS + MISSING), st.floats(SINCE, SINCE + 59.9)), max_size=30))
def test_no_number_of_refusals_within_a_minute_ends_a_wait(polls: list[tuple[ApiError, float]]) -> None:
    assert run(FOREVER, sorted(polls, key=lambda poll: poll[1])) is None


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
    assert next_pause(WATCH, KeepWaiting(hint), poll_interval=30.0, now=now) == seconds


def test_without_a_deadline_a_pause_is_the_interval_or_the_hint() -> None:
    assert next_pause(FOREVER, KeepWaiting(), poll_interval=30.0, now=1e12) == 30.0
    assert next_pause(FOREVER, KeepWaiting(90.0), poll_interval=30.0, now=1e12) == 90.0
