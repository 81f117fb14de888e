"""One real Airflow for all end-to-end tests, and an emulator it is connected to.

The tests share a worker of pytest-xdist (`tests/scheduling.py`): there is one Airflow, however many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.service import Service, emulated

EXAMPLE_DAGS = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The emulator, as the demo uses it: batches take some seconds, a line fails."""
    with emulated() as running:
        yield running


@pytest.fixture(scope="session")
def airflow(service: Service) -> Iterator[PrivateAirflow]:
    """A real Airflow with the example DAGs."""
    with PrivateAirflow(
        dags=EXAMPLE_DAGS,
        connections={"anthropic_default": service.connection()},
        settings={"CORE__TEST_CONNECTION": "Enabled"},
    ) as running:
        yield running
