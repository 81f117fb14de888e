"""The tables of `decision` and `settlement`, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_batches.api.models import MessageBatch
from airflow_batches.submission.decision import Attempt, Search, Send, is_useless, next_step
from airflow_batches.submission.errors import RequestsChanged
from airflow_batches.submission.receipt import Receipt, Sent
from airflow_batches.submission.record import Intent, Record
from airflow_batches.submission.settlement import (
    CLOCK_SKEW,
    Adopt,
    Candidate,
    KeepLooking,
    NotSent,
    Undecided,
    WaitFor,
    settle,
    unrecorded_intent,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sent(fingerprint: str = "same", **more: Any) -> Sent:
    values: dict[str, Any] = {"requests": 3, "bytes": 300, "sha256": "", "ids_digest": "ids", "models": ("m",)}
    return Sent(fingerprint=fingerprint, **(values | more))


def batch(batch_id: str = "b", status: str = "in_progress", **more: Any) -> MessageBatch:
    counts = more.pop("counts", {"succeeded": 1, "errored": 2})
    return MessageBatch.model_validate(
        {"id": batch_id, "processing_status": status, "request_counts": counts, "created_at": NOW, **more}
    )


def record(**more: Any) -> Record:
    """A record of batch `b` for the requests `sent()`."""
    return Record(receipt=Receipt.of(sent(), batch()), **more)


def step(its_batch: MessageBatch | None, now: Sent, *, of: Record | None = None, **attempt: Any) -> object:
    return next_step(of or record(), its_batch, now, Attempt(**attempt))


RUNNING = batch()
ENDED = batch(status="ended")
USELESS = [
    batch(status="ended", archived_at=NOW),
    batch(status="ended", counts={"errored": 3}),
    batch(status="ended", counts={"expired": 3}),
]
CANCELED = [
    batch(status="canceling", cancel_initiated_at=NOW),
    batch(status="canceling"),
    batch(status="ended", cancel_initiated_at=NOW),
    batch(status="ended", cancel_initiated_at=NOW, counts={"canceled": 3}),
]
OF_USE = [
    RUNNING,
    ENDED,
    batch(status="something_new"),
    batch(status="ended", counts={"processing": 3}),
    batch(status="ended", counts={}),
    batch(status="ended", counts={"errored": 3, "succeeded": None}),
]


def test_nothing_remembered_is_sent_unless_an_earlier_try_left_no_record() -> None:
    assert step(None, sent(), of=Record()) == Send()
    assert step(None, sent(), of=Record(), started_at=NOW) == Search(NOW)


@pytest.mark.parametrize("its_batch", OF_USE)
@pytest.mark.parametrize("generation", [0, 1])
@pytest.mark.parametrize("on_changed", ["fail", "cancel", "keep"])
def test_the_same_requests_attach_to_their_batch(its_batch: MessageBatch, generation: int, on_changed: Any) -> None:
    taken = step(its_batch, sent(), generation=generation, on_changed=on_changed)
    assert taken == Receipt.of(sent(), batch())


@pytest.mark.parametrize("its_batch", [None, *USELESS])
@pytest.mark.parametrize("fingerprint", ["same", "other"])
def test_a_batch_that_is_gone_or_of_no_use_is_replaced_with_a_warning(
    its_batch: MessageBatch | None, fingerprint: str
) -> None:
    taken = step(its_batch, sent(fingerprint))
    assert isinstance(taken, Send)
    assert taken.replaces is None
    assert "Batch b of an earlier try" in taken.warning


@pytest.mark.parametrize("its_batch", CANCELED)
def test_a_retry_does_not_pay_for_what_a_person_has_canceled_and_a_clear_does(its_batch: MessageBatch) -> None:
    assert step(its_batch, sent()) == Receipt.of(sent(), batch())
    with pytest.raises(RequestsChanged):
        step(its_batch, sent("other"))
    cleared = step(its_batch, sent(), generation=1)
    assert isinstance(cleared, Send)
    assert cleared.replaces is None
    assert "was canceled" in cleared.warning


@pytest.mark.parametrize("its_batch", OF_USE)
def test_a_retry_with_other_requests_is_refused(its_batch: MessageBatch) -> None:
    with pytest.raises(RequestsChanged) as refused:
        step(its_batch, sent("other"))
    assert refused.value.batch_id == "b"


@pytest.mark.parametrize(
    ("now", "differs"),
    [
        (sent("other", requests=4), "4 requests instead of 3"),
        (sent("other", ids_digest="others"), "other custom_ids"),
        (sent("other", models=("n",)), "model n instead of m"),
        (sent("other"), "the same custom_ids with other params"),
    ],
)
def test_a_refusal_names_what_differs_and_what_to_do(now: Sent, differs: str) -> None:
    with pytest.raises(RequestsChanged) as refused:
        step(RUNNING, now)
    message = str(refused.value)
    assert differs in message
    assert "Nothing was sent" in message
    assert "clear the task" in message


@pytest.mark.parametrize("attempt", [{"generation": 1}, {"on_changed": "cancel"}])
def test_a_clear_and_on_changed_cancel_replace_a_running_batch(attempt: Any) -> None:
    taken = step(RUNNING, sent("other"), **attempt)
    assert isinstance(taken, Send)
    assert taken.replaces == "b"
    assert "cancel of batch b" in taken.warning


@pytest.mark.parametrize(
    ("its_batch", "attempt"),
    [
        (RUNNING, {"on_changed": "keep"}),
        (RUNNING, {"on_changed": "keep", "generation": 1}),
        (ENDED, {"generation": 1}),
        (ENDED, {"on_changed": "cancel"}),
    ],
)
def test_a_batch_that_has_ended_or_is_kept_is_not_canceled_but_told(its_batch: MessageBatch, attempt: Any) -> None:
    taken = step(its_batch, sent("other"), **attempt)
    assert isinstance(taken, Send)
    assert taken.replaces is None
    assert "Batch b of an earlier try" in taken.warning


def test_resubmit_counts_once_for_each_clear() -> None:
    assert step(ENDED, sent(), resubmit=True) == Receipt.of(sent(), batch())
    cleared = step(RUNNING, sent(), resubmit=True, generation=1)
    assert isinstance(cleared, Send)
    assert cleared.replaces == "b"
    again = step(RUNNING, sent(), of=record(generation=1), resubmit=True, generation=1)
    assert again == Receipt.of(sent(), batch())


def intent(**more: Any) -> Intent:
    times = {
        "sent_at": NOW,
        "since": NOW - HOUR,
        "certain_from": NOW - HOUR,
        "certain_until": NOW + HOUR,
        "until": NOW + HOUR,
    }
    return Intent(sent=sent(), **(times | more))


def settled(*candidates: Candidate, now: datetime = NOW, **more: Any) -> object:
    return settle(intent(**more), candidates, now=now)


OURS = Candidate(ENDED, "ids")
OLDER = [("running twin", "in_progress", None), ("twin", "ended", "ids"), ("another twin", "ended", "ids")]
FOREIGN = Candidate(batch("f", "ended"), "other ids")


def test_no_candidate_means_looking_on_until_none_can_be_created_any_more() -> None:
    assert settled() == KeepLooking()
    assert settled(FOREIGN) == KeepLooking()
    assert settled(now=NOW + HOUR) == NotSent()
    assert settled(FOREIGN, now=NOW + HOUR) == NotSent()


def test_a_candidate_that_runs_is_waited_for_the_oldest_first() -> None:
    assert settled(Candidate(batch("new")), Candidate(batch("old"))) == WaitFor("old")
    assert settled(Candidate(batch("new")), OURS) == WaitFor("new")


def test_one_batch_with_our_ids_is_ours() -> None:
    assert settled(OURS, FOREIGN) == Adopt(ENDED)


def test_several_batches_with_our_ids_need_a_person() -> None:
    taken = settled(OURS, Candidate(batch("c", "ended"), "ids"), Candidate(batch("running")))
    assert isinstance(taken, Undecided)
    assert taken.batch_ids == ("b", "c")


def test_batches_of_another_time_are_not_in_the_way_of_one_created_right_after_the_create() -> None:
    older = [Candidate(batch(name, status, created_at=NOW - HOUR), ids) for name, status, ids in OLDER]
    new = Candidate(batch("new", "ended"), "ids")
    assert settled(*older, new, certain_from=NOW) == Adopt(new.batch)
    assert settled(*older, Candidate(batch("new", created_at=NOW)), certain_from=NOW) == WaitFor("new")
    assert settled(*older, certain_from=NOW) == WaitFor("running twin")


@pytest.mark.parametrize(
    "when", [{"certain_from": NOW + timedelta(seconds=1)}, {"certain_until": NOW - timedelta(seconds=1)}]
)
def test_a_batch_that_may_be_older_or_younger_than_the_create_needs_a_person(when: Any) -> None:
    taken = settled(OURS, **when)
    assert isinstance(taken, Undecided)
    assert taken.batch_ids == ("b",)
    assert "may be that of another run" in taken.reason


@pytest.mark.parametrize("ahead", [timedelta(minutes=minutes) for minutes in (-10, -1, 0, 1, 10)])
def test_without_a_record_the_later_of_the_run_s_possible_starts_counts(ahead: timedelta) -> None:
    """Airflow's clock, which dates the run, may agree with the worker's or with the API's."""
    started = NOW - HOUR
    unrecorded = unrecorded_intent(sent(), started, now=NOW + ahead, clock_ahead=ahead)
    latest = max(started, started + ahead)
    own, earlier = latest + timedelta(seconds=1), latest - timedelta(seconds=1)
    assert settle(unrecorded, [Candidate(batch(status="ended", created_at=own), "ids")], now=NOW) == Adopt(
        batch(status="ended", created_at=own)
    )
    doubtful = settle(unrecorded, [Candidate(batch(status="ended", created_at=earlier), "ids")], now=NOW)
    assert isinstance(doubtful, Undecided)
    assert unrecorded.since == min(started, started + ahead) - CLOCK_SKEW


@pytest.mark.parametrize("its_batch", USELESS)
def test_what_is_useless(its_batch: MessageBatch) -> None:
    assert is_useless(its_batch)


@pytest.mark.parametrize("its_batch", [*OF_USE, *CANCELED])
def test_what_is_of_use(its_batch: MessageBatch) -> None:
    assert not is_useless(its_batch)
