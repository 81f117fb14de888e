"""A client to the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from tests.unit.landing.support import client_of


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with client_of(emulator) as made:
        yield made
