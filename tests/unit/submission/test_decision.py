"""The two tables, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_batches.api.models import MessageBatch
from airflow_batches.submission.decision import (
    Adopt,
    Attach,
    Candidate,
    Fail,
    Look,
    LookAgain,
    NotSent,
    Send,
    Situation,
    WaitFor,
    next_step,
    settle,
)
from airflow_batches.submission.receipt import Begun, Intent, Receipt, Record, Submitted
from airflow_batches.submission.scan import Findings, Scan

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def scan(fingerprint: str = "same", ids: str = "ids") -> Scan:
    return Scan(
        requests=3,
        size=300,
        sha256="0" * 64,
        ids_digest=ids,
        ids_sum="",
        fingerprint=fingerprint,
        models=("m",),
        plain=True,
        findings=Findings(),
    )


def batch(batch_id: str = "b", status: str = "in_progress", **more: Any) -> MessageBatch:
    counts = more.pop("counts", {"succeeded": 1, "errored": 2})
    return MessageBatch.model_validate(
        {"id": batch_id, "processing_status": status, "request_counts": counts, "created_at": NOW, **more}
    )


def receipt(fingerprint: str = "same", ids: str = "ids") -> Receipt:
    return Receipt.of(scan(fingerprint, ids), batch(), source="requests")


def intent(fingerprint: str = "same", ids: str = "ids") -> Intent:
    return Intent.of(scan(fingerprint, ids), since=NOW, until=NOW + HOUR)


def step(record: Record | None, its_batch: MessageBatch | None = None, **situation: Any) -> object:
    return next_step(record, its_batch, scan(), Situation(now=NOW, **situation))


RUNNING = batch()
USELESS = [
    None,
    batch(status="canceling", cancel_initiated_at=NOW),
    batch(status="ended", cancel_initiated_at=NOW),
    batch(status="ended", archived_at=NOW),
    batch(status="ended", counts={"errored": 3}),
    batch(status="ended", counts={"expired": 3}),
]


def test_nothing_remembered_is_sent_unless_something_may_have_been_forgotten() -> None:
    assert step(None) == Send()
    looking = step(None, since=NOW - HOUR)
    assert isinstance(looking, Look)
    assert looking.intent.since < NOW - HOUR
    assert looking.intent.until > NOW
    assert step(None, since=NOW - HOUR, on_uncertain="resubmit") == Send()


def test_a_try_that_sent_nothing_is_followed_by_one_that_does() -> None:
    assert step(Begun()) == Send()
    assert step(Begun(), since=NOW - HOUR) == Send()


def test_an_intent_is_looked_for_or_what_the_user_says() -> None:
    assert step(intent()) == Look(intent())
    assert step(intent(), on_uncertain="resubmit") == Send()
    assert isinstance(step(intent(), on_uncertain="fail"), Fail)


def test_an_intent_with_other_requests_is_wanted_by_nobody() -> None:
    step_taken = step(intent("other"))
    assert isinstance(step_taken, Send)
    assert step_taken.cancel_first is None
    assert "A batch of 3 other requests may have come of an earlier try" in step_taken.warning


@pytest.mark.parametrize(
    "its_batch",
    [
        RUNNING,
        batch(status="ended"),
        batch(status="something_new"),
        batch(status="ended", counts={"processing": 3}),
        batch(status="ended", counts={}),
    ],
)
def test_a_batch_of_the_same_requests_is_taken_up_again(its_batch: MessageBatch) -> None:
    assert step(Submitted(receipt=receipt()), its_batch) == Attach(receipt())
    assert step(Submitted(receipt=receipt()), its_batch, since=NOW - HOUR, mapped=True) == Attach(receipt())


@pytest.mark.parametrize("its_batch", USELESS)
def test_a_batch_of_no_use_is_replaced(its_batch: MessageBatch | None) -> None:
    assert step(Submitted(receipt=receipt()), its_batch) == Send()


def test_a_batch_of_other_requests_is_canceled_while_it_goes_on() -> None:
    record = Submitted(receipt=receipt("other"))
    assert step(record, RUNNING) == Send(cancel_first="b")
    assert step(record, batch(status="canceling", cancel_initiated_at=NOW)) == Send()
    assert step(record, batch(status="ended")) == Send()
    assert step(record, None) == Send()


@pytest.mark.parametrize("record", [Submitted(receipt=receipt("other", ids="others")), intent("other", ids="others")])
def test_another_items_record_makes_a_mapped_task_look_for_its_own_batch(record: Record) -> None:
    looking = step(record, RUNNING, mapped=True, since=NOW - HOUR)
    assert isinstance(looking, Look)
    assert (looking.intent.fingerprint, looking.intent.ids_digest) == ("same", "ids")
    assert looking.besides == ({"b"} if isinstance(record, Submitted) else set())


@pytest.mark.parametrize("since", [None, NOW - HOUR])
def test_a_batch_with_the_same_ids_that_may_be_another_items_is_left_to_go_on(since: datetime | None) -> None:
    step_taken = step(Submitted(receipt=receipt("other")), RUNNING, mapped=True, since=since)
    assert isinstance(step_taken, Send)
    assert step_taken.cancel_first is None
    assert "Batch b of other requests is left to go on" in step_taken.warning


OURS, FOREIGN, GOES_ON = (
    Candidate(batch("ours"), "ids"),
    Candidate(batch("foreign"), "others"),
    Candidate(batch("on")),
)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([OURS], Adopt(OURS.batch)),
        ([FOREIGN, OURS], Adopt(OURS.batch)),
        ([GOES_ON, OURS], WaitFor("on")),
        ([FOREIGN], LookAgain()),
        ([], LookAgain()),
    ],
)
def test_candidates_are_settled_by_their_ids_once_all_have_ended(candidates: list[Candidate], expected: object) -> None:
    assert settle(intent(), candidates, now=NOW, until=NOW + HOUR) == expected


def test_two_batches_with_our_ids_are_for_a_person_to_tell_apart() -> None:
    twin = Candidate(batch("twin"), "ids")
    failed = settle(intent(), [OURS, twin], now=NOW, until=NOW + HOUR)
    assert isinstance(failed, Fail)
    assert failed.batch_ids == ("ours", "twin")


@pytest.mark.parametrize("candidates", [[], [FOREIGN]])
def test_what_has_not_come_in_time_has_not_been_sent(candidates: list[Candidate]) -> None:
    assert settle(intent(), candidates, now=NOW, until=NOW) == NotSent()
    assert settle(intent(), candidates, now=NOW + HOUR, until=NOW + 2 * HOUR) == NotSent()
