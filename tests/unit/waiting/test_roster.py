"""Who is asked for when: intervals, deadlines and company."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api.errors import ApiError, BatchesError, TransportError
from airflow_batches.api.models import MessageBatch
from airflow_batches.waiting.decision import Watch
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.roster import FIRST_POLL, RELIST, RELIST_FRESH, Now, Roster, Seat

START = Now(wall=1_700_000_000.0, steady=50.0)


def later(seconds: float) -> Now:
    return Now(START.wall + seconds, START.steady + seconds)


class Waiter:
    """Sits in a roster and keeps what it hears."""

    def __init__(self, batch_id: str = "b", *, poll_interval: float = 60.0, deadline: float | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.answers: list[MessageBatch | BatchesError] = []
        until = None if deadline is None else START.wall + deadline
        self.seat = Seat(
            watch=Watch(batch_id=batch_id, since=START.wall, deadline=until),
            poll_interval=poll_interval,
            on_end=self.outcomes.append,
            on_crash=_not_expected,
            on_answer=self.answers.append,
        )


def _not_expected(error: BaseException) -> None:
    raise error


def running(batch_id: str = "b", status: str = "in_progress") -> MessageBatch:
    return MessageBatch(id=batch_id, processing_status=status, created_at=datetime.fromtimestamp(START.wall, UTC))


def seated(*waiters: Waiter) -> Roster:
    roster = Roster()
    for waiter in waiters:
        roster.join(waiter.seat, START)
    return roster


def ids(roster: Roster, now: Now) -> list[str]:
    return [wanted.batch_id for wanted in roster.wanted(now)]


def test_the_first_poll_comes_within_the_interval_and_soon() -> None:
    assert seated(Waiter(poll_interval=5.0)).next_due() == later(5).steady
    assert seated(Waiter(poll_interval=3600.0)).next_due() == later(FIRST_POLL).steady
    assert seated(Waiter(deadline=-100.0)).next_due() == START.steady


def test_nobody_is_wanted_before_somebody_is_due() -> None:
    roster = seated(Waiter("b", poll_interval=5.0))

    assert ids(roster, later(4.9)) == []
    assert ids(roster, later(5)) == ["b"]


def test_whoever_is_due_brings_along_those_who_are_due_soon() -> None:
    first, second, third = Waiter("first"), Waiter("second"), Waiter("third")
    roster = seated(first, second, third)
    for seconds, waiter in ((0, first), (10, second), (30, third)):
        roster.tell(waiter.seat.watch.batch_id, running(), later(seconds))

    assert ids(roster, later(60)) == ["first", "second"]


def test_each_keeps_its_own_interval() -> None:
    quick, slow = Waiter("b", poll_interval=5.0), Waiter("b", poll_interval=60.0)
    roster = seated(quick, slow)
    roster.tell("b", running(), later(0))

    assert (quick.seat.due, slow.seat.due) == (later(5).steady, later(60).steady)


def test_a_hint_of_the_server_lengthens_an_interval_and_never_shortens_one() -> None:
    quick, slow = Waiter("b", poll_interval=5.0), Waiter("b", poll_interval=60.0)
    roster = seated(quick, slow)
    roster.tell("b", running(), later(0), hint=10.0)

    assert (quick.seat.due, slow.seat.due) == (later(10).steady, later(60).steady)


def test_the_last_poll_is_at_the_deadline() -> None:
    waiter = Waiter(poll_interval=60.0, deadline=70.0)
    roster = seated(waiter)
    roster.tell("b", running(), later(60))
    assert waiter.seat.due == later(70).steady

    roster.tell("b", running(), later(70))
    assert [outcome.ending for outcome in waiter.outcomes] == [Ending.TIMED_OUT]
    assert roster.empty


def test_everybody_who_waits_for_a_batch_is_told_and_nobody_else() -> None:
    one, two, other = Waiter("b"), Waiter("b"), Waiter("other")
    roster = seated(one, two, other)
    roster.tell("b", running(status="ended"), later(1))

    assert [len(each.outcomes) for each in (one, two, other)] == [1, 1, 0]
    assert roster.batch_ids() == ("other",)


def test_what_goes_on_is_seen_and_what_fails_is_remembered() -> None:
    waiter = Waiter()
    roster = seated(waiter)
    error = TransportError("reset", maybe_sent=True)
    roster.tell("b", error, later(1))
    assert waiter.seat.last_error is error

    roster.tell("b", running(), later(2))
    assert waiter.seat.last_error is None
    assert waiter.answers == [error, running()]


def test_an_unknown_batch_ends_its_own_wait_after_a_grace() -> None:
    waiter = Waiter()
    roster = seated(waiter)
    missing = ApiError(404, "not_found_error", "no such batch")
    roster.tell("b", missing, later(3600))
    roster.tell("b", missing, later(3659))
    assert not waiter.outcomes

    roster.tell("b", missing, later(3660))
    assert [outcome.ending for outcome in waiter.outcomes] == [Ending.GAVE_UP]


def test_leaving_twice_is_no_mistake() -> None:
    waiter = Waiter()
    roster = seated(waiter)
    roster.leave(waiter.seat)
    roster.leave(waiter.seat)

    assert roster.empty
    assert len(roster) == 0


def test_pages_are_not_read_for_a_while_for_what_they_do_not_show() -> None:
    waiter = Waiter(poll_interval=1.0)
    roster = seated(waiter)
    roster.unlist("b", START)

    assert [wanted.listed for wanted in roster.wanted(later(10))] == [False]
    assert [wanted.listed for wanted in roster.wanted(later(RELIST))] == [True]


def test_a_wall_clock_that_is_set_back_stops_no_poll() -> None:
    waiter = Waiter(poll_interval=5.0, deadline=3600.0)
    roster = seated(waiter)
    roster.tell("b", running(), Now(START.wall - 7200, START.steady))

    assert ids(roster, Now(START.wall - 7195, START.steady + 5)) == ["b"]


@given(
    intervals=st.lists(st.floats(1, 600), min_size=1, max_size=8),
    haste=st.floats(0.9, 1.0),
    steps=st.lists(st.floats(0.1, 50), max_size=30),
)
def test_nobody_is_ever_due_later_than_his_interval(intervals: list[float], haste: float, steps: list[float]) -> None:
    waiters = [Waiter(f"b{number}", poll_interval=interval) for number, interval in enumerate(intervals)]
    roster = seated(*waiters)
    seconds = 0.0
    for step in steps:
        seconds += step
        for batch_id in ids(roster, later(seconds)):
            roster.tell(batch_id, running(batch_id), later(seconds), haste=haste)
        for waiter in waiters:
            assert later(seconds).steady < waiter.seat.due <= later(seconds).steady + waiter.seat.poll_interval


def test_a_failure_of_the_connection_leaves_everybody_as_due_as_before() -> None:
    waiter = Waiter(poll_interval=60.0)
    roster = seated(waiter)
    due = roster.next_due()
    roster.fail("b", TransportError("reset", maybe_sent=True), later(FIRST_POLL))
    assert roster.next_due() == due
    assert str(waiter.seat.last_error) == "reset"


def test_a_refusal_ends_a_wait_when_it_has_stood_for_minutes_and_is_told_meanwhile() -> None:
    waiter = Waiter(poll_interval=60.0)
    roster = seated(waiter)
    refusal = ApiError(403, "permission_error", "no")
    for seconds in (0, 1, 299):
        roster.fail("b", refusal, later(seconds))
    assert not waiter.outcomes
    assert waiter.answers == [refusal] * 3

    roster.tell("b", running(), later(299))
    roster.fail("b", refusal, later(300))
    assert not waiter.outcomes

    roster.fail("b", refusal, later(600))
    assert [outcome.ending for outcome in waiter.outcomes] == [Ending.GAVE_UP]


def test_a_failed_cycle_is_told_to_a_wait_that_was_not_asked_for_and_changes_nothing_else() -> None:
    waiter = Waiter(poll_interval=60.0)
    roster = seated(waiter)
    due, error = roster.next_due(), ApiError(503, "api_error", "down")
    roster.report("b", error)
    assert (waiter.answers, waiter.seat.last_error, roster.next_due()) == ([error], error, due)


def test_what_cannot_be_asked_in_time_is_over_at_its_deadline() -> None:
    patient, hasty, asked = Waiter("a"), Waiter("b", deadline=30.0), Waiter("c", deadline=30.0)
    roster = seated(patient, hasty, asked)
    roster.fail("c", ApiError(429, "rate_limit_error", "slowly"), later(1))
    assert roster.next_deadline(START) == later(30).steady
    assert roster.overdue(later(29.9)) == []
    for seat in roster.overdue(later(30)):
        roster.expire(seat, later(30))
    assert roster.batch_ids() == ("a",)
    assert {outcome.ending for waiter in (hasty, asked) for outcome in waiter.outcomes} == {Ending.TIMED_OUT}
    assert "left alone" in hasty.outcomes[0].message
    assert "slowly" in asked.outcomes[0].message


def test_a_list_that_lags_behind_a_fresh_batch_is_read_again_soon() -> None:
    roster = seated(Waiter("a"))
    roster.unlist("a", later(5))
    (wanted,) = roster.wanted(later(5 + RELIST_FRESH))
    assert wanted.listed
    roster.unlist("a", later(120))
    (wanted,) = roster.wanted(later(120 + RELIST_FRESH))
    assert not wanted.listed
