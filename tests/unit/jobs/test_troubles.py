"""Jobs that meet failures: rounds, canary, queue, money, lost answers, cancels."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import pytest

from airflow_batches.api.defaults import STRICT_SINCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.jobs import JobCanceled, JobFailed, JobLimits, JobStopped
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.planning import JobRequests
from airflow_batches.jobs.run import make_engine
from tests.samples import some_requests
from tests.unit.jobs.conftest import Job
from tests.unit.jobs.test_run import numbered

FOREVER = 10**6


class Killed(BaseException):
    """The process was killed while it waited."""


def kill(number: int) -> None:
    raise Killed


def recovers(job: Job, **settings: Any) -> None:
    """Let the emulator answer everything from the first wait on."""
    job.clock.on_wait = lambda number: job.emulator.configure(errored_share=0.0, expired_share=0.0, **settings)


# Rounds


@pytest.mark.parametrize("kind", ["api_error", "overloaded_error", "expired"])
def test_what_failed_is_sent_again_and_published_once(job: Job, kind: str) -> None:
    share = {"expired_share": 0.4} if kind == "expired" else {"errored_share": 0.4, "errored_type": kind}
    job.emulator.configure(**share)
    recovers(job)
    manifest = job.run(some_requests(30), max_requests=10)
    assert job.ids() == numbered(30)
    assert manifest.counts == {"succeeded": 30}
    first, second = manifest.rounds
    assert first.again == {kind: second.requests}
    assert 0 < second.requests < 30
    assert len(manifest.batches) == 3 + ceil(second.requests / 10)


@pytest.mark.parametrize("rounds", [1, 2])
def test_rounds_are_limited(job: Job, rounds: int) -> None:
    job.emulator.configure(errored_share=0.4)
    with pytest.raises(JobFailed) as failed:
        job.run(some_requests(20), rounds=rounds)
    assert len(failed.value.manifest.rounds) == rounds
    assert job.ids() + job.ids("failed.jsonl") == numbered(20)


def test_a_batch_that_expires_after_a_day_is_sent_again(job: Job) -> None:
    job.emulator.configure(processing_time=48 * 3600)
    job.clock.on_wait = lambda number: job.emulator.configure(processing_time=0)
    manifest = job.run(some_requests(10), poll_interval=timedelta(hours=3))
    assert manifest.counts == {"succeeded": 10}
    assert manifest.rounds[1].requests == 5


def test_answers_that_were_cut_off_are_sent_again_with_more_tokens(job: Job) -> None:
    job.emulator.configure(answer_chars=200)
    requests = some_requests(4, max_tokens=10)
    manifest = job.run(requests, max_tokens_growth=10.0)
    assert manifest.rounds[0].again == {"max_tokens": 4}
    assert {line["result"]["message"]["stop_reason"] for line in job.lines()} == {"end_turn"}
    assert job.ids() == numbered(4)


NO_CREDIT = {
    "billing": {"errored_type": "billing_error"},
    "as recorded": {"errored_type": "invalid_request_error", "errored_message": "Your credit balance is too low to …"},
}


@pytest.mark.parametrize("canary", [0, 5])
@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("kind", NO_CREDIT)
def test_lack_of_credit_stops_the_job_and_the_next_run_goes_on(job: Job, kind: str, share: float, canary: int) -> None:
    job.emulator.configure(errored_share=share, **NO_CREDIT[kind])
    for _ in range(2):
        with pytest.raises(JobStopped, match="no credit") as stopped:
            job.run(some_requests(20), rounds=1, canary=canary)
        assert stopped.value.kind == "credit"
    assert job.emulator.counters["create"] == 2
    job.emulator.configure(errored_share=0.0)
    assert job.run(some_requests(20), rounds=1, canary=canary).counts == {"succeeded": 20}
    assert job.ids() == numbered(20)


# Canary


def test_a_canary_that_fails_keeps_the_rest_from_being_sent(job: Job) -> None:
    requests = some_requests(20, model="claude-unknown-1")
    with pytest.raises(JobStopped, match="5 of its 5 requests") as stopped:
        job.run(requests, canary=5)
    assert stopped.value.kind == "canary"
    assert job.emulator.counters["create"] == 1


def test_a_canary_that_succeeds_is_followed_by_the_rest(job: Job) -> None:
    manifest = job.run(some_requests(20), canary=5)
    assert [(batch.canary, batch.requests) for batch in manifest.batches] == [(True, 5), (False, 15)]
    assert job.ids() == numbered(20)


def test_a_canary_of_all_requests_is_none(job: Job) -> None:
    assert not job.run(some_requests(5), canary=5).batches[0].canary


# Queue


def test_a_full_queue_is_waited_for(job: Job) -> None:
    job.emulator.configure(queue_limit=10, processing_time=90)
    manifest = job.run(some_requests(30), max_requests=10)
    assert manifest.counts == {"succeeded": 30}
    assert job.clock.waits >= 2


def test_our_share_of_the_queue_is_bounded(job: Job) -> None:
    job.emulator.configure(processing_time=90)
    most = 0

    def count(number: int) -> None:
        nonlocal most
        running = [each for each in job.emulator.batches() if each["processing_status"] == "in_progress"]
        most = max(most, len(running))

    job.clock.on_wait = count
    job.run(some_requests(30), max_requests=5, max_queued=10)
    assert most <= 2


# Money


def test_a_job_that_cannot_fit_its_budget_is_refused_before_anything_is_sent(job: Job) -> None:
    with pytest.raises(JobStopped, match="Nothing was sent") as stopped:
        job.run(some_requests(1000), max_cost_usd="0.0001")
    assert stopped.value.kind == "budget"
    assert job.emulator.counters["create"] == 0


def test_a_tiny_cap_is_written_as_people_do(job: Job) -> None:
    with pytest.raises(JobStopped, match=r"max_cost_usd=0\.0000001\. "):
        job.run(some_requests(1000), max_cost_usd=1e-7)


def test_a_higher_cap_goes_on_where_the_budget_stopped_the_job(job: Job) -> None:
    job.emulator.configure(answer_chars=3000)
    requests = some_requests(40, max_tokens=2000)
    one = job_cost(job, requests[:10])
    with pytest.raises(JobStopped, match="projected") as stopped:
        job.run(requests, max_requests=10, max_cost_usd=one * 2)
    assert stopped.value.kind == "budget"
    sent = len(job.emulator.batches())
    assert 1 < sent < 5
    manifest = job.run(requests, max_requests=10, max_cost_usd=one * 100)
    assert manifest.counts == {"succeeded": 40}
    assert len(job.emulator.batches()) == 5


def job_cost(job: Job, requests: Any) -> Decimal:
    """What these requests cost, as a job of their own."""
    cost = Job(job.emulator, job.client, job.folder.with_name("sample")).run(requests).cost_usd
    assert cost is not None
    return cost


def test_a_cap_for_a_model_without_a_price_is_refused(job: Job) -> None:
    job.emulator.configure(models=("claude-next-9",))
    with pytest.raises(JobStopped, match="no price is known for claude-next-9"):
        job.run(some_requests(2, model="claude-next-9"), max_cost_usd=5)
    manifest = job.run(some_requests(2, model="claude-next-9"))
    assert manifest.cost_usd is None
    assert manifest.estimate.input_tokens


def test_an_estimate_without_token_counts_says_so(job: Job) -> None:
    job.emulator.fault(Fault(endpoint="count_tokens", action="status", status=403, times=None))
    assert "3 bytes for a token" in job.run(some_requests(2)).estimate.method


# Lost answers


@pytest.mark.parametrize("generated", [False, True])
def test_a_create_whose_answer_was_lost_is_adopted_and_not_sent_again(job: Job, generated: bool) -> None:
    job.emulator.configure(processing_time=200)
    job.emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    requests = ["One", "Two"] if generated else some_requests(2)
    manifest = job.run(requests, model="claude-haiku-4-5", defaults={"max_tokens": 5})
    assert manifest.counts == {"succeeded": 2}
    assert job.emulator.counters["create"] == 1


def test_a_create_that_was_not_accepted_is_sent_again_once_that_is_certain(job: Job) -> None:
    job.emulator.fault(Fault(endpoint="create", action="reset"))
    assert job.run(some_requests(2)).counts == {"succeeded": 2}
    assert len(job.emulator.batches()) == 1
    assert job.emulator.counters["create"] == 2


@pytest.mark.parametrize("status", [429, 529])
def test_an_overloaded_api_is_tried_again(job: Job, status: int) -> None:
    for endpoint in ("create", "get", "results"):
        fault = Fault(endpoint=endpoint, action="status", status=status, times=7, retry_after=None)
        job.emulator.fault(fault)
    assert job.run(some_requests(2)).counts == {"succeeded": 2}
    assert len(job.emulator.batches()) == 1


def test_a_refused_create_is_raised_and_the_job_can_go_on(job: Job) -> None:
    job.emulator.fault(Fault(endpoint="create", action="status", status=402))
    with pytest.raises(Exception, match="402"):
        job.run(some_requests(2))
    assert "pending" not in job.ledger or job.ledger["pending"] is None
    assert job.run(some_requests(2)).counts == {"succeeded": 2}


# Batches that are gone


def test_a_deleted_batch_stops_the_job_until_the_user_gives_it_up(job: Job) -> None:
    job.emulator.configure(processing_time=FOREVER)

    def delete(number: int) -> None:
        for each in job.emulator.batches():
            job.emulator.end(each["id"])
            job.client.delete(each["id"])
        job.emulator.configure(processing_time=0)

    job.clock.on_wait = delete
    with pytest.raises(JobStopped, match="does not exist") as stopped:
        run_without_patience(job, JobLimits())
    assert stopped.value.kind == "missing"
    job.clock.on_wait = lambda number: None
    run_without_patience(job, JobLimits(on_missing="resubmit"))
    assert job.ids() == numbered(2)


def run_without_patience(job: Job, limits: JobLimits, *, cancel: bool = False) -> None:
    """Run the job; a 404 is believed at once."""
    asked = JobRequests(requests=some_requests(2), cut=CutLimits(version=STRICT_SINCE))
    engine = make_engine(
        job.client, JobFolder(job.folder), asked, limits, owner="test", cancel=cancel, clock=job.clock,
        missing_after=timedelta(),
    )  # fmt: skip
    engine.run()


def test_a_canceled_job_cancels_each_batch_and_lands_what_was_answered(job: Job) -> None:
    job.emulator.configure(processing_time=FOREVER)

    job.clock.on_wait = kill
    with pytest.raises(Killed):
        job.run(some_requests(2))
    job.clock.on_wait = lambda number: None
    with pytest.raises(JobCanceled, match="2 canceled landed"):
        run_without_patience(job, JobLimits(), cancel=True)
    assert {each["processing_status"] for each in job.emulator.batches()} == {"ended"}
    with pytest.raises(JobCanceled):
        job.run(some_requests(2))
    assert job.emulator.counters["create"] == 1


def test_there_is_no_job_to_cancel_in_an_empty_folder(job: Job) -> None:
    with pytest.raises(Exception, match="no job to cancel"):
        run_without_patience(job, JobLimits(), cancel=True)


def test_a_second_runner_waits_until_the_first_ones_lease_has_expired(job: Job, emulator: Emulator) -> None:
    emulator.configure(processing_time=1000)
    job.clock.on_wait = kill
    with pytest.raises(Killed):
        job.run(some_requests(2), owner="")
    job.clock.on_wait = lambda number: None
    began = job.clock.now()
    job.run(some_requests(2), owner="")
    assert job.clock.now() - began >= timedelta(seconds=120)
    assert emulator.counters["create"] == 1


def test_a_runner_that_fails_gives_its_lease_up(job: Job, emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="status", status=402))
    with pytest.raises(Exception, match="402"):
        job.run(some_requests(2), owner="")
    began = job.clock.now()
    job.run(some_requests(2), owner="")
    assert job.clock.now() - began < timedelta(seconds=100)


def test_many_batches_are_looked_at_in_the_list(job: Job) -> None:
    job.emulator.configure(processing_time=50)
    job.run(some_requests(30), max_requests=2, poll_interval=100)
    assert job.ids() == numbered(30)
    assert job.emulator.counters["get"] < 40
