"""What a job does next: the table, line by line."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_batches.jobs.decision import BatchState, JobLimits, JobView, decide
from airflow_batches.jobs.ledger import PUBLISHED, JobLedger
from airflow_batches.jobs.money import mean_cost
from airflow_batches.jobs.rounds import after_landing, forgiven, wanted
from airflow_batches.jobs.steps import (
    CancelBatch,
    EndCanceled,
    FinishJob,
    GiveUpBatch,
    JobStep,
    LandBatch,
    LookAtBatches,
    Pause,
    PlanJob,
    PlanRound,
    PublishJob,
    SettleCreate,
    StopJob,
    SubmitShard,
)
from tests.unit.jobs.samples import NOW, batch, landed, ledger, pending, shard

MINUTE = timedelta(minutes=1)
PRICED: dict[str, Any] = {"floor_usd": Decimal(1), "ceiling_usd": Decimal(10)}


def view(*states: str, **values: Any) -> JobView:
    return JobView(batches={f"msgbatch_{n}": BatchState(state) for n, state in enumerate(states)}, **values)


def step(of: JobLedger | None, seen: JobView | None = None, **limits: Any) -> JobStep:
    return decide(of, seen or JobView(), NOW, JobLimits(**limits))


def stopped(of: JobLedger, seen: JobView | None = None, **limits: Any) -> str:
    found = step(of, seen, **limits)
    assert isinstance(found, StopJob)
    return found.kind


def test_without_a_ledger_the_job_is_planned() -> None:
    assert step(None) == PlanJob()


def test_a_published_job_is_finished_whatever_else_its_ledger_says() -> None:
    assert step(ledger(state=PUBLISHED, cancel_requested=True)) == FinishJob()


def test_shards_are_sent_in_order_until_all_are_under_way() -> None:
    assert step(ledger()) == SubmitShard(0)
    assert step(ledger(batches=(batch(0),)), view("running")) == SubmitShard(1)
    assert isinstance(step(ledger(batches=(batch(0), batch(1))), view("running", "canceling")), Pause)


def test_an_unanswered_create_is_settled_before_anything_is_sent() -> None:
    assert step(ledger(pending=pending(0))) == SettleCreate()
    later = JobView(settle_at=NOW + MINUTE / 2)
    assert step(ledger(pending=pending(0)), later) == Pause(NOW + MINUTE / 2, "batches end")


def test_batches_are_looked_at_then_landed_then_waited_for() -> None:
    both = ledger(batches=(batch(0), batch(1)))
    assert step(both, view("running")) == LookAtBatches()
    assert step(both, view("running", "ended")) == LandBatch("msgbatch_1")
    assert step(both, view("running", "running"), poll_interval=30) == Pause(
        NOW + MINUTE / 2, "batches end", for_batches=True
    )


@pytest.mark.parametrize("state", ["missing", "archived"])
def test_a_batch_that_is_gone_stops_the_job_until_the_user_gives_it_up(state: str) -> None:
    job = ledger(batches=(batch(0),))
    assert stopped(job, view(state)) == "missing"
    assert isinstance(step(job, view(state), on_missing="resubmit"), GiveUpBatch)
    lost = ledger(batches=(batch(0, lost="gone"),))
    assert step(lost) == SubmitShard(0)


def test_a_cancel_is_sent_until_each_batch_is_seen_as_canceling() -> None:
    job = ledger(batches=(batch(0, canceling=True), batch(1)), cancel_requested=True)
    assert step(job, view("running", "running")) == CancelBatch("msgbatch_0")
    assert step(job, view("canceling", "running")) == CancelBatch("msgbatch_1")
    assert isinstance(step(job, view("canceling", "canceling")), Pause)
    assert step(job, view("ended", "canceling")) == LandBatch("msgbatch_0")
    assert isinstance(step(ledger(pending=pending(0), cancel_requested=True), JobView(settle_at=NOW + MINUTE)), Pause)
    assert step(ledger(batches=(batch(0, landed=landed()),), cancel_requested=True)) == EndCanceled()


def test_lack_of_credit_stops_at_once_and_a_later_run_goes_on() -> None:
    poor = landed(counts={"errored": 10}, no_credit=10)
    assert stopped(ledger(batches=(batch(0, landed=poor),))) == "credit"
    assert stopped(ledger(batches=(batch(0, landed=poor), batch(1))), view("running", "running")) == "credit"
    forgiven = landed(counts={"succeeded": 1, "errored": 9}, no_credit=9, forgiven=True)
    assert step(ledger(shard(0), batches=(batch(0, landed=forgiven),)), rounds=1) == PlanRound()
    canary = ledger(shard(0, canary=True), shard(1), batches=(batch(0, landed=forgiven),))
    assert step(canary) == SubmitShard(1)


def test_what_was_canceled_with_its_task_is_sent_again() -> None:
    canceled = batch(0, resend_canceled=True)
    all_of_it = after_landing(canceled, landed(counts={"canceled": 10}))
    assert all_of_it.lost
    assert all_of_it.free
    assert step(ledger(shard(0, canary=True), shard(1), batches=(all_of_it,))) == SubmitShard(0)
    some_of_it = after_landing(canceled, landed(counts={"succeeded": 1, "canceled": 9}, again={"canceled": 9}))
    assert step(ledger(shard(0), batches=(some_of_it,)), rounds=1) == PlanRound()
    assert step(ledger(shard(0, canary=True), shard(1), batches=(some_of_it,))) == SubmitShard(1)
    assert after_landing(batch(0), landed(counts={"canceled": 10})).landed is not None
    assert not wanted(batch(0, landed=landed())).resend_canceled


def test_the_canary_runs_alone_and_its_failures_stop_the_job() -> None:
    shards = shard(0, canary=True), shard(1)
    assert step(ledger(*shards)) == SubmitShard(0)
    assert isinstance(step(ledger(*shards, batches=(batch(0),)), view("running")), Pause)
    good, bad = landed(), landed(counts={"succeeded": 9, "errored": 1})
    assert step(ledger(*shards, batches=(batch(0, landed=good),))) == SubmitShard(1)
    assert stopped(ledger(*shards, batches=(batch(0, landed=bad),))) == "canary"
    assert step(ledger(*shards, batches=(batch(0, landed=bad),)), max_failure_rate=0.1) == SubmitShard(1)
    assert step(ledger(*shards, batches=(batch(0, landed=bad),)), max_failure_rate=None) == SubmitShard(1)


def test_a_canary_that_failed_does_not_stop_a_job_whose_other_shards_were_sent() -> None:
    bad = landed(counts={"errored": 10})
    job = ledger(shard(0, canary=True), shard(1), batches=(batch(0, landed=bad), batch(1)))
    assert isinstance(step(job, view("running", "running")), Pause)


def test_a_full_queue_is_waited_for() -> None:
    full = JobView(queue_full_until=NOW + MINUTE / 3)
    assert step(ledger(), full) == Pause(NOW + MINUTE / 3, "the API's queue has room")
    assert step(ledger(), JobView(queue_full_until=NOW)) == SubmitShard(0)
    one = ledger(batches=(batch(0),))
    assert step(one, view("running", queue_full_until=NOW + MINUTE / 3)) == Pause(NOW + MINUTE / 3, "batches end")


def test_max_queued_bounds_what_is_under_way_but_never_blocks_a_single_shard() -> None:
    assert step(ledger(), max_queued=5) == SubmitShard(0)
    one = ledger(batches=(batch(0),))
    assert isinstance(step(one, view("running"), max_queued=19), Pause)
    assert step(one, view("running"), max_queued=20) == SubmitShard(1)


def priced(*batches: Any, count: int = 3) -> JobLedger:
    return ledger(*(shard(number, **PRICED) for number in range(count)), batches=batches)


def test_a_job_whose_input_alone_is_over_the_cap_is_refused_before_anything_is_sent() -> None:
    found = step(priced(), max_cost_usd=Decimal("2.99"))
    assert isinstance(found, StopJob)
    assert found.kind == "budget"
    assert "Nothing was sent" in found.message
    assert "$3.00 projected" in found.message
    assert step(priced(), max_cost_usd=Decimal(3)) == SubmitShard(0)


def test_a_cap_without_a_price_is_refused() -> None:
    found = step(ledger(), max_cost_usd=Decimal(100))
    assert isinstance(found, StopJob)
    assert "no price is known" in found.message


def test_a_shard_waits_until_those_under_way_cannot_use_up_its_money() -> None:
    one = priced(batch(0))
    assert isinstance(step(one, view("running"), max_cost_usd=Decimal("10.99")), Pause)
    assert step(one, view("running"), max_cost_usd=Decimal(11)) == SubmitShard(1)


def test_the_projection_is_made_anew_from_what_was_spent() -> None:
    dear = priced(batch(0, landed=landed(cost_usd=Decimal(4))))
    assert stopped(dear, max_cost_usd=Decimal("11.9")) == "budget"
    assert step(dear, max_cost_usd=Decimal(12)) == SubmitShard(1)


def test_what_is_under_way_lands_before_the_budget_stops_the_job() -> None:
    dear = priced(batch(0, landed=landed(cost_usd=Decimal(4))), batch(1))
    states = view("running", "running")
    assert isinstance(step(dear, states, max_cost_usd=Decimal(10)), Pause)


def test_a_batch_that_was_given_up_counts_with_answers_of_full_length() -> None:
    lost = priced(batch(0, lost="gone"), count=1)
    assert stopped(lost, max_cost_usd=Decimal("10.9")) == "budget"
    assert step(lost, max_cost_usd=Decimal(11)) == SubmitShard(0)
    free = priced(batch(0, lost="no request had credit", free=True), count=1)
    assert step(free, max_cost_usd=Decimal(1)) == SubmitShard(0)


def test_failures_that_a_round_can_help_are_sent_again_while_rounds_are_left() -> None:
    some = landed(counts={"succeeded": 8, "expired": 2}, again={"expired": 2})
    done = ledger(shard(0), batches=(batch(0, landed=some),))
    assert step(done) == PlanRound()
    assert step(done, rounds=1) == PublishJob()
    second = done.but(
        rounds=2, shards=(shard(0), shard(1, round=2)), batches=(*done.batches, batch(1, landed=landed()))
    )
    assert step(second) == PublishJob()


def test_answers_are_published_if_another_round_cannot_be_paid() -> None:
    some = landed(counts={"succeeded": 8, "expired": 2}, again={"expired": 2}, cost_usd=Decimal(8))
    done = ledger(shard(0, **PRICED), batches=(batch(0, landed=some),))
    assert step(done, max_cost_usd=Decimal("9.9")) == PublishJob()
    assert step(done, max_cost_usd=Decimal(10)) == PlanRound()


def test_answers_that_are_not_of_the_type_were_billed_too() -> None:
    bad = landed(counts={"invalid_output": 10}, cost_usd=Decimal(50))
    of = ledger(shard(0, canary=True, **PRICED), shard(1, **PRICED), batches=(batch(0, landed=bad),))
    assert mean_cost(of) == 5
    assert isinstance(step(of, max_failure_rate=None, max_cost_usd=Decimal(60)), StopJob)


def test_a_batch_with_billed_answers_is_not_sent_again_as_a_whole_after_a_lack_of_credit() -> None:
    some = batch(0, landed=landed(counts={"invalid_output": 4, "errored": 6}, no_credit=6))
    assert forgiven(some).landed is not None
    assert not forgiven(some).free


def test_what_no_round_can_help_is_published() -> None:
    bad = landed(counts={"errored": 10}, error_types={"invalid_request_error": 10})
    assert step(ledger(shard(0), batches=(batch(0, landed=bad),))) == PublishJob()
