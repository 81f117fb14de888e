"""Jobs in stores other than local files, and jobs that are taken step by step."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.defaults import STRICT_SINCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.jobs import JobRefused, run_job
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.decision import JobLimits
from airflow_batches.jobs.engine import Engine
from airflow_batches.jobs.errors import JobOvertaken
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.planning import JobRequests, preview
from airflow_batches.jobs.run import make_engine
from airflow_batches.jobs.steps import Pause
from tests.samples import some_requests
from tests.servers import s3_server
from tests.unit.jobs.conftest import EmulatorClock, Job
from tests.unit.jobs.test_run import numbered


def run_everything(emulator: Emulator, client: BatchesClient, uri: str, options: dict[str, Any]) -> Counter[str]:
    """A job of three shards, where a batch fails in part, a create's answer is lost, and a read breaks off."""
    emulator.configure(errored_share=0.2, processing_time=30)
    emulator.fault(Fault(endpoint="create", action="drop_after_accept", skip=1))
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=100))
    clock = EmulatorClock(emulator)
    clock.on_wait = lambda number: emulator.configure(errored_share=0.0)
    requests = some_requests(30)
    manifest = run_job(client, requests, uri, max_requests=10, storage_options=options, clock=clock)
    assert manifest.counts == {"succeeded": 30}
    assert len(manifest.rounds) == 2
    assert len(manifest.batches) == len(emulator.batches())
    assert run_job(client, requests, uri, storage_options=options, clock=clock) == manifest
    files = fsspec.filesystem(uri.partition(":")[0], **options)
    parts = [files.cat_file(part) for part in files.glob(f"{uri.partition('://')[2]}/results-*.jsonl")]
    return Counter(json.loads(line)["custom_id"] for part in parts for line in part.splitlines())


@pytest.mark.parametrize("store", ["file", "memory"])
def test_a_whole_job_with_faults(emulator: Emulator, client: BatchesClient, tmp_path: Any, store: str) -> None:
    uri = f"memory://{uuid.uuid4().hex}/job" if store == "memory" else f"file://{tmp_path}/job"
    assert run_everything(emulator, client, uri, {}) == numbered(30)


def test_a_whole_job_with_faults_on_s3(emulator: Emulator, client: BatchesClient) -> None:
    with s3_server() as server:
        server.make_bucket("bucket")
        # rclone sends the whole object's checksum with a part of it.
        options = {**server.storage_options, "config_kwargs": {"response_checksum_validation": "when_required"}}
        assert run_everything(emulator, client, "s3://bucket/job", options) == numbered(30)


def test_a_store_whose_folder_holds_other_objects_is_refused(client: BatchesClient) -> None:
    name = uuid.uuid4().hex
    fsspec.filesystem("memory").pipe_file(f"/{name}/other.txt", b"x")
    with pytest.raises(JobRefused, match=r"other\.txt"):
        run_job(client, some_requests(1), f"memory://{name}")


def engine_of(job: Job, requests: Any, *, owner: str = "") -> Engine:
    asked = JobRequests(requests=requests, cut=CutLimits(version=STRICT_SINCE, max_requests=2))
    return make_engine(job.client, JobFolder(job.folder), asked, JobLimits(), owner=owner, clock=job.clock)


def test_a_job_may_be_taken_step_by_step_by_one_runner_after_another(job: Job) -> None:
    job.emulator.configure(processing_time=100)
    legs = 0
    while True:
        engine = engine_of(job, some_requests(6) if not legs else None)
        found = engine.advance()
        if isinstance(found, JobManifest):
            break
        legs += 1
        engine.release()
        job.clock.sleep(70)
    assert legs >= 2
    assert job.ids() == numbered(6)
    assert job.emulator.counters["create"] == 3


def test_a_runner_that_was_replaced_stops_at_its_next_write(job: Job) -> None:
    job.emulator.configure(queue_limit=2, processing_time=50)
    slow = engine_of(job, some_requests(6), owner="task")
    assert isinstance(slow.advance(), Pause)
    fast = engine_of(job, some_requests(6), owner="task")
    fast.run()
    with pytest.raises(JobOvertaken):
        slow.advance()
    assert job.ids() == numbered(6)
    assert len(job.emulator.batches()) == 3


def test_a_preview_stores_nothing_and_sends_only_token_counts(job: Job) -> None:
    asked = JobRequests(requests=some_requests(6), cut=CutLimits(version=STRICT_SINCE, max_requests=2), canary=1)
    shards, estimate = preview(job.client, asked)
    assert [shard.requests for shard in shards] == [1, 2, 2, 1]
    assert estimate.input_tokens
    assert {name for name, calls in job.emulator.counters.items() if calls} == {"count_tokens"}
    before = dict(job.emulator.counters)
    _, offline = preview(None, asked)
    assert offline.method == "3 bytes for a token"
    assert job.emulator.counters == before
    assert not job.folder.exists()
