"""kill -9 of a process that runs a job, at each kind of effect; another process continues the job."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

import pytest

from airflow_batches.emulator import Emulator
from tests.samples import some_requests
from tests.unit.jobs.conftest import Job
from tests.unit.jobs.test_run import numbered

SCRIPT: Final = """
import os, pathlib, signal, sys
from airflow_batches.api import BatchesClient
from airflow_batches.jobs import run_job
from tests.samples import some_requests
url, key, folder, effect, when, left = *sys.argv[1:6], [int(sys.argv[6])]

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
else:
    pathlib.Path.replace = dying(pathlib.Path.replace)
with BatchesClient(key, base_url=url) as client:
    run_job(client, some_requests(10), folder, max_requests=5, owner="test", poll_interval=0.05)
"""
POINTS: Final = [
    ("create", "before", 1), ("create", "after", 1), ("create", "before", 2), ("create", "after", 2),
    *(("object", "before", number) for number in (1, 2, 3, 5, 8)),
    *(("object", "after", number) for number in (1, 2, 3, 4, 6, 7, 9, 11, 13)),
]  # fmt: skip
"""Objects in their order: requests, ledger, intent, batch, intent, batch, landings (three objects each) with the ledger
after each, parts and manifest."""


@pytest.mark.parametrize(("effect", "when", "number"), POINTS)
def test_a_job_that_was_killed_goes_on_and_sends_nothing_twice(
    emulator: Emulator, job: Job, effect: str, when: str, number: int
) -> None:
    arguments = [emulator.url, emulator.api_key, str(job.folder), effect, when, str(number)]
    killed = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (job.folder / "manifest.json").exists()
    manifest = job.run(some_requests(10), max_requests=5)
    assert job.ids() == numbered(10)
    assert len(emulator.batches()) == len(manifest.batches) == 2
