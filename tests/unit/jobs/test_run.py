"""Whole jobs against the emulator, on local files: what is sent, what is published."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from airflow_batches.api import BatchesError, InvalidRequest
from airflow_batches.emulator import Fault
from airflow_batches.jobs import JobFailed, JobRefused
from airflow_batches.jobs.errors import LedgerError
from airflow_batches.submission.errors import EmptySource, PreflightError, SourceChanged
from tests.samples import some_requests
from tests.unit.jobs.conftest import Job
from tests.unit.submission.helpers import jsonl

MODEL = "claude-haiku-4-5"


class Stopped(BaseException):
    """The process was killed while it waited."""


def stop(number: int) -> None:
    raise Stopped


def numbered(count: int) -> Counter[str]:
    return Counter(f"r-{number}" for number in range(count))


def test_requests_are_answered_in_shards_and_published_once(job: Job) -> None:
    manifest = job.run(some_requests(25), max_requests=10)
    assert job.ids() == numbered(25)
    assert manifest.counts == {"succeeded": 25}
    assert [batch.requests for batch in manifest.batches] == [10, 10, 5]
    assert job.lines("failed.jsonl") == []
    assert json.loads((job.folder / "manifest.json").read_text())["requests"] == 25


def test_shards_are_limited_by_bytes_too(job: Job) -> None:
    manifest = job.run(some_requests(10), max_bytes=500)
    assert len(manifest.batches) == 3
    assert job.ids() == numbered(10)


def test_a_finished_job_sends_nothing_and_returns_its_manifest(job: Job) -> None:
    first = job.run(some_requests(5))
    assert job.run(some_requests(5)) == first
    assert job.run(None) == first
    assert job.emulator.counters["create"] == 1


def test_other_requests_are_refused_with_both_fingerprints_and_the_cure(job: Job) -> None:
    job.run(some_requests(5))
    other = Job(job.emulator, job.client, job.folder.with_name("other"))
    other.run(some_requests(6))
    with pytest.raises(JobRefused, match="use another folder") as refused:
        job.run(some_requests(6))
    for its in (job, other):
        assert its.ledger["plan"]["fingerprint"] in str(refused.value)
    assert "on_changed='continue'" in str(refused.value)
    with pytest.raises(JobRefused, match="other requests"):
        job.run(some_requests(5), defaults={"system": "x"})
    assert job.emulator.counters["create"] == 2


def test_the_folders_job_may_go_on_although_other_requests_are_given(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    job.emulator.configure(queue_limit=2, processing_time=100)
    job.clock.on_wait = stop
    with pytest.raises(Stopped):
        job.run(["a", "b", "c"], model=MODEL, defaults={"max_tokens": 9}, max_requests=1)
    job.clock.on_wait = lambda number: None
    given = {"on_changed": "continue", "model": "claude-opus-4-5", "max_requests": 2}
    manifest = job.run(some_requests(5), **given)
    assert manifest.requests == 3
    assert {line["result"]["message"]["model"] for line in job.lines()} == {"claude-haiku-4-5-20251001"}
    assert len(job.emulator.batches()) == 3
    assert manifest.fingerprint in caplog.text
    assert "the given requests are not sent" in caplog.text
    assert job.run(some_requests(6), **given) == manifest


def test_a_mode_that_would_pay_twice_does_not_exist(job: Job) -> None:
    with pytest.raises(InvalidRequest, match="'fail' or 'continue', not 'replace'"):
        job.run(some_requests(1), on_changed="replace")


def test_the_same_requests_in_another_order_are_the_same_job(job: Job) -> None:
    assert job.run(some_requests(5)) == job.run(some_requests(5)[::-1])


def test_a_folder_with_other_files_is_refused(job: Job) -> None:
    job.folder.mkdir()
    (job.folder / "thesis.doc").touch()
    with pytest.raises(JobRefused, match=r"thesis\.doc"):
        job.run(some_requests(1))
    assert [path.name for path in job.folder.iterdir()] == ["thesis.doc"]


def test_a_damaged_ledger_sends_nothing(job: Job) -> None:
    job.run(some_requests(1))
    path = job.folder / "_job/ledger.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LedgerError, match="nothing starts over"):
        job.run(some_requests(1))
    assert job.emulator.counters["create"] == 1


def test_an_empty_source_is_refused(job: Job) -> None:
    with pytest.raises(EmptySource):
        job.run([])


def test_a_folder_without_a_job_cannot_be_continued(job: Job) -> None:
    with pytest.raises(JobRefused, match="holds no job"):
        job.run(None)


# Sources


def test_texts_get_ids_that_begin_with_the_jobs(job: Job) -> None:
    manifest = job.run(["What is 1?", "What is 2?"], model=MODEL, defaults={"max_tokens": 9, "system": "Be brief"})
    assert job.ids() == Counter([f"{manifest.job_id}-0", f"{manifest.job_id}-1"])
    stored = [json.loads(line) for line in next(job.folder.glob("_job/requests-*.jsonl")).read_text().splitlines()]
    assert stored[1]["params"] == {
        "max_tokens": 9, "system": "Be brief", "messages": [{"role": "user", "content": "What is 2?"}]
    }  # fmt: skip
    assert job.ledger["plan"]["generated"]
    job.run(["What is 1?", "What is 2?"], model=MODEL, defaults={"max_tokens": 9, "system": "Be brief"})
    assert job.emulator.counters["create"] == 1


def test_prompts_and_params_may_name_their_ids_and_win_over_defaults(job: Job) -> None:
    items = [{"custom_id": "a", "prompt": "Hi"}, {"params": {**some_requests(1)[0]["params"], "max_tokens": 5}}]
    manifest = job.run(iter(items), model=MODEL, defaults={"max_tokens": 9})
    assert job.ids() == Counter(["a", f"{manifest.job_id}-1"])
    assert not job.ledger["plan"]["generated"]
    assert '"max_tokens":5' in next(job.folder.glob("_job/requests-*.jsonl")).read_text()


@pytest.mark.parametrize(
    "item",
    [7, {"prompt": 7}, {"custom_id": "a"}, {"prompt": "a", "params": {}}, {"prompt": "a", "x": 1}, {"params": 1}],
)
def test_what_is_no_request_is_refused_by_its_number(job: Job, item: object) -> None:
    with pytest.raises(ValueError, match="request 2"):
        job.run(["fine", item], model=MODEL, defaults={"max_tokens": 9})
    assert not (job.folder / "_job/ledger.json").exists()


def test_a_callable_gives_the_requests_at_each_run(job: Job) -> None:
    job.run(lambda: iter(some_requests(3)))
    job.run(lambda: some_requests(3))
    assert job.ids() == numbered(3)


def test_jsonl_is_used_in_place_by_ranges(job: Job, tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "in.jsonl", some_requests(25))
    job.run(uri, max_requests=10)
    assert job.ids() == numbered(25)
    assert [shard["object"] for shard in job.ledger["shards"]] == [uri] * 3
    assert not [*job.folder.glob("_job/requests*")]


@pytest.mark.parametrize("case", ["defaults", "compressed", "spread"])
def test_jsonl_is_stored_where_ranges_of_it_cannot_be_sent(job: Job, tmp_path: Path, case: str) -> None:
    uri = jsonl(tmp_path / "in.jsonl", some_requests(12))
    if case == "compressed":
        (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress((tmp_path / "in.jsonl").read_bytes()))
        job.run(f"{uri}.gz", max_requests=5)
    elif case == "defaults":
        job.run(uri, max_requests=5, defaults={"system": "x"})
    else:
        job.run(uri, max_requests=5, canary=3, canary_sample="spread")
        first = next(job.folder.glob("_job/requests-*.jsonl")).read_text().splitlines()[:3]
        assert [json.loads(line)["custom_id"] for line in first] == ["r-0", "r-4", "r-8"]
    assert job.ids() == numbered(12)


def test_a_source_that_changed_after_it_was_planned_is_not_sent(job: Job, tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "in.jsonl", some_requests(20))
    job.emulator.configure(queue_limit=10)
    job.emulator.configure(processing_time=100)

    def change(number: int) -> None:
        jsonl(tmp_path / "in.jsonl", some_requests(20, max_tokens=11))

    job.clock.on_wait = change
    with pytest.raises(SourceChanged, match="shard 1 was not sent"):
        job.run(uri, max_requests=10)
    assert len(job.emulator.batches()) == 1


def test_requests_that_the_api_would_refuse_are_found_before_anything_is_sent(job: Job) -> None:
    with pytest.raises(PreflightError):
        job.run([*some_requests(3), *some_requests(1)])
    assert job.emulator.counters["create"] == 0


# Publication


@pytest.mark.parametrize("format_", ["jsonl.gz", "jsonl.zst", "parquet"])
def test_answers_may_be_compressed_or_a_table(job: Job, format_: str) -> None:
    manifest = job.run(some_requests(6), max_requests=3, format=format_)
    assert [part.uri.rpartition("/")[2] for part in manifest.results] == [f"results-0000{n}.{format_}" for n in (0, 1)]
    assert sum(part.lines for part in manifest.results) == 6
    assert all((job.folder / part.uri.rpartition("/")[2]).stat().st_size == part.bytes for part in manifest.results)


def test_failures_are_published_beside_the_answers_and_judged(job: Job) -> None:
    requests = [*some_requests(9), *some_requests(1, prefix="bad", model="claude-unknown-1")]
    with pytest.raises(JobFailed, match="1 of 10") as failed:
        job.run(requests, max_requests=4)
    assert job.ids() == numbered(9)
    assert job.ids("failed.jsonl") == Counter(["bad-0"])
    assert failed.value.manifest.error_types == {"not_found_error": 1}
    assert job.run(requests, max_failure_rate=0.1).counts == {"succeeded": 9, "errored": 1}
    assert job.emulator.counters["create"] == 3


def test_a_job_without_any_answer_fails_whatever_is_allowed(job: Job) -> None:
    with pytest.raises(JobFailed):
        job.run(some_requests(2, model="claude-unknown-1"), max_failure_rate=None)


def test_the_manifest_names_what_it_cost_beside_the_estimate(job: Job) -> None:
    manifest = job.run(some_requests(10), max_requests=5)
    assert manifest.cost_usd is not None
    assert manifest.cost_usd > 0
    assert sum(cost for cost in manifest.cost_by_model.values() if cost is not None) == manifest.cost_usd
    assert sum(batch.cost_usd or 0 for batch in manifest.batches) == manifest.cost_usd
    estimate = manifest.estimate
    assert estimate.floor_usd is not None
    assert estimate.ceiling_usd is not None
    assert estimate.floor_usd < manifest.cost_usd <= estimate.ceiling_usd
    assert estimate.max_output_tokens == 100
    assert "token count of 10 requests" in estimate.method


def test_a_landed_object_that_was_changed_is_not_published(job: Job) -> None:
    job.emulator.configure(queue_limit=5, processing_time=100)

    def spoil(number: int) -> None:
        for landed in job.folder.glob("_job/landed/*[0-9A-Za-z].jsonl"):
            if not landed.name.endswith(".failed.jsonl"):
                landed.write_bytes(landed.read_bytes().replace(b"end_turn", b"end_torn"))

    job.clock.on_wait = spoil
    with pytest.raises(Exception, match="is not the object that landed"):
        job.run(some_requests(10), max_requests=5)
    assert not (job.folder / "manifest.json").exists()


def test_jsonl_of_prompts_is_stored_with_generated_ids(job: Job, tmp_path: Path) -> None:
    source = tmp_path / "prompts.jsonl"
    params = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
    source.write_text("".join(f"{json.dumps({'params': params})}\n" for _ in range(3)))
    manifest = job.run(source)
    assert manifest.counts == {"succeeded": 3}
    assert all(custom_id.startswith(manifest.job_id) for custom_id in job.ids())
    assert job.run(source).job_id == manifest.job_id


@pytest.mark.parametrize("text", ['"Hello"\n"What is 2?"\n', "Hello\nWhat is 2?\n"], ids=["JSON strings", "plain text"])
@pytest.mark.parametrize("defaults", [{}, {"max_tokens": 20}])
def test_a_file_of_bare_texts_is_refused_with_the_cure(
    job: Job, tmp_path: Path, text: str, defaults: dict[str, int]
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(text)
    with pytest.raises(PreflightError, match=r'for a job \{"prompt": "the text"\}'):
        job.run(source, model=MODEL, defaults=defaults)
    assert job.emulator.counters["create"] == 0


def test_a_job_is_published_in_the_format_that_it_was_planned_with(job: Job) -> None:
    job.emulator.fault(Fault(endpoint="results", action="status", status=404, message="gone", times=1_000))
    with pytest.raises(BatchesError):
        job.run(some_requests(2), format="jsonl.gz")
    job.emulator.faults.clear()
    job.run(None)
    assert [part.name for part in job.folder.glob("results-*")] == ["results-00000.jsonl.gz"]
