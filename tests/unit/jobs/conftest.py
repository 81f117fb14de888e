"""Jobs against the emulator, whose clock moves while a job waits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.emulator import Emulator
from airflow_batches.jobs import JobManifest, run_job
from tests.unit.jobs.program import Terminal


class EmulatorClock:
    """The emulator's clock: a wait moves it, and may change the world."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.waits = 0
        self.on_wait: Callable[[int], None] = lambda number: None

    def now(self) -> datetime:
        return self._emulator.clock.now()

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        self._emulator.clock.advance(seconds)
        self.on_wait(self.waits)


class Job:
    """A job's folder, and how it is run."""

    def __init__(self, emulator: Emulator, client: BatchesClient, folder: Path) -> None:
        self.emulator = emulator
        self.client = client
        self.folder = folder
        self.clock = EmulatorClock(emulator)

    def run(self, requests: Any = None, **options: Any) -> JobManifest:
        """Run the job; a later run need not wait for the lease of an earlier one."""
        return run_job(self.client, requests, self.folder, **{"clock": self.clock, "owner": "test", **options})

    def lines(self, pattern: str = "results-*.jsonl") -> list[dict[str, Any]]:
        """The published lines, in order."""
        parts = sorted(self.folder.glob(pattern))
        return [json.loads(line) for part in parts for line in part.read_text().splitlines()]

    def ids(self, pattern: str = "results-*.jsonl") -> Counter[str]:
        return Counter(line["custom_id"] for line in self.lines(pattern))

    @property
    def ledger(self) -> Any:
        return json.loads((self.folder / "_job/ledger.json").read_text())


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url, retry=RetryPolicy(base=0.01)) as opened:
        yield opened


@pytest.fixture
def job(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> Job:
    return Job(emulator, client, tmp_path / "job")


@pytest.fixture
def terminal(emulator: Emulator, tmp_path: Path) -> Terminal:
    return Terminal(emulator, tmp_path)
