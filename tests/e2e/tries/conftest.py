"""A task whose tries are processes, against an emulator whose batches take hours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_batches.emulator import Emulator
from tests.e2e.tries.one_try import Try
from tests.e2e.tries.task import Task


@pytest.fixture
def task(emulator: Emulator, connection: str, tmp_path: Path) -> Iterator[Task]:
    emulator.configure(processing_time=7200.0, cancel_time=0.0, retry_after=0)
    conn = os.environ[f"AIRFLOW_CONN_{connection.upper()}"]
    task = Task(emulator, Try(folder=str(tmp_path), connection=conn, number=0))
    yield task
    task.end()
