"""Jobs of rows against the emulator: each row comes back in its place, with its answer or why it has none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel, Field

from airflow_batches.api import InvalidRequest
from airflow_batches.emulator import Rule
from airflow_batches.jobs import JobFailed, JobManifest, JobRefused, JobStopped
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.ledger import JobLedger
from tests.unit.jobs.conftest import Job

ROWS: list[dict[str, Any]] = [{"id": number, "text": f"review {number % 7}", "extra": None} for number in range(20)]
MODEL = "claude-haiku-4-5"


class Verdict(BaseModel):
    sentiment: Literal["good", "bad"]
    stars: Literal[1, 2, 3, 4, 5]


def answer(job: Job, rows: Any = ROWS, **options: Any) -> JobManifest:
    given = {"prompt": "Classify: ${text}", "key": "id", "model": MODEL, "defaults": {"max_tokens": 50}}
    return job.run(None, rows=rows, **{**given, **options})


def published(job: Job) -> list[dict[str, Any]]:
    parts = sorted(job.folder.glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_each_row_comes_back_in_its_place(job: Job) -> None:
    manifest = answer(job, max_requests=3)
    rows = published(job)
    assert [row["id"] for row in rows] == list(range(20))
    assert {row["_status"] for row in rows} == {"succeeded"}
    assert manifest.requests == 7, "equal requests are sent once"
    assert manifest.rows == {"rows": 20, "succeeded": 20, "shared": 13}
    assert "extra" not in rows[0]


def test_rows_without_a_prompt_have_no_answer_and_are_no_failures(job: Job) -> None:
    def prompt(row: Mapping[str, Any]) -> str | None:
        return None if row["id"] % 2 else f"Describe {row['id']}"

    manifest = answer(job, prompt=prompt, keep="all")
    rows = published(job)
    assert [row["_status"] for row in rows[:4]] == ["succeeded", "skipped", "succeeded", "skipped"]
    assert rows[1]["answer"] is None
    assert manifest.rows["skipped"] == 10


def test_a_table_that_needs_no_request_is_published_at_once(job: Job) -> None:
    manifest = answer(job, prompt=lambda row: None)
    assert manifest.requests == 0
    assert [row["_status"] for row in published(job)] == ["skipped"] * 20
    assert not job.emulator.batches()


def test_answers_become_typed_columns(job: Job) -> None:
    manifest = answer(job, output_type=Verdict)
    assert {row["sentiment"] for row in published(job)} <= {"good", "bad"}
    assert all(1 <= row["stars"] <= 5 for row in published(job))
    assert manifest.counts == {"succeeded": 7}


def invalid(times: int | None) -> Rule:
    """A rule: the answers about review 3 are no verdicts."""
    return Rule(text="review 3", answer='{"sentiment": "good", "stars": 9}', times_per_id=times)


def test_an_answer_that_is_not_of_the_type_is_asked_for_again(job: Job) -> None:
    job.emulator.set_rules([invalid(1)])
    manifest = answer(job, output_type=Verdict)
    assert manifest.counts == {"succeeded": 7}
    assert manifest.rounds[0].again == {"invalid_output": 1}
    assert [batch["request_counts"]["succeeded"] for batch in job.emulator.batches()] == [1, 7]


def test_one_that_stays_invalid_is_listed_with_the_reason(job: Job) -> None:
    job.emulator.set_rules([invalid(None)])
    manifest = answer(job, output_type=Verdict, max_failure_rate=None)
    assert manifest.counts == {"succeeded": 6, "invalid_output": 1}
    failed = [json.loads(line) for line in (job.folder / "failed.jsonl").read_text().splitlines()]
    assert {row["id"] for row in failed} == {3, 10, 17}
    assert all("stars" in row["_error"] for row in failed)
    assert [row["sentiment"] for row in published(job) if row["id"] in {3, 10, 17}] == [None] * 3


def test_the_finished_job_sends_nothing_and_other_rows_are_refused(job: Job) -> None:
    manifest = answer(job)
    sent = len(job.emulator.batches())
    assert answer(job) == manifest
    with pytest.raises(JobRefused, match="other rows") as refused:
        answer(job, [*ROWS[:-1], {"id": 99, "text": "review 6", "extra": None, "more": 1}], prompt="Judge: ${text}")
    assert manifest.job_id
    assert "20 rows with fingerprint" in str(refused.value)
    with pytest.raises(JobRefused, match="other requests"):
        job.run(["a"], model=MODEL, defaults={"max_tokens": 5})
    assert len(job.emulator.batches()) == sent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "${nothing}"}, "nothing"),
        ({"keep": "all", "rows": [{"text": "a", "_status": "b"}], "key": None}, "_status"),
        ({"prompt": None}, "rows need a prompt"),
        ({"rows": None}, "prompt is for rows"),
        ({"rows": None, "prompt": None, "key": None, "reuse": "/somewhere"}, "reuse is for rows"),
        ({"format": "jsonl.gz"}, "parquet, csv, jsonl"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(job: Job, options: dict[str, Any], message: str) -> None:
    rows = options.pop("rows", ROWS)
    with pytest.raises((InvalidRequest, JobRefused), match=message):
        answer(job, rows, **options)
    assert not job.emulator.batches()


def test_an_earlier_jobs_answers_are_taken_for_equal_requests(job: Job, tmp_path: Path) -> None:
    first = answer(job)
    before = {row["id"]: row["answer"] for row in published(job)}
    later = Job(job.emulator, job.client, tmp_path / "later")
    rows = [*ROWS[:10], {"id": 50, "text": "a new one", "extra": None}]
    manifest = answer(later, rows, reuse=str(job.folder))
    assert manifest.requests == 1, "only the new row is sent"
    assert manifest.rows == {"rows": 11, "succeeded": 11, "shared": 3, "reused": 7}
    assert {row["id"]: row["answer"] for row in published(later) if row["id"] != 50} == {
        key: text for key, text in before.items() if key < 10
    }
    assert manifest.cost_usd is not None
    assert first.cost_usd is not None
    assert manifest.cost_usd < first.cost_usd
    third = Job(job.emulator, job.client, tmp_path / "third")
    assert answer(third, rows, reuse=str(later.folder)).requests == 0, "also answers that were taken are taken again"
    assert published(third) == published(later)


def test_failures_old_answers_and_other_params_are_not_taken(job: Job, tmp_path: Path) -> None:
    job.emulator.set_rules([invalid(None)])
    answer(job, output_type=Verdict, max_failure_rate=None, rounds=1)
    job.emulator.set_rules([])

    def again(name: str, **options: Any) -> int:
        later = Job(job.emulator, job.client, tmp_path / name)
        return answer(later, output_type=Verdict, reuse=str(job.folder), **options).requests

    assert again("failures") == 1
    assert again("other prompt", prompt="Judge: ${text}") == 7
    assert again("other limit", defaults={"max_tokens": 51}) == 7
    job.clock.sleep(7200)
    assert again("old", max_age=timedelta(hours=1)) == 7
    assert again("young enough", max_age=timedelta(hours=24)) == 1


def test_reuse_of_a_folder_without_rows_is_refused(job: Job, tmp_path: Path) -> None:
    other = Job(job.emulator, job.client, tmp_path / "other")
    other.run(["a"], model=MODEL, defaults={"max_tokens": 5})
    for folder, held in ((other.folder, "a job without rows"), (tmp_path / "nothing", "no job")):
        with pytest.raises(JobRefused, match=f"holds {held}"):
            answer(job, reuse=str(folder))
    assert not (job.folder / "_job/ledger.json").exists()


class Stars(BaseModel):
    """The API takes no bounds, so that an answer may be out of them."""

    stars: int = Field(ge=1, le=5)


FOUR_STARS = Rule(answer='{"stars": 4}')


class Opinion(BaseModel):
    opinion: str


class Stopped(Exception):
    """The process ends."""


def stop_once_sent(ledger: JobLedger) -> None:
    if ledger.batches:
        raise Stopped


def test_a_runner_without_the_type_judges_as_one_with_it(job: Job) -> None:
    job.emulator.set_rules([Rule(text="review 3", answer='{"stars": 9}', times_per_id=1), FOUR_STARS])
    with pytest.raises(Stopped):
        answer(job, output_type=Stars, progress=stop_once_sent)
    manifest = job.run(None)
    assert manifest.rounds[0].again == {"invalid_output": 1}
    assert {row["_status"] for row in published(job)} == {"succeeded"}


def test_another_type_does_not_judge_the_answers_of_the_planned_one(job: Job) -> None:
    job.emulator.set_rules([FOUR_STARS])
    with pytest.raises(Stopped):
        answer(job, output_type=Stars, progress=stop_once_sent)
    with pytest.raises(JobRefused, match="other rows"):
        answer(job, output_type=Opinion)
    manifest = answer(job, output_type=Opinion, on_changed="continue")
    assert manifest.counts == {"succeeded": 7}
    assert {row["stars"] for row in published(job)} == {4}


def test_rows_that_are_gone_do_not_end_a_job_whose_batches_run(job: Job, tmp_path: Path) -> None:
    source = tmp_path / "rows"
    source.mkdir()
    (source / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.raises(Stopped):
        answer(job, str(source), progress=stop_once_sent)
    (source / "a.jsonl").unlink()
    gone: list[Any] = [str(source), []]
    for rows in gone:
        with pytest.raises(JobRefused, match=r"20 rows .* given are no rows"):
            answer(job, rows)
    assert answer(job, str(source), on_changed="continue").rows["succeeded"] == 20


def test_requests_that_are_gone_do_not_end_a_job_whose_batches_run(job: Job) -> None:
    given = {"model": MODEL, "defaults": {"max_tokens": 5}}
    with pytest.raises(Stopped):
        job.run(["a"], progress=stop_once_sent, **given)
    with pytest.raises(JobRefused, match=r"1 requests .* given are no requests"):
        job.run([], **given)


def refused(text: str) -> Rule:
    """A rule: a request whose prompt has this text fails for good."""
    return Rule(text=text, outcome="errored", error_type="invalid_request_error")


def test_a_failed_request_that_many_rows_share_counts_as_often(job: Job) -> None:
    job.emulator.set_rules([refused("n/a")])
    rows = [{"id": number, "text": "n/a" if number % 2 else f"review {number}"} for number in range(20)]
    with pytest.raises(JobFailed, match="10 of 20 rows have no answer"):
        answer(job, rows, max_failure_rate=0.2)


def test_rows_that_were_answered_before_count_as_answered(job: Job, tmp_path: Path) -> None:
    answer(job)
    job.emulator.set_rules([refused("a new one")])
    later = Job(job.emulator, job.client, tmp_path / "later")
    rows = [*ROWS, {"id": 50, "text": "a new one", "extra": None}]
    manifest = answer(later, rows, reuse=str(job.folder), max_failure_rate=0.1)
    assert (manifest.requests, manifest.failures, manifest.asked) == (1, 1, 21)


def test_only_the_last_outcome_of_a_request_is_taken(job: Job, tmp_path: Path) -> None:
    job.emulator.set_rules(
        [Rule(text="review 3", answer="cut", stop_reason="max_tokens", times_per_id=1), refused("review 3")]
    )
    answer(job, max_tokens_growth=2.0, max_failure_rate=None)
    job.emulator.set_rules([])
    later = Job(job.emulator, job.client, tmp_path / "later")
    assert answer(later, reuse=str(job.folder)).requests == 1


def test_answers_that_were_cut_are_taken_unless_they_would_be_sent_again(job: Job, tmp_path: Path) -> None:
    job.emulator.set_rules([Rule(text="review 3", answer="cut", stop_reason="max_tokens")])
    answer(job)
    for name, growth, sent in (("same limit", None, 0), ("higher limit", 2.0, 1)):
        later = Job(job.emulator, job.client, tmp_path / name)
        assert answer(later, reuse=str(job.folder), max_tokens_growth=growth).requests == sent


def test_without_dedupe_an_earlier_answer_is_taken_by_one_row_only(job: Job, tmp_path: Path) -> None:
    answer(job)
    later = Job(job.emulator, job.client, tmp_path / "later")
    manifest = answer(later, reuse=str(job.folder), dedupe=False)
    assert manifest.rows == {"rows": 20, "succeeded": 20, "reused": 7}
    assert manifest.requests == 13


def test_the_same_texts_under_other_keys_are_other_rows(job: Job) -> None:
    answer(job)
    with pytest.raises(JobRefused, match="other rows"):
        answer(job, [{**row, "id": 100 + row["id"]} for row in ROWS])
    assert answer(job, [{**row, "extra": "new"} for row in ROWS]).rows["rows"] == 20


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_context_window_exceeded", "refusal"])
def test_an_answer_that_was_cut_off_is_not_asked_for_again_unchanged(job: Job, stop_reason: Any) -> None:
    cut = Rule(text="review 3", answer='{"stars": ', stop_reason=stop_reason)
    job.emulator.set_rules([cut, FOUR_STARS])
    manifest = answer(job, output_type=Stars, max_failure_rate=None)
    assert manifest.counts == {"succeeded": 6, "invalid_output": 1}
    assert len(job.emulator.batches()) == 1


def test_one_that_max_tokens_cut_is_asked_for_again_with_a_higher_limit(job: Job) -> None:
    cut = Rule(text="review 3", answer='{"stars": ', stop_reason="max_tokens", times_per_id=2)
    job.emulator.set_rules([cut, FOUR_STARS])
    manifest = answer(job, output_type=Stars, max_tokens_growth=1.01)
    assert manifest.counts == {"succeeded": 7}
    sent = [json.loads(path.read_text()) for path in sorted((job.folder / "_job").glob("requests-*-[23]-*.jsonl"))]
    assert [request["params"]["max_tokens"] for request in sent] == [51, 52]


def test_invalid_answers_of_the_canary_stop_the_job(job: Job) -> None:
    job.emulator.set_rules([Rule(answer='{"stars": 9}')])
    with pytest.raises(JobStopped, match="canary") as stopped:
        answer(job, output_type=Stars, canary=2, canary_sample="spread")
    assert "(2 invalid_output)" in str(stopped.value)
    assert "The commonest errors: 2 x invalid_output: stars" in str(stopped.value)
    (batch,) = job.emulator.batches()
    assert f"_job/landed/{batch['id']}.jsonl" in str(stopped.value), "the object with the answers"


def test_a_round_counts_the_answers_that_are_not_of_the_type(job: Job) -> None:
    job.emulator.set_rules([invalid(1)])
    manifest = answer(job, output_type=Verdict)
    assert manifest.rounds[0].counts == {"succeeded": 6, "invalid_output": 1}
    assert manifest.rounds[1].counts == {"succeeded": 1}


def test_a_canary_that_is_spread_over_the_rows_leaves_each_answer_with_its_row(job: Job) -> None:
    job.emulator.set_rules([Rule(text=f"<{number}>", answer=f"about {number}") for number in range(20)])
    answer(job, prompt="<${id}>", canary=3, canary_sample="spread", max_requests=4)
    assert [row["answer"] for row in published(job)] == [f"about {number}" for number in range(20)]


def test_a_job_that_needs_no_request_needs_no_canary_no_cache_and_no_money(job: Job, tmp_path: Path) -> None:
    answer(job)
    sent = len(job.emulator.batches())
    later = Job(job.emulator, job.client, tmp_path / "later")
    options = {"canary": 2, "canary_sample": "spread", "warm_cache": True, "max_cost_usd": 0}
    manifest = answer(later, reuse=str(job.folder), **options)
    assert manifest.rows == {"rows": 20, "succeeded": 20, "shared": 13, "reused": 7}
    assert (manifest.requests, len(job.emulator.batches()), manifest.cost_usd) == (0, sent, Decimal(0))


def test_answers_of_a_job_that_is_not_done_are_taken_as_far_as_they_have_landed(job: Job, tmp_path: Path) -> None:
    def stop_once_landed(ledger: JobLedger) -> None:
        if ledger.landed:
            raise Stopped

    with pytest.raises(Stopped):
        answer(job, max_requests=3, max_queued=3, progress=stop_once_landed)
    later = Job(job.emulator, job.client, tmp_path / "later")
    assert answer(later, reuse=str(job.folder), format="csv").rows["reused"] == 3
    assert answer(job).rows["succeeded"] == 20


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"succeeded", b"succeedex", 1))


def test_answers_taken_from_an_earlier_job_are_not_published_once_they_were_changed(job: Job, tmp_path: Path) -> None:
    def stop_once_planned(ledger: JobLedger) -> None:
        raise Stopped

    answer(job)
    later = Job(job.emulator, job.client, tmp_path / "later")
    with pytest.raises(Stopped):
        answer(later, reuse=str(job.folder), progress=stop_once_planned)
    (taken,) = (later.folder / "_job").glob("reused-*.jsonl")
    as_stored = taken.read_bytes()
    change(taken)
    with pytest.raises(JobError, match="not the object that was stored there"):
        answer(later, reuse=str(job.folder))
    assert not published(later)
    taken.write_bytes(as_stored)
    assert answer(later, reuse=str(job.folder)).rows["reused"] == 7


def test_answers_that_were_taken_are_not_taken_again_once_they_were_changed(job: Job, tmp_path: Path) -> None:
    answer(job)
    later = Job(job.emulator, job.client, tmp_path / "later")
    answer(later, reuse=str(job.folder))
    change(next((later.folder / "_job").glob("reused-*.jsonl")))
    with pytest.raises(JobError, match="not the object that was stored there"):
        answer(Job(job.emulator, job.client, tmp_path / "last"), reuse=str(later.folder))


@pytest.mark.parametrize("reached", ["batches", "landed"])
def test_a_run_without_pyarrow_says_what_a_job_of_rows_needs(job: Job, reached: str) -> None:
    def stop(ledger: JobLedger) -> None:
        if getattr(ledger, reached):
            raise Stopped

    with pytest.raises(Stopped):
        answer(job, progress=stop)
    job.emulator.clock.advance(3_600)
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from airflow_batches.api import BatchesClient; from airflow_batches.jobs import run_job\n"
        f"client = BatchesClient({job.emulator.api_key!r}, base_url={job.emulator.url!r})\n"
        f"run_job(client, None, {str(job.folder)!r}, owner='test')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "InvalidRequest: rows need pyarrow: pip install 'airflow-batches[parquet]'" in run.stderr
    assert answer(job).rows["succeeded"] == 20


def test_a_landed_object_that_was_changed_gives_no_answers(job: Job, tmp_path: Path) -> None:
    answer(job)
    change(job.folder / f"_job/landed/{job.emulator.batches()[0]['id']}.jsonl")
    later = Job(job.emulator, job.client, tmp_path / "later")
    with pytest.raises(JobError, match="is not the object that landed"):
        answer(later, reuse=str(job.folder))
    assert not (later.folder / "_job/ledger.json").exists()
