"""A trigger's surroundings."""

from __future__ import annotations

import pytest
from airflow.sdk.execution_time import task_runner

from tests.unit.triggers.supervisor import Supervisor


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Airflow, at the one place where a trigger reaches it."""
    answering = Supervisor(states={"run": {"task": "deferred"}})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", answering, raising=False)
    return answering
