"""Which batches are polled when: intervals, deadlines, and polls that are shared."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api.errors import ApiError, TransportError
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.polling import Answer, Watch
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.paging import FEW
from airflow_batches.waiting.settings import DEFAULTS
from airflow_batches.waiting.waiters import Now, Waiter, Waiters

START = Now(wall=1_700_000_000.0, steady=50.0)
FIRST_POLL_S = DEFAULTS.first_poll_s


def later(seconds: float) -> Now:
    return Now(START.wall + seconds, START.steady + seconds)


class Wait:
    """A waiter and the answers that it got."""

    def __init__(self, batch_id: str = "b", *, poll_interval: float = 60.0, deadline: float | None = None) -> None:
        self.answers: list[Answer] = []
        self.future: Future[Outcome] = Future()
        until = None if deadline is None else START.wall + deadline
        self.waiter = Waiter(
            watch=Watch(batch_id=batch_id, since=START.wall, deadline=until),
            poll_interval=poll_interval,
            future=cast("Any", self.future),  # the same methods as asyncio's, without a loop
            on_answer=self.answers.append,
        )

    @property
    def ending(self) -> Ending | None:
        return self.future.result().ending if self.future.done() else None


def running(batch_id: str = "b", status: str = "in_progress") -> MessageBatch:
    return MessageBatch(id=batch_id, processing_status=status, created_at=datetime.fromtimestamp(START.wall, UTC))


def waiters_of(*waits: Wait) -> Waiters:
    waiters = Waiters()
    for wait in waits:
        waiters.add(wait.waiter, START, first_poll_s=FIRST_POLL_S)
    return waiters


def ids(waiters: Waiters, now: Now) -> list[str]:
    return [wanted.batch_id for wanted in waiters.wanted(now)]


def test_the_first_poll_comes_within_the_interval_and_soon() -> None:
    assert waiters_of(Wait(poll_interval=5.0)).next_due() == later(5).steady
    assert waiters_of(Wait(poll_interval=3600.0)).next_due() == later(FIRST_POLL_S).steady
    assert waiters_of(Wait(deadline=-100.0)).next_due() == START.steady


def test_no_batch_is_polled_before_one_is_due() -> None:
    waiters = waiters_of(Wait("b", poll_interval=5.0))

    assert ids(waiters, later(4.9)) == []
    assert ids(waiters, later(5)) == ["b"]


def test_batches_that_are_due_soon_are_polled_with_one_that_is_due() -> None:
    waits = [Wait("first"), Wait("second"), Wait("third")]
    waiters = waiters_of(*waits)
    for seconds, wait in zip((0, 10, 30), waits, strict=True):
        waiters.deliver(wait.waiter.watch.batch_id, running(), later(seconds))

    assert ids(waiters, later(60)) == ["first", "second"]


@pytest.mark.parametrize(("hint", "quick_due"), [(None, 5), (10.0, 10)])
def test_each_wait_keeps_its_own_interval_and_a_hint_only_lengthens_it(hint: float | None, quick_due: float) -> None:
    quick, slow = Wait("b", poll_interval=5.0), Wait("b", poll_interval=60.0)
    waiters_of(quick, slow).deliver("b", running(), later(0), hint=hint)

    assert (quick.waiter.due, slow.waiter.due) == (later(quick_due).steady, later(60).steady)


def test_the_last_poll_is_at_the_deadline() -> None:
    wait = Wait(poll_interval=60.0, deadline=70.0)
    waiters = waiters_of(wait)
    waiters.deliver("b", running(), later(60))
    assert wait.waiter.due == later(70).steady

    waiters.deliver("b", running(), later(70))
    assert wait.ending is Ending.TIMED_OUT
    assert len(waiters) == 0


def test_an_answer_reaches_every_wait_for_its_batch_and_no_other() -> None:
    one, two, other = Wait("b"), Wait("b"), Wait("other")
    waiters = waiters_of(one, two, other)
    waiters.deliver("b", running(status="ended"), later(1))

    assert [wait.ending for wait in (one, two, other)] == [Ending.ENDED, Ending.ENDED, None]
    assert [waiter.watch.batch_id for waiter in waiters] == ["other"]


def test_answers_are_passed_on_and_the_last_error_is_remembered() -> None:
    wait = Wait()
    waiters = waiters_of(wait)
    error = TransportError("reset", maybe_sent=True)
    waiters.deliver("b", error, later(1))
    assert wait.waiter.last_error is error

    waiters.deliver("b", running(), later(2))
    assert wait.waiter.last_error is None
    assert wait.answers == [error, running()]


def test_an_unknown_batch_ends_its_own_wait_after_a_minute() -> None:
    wait = Wait()
    waiters = waiters_of(wait)
    missing = ApiError(404, "not_found_error", "no such batch")
    waiters.deliver("b", missing, later(3600))
    waiters.deliver("b", missing, later(3659))
    assert wait.ending is None

    waiters.deliver("b", missing, later(3660))
    assert wait.ending is Ending.GAVE_UP


def test_removing_a_wait_twice_does_nothing() -> None:
    wait = Wait()
    waiters = waiters_of(wait)
    waiters.remove(wait.waiter)
    waiters.remove(wait.waiter)

    assert len(waiters) == 0
    assert waiters.next_due() == float("inf")


def test_a_wait_that_has_ended_stays_ended() -> None:
    wait = Wait()
    wait.waiter.end(Outcome(ending=Ending.ENDED, batch_id="b"))
    wait.waiter.end(RuntimeError("late"))
    assert wait.ending is Ending.ENDED


def test_no_pages_are_read_for_a_while_for_a_batch_that_they_do_not_show() -> None:
    waiters = waiters_of(Wait(poll_interval=1.0))
    waiters.set_unlisted("b", later(60).steady)

    assert [wanted.listed for wanted in waiters.wanted(later(59))] == [False]
    assert [wanted.listed for wanted in waiters.wanted(later(60))] == [True]
    assert [wanted.listed for wanted in waiters.wanted(later(60), use_list=False)] == [False]


def test_a_wall_clock_that_is_set_back_stops_no_poll() -> None:
    waiters = waiters_of(Wait(poll_interval=5.0, deadline=3600.0))
    waiters.deliver("b", running(), Now(START.wall - 7200, START.steady))

    assert ids(waiters, Now(START.wall - 7195, START.steady + 5)) == ["b"]


@given(
    intervals=st.lists(st.floats(1, 600), min_size=1, max_size=8),
    steps=st.lists(st.floats(0.1, 50), max_size=30),
)
def test_no_wait_is_due_later_than_its_interval(intervals: list[float], steps: list[float]) -> None:
    waits = [Wait(f"b{number}", poll_interval=interval) for number, interval in enumerate(intervals)]
    waiters = waiters_of(*waits)
    for seconds in running_total(steps):
        for batch_id in ids(waiters, later(seconds)):
            waiters.deliver(batch_id, running(batch_id), later(seconds))
        for wait in waits:
            assert later(seconds).steady < wait.waiter.due <= later(seconds).steady + wait.waiter.poll_interval


def running_total(steps: list[float]) -> Iterator[float]:
    seconds = 0.0
    for step in steps:
        seconds += step
        yield seconds


@pytest.mark.parametrize("count", [20, 100])
def test_waits_that_begin_at_different_times_come_to_share_their_polls(count: int) -> None:
    """Counts the calls of a minute, half an hour after `count` waits began evenly over a minute."""
    waiters, calls = Waiters(), 0
    batches = [f"b{number}" for number in range(count)]
    for second in range(1800):
        for batch_id in batches[second * count // 60 : (second + 1) * count // 60]:
            waiters.add(Wait(batch_id).waiter, later(second), first_poll_s=FIRST_POLL_S)
        due = ids(waiters, later(second))
        shown = batches if len(due) > FEW else due
        calls += (1 if len(due) > FEW else len(due)) * (second >= 1740)
        for batch_id in shown:
            waiters.deliver(batch_id, running(batch_id), later(second))
    assert calls <= 2


def test_an_error_of_the_connection_leaves_the_poll_due() -> None:
    wait = Wait(poll_interval=60.0)
    waiters = waiters_of(wait)
    due = waiters.next_due()
    waiters.deliver("b", TransportError("reset", maybe_sent=True), later(FIRST_POLL_S), reschedule=False)
    assert waiters.next_due() == due
    assert str(wait.waiter.last_error) == "reset"


def test_a_refusal_ends_a_wait_only_after_minutes_and_is_passed_on_meanwhile() -> None:
    wait = Wait(poll_interval=60.0)
    waiters = waiters_of(wait)
    refusal = ApiError(403, "permission_error", "no")
    for seconds in (0, 1, 299):
        waiters.deliver("b", refusal, later(seconds), reschedule=False)
    assert wait.ending is None
    assert wait.answers == [refusal] * 3

    waiters.deliver("b", running(), later(299))
    waiters.deliver("b", refusal, later(300), reschedule=False)
    assert wait.ending is None

    waiters.deliver("b", refusal, later(600), reschedule=False)
    assert wait.ending is Ending.GAVE_UP


def test_the_graces_of_a_wait_are_its_own() -> None:
    wait = Wait()
    wait.waiter.watch = Watch(batch_id="b", since=START.wall, refusal_grace=timedelta(seconds=1))
    waiters = waiters_of(wait)
    for seconds in (0, 1):
        waiters.deliver("b", ApiError(403, "permission_error", "no"), later(seconds))
    assert wait.ending is Ending.GAVE_UP
