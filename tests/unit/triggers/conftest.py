"""A trigger's surroundings."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_batches.waiting import outage, poller, roster
from tests.unit.triggers.supervisor import Supervisor


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Airflow, at the one place where a trigger reaches it."""
    answering = Supervisor(states={"run": {"task": "deferred"}})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", answering, raising=False)
    return answering


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poller's times, a hundred times shorter."""
    monkeypatch.setattr(poller, "TICK", 0.01)
    monkeypatch.setattr(roster, "FIRST_POLL", 0.02)
    monkeypatch.setattr(outage, "LONGEST_PAUSE", 0.05)
