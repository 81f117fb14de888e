"""One real Airflow for all end-to-end tests that need nothing else of it, and two emulators it is connected to.

The tests that use it run in one worker of pytest-xdist (`tests/scheduling.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.service import Service, emulated
from airflow_batches.emulator import Emulator
from airflow_batches.provider import CONNECTION_TYPE

EXAMPLE_DAGS: Final = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))
OUR_DAGS: Final = [Path(__file__).parent / "dags" / name for name in ("reviews.py", "jobs.py")]
SHARD_SIZE: Final = 1_000
"""Requests of a shard. The integration tests run the example with its own 100,000."""
HEARTBEAT_TIMEOUT_S: Final = 20
"""After so long without a heartbeat Airflow gives a try up. A busy machine answers one after 5 s and more."""
SETTINGS: Final = {
    "CORE__TEST_CONNECTION": "Enabled",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
}


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The emulator, as the demo uses it: batches take some seconds, a line fails."""
    with emulated() as running:
        yield running


@pytest.fixture(scope="session")
def held() -> Iterator[Emulator]:
    """An emulator whose batches go on until they are ended."""
    with Emulator(processing_time=7200.0, retry_after=0) as running:
        yield running


@pytest.fixture(scope="session")
def example_dags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The example DAGs, with small shards."""
    folder = tmp_path_factory.mktemp("dags")
    for example in EXAMPLE_DAGS:
        (folder / example.name).write_text(example.read_text().replace("100_000,", f"{SHARD_SIZE},"))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def airflow(service: Service, held: Emulator, example_dags: list[Path]) -> Iterator[PrivateAirflow]:
    """A real Airflow with the example DAGs; the connection `held` is to the emulator of that name."""
    to_held = {"conn_type": CONNECTION_TYPE, "host": held.url, "password": str(held.api_key)}
    with PrivateAirflow(
        dags=[*example_dags, *OUR_DAGS],
        connections={"anthropic_default": service.connection(), "held": to_held},
        settings=SETTINGS,
    ) as running:
        yield running
