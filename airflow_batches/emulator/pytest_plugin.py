"""A pytest fixture with an emulator, for tests of DAGs and pipelines (entry point `pytest11`).

Every pytest of an environment loads this module, so it imports the emulator only when a test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator

MARKER = "message_batches_emulator"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for suites with strict markers."""
    config.addinivalue_line("markers", f"{MARKER}(**values): arguments of the fixture's Emulator, settings included")


@pytest.fixture
def message_batches_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run a Message Batches API on localhost during the test; batches end at once unless the marker says otherwise.

    @pytest.mark.message_batches_emulator(processing_time=3600)
    def test_the_dag_waits(message_batches_emulator):
        connection = {"host": message_batches_emulator.url, "password": message_batches_emulator.api_key}
    """
    from airflow_batches.emulator.emulator import Emulator

    values: dict[str, Any] = {}
    for mark in request.node.iter_markers(MARKER):  # the closest first
        values = {**mark.kwargs, **values}
    with Emulator(**values) as emulator:
        yield emulator
