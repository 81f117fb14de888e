"""Airflow's side of a trigger: what it answers when asked, as slowly as it may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, GetTaskStates, TaskStatesResult


@dataclass
class TaskInstance:
    """What identifies a deferred task to its trigger."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1


@dataclass
class Supervisor:
    """`states`: by run and task, as the API server answers. It knows no connections: those are in the environment."""

    states: dict[str, dict[str, str | None]] = field(default_factory=dict)
    delay: float = 0.0
    error: Exception | None = None
    asked: list[GetTaskStates] = field(default_factory=list)
    answered: int = 0

    async def asend(self, message: Any) -> Any:
        if not isinstance(message, GetTaskStates):
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        self.asked.append(message)
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        self.answered += 1
        return TaskStatesResult(task_states=self.states)

    def send(self, message: Any) -> Any:
        return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
