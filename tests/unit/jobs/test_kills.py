"""kill -9 of a process that runs a job, at each kind of effect and in each store; another process continues the job."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Rule
from airflow_batches.jobs import run_job
from tests.samples import some_requests
from tests.servers import S3Server, gateway, s3_server
from tests.unit.jobs.conftest import EmulatorClock, Job
from tests.unit.jobs.test_run import numbered

SCRIPT: Final = """
import json, os, pathlib, signal, sys
from airflow_batches.api import BatchesClient
from airflow_batches.jobs import run_job
from airflow_batches.landing.s3_upload import S3Upload
url, key, path, options, effect, when, left = *sys.argv[1:7], [int(sys.argv[7])]

def dying(call):
    def called(*args, **options):
        left[0] -= 1
        if not left[0] and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*args, **options)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return called

if effect == "create":
    BatchesClient.create_streamed = dying(BatchesClient.create_streamed)
elif path.startswith("s3:"):
    S3Upload._publish = dying(S3Upload._publish)
else:
    pathlib.Path.replace = dying(pathlib.Path.replace)
with BatchesClient(key, base_url=url) as client:
    run_job(client, path=path, **json.loads(options), owner="test", poll_interval=0.05)
"""
REQUESTS: Final[dict[str, Any]] = {"requests": [*some_requests(10)], "max_requests": 5}
CREATES: Final = [("create", "before", 1), ("create", "after", 1), ("create", "before", 2), ("create", "after", 2)]
POINTS: Final = [
    *CREATES,
    *(("object", "before", number) for number in (1, 2, 3, 5, 8)),
    *(("object", "after", number) for number in (1, 2, 3, 4, 6, 7, 9, 11, 13)),
]  # fmt: skip
"""Objects in their order: requests, ledger, intent, batch, intent, batch, landings (three objects each) with the ledger
after each, parts and manifest."""
S3_POINTS: Final = [
    *CREATES, ("object", "before", 2), ("object", "before", 5), ("object", "after", 1), ("object", "after", 3),
    ("object", "after", 7), ("object", "after", 13),
]  # fmt: skip
"""Fewer, because each takes seconds."""
ROW_POINTS: Final = [
    *(("object", "after", number) for number in (1, 2, 3, 4, 19, 20, 21)), ("object", "before", 22),
    ("create", "after", 2),
]  # fmt: skip
"""Objects in their order: reused answers, rows, requests, ledger; those of the batches; `publishing`, part, failures,
manifest."""
ABOUT: Final[list[dict[str, Any]]] = [{"id": number, "topic": f"<{number}>"} for number in range(12)]
ROWS: Final[dict[str, Any]] = {
    "rows": ABOUT, "prompt": "Describe ${topic}", "key": "id", "format": "jsonl", "max_requests": 5,
    "model": "claude-haiku-4-5", "defaults": {"max_tokens": 50},
}  # fmt: skip


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A store that writes conditionally, as AWS does."""
    with s3_server() as server, gateway(server, conditions="honoured") as running:
        running.make_bucket("bucket")
        yield running


def killed(emulator: Emulator, path: str, options: Any, effect: str, when: str, number: int) -> int:
    """Run a job in a process that kills itself; return its exit code."""
    arguments = [emulator.url, emulator.api_key, path, json.dumps(options), effect, when, str(number)]
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False).returncode


@pytest.mark.parametrize(("effect", "when", "number"), POINTS)
def test_a_job_that_was_killed_goes_on_and_sends_nothing_twice(
    emulator: Emulator, job: Job, effect: str, when: str, number: int
) -> None:
    assert killed(emulator, str(job.folder), REQUESTS, effect, when, number) == -signal.SIGKILL
    assert not (job.folder / "manifest.json").exists()
    manifest = job.run(**REQUESTS)
    assert job.ids() == numbered(10)
    assert len(emulator.batches()) == len(manifest.batches) == 2


@pytest.mark.parametrize(("effect", "when", "number"), ROW_POINTS)
def test_a_job_of_rows_that_was_killed_answers_each_row_once(
    emulator: Emulator, job: Job, tmp_path: Path, effect: str, when: str, number: int
) -> None:
    emulator.set_rules([Rule(answer="from the earlier job")])
    Job(emulator, job.client, tmp_path / "earlier").run(**{**ROWS, "rows": ABOUT[:2]})
    emulator.set_rules([Rule(text=row["topic"], answer=f"about {row['topic']}") for row in ABOUT])
    given = {**ROWS, "reuse": str(tmp_path / "earlier")}

    assert killed(emulator, str(job.folder), given, effect, when, number) == -signal.SIGKILL
    assert not (job.folder / "manifest.json").exists()
    manifest = job.run(**given)

    answers = [(row["id"], row["answer"]) for row in job.lines("part-*.jsonl")]
    assert answers[:2] == [(0, "from the earlier job"), (1, "from the earlier job")]
    assert answers[2:] == [(row["id"], f"about {row['topic']}") for row in ABOUT[2:]]
    assert manifest.rows["reused"] == 2
    assert len(emulator.batches()) == 1 + len(manifest.batches) == 3


@pytest.mark.parametrize(("effect", "when", "number"), S3_POINTS)
def test_on_s3_as_well(
    emulator: Emulator, client: BatchesClient, s3: S3Server, tmp_path: Path, effect: str, when: str, number: int
) -> None:
    path = f"s3://bucket/{tmp_path.name}"
    options = {**s3.storage_options, "config_kwargs": {"response_checksum_validation": "when_required"}}
    job = Job(emulator, client, s3.folder / "bucket" / tmp_path.name)
    assert killed(emulator, path, {**REQUESTS, "storage_options": options}, effect, when, number) == -signal.SIGKILL
    assert not (job.folder / "manifest.json").exists()
    manifest = run_job(
        client, path=path, **REQUESTS, storage_options=options, owner="test", clock=EmulatorClock(emulator)
    )
    assert job.ids() == numbered(10)
    assert len(emulator.batches()) == len(manifest.batches) == 2
