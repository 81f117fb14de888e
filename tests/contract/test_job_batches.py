"""The batches of a job as the official SDK sees them: every request in exactly one batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anthropic
import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Rule
from airflow_batches.jobs import JobManifest, run_job
from tests.samples import some_requests

COUNT = 25


def seen_by_the_sdk(emulator: Emulator) -> dict[str, dict[str, str]]:
    """How each request ended, by batch and custom_id, the oldest batch first."""
    sdk = anthropic.Anthropic(api_key=emulator.api_key, base_url=emulator.url)
    batches = [*sdk.messages.batches.list(limit=2)]
    return {
        batch.id: {line.custom_id: line.result.type for line in sdk.messages.batches.results(batch.id)}
        for batch in reversed(batches)
    }


def answered(emulator: Emulator, folder: Path) -> JobManifest:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return run_job(client, some_requests(COUNT), folder, canary=3, max_requests=10, poll_interval=0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "job"


def test_every_request_is_in_exactly_one_batch(emulator: Emulator, folder: Path) -> None:
    manifest = answered(emulator, folder)
    batches = seen_by_the_sdk(emulator)
    assert [*batches] == [batch.id for batch in manifest.batches]
    assert [len(lines) for lines in batches.values()] == [3, 10, 10, 2]
    requests = Counter(custom_id for lines in batches.values() for custom_id in lines)
    assert requests == Counter(f"r-{number}" for number in range(COUNT))


def test_only_what_failed_is_in_a_second_batch_and_each_request_is_answered_once(
    emulator: Emulator, folder: Path
) -> None:
    emulator.set_rules([Rule(custom_id="r-*7", outcome="errored", times_per_id=1)])
    manifest = answered(emulator, folder)
    batches = seen_by_the_sdk(emulator)
    assert [*batches] == [batch.id for batch in manifest.batches]
    requests = Counter(custom_id for lines in batches.values() for custom_id in lines)
    assert {custom_id for custom_id, times in requests.items() if times > 1} == {"r-7", "r-17"}
    answers = Counter(
        custom_id for lines in batches.values() for custom_id, outcome in lines.items() if outcome == "succeeded"
    )
    assert answers == Counter(f"r-{number}" for number in range(COUNT))
