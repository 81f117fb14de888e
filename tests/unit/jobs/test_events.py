"""The lines in the log of a job."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal

import pytest

from airflow_batches.api.error_messages import ErrorMessage
from airflow_batches.emulator import Fault, Rule
from airflow_batches.jobs import JobFailed, JobStopped
from airflow_batches.jobs.events import round_begins, rows_text
from airflow_batches.jobs.money import usd
from airflow_batches.jobs.progress import describe, progress_of
from tests.samples import some_requests
from tests.unit.jobs.conftest import Job
from tests.unit.jobs.samples import NOW, batch, landed, ledger, pending, shard

TOO_LONG = "max_tokens: 200 > 100"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "airflow_batches.jobs")
    return caplog


def lines(said: pytest.LogCaptureFixture) -> list[str]:
    """What a job says, without what it repeats while it waits."""
    ours = [record for record in said.records if record.name.startswith("airflow_batches.jobs.")]
    return [record.getMessage() for record in ours if "Waiting" not in record.getMessage()]


def test_each_event_of_a_job_is_one_line(job: Job, said: pytest.LogCaptureFixture) -> None:
    job.emulator.set_rules(
        [
            Rule(custom_id="r-3", outcome="errored", error_type="overloaded_error", times_per_id=1),
            Rule(custom_id="r-5", outcome="errored", error_type="invalid_request_error", error_message=TOO_LONG),
        ]
    )
    requests = some_requests(8)
    for number, request in enumerate(requests):
        request["custom_id"] = f"r-{number}"
    job.run(requests, canary=2, max_requests=3, max_failure_rate=0.5)
    planned, canary, *others, published = lines(said)
    assert planned.startswith("Planned 8 requests in 3 batches, 2 requests of them first as the canary. Estimate: ")
    assert "input tokens (token count of 8 requests), at most" in planned
    assert "for the input, at most $" in planned
    assert canary.startswith("Submitted shard 0, 2 requests, the canary: msgbatch_")
    assert others[0].startswith("Landed the canary, msgbatch_")
    assert others[0].endswith("1 of 3 batches landed")
    assert [line.split()[0] for line in others] == [
        "Landed", "Submitted", "Submitted", "Landed", "Landed", "Round", "Submitted", "Landed",
    ]  # fmt: skip
    assert "3 succeeded" not in others[3]
    assert f"1 errored (The commonest errors: 1 x invalid_request_error: {TOO_LONG}), $" in others[4]
    assert others[5] == "Round 2: 1 request to send again (1 overloaded_error)"
    assert others[6].startswith("Submitted shard 3 of round 2, 1 request: msgbatch_")
    assert published.startswith("Published 8 requests in ")
    assert ": 7 succeeded, 1 errored, $" in published
    assert published.endswith("4 batches in 2 rounds")


def test_a_job_that_is_done_says_so(job: Job, said: pytest.LogCaptureFixture) -> None:
    job.run(some_requests(2))
    said.clear()
    job.run(some_requests(2))
    (line,) = lines(said)
    assert line.startswith("The job is done already. Published 2 requests in ")


def test_a_failed_job_names_the_commonest_errors_and_where_the_failures_are(job: Job) -> None:
    job.emulator.configure(errored_share=1.0, errored_type="invalid_request_error", errored_message=TOO_LONG)
    with pytest.raises(JobFailed) as failed:
        job.run(some_requests(4))
    assert failed.value.manifest.error_messages == (ErrorMessage("invalid_request_error", TOO_LONG, 4),)
    assert str(failed.value) == (
        f"4 of 4 requests have no answer (4 errored). The commonest errors: 4 x invalid_request_error: {TOO_LONG}. "
        f"max_failure_rate is 0.05. All is published; the failures are in {failed.value.manifest.failed.uri}"
    )


def test_a_canary_that_fails_names_the_commonest_errors(job: Job) -> None:
    job.emulator.configure(errored_share=1.0, errored_type="invalid_request_error", errored_message=TOO_LONG)
    with pytest.raises(JobStopped, match=f"The commonest errors: 2 x invalid_request_error: {TOO_LONG}"):
        job.run(some_requests(4), canary=2)


def test_an_outage_has_a_line_at_its_beginning_and_one_at_its_end(job: Job, said: pytest.LogCaptureFixture) -> None:
    job.emulator.configure(processing_time=600)
    job.emulator.fault(Fault(endpoint="get", action="drop_before_body", times=20))
    job.run(some_requests(2))
    assert [line.split()[0] for line in lines(said)] == ["Planned", "Submitted", "Trying", "The", "Landed", "Published"]


def test_rows_are_described_by_their_ends_and_by_what_needed_no_request_of_its_own() -> None:
    rows = {"rows": 9, "succeeded": 6, "skipped": 2, "invalid_output": 1, "shared": 3, "reused": 1}
    assert rows_text(rows) == "6 succeeded, 1 invalid_output, 2 skipped; 3 shared, 1 reused"
    assert rows_text({"rows": 2, "succeeded": 2}) == "2 succeeded"


def test_the_end_of_a_job_of_rows_counts_them(job: Job, said: pytest.LogCaptureFixture) -> None:
    rows = [{"text": "good"}, {"text": "good"}, {"text": ""}]
    job.run(None, rows=rows, prompt="Classify: ${text}", model="claude-haiku-4-5", defaults={"max_tokens": 9})
    published = lines(said)[-1]
    assert published.startswith("Published 3 rows in ")
    assert "(2 succeeded, 1 skipped; 1 shared), 1 request: 1 succeeded, $" in published


def test_a_round_names_why_requests_are_sent_again() -> None:
    again = landed(again={"expired": 3, "api_error": 4}, no_credit=2, forgiven=True)
    job = ledger(shard(0), shard(1, round=2, requests=9), rounds=2, batches=(batch(0, landed=again),))
    assert round_begins(job) == "Round 2: 9 requests to send again (4 api_error, 3 expired, 2 no_credit)"


def test_what_is_under_way_has_an_age_and_an_expiry() -> None:
    job = ledger(batches=(batch(0, landed=landed()), batch(1)))
    assert describe(job, NOW + timedelta(hours=5)) == (
        "Round 1, 1 of 2 batches landed, 10 succeeded, 10 requests under way (the oldest for 5 h 00 min, it expires "
        "in 19 h 00 min), $1.00 spent, $2.00 projected"
    )
    assert "oldest" not in describe(job)


def test_a_request_that_is_sent_again_counts_once() -> None:
    """What is under way or unsent again has no outcome; what failed for good keeps its own."""
    first = landed(counts={"succeeded": 7, "errored": 2, "expired": 1}, again={"api_error": 1, "expired": 1})
    job = ledger(shard(0), plan=ledger(shard(0)).plan, batches=(batch(0, landed=first),))
    assert progress_of(job)["counts"] == {"succeeded": 7, "errored": 2, "expired": 1}
    job = job.but(rounds=2, shards=(shard(0), shard(1, round=2, requests=1), shard(2, round=2, requests=1)))
    job = job.but(batches=(*job.batches, batch(1)))
    progress = progress_of(job)
    assert (progress["counts"], progress["under_way"], progress["unsent"]) == ({"succeeded": 7, "errored": 1}, 1, 1)
    assert describe(job).startswith("Round 2, 1 of 3 batches landed, 7 succeeded, 1 errored, 1 request under way, 1 un")
    second = landed(lines=1, counts={"succeeded": 1})
    done = job.but(batches=(batch(0, landed=first), batch(1, landed=second), batch(2, landed=second)))
    assert progress_of(done)["counts"] == {"succeeded": 9, "errored": 1}


@pytest.mark.parametrize(
    ("counts", "again", "now"),
    [
        ({"succeeded": 10}, {"max_tokens": 4}, {"succeeded": 6}),
        ({"succeeded": 5, "invalid_output": 5}, {"invalid_output": 2, "max_tokens": 3}, {"succeeded": 5}),
        ({"succeeded": 6, "invalid_output": 4}, {"invalid_output": 4}, {"succeeded": 6}),
        ({"succeeded": 3, "canceled": 7}, {"canceled": 7}, {"succeeded": 3}),
    ],
)
def test_the_earlier_outcome_of_a_request_that_is_sent_again_is_forgotten(
    counts: dict[str, int], again: dict[str, int], now: dict[str, int]
) -> None:
    first = batch(0, landed=landed(counts=counts, again=again))
    job = ledger(shard(0), shard(1, round=2, requests=sum(again.values())), rounds=2, batches=(first,))
    assert progress_of(job)["counts"] == now


def test_requests_that_had_no_credit_are_sent_again_once_a_person_has_run_the_job_again() -> None:
    first = landed(counts={"succeeded": 6, "errored": 4}, no_credit=4, forgiven=True)
    job = ledger(shard(0), shard(1, round=2, requests=4), rounds=2, batches=(batch(0, landed=first), batch(1)))
    assert (progress_of(job)["counts"], progress_of(job)["under_way"]) == ({"succeeded": 6}, 4)


def test_a_create_without_an_answer_counts_as_under_way() -> None:
    job = ledger(batches=(batch(0, landed=landed()),), pending=pending(1))
    assert (progress_of(job)["under_way"], progress_of(job)["unsent"]) == (10, 0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("12.345", "$12.34"), ("0", "$0.00"), ("0.00006", "$0.00006"),
        ("0.00002266769468003084040092521203", "$0.000023"), (None, "an unknown amount"),
    ],
)  # fmt: skip
def test_money_is_written_in_cents_or_with_two_digits(amount: str | None, text: str) -> None:
    assert usd(None if amount is None else Decimal(amount)) == text
