"""kill -9 of a landing, midway and between its publishing steps: the manifest stays true, and the next run lands."""

from __future__ import annotations

import hashlib
import json
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

DYING_SCRIPT = """
import os, pathlib, signal, sys
from airflow_batches.api import BatchesClient
from airflow_batches.landing import land
url, key, batch_id, folder, left = *sys.argv[1:5], [int(sys.argv[5])]
replace = pathlib.Path.replace
def replace_or_die(*paths):
    left[0] -= 1
    return replace(*paths) if left[0] else os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.replace = replace_or_die
with BatchesClient(key, base_url=url) as client:
    land(client, batch_id, f"file://{folder}/out", failed_path=f"file://{folder}/failed", overwrite=True)
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
    """A process that lands, killed as soon as `ready` returns true."""
    arguments = [emulator.url, emulator.api_key, batch_id, uri, json.dumps(options)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments])
    try:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_a_landing_killed_midway_leaves_no_object_and_the_next_run_lands_it(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, kind: str
) -> None:
    emulator.configure(answer_chars=100_000)
    batch_id = ended_batch(client, 150)
    plan = emulator.fault(Fault(endpoint="results", action="stall", after_bytes=12_000_000, seconds=180))
    with store(kind, tmp_path) as (root, folder, options):
        uri = f"{root}/out.jsonl"
        killed_midway(
            emulator, batch_id, uri, options, lambda: sum(f.stat().st_size for f in folder.iterdir()) > 5_000_000
        )
        assert plan.struck == 1
        assert not {name for name in names_in(folder) if name.startswith("out.jsonl")}
        plan.delete()
        assert land(client, batch_id, uri, storage_options=options).verified
        assert landed_lines(folder / "out.jsonl") == lines_of_the_api(client, batch_id)
        if kind == "file":
            assert names_in(folder) == {"out.jsonl", "out.jsonl.manifest.json"}


@pytest.mark.parametrize("landed_before", [False, True])
@pytest.mark.parametrize("before", [1, 2, 3, 4], ids=["the claim", "failures", "results", "the manifest"])
def test_a_landing_killed_before_any_step_leaves_a_true_manifest_and_the_next_run_completes_it(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, before: int, landed_before: bool
) -> None:
    emulator.configure(errored_share=0.5)
    batch_id = ended_batch(client, 20)
    if landed_before:
        land(client, batch_id, f"file://{tmp_path}/out")
    arguments = [emulator.url, emulator.api_key, batch_id, str(tmp_path), str(before)]
    killed = subprocess.run([sys.executable, "-c", DYING_SCRIPT, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "failed").exists() == (before > 2)
    assert (tmp_path / "out").exists() == (landed_before or before > 3)
    said = json.loads(path.read_bytes()) if (path := tmp_path / "out.manifest.json").exists() else None
    assert (said is not None) == (landed_before or before > 1)
    if said is not None:
        assert (said["state"] == "complete") == (before == 1)
        if said["state"] == "complete":
            assert said["results"]["sha256"] == hashlib.sha256((tmp_path / "out").read_bytes()).hexdigest()
    assert land(client, batch_id, f"file://{tmp_path}/out", failed_path=f"file://{tmp_path}/failed").verified
    assert landed_lines(tmp_path / "out") == lines_of_the_api(client, batch_id)
    assert names_in(tmp_path) == {"out", "failed", "out.manifest.json"}


@pytest.mark.parametrize("then", ["a landing that has something to do", "a landing that has nothing to do"])
def test_the_next_landing_that_succeeds_removes_what_a_killed_one_left(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, then: str
) -> None:
    emulator.configure(answer_chars=100_000)
    batch_id = ended_batch(client, 100)
    uri = f"file://{tmp_path}/out.jsonl"
    if then == "a landing that has nothing to do":
        land(client, batch_id, uri)
    plan = emulator.fault(Fault(endpoint="results", action="stall", after_bytes=5_000_000, seconds=180))
    script = SCRIPT.replace("batch_id, uri, storage", "batch_id, uri, overwrite=True, storage")
    arguments = [emulator.url, emulator.api_key, batch_id, uri, "{}"]
    dead = subprocess.Popen([sys.executable, "-c", script, *arguments])
    try:
        deadline = time.monotonic() + 120
        while not [*tmp_path.glob(".out.jsonl.*.part")] and dead.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        dead.kill()
        dead.wait(60)
    plan.delete()
    assert len([*tmp_path.glob(".out.jsonl.*.part")]) == 1
    assert land(client, batch_id, uri).verified
    assert names_in(tmp_path) == {"out.jsonl", "out.jsonl.manifest.json"}
