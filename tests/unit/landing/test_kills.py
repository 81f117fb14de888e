"""kill -9 in the middle of a landing: no object, and the next run lands it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import land
from tests.servers import s3_server
from tests.unit.landing.support import ended_batch, landed_lines, lines_of_the_api, names_in

SCRIPT = """
import sys, json
from airflow_batches.api import BatchesClient
from airflow_batches.landing import land
url, key, batch_id, uri, options = sys.argv[1:]
with BatchesClient(key, base_url=url) as client:
    land(client, batch_id, uri, storage_options=json.loads(options))
"""


@contextmanager
def store(kind: str, folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """A place's URI, the folder that shows it, and how to reach it."""
    if kind == "file":
        yield f"file://{folder}", folder, {}
        return
    with s3_server() as server:
        yield "s3://bucket", server.make_bucket("bucket"), server.storage_options


def killed_midway(emulator: Emulator, batch_id: str, uri: str, options: dict[str, Any], ready: Any) -> None:
    """A process that lands, killed as soon as `ready` says that something of it can be seen."""
    import json

    arguments = [emulator.url, emulator.api_key, batch_id, uri, json.dumps(options)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments])
    try:
        deadline = time.monotonic() + 60
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_a_landing_killed_midway_leaves_no_object_and_the_next_run_lands_it(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, kind: str
) -> None:
    emulator.configure(answer_chars=100_000)
    batch_id = ended_batch(client, 300)
    plan = emulator.fault(Fault(endpoint="results", action="stall", after_bytes=20_000_000, seconds=60))
    with store(kind, tmp_path) as (root, folder, options):
        uri = f"{root}/out.jsonl"
        killed_midway(
            emulator, batch_id, uri, options, lambda: sum(f.stat().st_size for f in folder.iterdir()) > 10_000_000
        )
        assert plan.struck == 1
        assert not {name for name in names_in(folder) if name.startswith("out.jsonl")}
        plan.delete()
        assert land(client, batch_id, uri, storage_options=options).verified
        assert landed_lines(folder / "out.jsonl") == lines_of_the_api(client, batch_id)
        if kind == "file":
            assert names_in(folder) == {"out.jsonl", "out.jsonl.manifest.json"}
