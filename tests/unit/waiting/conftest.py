"""A service with fast settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.emulator import Emulator
from tests.unit.waiting.service import Service


@pytest.fixture
def service() -> Iterator[Service]:
    """Batches go on until they are ended; the server gives no hints."""
    with Emulator(processing_time=3600.0, retry_after=0) as running:
        yield Service(running)
