"""Waits in a hurry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.emulator import Emulator
from airflow_batches.waiting import hub, outage, poller, roster
from tests.unit.waiting.service import Service


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same times, a hundred times shorter."""
    monkeypatch.setattr(poller, "TICK", 0.01)
    monkeypatch.setattr(poller, "LIST_PAUSE", 0.15)
    monkeypatch.setattr(roster, "FIRST_POLL", 0.02)
    monkeypatch.setattr(outage, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(hub, "PATIENCE", 0.5)


@pytest.fixture
def service(hurry: None) -> Iterator[Service]:
    """Batches go on until they are ended; nothing asks to be polled less often."""
    with Emulator(processing_time=3600.0, retry_after=0) as running:
        yield Service(running)
