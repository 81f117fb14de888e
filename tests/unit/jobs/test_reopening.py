"""A canceled job goes on only if a person runs it again, and sends no answered request again."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_batches.jobs import JobCanceled, JobLimits, JobStopped
from airflow_batches.jobs.ledger import JobLedger, StopRecord
from airflow_batches.jobs.progress import progress_of
from airflow_batches.jobs.reopening import is_canceled, reopened
from tests.samples import some_requests
from tests.unit.jobs.conftest import Job
from tests.unit.jobs.samples import NOW, batch, landed, ledger, shard
from tests.unit.jobs.test_run import numbered
from tests.unit.jobs.test_troubles import Killed, kill, run_without_patience

HOUR = timedelta(hours=1)


def canceled_job(*batches: Any) -> JobLedger:
    stop = StopRecord(kind="canceled", message="", at=NOW)
    return ledger(shard(0), shard(1), cancel_requested=True, stopped=stop, batches=batches)


def after(of: JobLedger, *, resubmit: bool = False) -> JobLedger:
    return of.but(**reopened(of, resubmit=resubmit))


def test_only_a_run_that_began_after_the_cancel_was_done_lets_the_job_go_on() -> None:
    assert is_canceled(canceled_job(), NOW + HOUR)
    assert not is_canceled(canceled_job(), NOW - HOUR), "it waited for the lease meanwhile"
    assert not is_canceled(canceled_job().but(stopped=None), NOW + HOUR), "the cancel is not done"
    assert not is_canceled(canceled_job().but(cancel_requested=False), NOW + HOUR)


def test_a_batch_without_an_answer_is_sent_again_as_it_was() -> None:
    found = after(canceled_job(batch(0, landed=landed(counts={"canceled": 10}, cost_usd=Decimal(0)))))
    assert not found.cancel_requested
    assert [each.number for each in found.unsent] == [0, 1]


def test_of_a_batch_with_answers_the_canceled_requests_are_left_to_another_round() -> None:
    some = landed(counts={"succeeded": 4, "canceled": 5, "expired": 1}, again={"expired": 1})
    found = after(canceled_job(batch(0, landed=some), batch(1, landed=landed())))
    assert found.unsent == ()
    assert [each.retryable for _, each in found.landed] == [6, 0]
    assert found.batches[0].resend_canceled


def test_what_was_canceled_in_an_earlier_round_stays_as_it_is() -> None:
    """The further round sends failures of the last round only, so it must not be announced for others."""
    some = landed(counts={"succeeded": 4, "canceled": 5, "expired": 1}, again={"expired": 1})
    job = canceled_job(batch(0, landed=some), batch(1, landed=landed()))
    job = job.but(rounds=2, shards=(*job.shards, shard(2, round=2, requests=1)))
    found = after(job)
    assert found.batches == job.batches
    assert progress_of(found)["counts"] == {"succeeded": 14, "canceled": 5}
    assert progress_of(found)["unsent"] == 1


def test_a_batch_that_may_be_billed_is_sent_again_only_if_asked() -> None:
    of = canceled_job(batch(0, lost="was archived"), batch(1, landed=landed()))
    with pytest.raises(JobStopped, match="msgbatch_0 could not be landed") as stopped:
        after(of)
    assert stopped.value.kind == "missing"
    assert [each.number for each in after(of, resubmit=True).unsent] == [0]


def test_a_batch_that_was_replaced_earlier_does_not_matter() -> None:
    of = canceled_job(batch(0, lost="was archived"), batch(0, id="msgbatch_9", landed=landed(counts={"canceled": 10})))
    assert [each.number for each in after(of).unsent] == [0, 1]


@pytest.mark.parametrize("answered", [0.0, 0.5])
def test_a_canceled_job_that_is_run_again_answers_each_request_once(job: Job, answered: float) -> None:
    job.emulator.configure(processing_time=1_000, incremental_counts=True)
    job.clock.on_wait = kill
    with pytest.raises(Killed):
        job.run(some_requests(2))
    job.clock.on_wait = lambda number: None
    job.emulator.clock.advance(answered * 1_000)
    with pytest.raises(JobCanceled, match="To go on, and send the canceled requests again"):
        run_without_patience(job, JobLimits(), cancel=True)
    with pytest.raises(JobCanceled):
        job.run(some_requests(2))
    assert job.emulator.counters["create"] == 1
    manifest = job.run(some_requests(2), resend_canceled=True, rounds=1)
    assert manifest.counts == {"succeeded": 2}
    assert job.ids() == numbered(2)
    assert [each.requests for each in manifest.batches] == ([2, 1] if answered else [2, 2])
